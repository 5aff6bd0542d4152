//! `ephemera run`: files through a function, each in an instance of its own, without a server.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};

use crate::body::Pieces;
use crate::runtime::Loaded;

/// The path that reads a page. Functions take a raw body of a media type as well as a form.
const PATH: &str = "/v1/ocr";

/// How to ask.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The whole answer as JSON instead of its text.
    pub json: bool,
    /// The language to read, as the function names them.
    pub language: Option<String>,
}

/// Sends each of `files` to `function`; texts go to `out`, errors to `problems`. Returns whether every file was read.
///
/// # Errors
///
/// `out` or `problems` cannot be written to.
pub async fn run(
    function: &Loaded,
    files: &[PathBuf],
    question: &Question,
    out: &mut impl Write,
    problems: &mut impl Write,
) -> Result<bool> {
    let mut all = true;
    for file in files {
        match ask(function, file, question).await {
            Ok(answer) => {
                out.write_all(&answer)?;
                if !answer.ends_with(b"\n") {
                    out.write_all(b"\n")?;
                }
            }
            Err(error) => {
                all = false;
                writeln!(problems, "{}: {error:#}", file.display())?;
            }
        }
    }
    out.flush()?;
    Ok(all)
}

async fn ask(function: &Loaded, file: &Path, question: &Question) -> Result<Bytes> {
    let body = std::fs::read(file).context("cannot be read")?;
    let request = request(file, Bytes::from(body), question)?;
    let response = function.handle(request).await?;
    ensure!(response.status().is_success(), "{}", refusal(&response));
    Ok(response.into_body())
}

fn request(file: &Path, body: Bytes, question: &Question) -> Result<Request<Pieces>> {
    let accept = if question.json {
        "application/json"
    } else {
        "text/plain"
    };
    let target = match &question.language {
        Some(language) => format!("{PATH}?language={}", query_value(language)?),
        None => PATH.to_owned(),
    };
    Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(HOST, "localhost")
        .header(ACCEPT, accept)
        .header(CONTENT_TYPE, content_type(file))
        .body(Pieces::from(body))
        .context("making the request")
}

/// By the file's extension; what it really is, the function sees from its content.
fn content_type(file: &Path) -> &'static str {
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "tif" | "tiff" => "image/tiff",
        _ => "application/octet-stream",
    }
}

/// Language tags need no escaping; anything else is no language tag.
fn query_value(language: &str) -> Result<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if language.is_empty() || !language.bytes().all(plain) {
        bail!("language `{language}`: expected a tag such as `en`");
    }
    Ok(language)
}

/// The sentence in an error's body, or its status where there is none.
fn refusal(response: &Response<Bytes>) -> String {
    let body: Option<serde_json::Value> = serde_json::from_slice(response.body()).ok();
    body.as_ref()
        .and_then(|body| body.get("detail")?.as_str())
        .map_or_else(|| response.status().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_a_request() {
        struct Case {
            file: &'static str,
            json: bool,
            language: Option<&'static str>,
            expected: [&'static str; 3],
        }
        let cases = [
            Case {
                file: "a/Page.JPG",
                json: false,
                language: None,
                expected: ["/v1/ocr", "text/plain", "image/jpeg"],
            },
            Case {
                file: "page",
                json: true,
                language: Some("pt-BR"),
                expected: [
                    "/v1/ocr?language=pt-BR",
                    "application/json",
                    "application/octet-stream",
                ],
            },
        ];
        for case in cases {
            let question = Question {
                json: case.json,
                language: case.language.map(str::to_owned),
            };
            let body = Bytes::from_static(b"x");
            let request = request(Path::new(case.file), body, &question).expect("it is valid");
            let header = |name| {
                let value = request.headers().get(name).expect("it is set");
                value.to_str().expect("it is text").to_owned()
            };
            let actual = [
                request.uri().to_string(),
                header(ACCEPT),
                header(CONTENT_TYPE),
            ];
            assert_eq!(actual, case.expected);
        }
    }

    #[test]
    fn a_language_cannot_add_parameters() {
        for language in ["", "en&engine=x", "a b", "é"] {
            let question = Question {
                json: false,
                language: Some(language.into()),
            };
            let body = Bytes::new();
            assert!(
                request(Path::new("p.png"), body, &question).is_err(),
                "{language}"
            );
        }
    }

    #[test]
    fn a_refusal_is_its_sentence() {
        let mut response = Response::new(Bytes::from_static(b"{\"detail\":\"not an image\"}"));
        assert_eq!(refusal(&response), "not an image");
        *response.body_mut() = Bytes::from_static(b"oops");
        *response.status_mut() = hyper::StatusCode::BAD_GATEWAY;
        assert_eq!(refusal(&response), "502 Bad Gateway");
    }
}
