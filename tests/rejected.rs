//! Requests that get no text: the right status, one sentence, and a next request that works.

use anyhow::{Context, Result, ensure};

use crate::runners::{self, Asked};

struct Case {
    name: &'static str,
    asked: Asked,
    status: u16,
    /// Part of the sentence.
    says: &'static str,
}

#[test]
fn bad_requests_are_explained_by_every_runner() -> Result<()> {
    for case in cases()? {
        for (name, run) in runners::ALL {
            check(&case, name, run)?;
        }
    }
    Ok(())
}

#[test]
fn a_body_over_the_limit_is_refused() -> Result<()> {
    let case = Case {
        name: "11 MiB",
        asked: Asked::post("image/png", "*/*", vec![0; 11 << 20]),
        status: 413,
        says: "larger than 10485760 bytes",
    };
    // Under `wasmtime serve` the answer may come while the body is still on its way, and clients differ in what they make of that.
    check(&case, "native", runners::native)?;
    check(&case, "host", runners::host)
}

fn check(case: &Case, name: &str, run: runners::Runner) -> Result<()> {
    let about = || format!("{} by {name}", case.name);
    let answer = run(&case.asked).with_context(about)?;
    let said = String::from_utf8(answer.body)?;
    assert_eq!(answer.status, case.status, "{}: {said}", about());
    let json: serde_json::Value = serde_json::from_str(&said).with_context(about)?;
    let detail = json["detail"].as_str().with_context(about)?;
    assert!(
        detail.contains(case.says),
        "{}: {detail:?} does not contain {:?}",
        about(),
        case.says
    );
    ensure!(
        !detail.contains(".rs") && !detail.contains('/')
            || case.status == 415
            || case.status == 404,
        "{}: {detail:?}",
        about()
    );
    let word = runners::root().join("tests/cases/ocr/single-word/request.png");
    let next = run(&Asked::file(&word, "text/plain")?).with_context(about)?;
    assert_eq!(
        (next.status, next.body.trim_ascii()),
        (200, b"Ephemera".as_slice()),
        "the request after {}",
        about()
    );
    Ok(())
}

fn cases() -> Result<Vec<Case>> {
    let word = std::fs::read(runners::root().join("tests/cases/ocr/single-word/request.png"))?;
    let query = |query: &str| Asked {
        target: format!("/v1/ocr?{query}"),
        ..Asked::post("image/png", "*/*", word.clone())
    };
    let post = |content_type, body| Asked::post(content_type, "*/*", body);
    let case = |name, asked, status, says| Case {
        name,
        asked,
        status,
        says,
    };
    Ok(vec![
        case(
            "not an image",
            post("image/png", b"Dear Sir or Madam".to_vec()),
            415,
            "",
        ),
        case(
            "truncated",
            post("image/png", word[..word.len() / 2].to_vec()),
            400,
            "",
        ),
        case(
            "content type",
            post("text/html", word.clone()),
            415,
            "text/html",
        ),
        case("empty body", post("image/png", vec![]), 400, "empty"),
        case(
            "30,000 pixels a side",
            post("image/png", png_header(30_000, 30_000)),
            413,
            "",
        ),
        case("no pixels", post("image/png", png_header(0, 7)), 400, ""),
        case("engine", query("engine=paper"), 422, "\"paper\""),
        case("language", query("language=tlh"), 422, "\"tlh\""),
        case(
            "path",
            Asked {
                target: "/v1/nothing".to_owned(),
                ..query("")
            },
            404,
            "no such path",
        ),
        case(
            "method",
            Asked {
                method: "PUT",
                ..query("")
            },
            405,
            "POST",
        ),
    ])
}

/// A PNG that ends after saying how large it is: 8-bit RGB.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&header);
    png.extend(crc32(&header).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    png
}

/// The checksum of PNG chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 {
                sum >> 1 ^ 0xedb8_8320
            } else {
                sum >> 1
            }
        })
    })
}

#[test]
fn crc32_of_the_check_string() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}
