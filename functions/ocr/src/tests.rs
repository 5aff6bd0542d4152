//! The whole flow, with models that answer by rote.

use std::io::Cursor;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::settings::Settings;
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
    Fake::ocr(
        vec![(vec![1, 1, 128, 160], map.collect())],
        &["a", "b"],
        vec![(vec![1, 17, 3], scores), blank],
    )
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
    let models = "ocr-detector@1+0123456789ab, ocr-recogniser-latin@1+0123456789ab";
    assert_eq!(
        answer.headers,
        [
            ("content-type", "application/json".to_owned()),
            ("x-ephemera-models", models.to_owned()),
        ]
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
        text.headers[0],
        ("content-type", "text/plain; charset=utf-8".to_owned())
    );
    // (format, media type, start of the body, what stands in it)
    let cases = [
        (
            "tsv",
            "text/tab-separated-values; charset=utf-8",
            "level\t",
            "\tab\n",
        ),
        (
            "hocr",
            "text/vnd.hocr+html; charset=utf-8",
            "<?xml",
            ">ab</span>",
        ),
        ("alto", "application/alto+xml", "<?xml", "CONTENT=\"ab\""),
        ("pdf", "application/pdf", "%PDF-1.7", "/Predictor 15"),
    ];
    for (format, media, start, part) in cases {
        let target = format!("/v1/ocr?format={format}");
        let answer = send(&ocr(), "POST", &target, "image/png", &png(160, 128));
        assert_eq!(answer.headers[0], ("content-type", media.to_owned()));
        let body = String::from_utf8_lossy(&answer.body);
        assert!(
            body.starts_with(start) && body.contains(part),
            "{format}: {body}"
        );
    }
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
    let alone = answered("GET", "/v1/engines", &[], &[("aliases", "false")]);
    assert_eq!(body(&alone), json!({"engines": ["ephemera"]}));
}

/// An answer to a request with an image, given headers and settings.
fn answered(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    settings: &[(&str, &str)],
) -> HttpAnswer {
    let headers: Vec<(String, String)> = [("content-type", "image/png")]
        .iter()
        .chain(headers)
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let request = HttpRequest {
        method,
        target,
        headers: &headers,
        body: png(160, 128),
    };
    let settings = Settings::from_pairs(settings.iter().copied());
    let around = Surroundings {
        settings: settings.expect("valid settings"),
        ..Surroundings::default()
    };
    ocr().handle_in(request, &around)
}

fn header<'a>(answer: &'a HttpAnswer, name: &str) -> Option<&'a str> {
    let mut headers = answer.headers.iter();
    headers
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value.as_str())
}

#[test]
fn a_key_is_asked_for_where_one_is_set() {
    let key = [("api_key", "s3cret")];
    // (method, target, what X-API-Key says, settings, status)
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, &str, Option<&str>, Pairs<'_>, u16); 9] = [
        ("POST", "/v1/ocr", Some("s3cret"), &key, 200),
        ("POST", "/v1/ocr", Some("s3creT"), &key, 401),
        ("POST", "/v1/ocr", Some("s3cret1"), &key, 401),
        ("POST", "/v1/ocr", Some(""), &key, 401),
        ("POST", "/v1/ocr", None, &key, 401),
        ("GET", "/v1/engines", None, &key, 401),
        ("GET", "/health", None, &key, 200),
        ("POST", "/v1/ocr", None, &[], 200),
        ("POST", "/v1/ocr", Some("anything"), &[], 200),
    ];
    for (method, target, key, settings, status) in cases {
        let headers: Vec<_> = key.iter().map(|key| ("X-Api-Key", *key)).collect();
        let answer = answered(method, target, &headers, settings);
        assert_eq!(answer.status, status, "{method} {target} {key:?}");
        assert_eq!(header(&answer, "www-authenticate").is_some(), status == 401);
        assert_eq!(answer.log, None);
    }
}

