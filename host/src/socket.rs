//! A client's connection, which is given up when the client does not take what we send.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

use crate::failure::Failure;
use crate::pace::{Floor, Pace};

/// A stream that fails to write when what is written is not read fast enough.
pub(crate) struct Socket {
    stream: TcpStream,
    floor: Floor,
    /// While something waits to be taken.
    waiting: Option<Waiting>,
}

struct Waiting {
    pace: Pace,
    late: Pin<Box<Sleep>>,
}

impl Socket {
    /// `stream`, whose client takes answers no slower than `floor`.
    pub(crate) fn new(stream: TcpStream, floor: Floor) -> Self {
        // An answer is one write; waiting to fill a packet only delays it. A socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            floor,
            waiting: None,
        }
    }

    /// Says why the connection ends, to a client that sent no whole request. What does not fit into the socket's buffer is not waited for.
    pub(crate) fn say(&self, failure: &Failure) {
        let (status, body) = (failure.status(), failure.json());
        let message = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // It has gone, perhaps.
        let _ = self.stream.try_write(message.as_bytes());
    }

    fn after(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.pace.moved(bytes);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let floor = self.floor;
                let waiting = self.waiting.get_or_insert_with(|| Waiting::start(floor));
                if waiting.is_late(cx) {
                    let error = "the client does not read its answer";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
                }
            }
        }
        written
    }
}

impl Waiting {
    fn start(floor: Floor) -> Self {
        let pace = Pace::start(floor);
        Self {
            late: Box::pin(sleep_until(pace.deadline())),
            pace,
        }
    }

    /// Asks to be woken when it is.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.late.as_mut().reset(self.pace.deadline());
        self.late.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.after(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // Called when all has been written: the next answer has its own grace.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
