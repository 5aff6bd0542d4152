//! What failed, and whose fault it is.

use ephemera_http::settings::SettingError;
use ephemera_http::{Failure, FormError, NotReady};
use ephemera_video::Error as ClipError;
use ephemera_vision::Error as ImageError;

/// Why a request got no probabilities.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such route: 404.
    #[error(
        "no such path; try POST /predict, POST /v1/gait, GET /conditions, GET /health or GET /ready"
    )]
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
        "content type {actual:?} is not supported, expected multipart/form-data, video/*, image/*, application/zip, application/x-tar or application/octet-stream"
    )]
    ContentType {
        /// What the request says, parameters left out.
        actual: String,
    },
    /// Over the operator's limit, or the platform's: 413.
    #[error("body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// What is accepted.
        limit_bytes: usize,
    },
    /// A form or a query that is broken, or has a field twice: 400. More files than are taken: 413.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A form without a file: 400.
    #[error("no clip: expected a file in field video, file, files, frames or frame")]
    MissingClip,
    /// No condition, or a blank one: 400.
    #[error("clinical_condition is missing or empty, expected one of: {available}")]
    MissingCondition {
        /// What is known, separated by commas.
        available: String,
    },
    /// A condition that the model does not know: 422.
    #[error("clinical_condition {actual:?} is unknown, expected one of: {available}")]
    Condition {
        /// What was asked for.
        actual: String,
        /// What is known, separated by commas.
        available: String,
    },
    /// What was sent cannot be decoded: 400, 413 or 415, see [`Error::status`].
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// The operator's limit is reached: 504.
    #[error("the clip was not classified within {limit_s} s")]
    Timeout {
        /// What a request may take.
        limit_s: u64,
    },
    /// The instance was started without its model: 503.
    #[error("models are not loaded")]
    NotLoaded,
    /// The operator's: 500. The cause is for the log, not the caller.
    #[error("the function is not set up")]
    Settings(#[from] SettingError),
    /// Ours: 500. The cause is for the log, not the caller.
    #[error("classifying the clip failed")]
    Model(#[from] ephemera_engine::Error),
    /// Ours: 500. A model that does not fit this program. The cause is for the log, not the caller.
    #[error("classifying the clip failed")]
    Output(#[source] UnexpectedOutput),
}

/// A model answered with something else than numbers for its classes.
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
            Error::BodyTooLarge { .. } => 413,
            Error::Form(form) => form.status(),
            Error::MissingClip | Error::MissingCondition { .. } => 400,
            Error::Condition { .. } => 422,
            Error::Clip(clip) => clip_status(clip),
            Error::Timeout { .. } => 504,
            Error::NotLoaded => 503,
            // The host's status for what goes over its memory inside the instance.
            Error::Model(ephemera_engine::Error::TooLarge(_)) => 507,
            Error::Settings(_) | Error::Model(_) | Error::Output(_) => 500,
        }
    }
}

fn clip_status(error: &ClipError) -> u16 {
    match error {
        ClipError::Empty(_) | ClipError::Corrupt { .. } | ClipError::CorruptFrame { .. } => 400,
        ClipError::NotAClip | ClipError::NotAPicture { .. } | ClipError::Unsupported { .. } => 415,
        ClipError::TooManyFrames { .. }
        | ClipError::TooLarge { .. }
        | ClipError::TooHeavy { .. }
        | ClipError::TooLong { .. }
        | ClipError::EntryTooLarge { .. } => 413,
        ClipError::Picture { source, .. } => match source {
            ImageError::NotAnImage | ImageError::Unsupported { .. } => 415,
            ImageError::Truncated { .. }
            | ImageError::Corrupt { .. }
            | ImageError::ZeroSize { .. } => 400,
            ImageError::TooLarge { .. } | ImageError::TooHeavy { .. } => 413,
            // Nobody asks for a page or a region of a frame.
            ImageError::Page { .. } | ImageError::Region { .. } => 400,
        },
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
            Error::ApiKey => vec![("www-authenticate", "ApiKey realm=\"gait\"".to_owned())],
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
        let text = String::new;
        let format = Format::Png;
        let kind = ephemera_video::Kind::Zip;
        let (width, height, index) = (1, 1, 0);
        let picture = |source| Error::Clip(ClipError::Picture { index, source });
        let clip = Error::Clip;
        let reason = text;
        let cases = [
            (Error::Path, 404),
            (Error::Method { allowed: "GET" }, 405),
            (Error::ApiKey, 401),
            (Error::ContentType { actual: text() }, 415),
            (Error::BodyTooLarge { limit_bytes: 1 }, 413),
            (Error::Form(FormError::Framing(text())), 400),
            (Error::Form(FormError::Duplicate("")), 400),
            (Error::Form(FormError::TooManyFiles { limit: 1 }), 413),
            (Error::MissingClip, 400),
            (Error::MissingCondition { available: text() }, 400),
            (
                Error::Condition {
                    actual: text(),
                    available: text(),
                },
                422,
            ),
            (clip(ClipError::Empty("")), 400),
            (
                clip(ClipError::Corrupt {
                    kind,
                    reason: reason(),
                }),
                400,
            ),
            (
                clip(ClipError::CorruptFrame {
                    index,
                    reason: reason(),
                }),
                400,
            ),
            (clip(ClipError::NotAClip), 415),
            (clip(ClipError::NotAPicture { index, count: 2 }), 415),
            (
                clip(ClipError::Unsupported {
                    kind,
                    reason: reason(),
                }),
                415,
            ),
            (clip(ClipError::TooManyFrames { count: 2, limit: 1 }), 413),
            (
                clip(ClipError::TooLarge {
                    width,
                    height,
                    max_side_px: 1,
                    max_pixels: 1,
                }),
                413,
            ),
            (
                clip(ClipError::TooHeavy {
                    needed_bytes: 2,
                    limit_bytes: 1,
                }),
                413,
            ),
            (
                clip(ClipError::TooLong {
                    needed_pixels: 2,
                    limit_pixels: 1,
                }),
                413,
            ),
            (
                clip(ClipError::EntryTooLarge {
                    index,
                    bytes: 2,
                    limit_bytes: 1,
                }),
                413,
            ),
            (picture(ImageError::NotAnImage), 415),
            (
                picture(ImageError::Unsupported {
                    format,
                    reason: reason(),
                }),
                415,
            ),
            (picture(ImageError::Truncated { format }), 400),
            (
                picture(ImageError::Corrupt {
                    format,
                    reason: reason(),
                }),
                400,
            ),
            (picture(ImageError::ZeroSize { width, height }), 400),
            (
                picture(ImageError::TooLarge {
                    width,
                    height,
                    max_side_px: 1,
                    max_pixels: 1,
                }),
                413,
            ),
            (
                picture(ImageError::TooHeavy {
                    width,
                    height,
                    needed_bytes: 2,
                    limit_bytes: 1,
                }),
                413,
            ),
            (picture(ImageError::Page { asked: 2, pages: 1 }), 400),
            (
                picture(ImageError::Region {
                    region: Region::whole((2, 2)),
                    width,
                    height,
                }),
                400,
            ),
            (Error::Timeout { limit_s: 1 }, 504),
            (Error::NotLoaded, 503),
            (
                Error::Settings(SettingError {
                    name: text(),
                    expected: text(),
                }),
                500,
            ),
            (Error::Model(ephemera_engine::Error::Input(text())), 500),
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
        assert_eq!(error.to_string(), "classifying the clip failed");
        assert_eq!(
            error.causes().as_deref(),
            Some("classifying the clip failed: secret: expected a, got b")
        );
    }
}
