//! Requests and answers as every runner sees them, and the routes between.
//!
//! Native tests, our host and other hosts all go through [`Ocr::handle`], so that their answers are the same byte for
//! byte.

use serde::Serialize;

use crate::request::Engine;
use crate::{Error, Ocr, Request};

/// A request, as far as it matters here.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Path and query, as on the request line.
    pub target: &'a str,
    /// Names in any case.
    pub headers: &'a [(String, String)],
    /// All of it, or the first bytes over [`crate::MAX_BODY_BYTES`].
    pub body: Vec<u8>,
}

impl HttpRequest<'_> {
    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// What stands before the question mark.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// What stands after the question mark.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What the operator's log should say; never for the caller.
    pub log: Option<String>,
}

impl HttpAnswer {
    pub(crate) fn json(status: u16, value: &impl Serialize) -> HttpAnswer {
        let body = serde_json::to_vec(value).expect("answers have text keys and finite numbers");
        HttpAnswer {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body,
            log: None,
        }
    }

    /// A document of this media type.
    pub(crate) fn document(media: &str, body: impl Into<Vec<u8>>) -> HttpAnswer {
        HttpAnswer {
            status: 200,
            headers: vec![("content-type", media.to_owned())],
            body: body.into(),
            log: None,
        }
    }

    /// The answer to a request that failed: `{"detail": ...}`.
    pub fn error(error: &Error) -> HttpAnswer {
        #[derive(Serialize)]
        struct Detail {
            detail: String,
        }
        let mut answer = HttpAnswer::json(
            error.status(),
            &Detail {
                detail: error.to_string(),
            },
        );
        if let Error::Method { allowed } = error {
            answer.headers.push(("allow", (*allowed).to_owned()));
        }
        answer.log = error.cause();
        answer
    }
}

impl Ocr {
    /// Answers a request. Never fails: what goes wrong becomes a status and a sentence.
    pub fn handle(&self, request: HttpRequest<'_>) -> HttpAnswer {
        self.route(request)
            .unwrap_or_else(|error| HttpAnswer::error(&error))
    }

    fn route(&self, request: HttpRequest<'_>) -> Result<HttpAnswer, Error> {
        let expect = |allowed: &'static str| {
            if request.method == allowed {
                Ok(())
            } else {
                Err(Error::Method { allowed })
            }
        };
        match request.path() {
            "/v1/ocr" => {
                expect("POST")?;
                self.answer(Request::parse(request, self.aliases)?)
            }
            "/v1/engines" => {
                expect("GET")?;
                Ok(HttpAnswer::json(200, &self.engines()))
            }
            "/health" => {
                expect("GET")?;
                Ok(HttpAnswer::json(200, &Health { status: "ok" }))
            }
            _ => Err(Error::Path),
        }
    }

    fn engines(&self) -> Engines {
        Engines {
            engines: Engine::offered(self.aliases)
                .iter()
                .map(|engine| engine.name())
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Engines {
    engines: Vec<&'static str>,
}
