//! A request's body, read before anything runs for it.
//!
//! A slow sender must not hold an instance, so the whole body (bounded in bytes and time) is here first. It stays in the pieces in which
//! it arrived, and each is freed as soon as the guest has read it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, EXPECT};
use hyper::http::HeaderMap;
use wasmtime_wasi_http::Error;

use crate::failure::Failure;

/// A body that is all there.
#[derive(Debug, Default, Clone)]
pub struct Pieces(VecDeque<Bytes>);

/// How much a body may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// In bytes.
    pub bytes: usize,
    /// From the end of the headers to the end of the body.
    pub time: Duration,
}

/// A client that is refused for its size still sends what it has, and only then reads the answer. We read that much more, in multiples of
/// the limit, and throw it away; who sends yet more finds the connection closed.
const DRAIN_LIMITS: usize = 4;

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self(VecDeque::from([bytes]))
    }
}

impl Pieces {
    /// Reads `body` to its end.
    ///
    /// # Errors
    ///
    /// [`Failure::BodyTooLarge`] as soon as the size is known to be over the limit, [`Failure::BodyTooSlow`], [`Failure::BodyCutShort`].
    pub(crate) async fn read(
        headers: &HeaderMap,
        body: Incoming,
        limits: BodyLimits,
    ) -> Result<Self, Failure> {
        let reading = async {
            if announced(headers) > Some(limits.bytes as u64) {
                // Who asked first has not sent anything yet, and our answer is the refusal.
                if !headers.contains_key(EXPECT) {
                    drain(body, limits.bytes).await;
                }
                return Err(too_large(limits));
            }
            Self::collect(body, limits).await
        };
        tokio::time::timeout(limits.time, reading)
            .await
            .unwrap_or(Err(Failure::BodyTooSlow(limits.time)))
    }

    async fn collect(mut body: Incoming, limits: BodyLimits) -> Result<Self, Failure> {
        let mut pieces = VecDeque::new();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::BodyCutShort)?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            bytes += piece.len();
            if bytes > limits.bytes {
                drop(pieces);
                drain(body, limits.bytes).await;
                return Err(too_large(limits));
            }
            pieces.push_back(piece);
        }
        Ok(Self(pieces))
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limits: BodyLimits) -> Failure {
    Failure::BodyTooLarge {
        limit_bytes: limits.bytes,
    }
}

async fn drain(mut body: Incoming, limit_bytes: usize) {
    let mut left = limit_bytes.saturating_mul(DRAIN_LIMITS);
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(after) => left = after,
            None => return,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes: usize = self.0.iter().map(Bytes::len).sum();
        SizeHint::with_exact(bytes as u64)
    }
}
