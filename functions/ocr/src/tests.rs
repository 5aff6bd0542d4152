//! The whole flow, with models that answer by rote.

use std::io::Cursor;

use serde_json::{Value, json};

use super::*;
use crate::testing::Fake;

/// A white PNG.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(width, height, image::Rgb([255; 3]))
        .write_to(&mut out, image::ImageFormat::Png)
        .expect("a valid picture");
    out.into_inner()
}

/// Finds one bar of 40 x 8 px on a page of 160 x 128 px and reads "ab" in it.
fn ocr() -> Ocr {
    let map = (0..160 * 128).map(|i| {
        if (10..50).contains(&(i % 160)) && (12..20).contains(&(i / 160)) {
            0.9
        } else {
            0.0
        }
    });
    // Grown, the bar is 50 x 18 px: at 48 px high 134 px wide, 17 steps.
    let winners = [[0.0f32, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]];
    let scores: Vec<f32> = (0..17)
        .flat_map(|step: usize| winners[step.min(2)])
        .collect();
    // Two characters do not show that the page is upright, so they are read upside down too: nothing is legible there.
    let blank = (vec![1, 17, 3], vec![0.0; 17 * 3]);
    Ocr {
        detector: Fake::network("ocr-detector", vec![(vec![1, 1, 128, 160], map.collect())]),
        recogniser: Fake::network(
            "ocr-recogniser-latin",
            vec![(vec![1, 17, 3], scores), blank],
        ),
        characters: vec!["a".to_owned(), "b".to_owned()],
        aliases: true,
    }
}

fn send(ocr: &Ocr, method: &str, target: &str, content_type: &str, body: &[u8]) -> HttpAnswer {
    let headers = [("Content-Type".to_owned(), content_type.to_owned())];
    ocr.handle(HttpRequest {
        method,
        target,
        headers: &headers,
        body: body.to_vec(),
    })
}

fn body(answer: &HttpAnswer) -> Value {
    serde_json::from_slice(&answer.body).expect("the answer is JSON")
}

#[test]
fn a_page_is_read_from_end_to_end() {
    let answer = send(
        &ocr(),
        "POST",
        "/v1/ocr?engine=tesseract&language=eng",
        "image/png",
        &png(160, 128),
    );
    assert_eq!((answer.status, &answer.log), (200, &None));
    assert_eq!(
        answer.headers,
        [("content-type", "application/json".to_owned())]
    );
    let answer = body(&answer);
    assert_eq!(answer["text"], "ab");
    assert_eq!(answer["bounding_boxes"], "5\t7\t55\t25\tab");
    assert_eq!(
        (&answer["page_width"], &answer["page_height"]),
        (&json!(160), &json!(128))
    );
    assert_eq!(answer["engine"], "tesseract");
    assert_eq!(answer["model"], "ocr-detector@1+ocr-recogniser-latin@1");
    assert_eq!(answer["blocks"][0]["language"], "en");
}

#[test]
fn the_other_formats_carry_the_same_text() {
    let text = send(
        &ocr(),
        "POST",
        "/v1/ocr?format=text",
        "image/png",
        &png(160, 128),
    );
    assert_eq!(
        (text.status, text.body.as_slice()),
        (200, b"ab\n".as_slice())
    );
    assert_eq!(
        text.headers,
        [("content-type", "text/plain; charset=utf-8".to_owned())]
    );
    let surya = body(&send(
        &ocr(),
        "POST",
        "/v1/ocr?format=surya",
        "image/png",
        &png(160, 128),
    ));
    assert_eq!(
        surya["text_lines"][0]["polygon"],
        json!([[5, 7], [55, 7], [55, 25], [5, 25]])
    );
}

#[test]
fn routes_answer_to_their_verb_only() {
    // (method, target, status, body, allow)
    let engines = json!({"engines": ["ephemera", "surya", "tesseract"]});
    let detail = |text: &str| json!({ "detail": text });
    let missing = detail("no such path; try POST /v1/ocr, GET /v1/engines or GET /health");
    let cases = [
        ("GET", "/health", 200, json!({"status": "ok"}), None),
        (
            "GET",
            "/health?verbose=1",
            200,
            json!({"status": "ok"}),
            None,
        ),
        ("GET", "/v1/engines", 200, engines, None),
        (
            "POST",
            "/v1/engines",
            405,
            detail("method not allowed, expected GET"),
            Some("GET"),
        ),
        (
            "DELETE",
            "/health",
            405,
            detail("method not allowed, expected GET"),
            Some("GET"),
        ),
        (
            "GET",
            "/v1/ocr",
            405,
            detail("method not allowed, expected POST"),
            Some("POST"),
        ),
        ("GET", "/", 404, missing.clone(), None),
        ("POST", "/v1/ocr/", 404, missing.clone(), None),
        ("GET", "", 404, missing, None),
    ];
    for (method, target, status, expected, allow) in cases {
        let answer = send(&ocr(), method, target, "", b"");
        assert_eq!(
            (answer.status, body(&answer)),
            (status, expected),
            "{method} {target}"
        );
        let header = answer
            .headers
            .iter()
            .find(|(name, _)| *name == "allow")
            .map(|(_, value)| value.as_str());
        assert_eq!(header, allow, "{method} {target}");
    }
}

#[test]
fn without_aliases_one_engine_is_offered() {
    let alone = Ocr {
        aliases: false,
        ..ocr()
    };
    assert_eq!(
        body(&send(&alone, "GET", "/v1/engines", "", b"")),
        json!({"engines": ["ephemera"]})
    );
}

#[test]
fn bad_images_get_a_status_and_a_sentence() {
    let whole = png(160, 128);
    let cases: [(&[u8], u16, &str); 3] = [
        (b"hello", 415, "not a jpeg, png or tiff image"),
        (&whole[..40], 400, "png image is truncated"),
        (b"", 400, "the image is empty"),
    ];
    for (bytes, status, detail) in cases {
        let answer = send(&ocr(), "POST", "/v1/ocr", "image/png", bytes);
        assert_eq!((answer.status, &answer.log), (status, &None));
        assert_eq!(body(&answer), json!({ "detail": detail }));
    }
}

#[test]
fn a_wrong_model_is_logged_and_not_explained() {
    // The page is laid out at 192 x 160: the fake's map does not fit.
    let answer = send(&ocr(), "POST", "/v1/ocr", "image/png", &png(161, 129));
    assert_eq!(
        (answer.status, body(&answer)),
        (500, json!({"detail": "reading the page failed"}))
    );
    let log = answer.log.expect("ours to know");
    assert!(
        log.contains("ocr-detector: expected f32 [1, 1, 160, 192], got [1, 1, 128, 160]"),
        "{log}"
    );
}
