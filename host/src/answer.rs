//! What a guest answers -> a response that is whole, within bounds.

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::CONTENT_LENGTH;
use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::body::Gathered;
use crate::failure::Failure;
use crate::state::Account;

/// What a guest sets its outparam to.
type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Takes the whole answer, of at most `limit_bytes`, while the guest writes it. What is here of it counts in `account`, beside the guest's
/// memory: the guest may have it there too.
///
/// # Errors
///
/// [`Failure::NoAnswer`], [`Failure::AnswerTooLarge`], [`Failure::Memory`], or [`Failure::Function`] for one that is not whole or that HTTP
/// does not know.
pub(crate) async fn collect(
    answer: oneshot::Receiver<Answer>,
    limit_bytes: usize,
    account: Account,
) -> Result<Response<Bytes>, Failure> {
    let failed = |message: String| Failure::Function(anyhow::Error::msg(message));
    let response = answer
        .await
        .map_err(|_| Failure::NoAnswer)?
        .map_err(|code| failed(format!("it answered with the error {code:?}")))?;
    let (mut head, mut body) = response.into_parts();
    if head.status.is_informational() {
        return Err(failed(format!(
            "it answered with the status {}",
            head.status
        )));
    }
    // A guest that writes byte after byte would have the host hold many times what it writes.
    let mut gathered = Gathered::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(format!("its answer broke off: {error}")))?;
        // Trailers are nothing that a client is told.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if gathered.bytes() + piece.len() > limit_bytes {
            return Err(Failure::AnswerTooLarge { limit_bytes });
        }
        if !account.take(piece.len()) {
            let limit_bytes = account.max_bytes();
            return Err(Failure::Memory { limit_bytes });
        }
        gathered.add(piece);
    }
    // The server states the length of what it sends.
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, gathered.whole()))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use wasmtime_wasi_http::Error;

    use super::*;

    /// The answer in pieces of these lengths, for a guest that holds 100 of 1000 bytes, and what is counted when it is here.
    async fn collected(lengths: &[usize]) -> (Result<Response<Bytes>, Failure>, usize) {
        let account = Account::new(1000);
        assert!(account.take(100));
        let frames = lengths.iter().scan(0u8, |next, &length| {
            let piece: Vec<u8> = (0..length)
                .map(|_| {
                    *next = next.wrapping_add(1);
                    *next
                })
                .collect();
            Some(Ok(Frame::data(Bytes::from(piece))))
        });
        let frames: Vec<Result<_, Error>> = frames.collect();
        let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
        let (send, answer) = oneshot::channel();
        let sent = send.send(Ok(Response::new(body)));
        assert!(sent.is_ok(), "it is listened to");
        let answer = collect(answer, 950, account.clone()).await;
        (answer, account.held_bytes())
    }

    #[tokio::test]
    async fn an_answer_is_whole_and_counts() {
        for lengths in [&[][..], &[1], &[900], &[1; 900], &[0, 300, 0, 600]] {
            let (answer, held) = collected(lengths).await;
            let answer = answer.expect("it fits");
            let bytes = lengths.iter().sum::<usize>();
            let expected: Vec<u8> = (1..=bytes).map(|byte| byte as u8).collect();
            assert_eq!(answer.body(), &expected);
            assert_eq!(held, 100 + bytes);
        }
    }

    #[tokio::test]
    async fn an_answer_over_a_limit_is_refused_by_which_it_is() {
        let (answer, held) = collected(&[300, 650]).await;
        let refused = answer.expect_err("950 of 900 bytes that are left");
        assert!(matches!(refused, Failure::Memory { limit_bytes: 1000 }));
        assert_eq!(held, 400, "what is refused is not held");
        let (answer, _) = collected(&[951]).await;
        let refused = answer.expect_err("951 of 950 bytes");
        assert!(matches!(
            refused,
            Failure::AnswerTooLarge { limit_bytes: 950 }
        ));
    }
}
