//! Why there is no answer from a function, and the status and sentence that say so.
//!
//! A sentence for the caller names limits and never paths, addresses or traces; those go to the log.

use std::time::Duration;

use hyper::StatusCode;

use crate::pace::Floor;

/// A request that the host, not the function, has to answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Caller: 400.
    #[error("the request has no valid host header")]
    Host,
    /// Caller: 400.
    #[error("the body ended early")]
    BodyCutShort,
    /// Caller: 404.
    #[error("nothing is served at this path")]
    NoRoute,
    /// Caller: 408.
    #[error("the headers took longer than {} s to arrive", .0.as_secs())]
    HeadersTooSlow(Duration),
    /// Caller: 408.
    #[error("the body arrived slower than {} bytes per second", .0.bytes_per_s)]
    BodyTooSlow(Floor),
    /// Over a published limit: 413.
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Over a published limit: 431.
    #[error("the headers are larger than {limit_bytes} bytes")]
    HeadersTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Caller: 400.
    #[error("header X-Priority: expected interactive or batch")]
    Priority,
    /// For now: 503.
    #[error("all instances are busy, try again later")]
    Busy {
        /// When there may be room; at least a second.
        retry_after: Duration,
    },
    /// Over a published limit: 504.
    #[error("the function took longer than {} s", .0.as_secs())]
    Deadline(Duration),
    /// Over a published limit: 504.
    #[error("the function computed for longer than {} s", .0.as_secs())]
    Cpu(Duration),
    /// Over a published limit: 507.
    #[error("the function needs more than {} MiB for this request", limit_bytes >> 20)]
    Memory {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Over a published limit: 507.
    #[error("the function needs tables of more than {limit} entries for this request")]
    Tables {
        /// The limit, in entries of all tables.
        limit: usize,
    },
    /// Over a published limit: 507.
    #[error("the function needs more than {limit} handles for this request")]
    Handles {
        /// The limit.
        limit: usize,
    },
    /// Ours: 500. The cause is for the log, not the caller.
    #[error("the function failed")]
    Function(#[source] anyhow::Error),
    /// Ours: 500.
    #[error("the function ended without an answer")]
    NoAnswer,
    /// Ours: 500.
    #[error("the function's answer is larger than {limit_bytes} bytes")]
    AnswerTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

impl Failure {
    /// The status that the caller gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Host | Self::BodyCutShort | Self::Priority => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::HeadersTooSlow(_) | Self::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline(_) | Self::Cpu(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Memory { .. } | Self::Tables { .. } | Self::Handles { .. } => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::Function(_) | Self::NoAnswer | Self::AnswerTooLarge { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The body that the caller gets: `{"detail": <sentence>}`.
    pub fn json(&self) -> String {
        serde_json::json!({ "detail": self.to_string() }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_its_limit_and_hides_its_cause() {
        let cause = anyhow::anyhow!("wasm trap at /home/me/target/ocr.cwasm");
        let cases = [
            (Failure::NoRoute, 404, "nothing is served at this path"),
            (
                Failure::BodyTooLarge { limit_bytes: 10 },
                413,
                "the body is larger than 10 bytes",
            ),
            (
                Failure::Deadline(Duration::from_secs(30)),
                504,
                "the function took longer than 30 s",
            ),
            (
                Failure::Memory {
                    limit_bytes: 128 << 20,
                },
                507,
                "the function needs more than 128 MiB for this request",
            ),
            (
                Failure::Cpu(Duration::from_secs(2)),
                504,
                "the function computed for longer than 2 s",
            ),
            (
                Failure::Handles { limit: 256 },
                507,
                "the function needs more than 256 handles for this request",
            ),
            (
                Failure::BodyTooSlow(Floor {
                    grace: Duration::from_secs(10),
                    bytes_per_s: 4096,
                }),
                408,
                "the body arrived slower than 4096 bytes per second",
            ),
            (Failure::Function(cause), 500, "the function failed"),
        ];
        for (failure, status, detail) in cases {
            assert_eq!(failure.status().as_u16(), status);
            assert_eq!(failure.json(), format!("{{\"detail\":\"{detail}\"}}"));
        }
    }
}
