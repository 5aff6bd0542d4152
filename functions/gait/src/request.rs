//! Body bytes -> [`Request`]: framing, and which condition.
//!
//! In: the parts of an HTTP request. Out: the files, still unopened, and a condition that the model knows.

use ephemera_http::{Fields, Form, HttpRequest, shortened};

use crate::Error;
use crate::network::{Condition, Network};

/// What a form may have beside fields that are passed over; a query has only the text.
const FIELDS: Fields = Fields {
    files: &["video", "file", "files", "frames", "frame"],
    // Sampled beforehand there are 16; this is over two minutes at 30 frames a second.
    max_files: 4096,
    texts: &["clinical_condition"],
    // No condition has a longer name.
    max_text_bytes: 64,
};

/// A request for probabilities.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// One clip, or its frames in order; not yet looked at. At least one.
    pub files: Vec<Vec<u8>>,
    /// What the caller says of the walker; the model takes it as given.
    pub condition: Condition,
}

impl Request {
    /// Reads the framing of a request. The condition comes from the form, else from the query.
    ///
    /// # Errors
    /// [`Error::ContentType`], [`Error::Form`], [`Error::MissingClip`], [`Error::MissingCondition`], [`Error::Condition`].
    pub fn parse(mut request: HttpRequest<'_>, network: &Network) -> Result<Request, Error> {
        let body = std::mem::take(&mut request.body);
        let mut query = Form::from_query(&FIELDS, request.query())?;
        let media = request.media_type();
        let files = match media.as_str() {
            "multipart/form-data" => {
                let form = Form::from_multipart(&FIELDS, request.content_type(), body)?;
                query = form.or(query);
                sent(std::mem::take(&mut query.files))?
            }
            media if is_clip(media) => vec![body],
            _ => {
                return Err(Error::ContentType {
                    actual: shortened(&media),
                });
            }
        };
        let condition = query.text("clinical_condition").unwrap_or_default();
        Ok(Request {
            files,
            condition: known(&condition, network)?,
        })
    }
}

/// Whether a body of this type may be a clip; what it is, its first bytes tell.
fn is_clip(media: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "application/zip",
        "application/x-zip-compressed",
        "application/x-tar",
        "application/mp4",
        "application/octet-stream",
    ];
    media.starts_with("video/") || media.starts_with("image/") || OTHERS.contains(&media)
}

/// The files of a form without those that a browser sends for a field that was left empty, unless there are no others.
fn sent(mut files: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
    if files.is_empty() {
        return Err(Error::MissingClip);
    }
    if files.iter().any(|file| !file.is_empty()) {
        files.retain(|file| !file.is_empty());
    }
    Ok(files)
}

