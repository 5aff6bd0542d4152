//! A client that sends what it is told, byte for byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection on which nothing takes for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    let limit = Some(Duration::from_secs(180));
    stream.set_read_timeout(limit).expect("a duration");
    stream.set_write_timeout(limit).expect("a duration");
    stream
}

/// What comes back for `bytes` until the other side closes; a connection that is reset ends there.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // It may be refused before all of it is sent.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

pub(crate) fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(bytes) => answer.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!("no end of the answer: {error}"),
        }
    }
}

/// All answers in `bytes`, those to `HEAD` excepted: each has a length.
pub(crate) fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head[9..12].parse().expect("a status");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a length"));
        let body = &bytes[end + 4..];
        let (body, rest) = body.split_at(body.len().min(length));
        bytes = rest;
        let body = String::from_utf8_lossy(body).into_owned();
        answers.push(Answer { status, head, body });
    }
    answers
}

/// The answer to `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let mut all = answers(&raw(address, request.as_bytes()));
    assert_eq!(all.len(), 1, "{path}: {all:?}");
    all.remove(0)
}
