//! A request's body, read before anything runs for it.
//!
//! A slow sender must not hold an instance, nor a place that others wait for, so the whole body is here first; until then it costs what has
//! arrived of it. It stays in the pieces in which it arrived, and each is freed as soon as the guest has read it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, EXPECT};
use hyper::http::HeaderMap;
use tokio::time::{Instant, timeout_at};
use wasmtime_wasi_http::Error;

use crate::failure::Failure;
use crate::pace::{Floor, Pace};
use crate::room::{Full, Held, Room};

/// A body that is all there.
#[derive(Debug, Default, Clone)]
pub struct Pieces(VecDeque<Bytes>);

/// How much a body may be, and how slow.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// In bytes.
    pub bytes: usize,
    /// How fast it has to arrive, from the end of the headers on.
    pub floor: Floor,
}

/// A client that is refused still sends what it has, and only then reads the answer. We read that much more, in multiples of the limit, and
/// throw it away; who sends yet more finds the connection closed.
const DRAIN_LIMITS: usize = 4;

/// Smaller pieces are copied together: a piece keeps what it was received into, and a chunk of one byte would cost a hundred.
const SMALL_BYTES: usize = 8 << 10;

/// What small pieces are copied into.
const TOGETHER_BYTES: usize = 64 << 10;

impl From<Bytes> for Pieces {
    fn from(bytes: Bytes) -> Self {
        Self(VecDeque::from([bytes]))
    }
}

/// A body on its way: where it is read from, and the bounds that hold for it.
pub(crate) struct Arriving {
    body: Incoming,
    limits: BodyLimits,
    pace: Pace,
    /// The client waits to be asked for the body.
    asks_first: bool,
    announced: Option<u64>,
}

impl Arriving {
    pub(crate) fn new(headers: &HeaderMap, body: Incoming, limits: BodyLimits) -> Self {
        Self {
            body,
            limits,
            pace: Pace::start(limits.floor),
            asks_first: headers.contains_key(EXPECT),
            announced: announced(headers),
        }
    }

    /// Reads it to its end; what it takes is held in `room` by what comes beside it.
    ///
    /// # Errors
    ///
    /// [`Failure::BodyTooLarge`] as soon as the size is known to be over the limit, [`Failure::BodyTooSlow`], [`Failure::BodyCutShort`], and
    /// what `full` makes of it when there is no room.
    pub(crate) async fn read(
        mut self,
        room: &Room,
        full: impl FnOnce() -> Failure,
    ) -> Result<(Pieces, Held), Failure> {
        if self.announced > Some(self.limits.bytes as u64) {
            let refusal = self.too_large();
            return Err(self.refused(refusal).await);
        }
        let mut pieces = Gathered::default();
        let mut held = Held::default();
        while let Some(piece) = self.next().await? {
            if pieces.bytes + piece.len() > self.limits.bytes {
                drop((pieces, held));
                let refusal = self.too_large();
                return Err(self.refused(refusal).await);
            }
            let since = Instant::now();
            let grown = room.grow(&mut held, pieces.bytes + piece.len()).await;
            self.pace.excuse(since.elapsed());
            if grown == Err(Full) {
                drop((pieces, held));
                return Err(self.refused(full()).await);
            }
            pieces.add(piece);
        }
        Ok((pieces.done(), held))
    }

    /// `failure`, when the client is ready to hear it: it has sent what it has, or more than we listen to.
    pub(crate) async fn refused(mut self, failure: Failure) -> Failure {
        let mut left = self.limits.bytes.saturating_mul(DRAIN_LIMITS);
        // Who asks first has not sent anything yet, and our answer is the refusal.
        while !self.asks_first
            && let Ok(Some(piece)) = self.next().await
            && let Some(after) = left.checked_sub(piece.len())
        {
            left = after;
        }
        failure
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout_at(self.pace.deadline(), self.body.frame()).await;
            let frame = frame.map_err(|_| Failure::BodyTooSlow(self.limits.floor))?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            self.asks_first = false;
            let frame = frame.map_err(|_| Failure::BodyCutShort)?;
            // Trailers are nothing that a function is told.
            if let Ok(piece) = frame.into_data() {
                self.pace.moved(piece.len());
                return Ok(Some(piece));
            }
        }
    }

    fn too_large(&self) -> Failure {
        Failure::BodyTooLarge {
            limit_bytes: self.limits.bytes,
        }
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Pieces as they come, small ones put together.
#[derive(Default)]
pub(crate) struct Gathered {
    pieces: VecDeque<Bytes>,
    small: Vec<u8>,
    bytes: usize,
}

impl Gathered {
    /// How much there is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.len() >= SMALL_BYTES {
            self.close();
            self.pieces.push_back(piece);
            return;
        }
        if self.small.len() + piece.len() > TOGETHER_BYTES {
            self.close();
        }
        self.small.extend_from_slice(&piece);
    }

    fn close(&mut self) {
        if !self.small.is_empty() {
            let small = std::mem::take(&mut self.small);
            self.pieces.push_back(small.into());
        }
    }

    fn done(mut self) -> Pieces {
        self.close();
        Pieces(self.pieces)
    }

    /// All of them as one; each piece goes as soon as it is copied.
    pub(crate) fn whole(self) -> Bytes {
        let bytes = self.bytes;
        let Pieces(mut pieces) = self.done();
        if pieces.len() == 1 {
            return pieces.pop_front().unwrap_or_default();
        }
        let mut whole = Vec::with_capacity(bytes);
        while let Some(piece) = pieces.pop_front() {
            whole.extend_from_slice(&piece);
        }
        whole.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_put_together_in_order() {
        // Lengths of pieces as they come, and of those that are kept.
        let cases: [(&[usize], &[usize]); 5] = [
            (&[], &[]),
            (&[1, 2, 3], &[6]),
            (
                &[1, SMALL_BYTES, 2, 3, SMALL_BYTES],
                &[1, SMALL_BYTES, 5, SMALL_BYTES],
            ),
            (&[TOGETHER_BYTES], &[TOGETHER_BYTES]),
            (
                &[SMALL_BYTES - 1; 9],
                &[8 * (SMALL_BYTES - 1), SMALL_BYTES - 1],
            ),
        ];
        for (lengths, kept) in cases {
            let mut gathered = Gathered::default();
            let mut sent = Vec::new();
            for (index, &length) in lengths.iter().enumerate() {
                let piece = vec![index as u8; length];
                sent.extend_from_slice(&piece);
                gathered.add(piece.into());
            }
            assert_eq!(gathered.bytes, sent.len());
            let again = Gathered {
                pieces: gathered.pieces.clone(),
                small: gathered.small.clone(),
                bytes: gathered.bytes,
            };
            assert_eq!(again.whole(), sent);
            let pieces = gathered.done();
            let seen: Vec<usize> = pieces.0.iter().map(Bytes::len).collect();
            assert_eq!(seen, kept);
            assert_eq!(pieces.0.into_iter().flatten().collect::<Vec<u8>>(), sent);
        }
    }
}
