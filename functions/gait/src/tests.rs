//! The whole flow, with a model that answers by rote.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::{FORM, SIDE, gait, multipart, png};

/// What every answer of the fake says of itself.
const VALIDATION: &str =
    "none: research software, not for diagnosis or treatment; trained on: nothing at all";

/// A request with settings, to a function that favours the second class.
struct Asked<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Vec<u8>,
    settings: &'a [(&'a str, &'a str)],
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Asked {
            method: "POST",
            target: "/predict?clinical_condition=Normal",
            headers: &[("Content-Type", "image/png")],
            body: png(8, 6, 10),
            settings: &[],
        }
    }
}

impl Asked<'_> {
    fn of(self, gait: &Gait, clock: Option<&Clock<'_>>) -> HttpAnswer {
        let headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let request = HttpRequest {
            method: self.method,
            target: self.target,
            headers: &headers,
            body: self.body,
        };
        let settings = Settings::from_pairs(self.settings.iter().copied());
        let around = Surroundings {
            settings: settings.expect("valid settings"),
            clock,
            request_id: None,
        };
        gait.handle_in(request, &around)
    }

    fn answered(self) -> HttpAnswer {
        self.of(&gait(&[0.0, 1.0, -1.0]).0, None)
    }
}

fn body(answer: &HttpAnswer) -> Value {
    serde_json::from_slice(&answer.body).expect("the answer is JSON")
}

fn header<'a>(answer: &'a HttpAnswer, name: &str) -> Option<&'a str> {
    let mut headers = answer.headers.iter();
    let found = headers.find(|(known, _)| *known == name);
    found.map(|(_, value)| value.as_str())
}

#[test]
fn a_clip_is_classified_from_end_to_end() {
    // e^0 = 1 beside e^-infinity, as good as.
    let (gait, seen) = gait(&[-200.0, 0.0, -200.0]);
    let frames = multipart(&[
        ("clinical_condition", b" pd_EARLY "),
        ("frames", &png(8, 6, 10)),
        ("frames", &png(3, 9, 20)),
    ]);
    let asked = Asked {
        target: "/predict",
        headers: &[("content-type", FORM)],
        body: frames,
        ..Asked::default()
    };
    let answer = asked.of(&gait, None);
    let expected = format!(
        "{{\"predicted_class\":\"KOA_Early\",\
         \"probabilities\":{{\"Normal\":0.0,\"KOA_Early\":1.0,\"PD_Early\":0.0}},\
         \"model\":\"gait-student@1\",\"clinical_validation\":\"{VALIDATION}\",\
         \"frames\":{{\"total\":2,\"sampled\":[0,1,1],\"kind\":\"pictures\"}}}}"
    );
    assert_eq!(String::from_utf8_lossy(&answer.body), expected);
    assert_eq!((answer.status, &answer.log), (200, &None));
    assert_eq!(
        answer.headers,
        [
            ("content-type", "application/json".to_owned()),
            (
                "x-ephemera-models",
                "gait-student@1+0123456789ab".to_owned()
            ),
        ]
    );
    let seen = seen.lock().expect("no test panics here");
    let [(pixels, embedding)] = seen.as_slice() else {
        panic!("the model runs once")
    };
    // Two frames of one shade each, the second one repeated; the table's second row.
    let frame = SIDE * SIDE * 3;
    let shades = [vec![10; frame], vec![20; frame], vec![20; frame]].concat();
    assert_eq!(
        (pixels, embedding.as_slice()),
        (&shades, [3.0, 4.0].as_slice())
    );
}

