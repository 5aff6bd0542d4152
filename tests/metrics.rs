//! What a process says of itself at `/metrics`, as Prometheus asks for it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};

use anyhow::{Context, Result, ensure};

/// All of it.
pub(crate) fn scrape(address: impl ToSocketAddrs) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    Ok(text)
}

/// The value of a sample, by its name and labels.
pub(crate) fn value(text: &str, sample: &str) -> Result<f64> {
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let found = found.with_context(|| format!("no sample {sample}: {text}"))?;
    Ok(found.parse()?)
}
