//! What a guest prints -> lines in our log, bounded per line and per request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// A longer line is logged in pieces, so that no guest makes us collect one for ever.
const MAX_LINE_BYTES: usize = 4096;

/// After this much from one request, the rest is dropped.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// One output stream of one instance. Clones write to the same lines.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Lines>>);

struct Lines {
    function: Arc<str>,
    /// Of the request that it answers, if there is one.
    request_id: Option<Arc<str>>,
    /// The line begun, without its end.
    line: Vec<u8>,
    left_bytes: usize,
}

impl GuestLog {
    /// For the function called `function`, in a request with the id `request_id`.
    pub(crate) fn new(function: Arc<str>, request_id: Option<Arc<str>>) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            function,
            request_id,
            line: Vec::new(),
            left_bytes: MAX_REQUEST_BYTES,
        })))
    }

    fn add(&self, bytes: &[u8]) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let request_id = lines.request_id.clone();
        lines.add(bytes, |function, line| {
            emit(function, request_id.as_deref(), line);
        });
    }
}

impl Lines {
    fn add(&mut self, bytes: &[u8], mut emit: impl FnMut(&str, &str)) {
        if self.left_bytes == 0 {
            return;
        }
        let taken = bytes.len().min(self.left_bytes);
        self.left_bytes -= taken;
        for &byte in &bytes[..taken] {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == MAX_LINE_BYTES {
                self.flush(&mut emit);
            }
        }
        if self.left_bytes == 0 {
            self.flush(&mut emit);
            emit(&self.function, "(more output of this request is dropped)");
        }
    }

    fn flush(&mut self, mut emit: impl FnMut(&str, &str)) {
        if !self.line.is_empty() {
            emit(&self.function, &printable(&self.line));
            self.line.clear();
        }
    }
}

fn emit(function: &str, request_id: Option<&str>, line: &str) {
    tracing::info!(target: "ephemera::guest", function, request_id, "{line}");
}

/// `line` with its control characters spelled out, so that a guest cannot forge lines or steer a terminal.
pub(crate) fn printable(line: &[u8]) -> String {
    let mut printable = String::with_capacity(line.len());
    for character in String::from_utf8_lossy(line).chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

impl Drop for Lines {
    fn drop(&mut self) {
        let request_id = self.request_id.clone();
        self.flush(|function, line| emit(function, request_id.as_deref(), line));
    }
}

impl IsTerminal for GuestLog {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestLog {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The default would start a task for every stream.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for GuestLog {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for GuestLog {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_REQUEST_BYTES)
    }
}

impl AsyncWrite for GuestLog {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.add(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(writes: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines {
            function: "f".into(),
            request_id: None,
            line: Vec::new(),
            left_bytes: MAX_REQUEST_BYTES,
        };
        let mut seen = Vec::new();
        let mut emit = |_: &str, line: &str| seen.push(line.to_owned());
        for write in writes {
            lines.add(write, &mut emit);
        }
        lines.flush(&mut emit);
        seen
    }

    #[test]
    fn writes_become_lines() {
        assert_eq!(lines(&[b"a", b"b\nc", b"\n\nd"]), ["ab", "c", "d"]);
        assert_eq!(lines(&[b"\x1b[2J'x'\rINFO\n"]), ["\\u{1b}[2J'x'\\rINFO"]);
    }

    #[test]
    fn lines_and_requests_are_bounded() {
        let long = vec![b'x'; MAX_LINE_BYTES + 1];
        let seen = lines(&[&long]);
        assert_eq!(seen[0].len(), MAX_LINE_BYTES);
        assert_eq!(seen[1], "x");

        let endless = b"line\n".repeat(MAX_REQUEST_BYTES);
        let seen = lines(&[&endless, b"late\n"]);
        assert_eq!(seen.len(), MAX_REQUEST_BYTES / 5 + 2);
        let last = seen.last().expect("lines were seen");
        assert_eq!(last, "(more output of this request is dropped)");
    }
}