#[test]
fn every_way_to_send_a_clip_gives_the_same_answer() {
    let expected = Asked::default().answered();
    assert_eq!(expected.status, 200);
    let picture = png(8, 6, 10);
    for name in ["video", "file", "files", "frames", "frame"] {
        let asked = Asked {
            target: "/v1/gait",
            headers: &[("content-type", FORM)],
            body: multipart(&[
                (name, &picture),
                ("clinical_condition", b"normal"),
                // As browsers send a field that was left empty.
                ("video", b""),
            ]),
            ..Asked::default()
        };
        assert_eq!(asked.answered(), expected, "{name}");
    }
    let asked = Asked {
        headers: &[("content-type", "application/octet-stream")],
        target: "/v1/gait?clinical_condition=%20NORMAL",
        ..Asked::default()
    };
    assert_eq!(asked.answered(), expected);
}

#[test]
fn routes_answer_to_their_verb_only() {
    let detail = |text: &str| json!({ "detail": text });
    let missing = detail(
        "no such path; try POST /predict, POST /v1/gait, GET /conditions, GET /health or GET /ready",
    );
    let get = detail("method not allowed, expected GET");
    let post = detail("method not allowed, expected POST");
    let conditions = json!({"conditions": ["Normal", "PD_Early"]});
    let ready = json!({"ready": true, "model": "gait-student@1", "sha256": "0123456789abcdef"});
    // (method, target, status, body, allow)
    let cases = [
        ("GET", "/health", 200, json!({"status": "ok"}), None),
        ("GET", "/ready?x", 200, ready, None),
        ("GET", "/conditions", 200, conditions, None),
        ("POST", "/conditions", 405, get.clone(), Some("GET")),
        ("POST", "/ready", 405, get.clone(), Some("GET")),
        ("PUT", "/health", 405, get, Some("GET")),
        ("GET", "/predict", 405, post.clone(), Some("POST")),
        ("GET", "/v1/gait", 405, post, Some("POST")),
        ("GET", "/", 404, missing.clone(), None),
        ("POST", "/predict/", 404, missing, None),
    ];
    for (method, target, status, expected, allow) in cases {
        let asked = Asked {
            method,
            target,
            ..Asked::default()
        };
        let answer = asked.answered();
        assert_eq!(
            (answer.status, body(&answer)),
            (status, expected),
            "{target}"
        );
        assert_eq!(header(&answer, "allow"), allow, "{method} {target}");
    }
}