#[test]
fn other_origins_may_read_what_the_settings_allow() {
    let list = "https://a.org, https://b.org";
    // (setting, origin, allowed origin, vary)
    let cases = [
        ("", Some("https://a.org"), None, None),
        ("*", Some("https://a.org"), Some("*"), None),
        ("*", None, None, None),
        (
            list,
            Some("https://b.org"),
            Some("https://b.org"),
            Some("Origin"),
        ),
        (list, Some("https://c.org"), None, Some("Origin")),
        (list, Some("null"), None, Some("Origin")),
        (list, None, None, Some("Origin")),
    ];
    for (setting, origin, allowed, vary) in cases {
        let headers: Vec<_> = origin.iter().map(|origin| ("Origin", *origin)).collect();
        let settings = [("cors_origins", setting), ("api_key", "k")];
        // An answer of any status must be readable, this one says 401.
        let answer = answered("GET", "/v1/engines", &headers, &settings);
        assert_eq!(answer.status, 401);
        assert_eq!(
            header(&answer, "access-control-allow-origin"),
            allowed,
            "{setting} {origin:?}"
        );
        assert_eq!(
            header(&answer, "access-control-expose-headers").is_some(),
            allowed.is_some()
        );
        assert_eq!(header(&answer, "vary"), vary, "{setting} {origin:?}");

        // A preflight has no key with it, and is no request for a route.
        let preflight: Vec<_> = headers
            .iter()
            .copied()
            .chain([("Access-Control-Request-Method", "POST")])
            .collect();
        let answer = answered("OPTIONS", "/v1/ocr", &preflight, &settings);
        let status = if allowed.is_some() { 204 } else { 401 };
        assert_eq!(answer.status, status, "{setting} {origin:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), allowed);
        let methods = header(&answer, "access-control-allow-methods");
        assert_eq!(methods, allowed.map(|_| "GET, POST"));
    }
    // Without the question it is another method.
    let answer = answered(
        "OPTIONS",
        "/v1/ocr",
        &[("Origin", "https://a.org")],
        &[("cors_origins", "*")],
    );
    assert_eq!(answer.status, 405);
}

#[test]
fn request_ids_come_back_when_they_can() {
    let long = "x".repeat(129);
    let cases = [
        ("a-1_2.B~", Some("a-1_2.B~")),
        (&long[..128], Some(&long[..128])),
        (long.as_str(), None),
        ("two words", None),
        ("line\nbreak", None),
        ("é", None),
        ("", None),
    ];
    for (sent, expected) in cases {
        let answer = answered("GET", "/health", &[("X-Request-ID", sent)], &[]);
        assert_eq!(header(&answer, "x-request-id"), expected, "{sent:?}");
        // Where none came, the runner's own.
        let headers = [("x-request-id".to_owned(), sent.to_owned())];
        let request = HttpRequest {
            method: "GET",
            target: "/nowhere",
            headers: &headers,
            body: Vec::new(),
        };
        let around = Surroundings {
            request_id: Some("ours".to_owned()),
            ..Surroundings::default()
        };
        let answer = ocr().handle_in(request, &around);
        assert_eq!(header(&answer, "x-request-id"), expected.or(Some("ours")));
    }
}

#[test]
fn a_clock_times_the_steps() {
    // Each look at this clock takes a millisecond.
    let now = std::cell::Cell::new(Duration::ZERO);
    let clock = || {
        now.set(now.get() + Duration::from_millis(1));
        now.get()
    };
    let headers = [("content-type".to_owned(), "image/png".to_owned())];
    let request = HttpRequest {
        method: "POST",
        target: "/v1/ocr",
        headers: &headers,
        body: png(160, 128),
    };
    let around = Surroundings {
        clock: Some(&clock),
        ..Surroundings::default()
    };
    let answer = ocr().handle_in(request, &around);
    let expected = "decode;dur=1.0, detect;dur=2.0, recognise;dur=2.0, render;dur=1.0";
    assert_eq!(header(&answer, "server-timing"), Some(expected));
}

#[test]
fn bad_images_get_a_status_and_a_sentence() {
    let whole = png(160, 128);
    let cases: [(&[u8], u16, &str); 3] = [
        (
            b"hello",
            415,
            "not a jpeg, png, tiff, webp, bmp or gif image",
        ),
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
fn only_the_region_is_read_and_boxes_stay_the_pages() {
    // The fake sees a page of 160 x 128 px in one that is larger.
    let answer = send(
        &ocr(),
        "POST",
        "/v1/ocr?region=100,200,160,128",
        "image/png",
        &png(400, 500),
    );
    let answer = body(&answer);
    assert_eq!(answer["bounding_boxes"], "105\t207\t155\t225\tab");
    assert_eq!(
        (&answer["page_width"], &answer["page_height"]),
        (&json!(400), &json!(500))
    );
}

#[test]
fn what_is_not_there_is_not_read() {
    let cases = [
        (
            "region=100,200,301,1",
            "region 100,200,301,1 is empty or not inside the image of 400 x 500 px",
        ),
        (
            "region=0,0,0,5",
            "region 0,0,0,5 is empty or not inside the image of 400 x 500 px",
        ),
        ("page=2", "page 2 is not there, the file has 1"),
    ];
    for (query, detail) in cases {
        let target = format!("/v1/ocr?{query}");
        let answer = send(&ocr(), "POST", &target, "image/png", &png(400, 500));
        assert_eq!(
            (answer.status, body(&answer)),
            (422, json!({ "detail": detail }))
        );
    }
}

#[test]
fn settings_bound_what_is_read() {
    for (setting, picture, detail) in [
        (("max_image_pixels", "100"), png(160, 128), "160 x 128"),
        (
            ("max_body_bytes", "10"),
            png(1, 1),
            "body is larger than 10 bytes",
        ),
    ] {
        let around = Surroundings {
            settings: Settings::from_pairs([setting]).expect("valid"),
            ..Surroundings::default()
        };
        let headers = [("content-type".to_owned(), "image/png".to_owned())];
        let request = HttpRequest {
            method: "POST",
            target: "/v1/ocr",
            headers: &headers,
            body: picture,
        };
        let answer = ocr().handle_in(request, &around);
        assert_eq!(answer.status, 413);
        let said = body(&answer).to_string();
        assert!(said.contains(detail), "{said}");
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
