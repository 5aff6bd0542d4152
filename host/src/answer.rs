//! What a guest answers -> a response that is whole, within bounds.

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::CONTENT_LENGTH;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::failure::Failure;

/// What a guest sets its outparam to.
type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Takes the whole answer, of at most `limit_bytes`, while the guest writes it.
///
/// # Errors
///
/// [`Failure::NoAnswer`], [`Failure::AnswerTooLarge`], or [`Failure::Function`] for one that is not whole or that HTTP does not know.
pub(crate) async fn collect(
    answer: oneshot::Receiver<Answer>,
    limit_bytes: usize,
) -> Result<Response<Bytes>, Failure> {
    let failed = |message: String| Failure::Function(anyhow::Error::msg(message));
    let response = answer
        .await
        .map_err(|_| Failure::NoAnswer)?
        .map_err(|code| failed(format!("it answered with the error {code:?}")))?;
    let (mut head, body) = response.into_parts();
    if head.status.is_informational() {
        return Err(failed(format!(
            "it answered with the status {}",
            head.status
        )));
    }
    let body = Limited::new(body, limit_bytes)
        .collect()
        .await
        .map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => Failure::AnswerTooLarge { limit_bytes },
            Err(error) => failed(format!("its answer broke off: {error}")),
        })?;
    // The server states the length of what it sends.
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, body.to_bytes()))
}
