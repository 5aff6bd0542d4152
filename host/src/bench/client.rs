//! A crowd of clients: one message, sent many times over connections of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(300);

/// What became of requests.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// Answered 200.
    pub ok: u32,
    /// Told to come back later: 503.
    pub busy: u32,
    /// Any other status.
    pub other: u32,
    /// Without a whole answer.
    pub lost: u32,
}

/// The bytes of one request on a connection of its own.
#[derive(Debug, Clone)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// `GET path`, or `POST path` with the bytes of `file`.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn new(path: &str, file: Option<&Path>) -> Result<Self> {
        let method = if file.is_some() { "POST" } else { "GET" };
        let body = match file {
            Some(file) => {
                std::fs::read(file).with_context(|| format!("reading {}", file.display()))?
            }
            None => Vec::new(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Ok(Self([head.into_bytes(), body].concat()))
    }

    /// Sends it; returns the answer's status and the time from the connection to the last byte.
    ///
    /// # Errors
    ///
    /// No connection, or no whole answer.
    pub(super) fn send(&self, address: SocketAddr) -> Result<(u16, Duration)> {
        let since = Instant::now();
        let mut stream = TcpStream::connect(address).context("connecting")?;
        stream.set_nodelay(true).context("a fresh socket")?;
        let patience = Some(PATIENCE);
        stream
            .set_read_timeout(patience)
            .context("a fresh socket")?;
        stream.write_all(&self.0).context("sending")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("receiving")?;
        let status = status(&answer).context("an answer without a status")?;
        Ok((status, since.elapsed()))
    }
}

/// Of a whole answer; `None` for one that was cut short.
fn status(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let states = name.eq_ignore_ascii_case("content-length");
        states.then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = length.is_none_or(|length| answer.len() - end - 4 == length);
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    whole.then_some(status)
}

/// Sends `message` `requests` times, `clients` at a time.
pub(super) fn drive(
    address: SocketAddr,
    message: &Message,
    requests: u32,
    clients: u32,
) -> Answers {
    let taken = AtomicU32::new(0);
    let client = || {
        let mut answers = Answers::default();
        while taken.fetch_add(1, Ordering::Relaxed) < requests {
            answers.count(message.send(address).ok().map(|(status, _)| status));
        }
        answers
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients.min(requests))
            .map(|_| scope.spawn(client))
            .collect();
        let mut all = Answers::default();
        for client in clients {
            all.add(&client.join().expect("a client does not panic"));
        }
        all
    })
}

impl Answers {
    fn count(&mut self, status: Option<u16>) {
        let counter = match status {
            Some(200) => &mut self.ok,
            Some(503) => &mut self.busy,
            Some(_) => &mut self.other,
            None => &mut self.lost,
        };
        *counter += 1;
    }

    pub(super) fn add(&mut self, others: &Self) {
        self.ok += others.ok;
        self.busy += others.busy;
        self.other += others.other;
        self.lost += others.lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_answers_count() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Some(200)),
            ("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", Some(503)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", None),
            ("HTTP/1.1 200 OK\r\ncontent-le", None),
            ("", None),
        ] {
            assert_eq!(status(answer.as_bytes()), expected, "{answer}");
        }
    }
}
