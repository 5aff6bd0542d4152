//! What failed, and whose fault it is.

use ephemera_http::{Failure, FormError, NotReady};
use ephemera_vision::Error as ImageError;

use crate::settings::SettingError;

/// Why a request got no text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such route: 404.
    #[error("no such path; try POST /v1/ocr, GET /v1/engines or GET /health")]
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
    /// The body is declared as something that is not read here: 415.
    #[error(
        "content type {actual:?} is not supported, expected multipart/form-data, image/* or application/octet-stream"
    )]
    ContentType {
        /// What the request says, parameters left out.
        actual: String,
    },
    /// Nothing to read: 400.
    #[error("the image is empty")]
    Empty,
    /// Over the platform's limit: 413.
    #[error("body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// What is accepted.
        limit_bytes: usize,
    },
    /// A form or a query that is broken, or has a field twice: 400.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A form without its file: 400.
    #[error("field {0:?} is missing")]
    MissingField(&'static str),
    /// An engine that is not offered: 422.
    #[error("engine {actual:?} is not available, expected one of: {available}")]
    Engine {
        /// What was asked for.
        actual: String,
        /// What is offered, separated by commas.
        available: String,
    },
    /// A language that no loaded pack reads: 422.
    #[error("language {actual:?} is not available; loaded packs: {packs}")]
    Language {
        /// What was asked for.
        actual: String,
        /// The packs, with what they read.
        packs: String,
    },
    /// An output format that is not offered: 422.
    #[error(
        "format {actual:?} is not available, expected one of: json, surya, text, tsv, hocr, alto, pdf"
    )]
    Format {
        /// What was asked for.
        actual: String,
    },
    /// A page that is no number from 1: 422.
    #[error("page {actual:?} is not a number from 1")]
    PageNumber {
        /// What was asked for.
        actual: String,
    },
    /// A region that is no rectangle: 422.
    #[error("region {actual:?} is not x,y,width,height in whole pixels")]
    RegionSyntax {
        /// What was asked for.
        actual: String,
    },
    /// Neither yes nor no: 422.
    #[error("words {actual:?}: expected true or false")]
    Words {
        /// What was asked for.
        actual: String,
    },
    /// The picture cannot be decoded: 400, 413, 415 or 422, see [`Error::status`].
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The instance was started without its models: 503.
    #[error("models are not loaded")]
    NotLoaded,
    /// The operator's: 500. The cause is for the log, not the caller.
    #[error("the function is not set up")]
    Settings(#[from] SettingError),
    /// Ours: 500. The cause is for the log, not the caller.
    #[error("reading the page failed")]
    Model(#[from] ephemera_engine::Error),
    /// Ours: 500. A model that does not fit this program. The cause is for the log, not the caller.
    #[error("reading the page failed")]
    Output(#[source] UnexpectedOutput),
}

/// A model answered with a tensor of the wrong kind.
#[derive(Debug, thiserror::Error)]
#[error("{model}: expected {expected}, got {actual}")]
pub struct UnexpectedOutput {
    /// Which model.
    pub model: String,
    /// What this program reads.
    pub expected: String,
    /// What it got.
    pub actual: String,
}

impl Error {
    /// The HTTP status that tells whose fault it is.
    pub fn status(&self) -> u16 {
        match self {
            Error::Path => 404,
            Error::Method { .. } => 405,
            Error::ApiKey => 401,
            Error::ContentType { .. } => 415,
            Error::Empty | Error::MissingField(_) => 400,
            Error::Form(form) => form.status(),
            Error::BodyTooLarge { .. } => 413,
            Error::Engine { .. }
            | Error::Language { .. }
            | Error::Format { .. }
            | Error::PageNumber { .. }
            | Error::RegionSyntax { .. }
            | Error::Words { .. } => 422,
            Error::Image(image) => match image {
                ImageError::NotAnImage | ImageError::Unsupported { .. } => 415,
                ImageError::Truncated { .. }
                | ImageError::Corrupt { .. }
                | ImageError::ZeroSize { .. } => 400,
                ImageError::TooLarge { .. } | ImageError::TooHeavy { .. } => 413,
                ImageError::Page { .. } | ImageError::Region { .. } => 422,
            },
            Error::NotLoaded => 503,
            // The host's status for what goes over its memory inside the instance.
            Error::Model(ephemera_engine::Error::TooLarge(_)) => 507,
            Error::Settings(_) | Error::Model(_) | Error::Output(_) => 500,
        }
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
            Error::ApiKey => vec![("www-authenticate", "ApiKey realm=\"ocr\"".to_owned())],
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

#[cfg(test)]
mod tests {
    use ephemera_vision::{Format, Region};

    use super::*;

    #[test]
    fn every_error_has_its_status() {
        let format = Format::Png;
        let text = String::new;
        let cases = [
            (Error::Path, 404),
            (Error::Method { allowed: "GET" }, 405),
            (Error::ContentType { actual: text() }, 415),
            (Error::Empty, 400),
            (Error::BodyTooLarge { limit_bytes: 1 }, 413),
            (Error::Form(FormError::Framing(text())), 400),
            (Error::MissingField("image"), 400),
            (Error::Form(FormError::Duplicate("image")), 400),
            (
                Error::Form(FormError::BadText {
                    name: "engine",
                    limit_bytes: 1,
                }),
                400,
            ),
            (Error::Form(FormError::TooManyFiles { limit: 1 }), 413),
            (
                Error::Engine {
                    actual: text(),
                    available: text(),
                },
                422,
            ),
            (
                Error::Language {
                    actual: text(),
                    packs: text(),
                },
                422,
            ),
            (Error::Format { actual: text() }, 422),
            (Error::PageNumber { actual: text() }, 422),
            (Error::RegionSyntax { actual: text() }, 422),
            (Error::Image(ImageError::Page { asked: 2, pages: 1 }), 422),
            (
                Error::Image(ImageError::Region {
                    region: Region::whole((2, 2)),
                    width: 1,
                    height: 1,
                }),
                422,
            ),
            (Error::Words { actual: text() }, 422),
            (Error::Image(ImageError::NotAnImage), 415),
            (
                Error::Image(ImageError::Unsupported {
                    format,
                    reason: text(),
                }),
                415,
            ),
            (Error::Image(ImageError::Truncated { format }), 400),
            (
                Error::Image(ImageError::Corrupt {
                    format,
                    reason: text(),
                }),
                400,
            ),
            (
                Error::Image(ImageError::ZeroSize {
                    width: 0,
                    height: 1,
                }),
                400,
            ),
            (
                Error::Image(ImageError::TooLarge {
                    width: 9,
                    height: 9,
                    max_side_px: 1,
                    max_pixels: 1,
                }),
                413,
            ),
            (
                Error::Image(ImageError::TooHeavy {
                    width: 9,
                    height: 9,
                    needed_bytes: 2,
                    limit_bytes: 1,
                }),
                413,
            ),
            (Error::ApiKey, 401),
            (
                Error::Settings(SettingError {
                    name: text(),
                    expected: String::new(),
                }),
                500,
            ),
            (Error::NotLoaded, 503),
            (
                Error::Model(ephemera_engine::Error::Input("wrong".to_owned())),
                500,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.status(), expected, "{error}");
            assert_eq!(error.causes().is_some(), expected >= 500, "{error}");
        }
    }

    #[test]
    fn causes_stay_in_the_log() {
        let error = Error::Output(UnexpectedOutput {
            model: "secret".to_owned(),
            expected: "a".to_owned(),
            actual: "b".to_owned(),
        });
        assert_eq!(error.to_string(), "reading the page failed");
        assert_eq!(
            error.causes().as_deref(),
            Some("reading the page failed: secret: expected a, got b")
        );
    }
}