#[test]
fn bad_clips_get_a_status_and_a_sentence() {
    let whole = png(8, 6, 10);
    let two: [&[u8]; 2] = [&whole, b"no picture"];
    let cut: [&[u8]; 3] = [&whole, &whole[..30], &whole];
    // (files, status, part of the sentence)
    let cases: [(&[&[u8]], u16, &str); 5] = [
        (&[b"hello"], 415, "not a clip"),
        (&two, 415, "file 1 of 2"),
        (&cut, 400, "frame 1"),
        (&[b""], 400, "empty"),
        (&[b"", b""], 400, "empty"),
    ];
    for (files, status, part) in cases {
        let mut parts: Vec<(&str, &[u8])> = files.iter().map(|file| ("frames", *file)).collect();
        parts.push(("clinical_condition", b"Normal"));
        let asked = Asked {
            headers: &[("content-type", FORM)],
            body: multipart(&parts),
            ..Asked::default()
        };
        let answer = asked.answered();
        let said = body(&answer)["detail"].to_string();
        assert_eq!((answer.status, &answer.log), (status, &None), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn what_is_not_wanted_is_not_decoded() {
    // Of four frames the fake looks at 0, 1 and 3.
    let whole = png(8, 6, 10);
    let frames = [&whole[..], &whole, &whole[..30], &whole];
    let mut parts: Vec<(&str, &[u8])> = frames.iter().map(|file| ("frame", *file)).collect();
    parts.push(("clinical_condition", b"Normal"));
    let asked = Asked {
        headers: &[("content-type", FORM)],
        body: multipart(&parts),
        ..Asked::default()
    };
    let answer = asked.answered();
    assert_eq!(answer.status, 200);
    assert_eq!(body(&answer)["frames"]["sampled"], json!([0, 1, 3]));
}

#[test]
fn a_wrong_model_is_logged_and_not_explained() {
    for (logits, actual) in [(vec![0.0; 4], "[1, 4]"), (vec![0.0, f32::NAN, 0.0], "NaN")] {
        let answer = Asked::default().of(&gait(&logits).0, None);
        assert_eq!(
            (answer.status, body(&answer)),
            (500, json!({"detail": "classifying the clip failed"}))
        );
        let log = answer.log.expect("ours to know");
        let expected = format!("gait-student: expected finite f32 [1, 3], got {actual}");
        assert!(log.contains(&expected), "{log}");
    }
}

#[test]
fn a_clock_times_the_steps() {
    // Each look at this clock takes a millisecond.
    let now = Cell::new(Duration::ZERO);
    let clock = || {
        now.set(now.get() + Duration::from_millis(1));
        now.get()
    };
    let untimed = Asked::default().answered();
    let answer = Asked::default().of(&gait(&[0.0, 1.0, -1.0]).0, Some(&clock));
    assert_eq!(
        header(&answer, "server-timing"),
        Some("frames;dur=1.0, model;dur=1.0")
    );
    // What was answered without a clock, and the time behind it.
    let tail = br#","timing_ms":{"frames":1.0,"model":1.0,"total":2.0}}"#;
    let before = &untimed.body[..untimed.body.len() - 1];
    assert_eq!(answer.body, [before, tail.as_slice()].concat());
}

#[test]
fn a_request_ends_when_its_time_is_over() {
    // Each look at this clock takes a second: one for the stopwatch, one for the deadline, one a frame.
    for (limit, status) in [("1", 504), ("3", 504), ("5", 200)] {
        let now = Cell::new(Duration::ZERO);
        let clock = || {
            now.set(now.get() + Duration::from_secs(1));
            now.get()
        };
        let picture = png(8, 6, 10);
        let asked = Asked {
            headers: &[("content-type", FORM)],
            body: multipart(&[
                ("frame", &picture),
                ("frame", &picture),
                ("clinical_condition", b"Normal"),
            ]),
            settings: &[("timeout", limit)],
            ..Asked::default()
        };
        let (gait, seen) = gait(&[0.0, 1.0, -1.0]);
        let answer = asked.of(&gait, Some(&clock));
        assert_eq!(answer.status, status, "{limit}");
        let runs = seen.lock().expect("no test panics here").len();
        assert_eq!(runs, usize::from(status == 200));
        if status == 504 {
            let expected = format!("the clip was not classified within {limit} s");
            assert_eq!(body(&answer), json!({ "detail": expected }));
            assert!(answer.log.is_some(), "the operator may want to know");
        }
    }
}

#[test]
fn settings_bound_what_is_read() {
    let picture = png(8, 6, 10);
    let fits = picture.len().to_string();
    let tight = (picture.len() - 1).to_string();
    for (limit, status) in [(&fits, 200), (&tight, 413)] {
        let asked = Asked {
            settings: &[("max_upload_size", limit)],
            ..Asked::default()
        };
        let answer = asked.answered();
        assert_eq!(answer.status, status);
        if status == 413 {
            let said = format!("body is larger than {limit} bytes");
            assert_eq!(body(&answer), json!({ "detail": said }));
        }
    }
}

#[test]
fn what_the_model_was_not_made_for_stops_every_request() {
    let cases = [
        (
            ("num_frames", "16"),
            "setting NUM_FRAMES: expected 3, which gait-student@1 was made for",
        ),
        (
            ("frame_size", "224"),
            "setting FRAME_SIZE: expected 4, which gait-student@1 was made for",
        ),
    ];
    for (setting, reason) in cases {
        for (method, target) in [
            ("POST", "/predict?clinical_condition=Normal"),
            ("GET", "/conditions"),
            ("GET", "/health"),
            ("GET", "/nowhere"),
        ] {
            let asked = Asked {
                method,
                target,
                settings: &[setting],
                ..Asked::default()
            };
            let answer = asked.answered();
            assert_eq!(
                (answer.status, body(&answer)),
                (500, json!({"detail": "the function is not set up"}))
            );
            assert!(answer.log.is_some_and(|log| log.contains(reason)));
        }
        let asked = Asked {
            method: "GET",
            target: "/ready",
            settings: &[setting],
            ..Asked::default()
        };
        let answer = asked.answered();
        let expected = json!({"ready": false, "reason": reason});
        assert_eq!((answer.status, body(&answer)), (503, expected));
        assert!(answer.log.is_some_and(|log| log.contains(reason)));
    }
    let asked = Asked {
        settings: &[("num_frames", "3"), ("frame_size", "4")],
        ..Asked::default()
    };
    assert_eq!(asked.answered().status, 200);
}

#[test]
fn an_instance_without_its_model_is_not_ready() {
    let get = |target| HttpRequest {
        method: "GET",
        target,
        headers: &[],
        body: Vec::new(),
    };
    let refuse = <Gait as ephemera_http::Function>::refuse;
    let ready = refuse(&get("/ready"), &Error::NotLoaded);
    let expected = json!({"ready": false, "reason": "models are not loaded"});
    assert_eq!((ready.status, body(&ready)), (503, expected));
    let other = refuse(&get("/predict"), &Error::NotLoaded);
    let expected = json!({"detail": "models are not loaded"});
    assert_eq!((other.status, body(&other)), (503, expected));
}

#[test]
fn a_key_is_asked_for_where_clips_are_sent() {
    let key = [("api_key", "s3cret")];
    let right = [("Content-Type", "image/png"), ("X-Api-Key", "s3cret")];
    for (method, target, headers, status) in [
        (
            "POST",
            "/predict?clinical_condition=Normal",
            &right[..],
            200,
        ),
        (
            "POST",
            "/predict?clinical_condition=Normal",
            &right[..1],
            401,
        ),
        (
            "POST",
            "/v1/gait?clinical_condition=Normal",
            &right[..1],
            401,
        ),
        ("GET", "/conditions", &[], 200),
        ("GET", "/ready", &[], 200),
    ] {
        let asked = Asked {
            method,
            target,
            headers,
            settings: &key,
            ..Asked::default()
        };
        let answer = asked.answered();
        assert_eq!(answer.status, status, "{method} {target}");
        let challenge = (status == 401).then_some("ApiKey realm=\"gait\"");
        assert_eq!(header(&answer, "www-authenticate"), challenge);
    }
}

#[test]
fn other_origins_may_read_what_the_settings_allow() {
    let asked = Asked {
        headers: &[("Content-Type", "image/png"), ("Origin", "https://a.org")],
        settings: &[("cors_origins", "https://a.org")],
        ..Asked::default()
    };
    let answer = asked.answered();
    assert_eq!(
        header(&answer, "access-control-allow-origin"),
        Some("https://a.org")
    );
}

#[test]
fn a_bundle_has_one_model() {
    let error = Gait::new::<ephemera_engine::Graph>(Vec::new())
        .err()
        .expect("none is not one");
    let log = ephemera_http::Failure::causes(&error).expect("ours to know");
    assert!(log.contains("expected one model, got 0"), "{log}");
}

proptest! {
    #[test]
    fn whatever_is_sent_is_answered(
        head in prop_oneof![
            Just(&b""[..]),
            Just(&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..]),
            Just(&b"\xff\xd8\xff\xe0"[..]),
            Just(&b"GIF89a\x04\0\x04\0"[..]),
            Just(&b"PK\x03\x04"[..]),
            Just(&b"\0\0\0\x18ftypisom"[..]),
            Just(&b"RIFF\x20\0\0\0WEBPVP8X"[..]),
        ],
        tail in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let asked = Asked {
            headers: &[("Content-Type", "application/octet-stream")],
            body: [head, &tail].concat(),
            ..Asked::default()
        };
        let answer = asked.answered();
        prop_assert!([200, 400, 413, 415].contains(&answer.status), "{}", answer.status);
        prop_assert_eq!(answer.log, None);
    }
}
