//! `ephemera health`: asks a server whether it is there, for health checks of containers without a shell.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

#[derive(Args)]
pub(crate) struct Health {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:3000")]
    address: SocketAddr,
    /// The path to ask for.
    #[arg(long, default_value = "/health")]
    path: String,
    /// Seconds to wait for each part of the answer.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_s: u64,
}

/// Succeeds if the answer is 200.
pub(crate) fn health(options: &Health) -> Result<()> {
    let time = Duration::from_secs(options.timeout_s);
    let mut stream = TcpStream::connect_timeout(&options.address, time)
        .with_context(|| format!("connecting to {}", options.address))?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    let (path, address) = (&options.path, options.address);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    // `HTTP/1.1 200`
    let mut status = [0; 12];
    stream
        .read_exact(&mut status)
        .context("reading the answer")?;
    let status = String::from_utf8_lossy(&status);
    ensure!(
        status.strip_prefix("HTTP/1.1 ") == Some("200"),
        "expected `HTTP/1.1 200`, got `{status}`"
    );
    Ok(())
}
