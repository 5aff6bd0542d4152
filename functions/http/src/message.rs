//! Requests and answers as every runner sees them.

use serde::Serialize;

use crate::function::Failure;
use crate::timing::Clock;

/// A request, as far as it matters here.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Path and query, as on the request line.
    pub target: &'a str,
    /// Names in any case.
    pub headers: &'a [(String, String)],
    /// All of it, or the first bytes over the limit in the function's settings.
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

    /// What the body is declared as, with parameters; empty where nothing is declared.
    pub fn content_type(&self) -> &str {
        self.header("content-type").unwrap_or("")
    }

    /// The same without parameters, in lower case.
    pub fn media_type(&self) -> String {
        let essence = self.content_type().split(';').next().unwrap_or("");
        essence.trim().to_ascii_lowercase()
    }
}

/// What a runner knows and a request does not say. `S`: the function's settings.
#[derive(Default)]
pub struct Surroundings<'a, S> {
    /// What the operator set.
    pub settings: S,
    /// For times in answers, which are left out without one. Libraries have no clock of their own.
    pub clock: Option<&'a Clock<'a>>,
    /// The id of a request that brings none, or none that can be echoed.
    pub request_id: Option<String>,
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
    /// `value` as JSON.
    ///
    /// # Panics
    /// Where `value` cannot be JSON: a map's keys must be texts.
    pub fn json(status: u16, value: &impl Serialize) -> HttpAnswer {
        let body = serde_json::to_vec(value).expect("answers have text keys and finite numbers");
        HttpAnswer {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body,
            log: None,
        }
    }

    /// A document of this media type.
    pub fn document(media: &str, body: impl Into<Vec<u8>>) -> HttpAnswer {
        HttpAnswer {
            status: 200,
            headers: vec![("content-type", media.to_owned())],
            body: body.into(),
            log: None,
        }
    }

    /// The answer to a request that failed: `{"detail": ...}`.
    pub fn error(error: &impl Failure) -> HttpAnswer {
        #[derive(Serialize)]
        struct Detail {
            detail: String,
        }
        let detail = error.to_string();
        let mut answer = HttpAnswer::json(error.status(), &Detail { detail });
        answer.headers.extend(error.headers());
        answer.log = error.causes();
        answer
    }
}

/// The body of `GET /health`.
#[derive(Serialize)]
pub struct Health {
    status: &'static str,
}

impl Health {
    /// Who can answer is well.
    pub const OK: Health = Health { status: "ok" };
}

/// Most characters of what a caller wrote that an answer repeats.
const SHORTENED_CHARACTERS: usize = 40;

/// What a caller wrote, short enough to send back.
pub fn shortened(value: &str) -> String {
    value.chars().take(SHORTENED_CHARACTERS).collect()
}
