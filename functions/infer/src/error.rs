//! What failed, and whose fault it is.

use ephemera_http::settings::SettingError;
use ephemera_http::{Failure, HttpAnswer, NotReady};
use serde::Serialize;

/// Why a request got no tensors.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such route: 404.
    #[error("no such path; try GET /v2, GET /v2/models/MODEL or POST /v2/models/MODEL/infer")]
    Path,
    /// A known route, another verb: 405.
    #[error("method not allowed, expected {allowed}")]
    Method {
        /// What the route answers to.
        allowed: &'static str,
    },
    /// A key is set, and the request's is missing or another: 401.
    #[error("header X-API-Key is missing or wrong")]
    ApiKey,
    /// 404.
    #[error("no model {name:?}, expected one of: {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// 404.
    #[error("no version {version:?} of this model, expected {expected:?}")]
    UnknownVersion {
        /// What was asked for.
        version: String,
        /// The one that there is.
        expected: String,
    },
    /// The body is declared as something that is not read here: 415.
    #[error(
        "content type {0:?} is not supported, expected application/json or application/octet-stream"
    )]
    ContentType(String),
    /// 415.
    #[error("content encoding {0:?} is not supported, expected none")]
    ContentEncoding(String),
    /// Over the operator's limit, or the platform's: 413.
    #[error("body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// What is accepted.
        limit_bytes: usize,
    },
    /// The inputs' tensors would be too large: 413.
    #[error("the inputs have {actual} bytes or more, limit is {limit}")]
    TensorsTooLarge {
        /// As far as they were added up.
        actual: usize,
        /// What is accepted.
        limit: usize,
    },
    /// The model would need too much for these shapes: 413.
    #[error("inputs of these shapes need {actual} bytes of activations, limit is {limit}")]
    ActivationsTooLarge {
        /// What a run would hold at once.
        actual: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The same where the host runs the model, in its words: 413.
    #[error("{0}")]
    NoRoom(String),
    /// 413.
    #[error("the answer has over {limit} bytes; ask for fewer outputs, or for binary data")]
    AnswerTooLarge {
        /// What is sent.
        limit: usize,
    },
    /// 400.
    #[error("Inference-Header-Content-Length: expected 0 to {body_bytes}, got {actual:?}")]
    HeaderLength {
        /// What the header says.
        actual: String,
        /// Length of the body.
        body_bytes: usize,
    },
    /// No JSON, or not of this form: 400.
    #[error("the request is not valid: {0}")]
    Json(String),
    /// 400.
    #[error("no {kind} {name:?}, the model has: {known}")]
    UnknownTensor {
        /// `input` or `output`.
        kind: &'static str,
        /// What was named.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// 400.
    #[error("{kind} {name:?} is there twice")]
    Twice {
        /// `input` or `output`.
        kind: &'static str,
        /// Which.
        name: String,
    },
    /// 400.
    #[error("input {0:?} is missing")]
    MissingInput(String),
    /// 400.
    #[error("input {name:?}: expected {expected}, got {actual}")]
    Input {
        /// Which.
        name: String,
        /// What the model takes.
        expected: String,
        /// What was sent.
        actual: String,
    },
    /// 400.
    #[error("the body has {actual} bytes behind its JSON, expected {expected}")]
    BinaryLength {
        /// What the inputs announce.
        expected: usize,
        /// What is there.
        actual: usize,
    },
    /// 400.
    #[error("output {name:?} is {datatype}, which JSON has no form for: ask for binary data")]
    NoJson {
        /// Which.
        name: String,
        /// Its type.
        datatype: &'static str,
    },
    /// What this server does not do: 400.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// Shapes that do not fit each other: 400. The engine's own sentence.
    #[error("{0}")]
    Mismatch(String),
    /// The instance was started without its models: 503.
    #[error("models are not loaded")]
    NotLoaded,
    /// The operator's: 500. The cause is for the log, not the caller.
    #[error("the function is not set up")]
    Settings(#[from] SettingError),
    /// What the model computed cannot be written as JSON: 500.
    #[error(
        "output {0:?} has values that are not finite, which JSON has no form for: ask for binary data"
    )]
    NotFinite(String),
    /// Ours, or the model's: 500. The cause is for the log, not the caller.
    #[error("running the model failed")]
    Model(#[source] ephemera_engine::Error),
}

impl Error {
    /// The HTTP status that tells whose fault it is.
    pub fn status(&self) -> u16 {
        match self {
            Error::Path | Error::UnknownModel { .. } | Error::UnknownVersion { .. } => 404,
            Error::Method { .. } => 405,
            Error::ApiKey => 401,
            Error::ContentType(_) | Error::ContentEncoding(_) => 415,
            Error::BodyTooLarge { .. }
            | Error::TensorsTooLarge { .. }
            | Error::ActivationsTooLarge { .. }
            | Error::NoRoom(_)
            | Error::AnswerTooLarge { .. } => 413,
            Error::HeaderLength { .. }
            | Error::Json(_)
            | Error::UnknownTensor { .. }
            | Error::Twice { .. }
            | Error::MissingInput(_)
            | Error::Input { .. }
            | Error::BinaryLength { .. }
            | Error::NoJson { .. }
            | Error::Unsupported(_)
            | Error::Mismatch(_) => 400,
            Error::NotLoaded => 503,
            Error::Settings(_) | Error::NotFinite(_) | Error::Model(_) => 500,
        }
    }

    /// The answer to a request that failed: `{"error": ...}`.
    pub(crate) fn answer(&self) -> HttpAnswer {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        let error = self.to_string();
        let mut answer = HttpAnswer::json(self.status(), &Body { error });
        answer.headers.extend(Failure::headers(self));
        answer.log = self.causes();
        answer
    }
}

impl Failure for Error {
    fn status(&self) -> u16 {
        Error::status(self)
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Error::Method { allowed } => vec![("allow", (*allowed).to_owned())],
            // RFC 9110 asks for a challenge; no registered scheme has its key in `X-API-Key`.
            Error::ApiKey => vec![("www-authenticate", "ApiKey realm=\"infer\"".to_owned())],
            _ => Vec::new(),
        }
    }
}

impl From<NotReady> for Error {
    fn from(why: NotReady) -> Error {
        match why {
            NotReady::NotLoaded => Error::NotLoaded,
            NotReady::Settings(error) => Error::Settings(error),
        }
    }
}

impl From<ephemera_engine::Error> for Error {
    /// What the engine says of a request's tensors and their size is the caller's; all else is ours.
    fn from(error: ephemera_engine::Error) -> Error {
        match error {
            ephemera_engine::Error::Input(text) => Error::Mismatch(text),
            ephemera_engine::Error::TooLarge(text) => Error::NoRoom(text),
            other => Error::Model(other),
        }
    }
}