fn known(name: &str, network: &Network) -> Result<Condition, Error> {
    let available = || network.conditions().join(", ");
    if name.is_empty() {
        let available = available();
        return Err(Error::MissingCondition { available });
    }
    network.condition(name).ok_or_else(|| Error::Condition {
        actual: shortened(name),
        available: available(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{FORM, gait, multipart};

    fn parse(target: &str, content_type: &str, body: &[u8]) -> Result<Request, Error> {
        let headers = [("Content-Type".to_owned(), content_type.to_owned())];
        let request = HttpRequest {
            method: "POST",
            target,
            headers: &headers,
            body: body.to_vec(),
        };
        Request::parse(request, &gait(&[]).0.network)
    }

    /// The places of the fake's conditions.
    fn condition(name: &str) -> Condition {
        gait(&[]).0.network.condition(name).expect("a known name")
    }

    #[test]
    fn forms_and_raw_bodies_are_read() {
        struct Case {
            target: &'static str,
            content_type: &'static str,
            body: Vec<u8>,
            files: &'static [&'static [u8]],
            condition: &'static str,
        }
        let normal = "/predict?clinical_condition=Normal";
        let raw = |content_type| Case {
            target: normal,
            content_type,
            body: b"clip".to_vec(),
            files: &[b"clip"],
            condition: "Normal",
        };
        let form = |parts: &[(&str, &[u8])]| Case {
            content_type: FORM,
            body: multipart(parts),
            ..raw("")
        };
        let cases = [
            raw("video/mp4"),
            raw("Video/QuickTime; codecs=avc1"),
            raw("image/gif"),
            raw("application/zip"),
            raw("application/x-tar"),
            raw("application/octet-stream"),
            // A condition in the form wins over the one in the query.
            Case {
                condition: "PD_Early",
                ..form(&[("video", b"clip"), ("clinical_condition", b"PD_Early")])
            },
            // Spaces, capitals, and a field that means nothing here.
            Case {
                target: "/predict",
                condition: "PD_Early",
                ..form(&[
                    ("clinical_condition", b"  pD_eArLy\t"),
                    ("note", b"x"),
                    ("file", b"clip"),
                ])
            },
            // Frames in order, whatever their fields are called; none that is empty.
            Case {
                files: &[b"1", b"2", b"3"],
                ..form(&[
                    ("frames", b"1"),
                    ("video", b""),
                    ("frame", b"2"),
                    ("files", b"3"),
                ])
            },
            Case {
                files: &[b"", b""],
                ..form(&[("frames", b""), ("video", b"")])
            },
        ];
        for case in cases {
            let about = format!("{} {:?}", case.content_type, case.files);
            let request = parse(case.target, case.content_type, &case.body).expect(&about);
            assert_eq!(request.files, case.files, "{about}");
            assert_eq!(request.condition, condition(case.condition), "{about}");
        }
    }

    #[test]
    fn every_mistake_has_its_answer() {
        let clip = ("video", b"clip".as_slice());
        let long = [b'n'; 65];
        let known = "expected one of: Normal, PD_Early";
        let unknown = format!("clinical_condition \"Tired\" is unknown, {known}");
        let missing = format!("clinical_condition is missing or empty, {known}");
        // (target, content type, body, status, part of the sentence)
        let cases: [(&str, &str, Vec<u8>, u16, &str); 12] = [
            ("/predict", "video/mp4", b"x".to_vec(), 400, &missing),
            (
                "/predict?clinical_condition=+",
                "video/mp4",
                b"x".to_vec(),
                400,
                &missing,
            ),
            (
                "/predict?clinical_condition=Tired",
                "video/mp4",
                b"x".to_vec(),
                422,
                &unknown,
            ),
            ("/predict", FORM, multipart(&[clip]), 400, &missing),
            (
                "/predict",
                FORM,
                multipart(&[clip, ("clinical_condition", b" ")]),
                400,
                &missing,
            ),
            (
                "/predict?clinical_condition=Normal",
                FORM,
                multipart(&[clip, ("clinical_condition", b"Tired")]),
                422,
                &unknown,
            ),
            (
                "/predict",
                FORM,
                multipart(&[clip, ("clinical_condition", &long)]),
                400,
                "longer than 64 bytes",
            ),
            (
                "/predict",
                FORM,
                multipart(&[("clinical_condition", b"a"), ("clinical_condition", b"a")]),
                400,
                "more than once",
            ),
            (
                "/predict",
                FORM,
                multipart(&[("clinical_condition", b"Normal")]),
                400,
                "expected a file in field video, file, files, frames or frame",
            ),
            (
                "/predict",
                FORM,
                multipart(&[clip; 4097]),
                413,
                "more than 4096 files",
            ),
            ("/predict", "text/html", b"x".to_vec(), 415, "\"text/html\""),
            ("/predict", "", b"x".to_vec(), 415, "multipart/form-data"),
        ];
        for (target, content_type, body, status, part) in cases {
            let error = parse(target, content_type, &body).expect_err(part);
            assert_eq!(error.status(), status, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_request_is_answered(
            query in ".{0,40}",
            content_type in prop_oneof![Just(FORM.to_owned()), ".{0,40}", "video/.{0,9}"],
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(--edge\r\n[A-Za-z-]{0,20}: form-data; name=\"(video|frame|clinical_condition)?\"\r\n\r\n.{0,20}\r\n){0,3}(--edge--)?"
                    .prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(request) = parse(&format!("/predict?{query}"), &content_type, &body) {
                let bytes: usize = request.files.iter().map(Vec::len).sum();
                prop_assert!(!request.files.is_empty() && bytes <= body.len());
            }
        }
    }
}
