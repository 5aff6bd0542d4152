//! Requests and answers as every runner sees them, and the routes between.
//!
//! Native tests, our host and other hosts all go through [`Ocr::handle`], so that their answers are the same byte for
//! byte.

use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::request::Engine;
use crate::settings::Settings;
use crate::timing::Clock;
use crate::{Error, Ocr, Request, cors};

/// A request, as far as it matters here.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Path and query, as on the request line.
    pub target: &'a str,
    /// Names in any case.
    pub headers: &'a [(String, String)],
    /// All of it, or the first bytes over the limit in [`crate::Settings`].
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

/// What a runner knows and a request does not say.
#[derive(Default)]
pub struct Surroundings<'a> {
    /// What the operator set.
    pub settings: Settings,
    /// For the header `Server-Timing`, which is left out without one. The library has no clock of its own.
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
        if let Error::ApiKey = error {
            // RFC 9110 asks for a challenge; no registered scheme has its key in `X-API-Key`.
            let challenge = "ApiKey realm=\"ocr\"".to_owned();
            answer.headers.push(("www-authenticate", challenge));
        }
        answer.log = error.cause();
        answer
    }
}

impl Ocr {
    /// Answers a request with all settings at their defaults. Never fails: what goes wrong becomes a status and a
    /// sentence.
    pub fn handle(&self, request: HttpRequest<'_>) -> HttpAnswer {
        self.handle_in(request, &Surroundings::default())
    }

    /// The same in given surroundings.
    pub fn handle_in(&self, request: HttpRequest<'_>, around: &Surroundings<'_>) -> HttpAnswer {
        let origins = &around.settings.cors_origins;
        let cors = cors::headers(&request, origins);
        let id = request
            .header("x-request-id")
            .filter(|id| can_be_echoed(id))
            .map(str::to_owned)
            .or_else(|| around.request_id.clone());
        let preflight = cors::preflight(&request, origins);
        let mut answer = preflight.unwrap_or_else(|| {
            self.route(request, around)
                .unwrap_or_else(|error| HttpAnswer::error(&error))
        });
        answer.headers.extend(cors);
        answer.headers.push(("x-ephemera-models", self.models()));
        answer.headers.extend(id.map(|id| ("x-request-id", id)));
        answer
    }

    fn route(
        &self,
        request: HttpRequest<'_>,
        around: &Surroundings<'_>,
    ) -> Result<HttpAnswer, Error> {
        let aliases = around.settings.aliases;
        let expect = |allowed: &'static str| {
            if request.method == allowed {
                Ok(())
            } else {
                Err(Error::Method { allowed })
            }
        };
        if request.path().starts_with("/v1/")
            && let Some(key) = &around.settings.api_key
        {
            check_key(key, request.header("x-api-key").unwrap_or(""))?;
        }
        match request.path() {
            "/v1/ocr" => {
                expect("POST")?;
                let limit_bytes = around.settings.max_body_bytes;
                if request.body.len() > limit_bytes {
                    return Err(Error::BodyTooLarge { limit_bytes });
                }
                self.answer(Request::parse(request, aliases)?, around)
            }
            "/v1/engines" => {
                expect("GET")?;
                Ok(HttpAnswer::json(200, &engines(aliases)))
            }
            "/health" => {
                expect("GET")?;
                Ok(HttpAnswer::json(200, &Health { status: "ok" }))
            }
            _ => Err(Error::Path),
        }
    }
}

/// Takes as long for a wrong key as for the right one, whichever byte is wrong. Its length is no secret.
fn check_key(expected: &str, actual: &str) -> Result<(), Error> {
    if bool::from(expected.as_bytes().ct_eq(actual.as_bytes())) {
        Ok(())
    } else {
        Err(Error::ApiKey)
    }
}

/// Longest request id that is echoed; a UUID has 36.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Whether a request's id can stand in a header and in a line of a log.
fn can_be_echoed(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn engines(aliases: bool) -> Engines {
    let offered = Engine::offered(aliases).iter();
    Engines {
        engines: offered.map(|engine| engine.name()).collect(),
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
