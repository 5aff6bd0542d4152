//! What many requests leave behind in a server's memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::READY;
use crate::app::App;
use crate::build::Artifact;
use crate::config::Project;
use crate::procfs::anonymous_bytes;
use crate::serve::{Options, Server};

/// Requests after which everything that is made once has been made.
const WARM_UP: u32 = 20;

/// What many requests left behind.
#[derive(Debug, Serialize)]
pub struct Soak {
    /// Requests answered.
    pub requests: u32,
    /// Those whose status was not 200.
    pub failed: u32,
    /// Anonymous memory of the host after the first 20, in bytes.
    pub anonymous_first_bytes: u64,
    /// And after all.
    pub anonymous_last_bytes: u64,
    /// Instances at the busiest moment.
    pub most_instances: usize,
    /// Instances after the last answer.
    pub live_instances: usize,
    /// From the first request to the last answer.
    pub seconds: f64,
}

/// Sends `requests` requests to a server of its own, over loopback, one connection each, two at a time.
///
/// # Errors
///
/// The server does not start, or a connection to it fails.
pub async fn soak(
    project: Project,
    artifacts: &[Artifact],
    requests: u32,
    file: Option<PathBuf>,
) -> Result<Soak> {
    let message = Arc::new(message(file.as_deref())?);
    let options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Options::default()
    };
    let app = App::load(project, artifacts, options.budget.instances)?;
    let server = Server::start(Arc::new(app), options).await?;

    let since = Instant::now();
    let mut failed = drive(server.address(), &message, WARM_UP).await?;
    let anonymous_first_bytes = anonymous_bytes()?;
    let rest = requests.saturating_sub(WARM_UP);
    failed += drive(server.address(), &message, rest).await?;
    let seconds = since.elapsed().as_secs_f64();
    let anonymous_last_bytes = anonymous_bytes()?;

    let app = server.app();
    let runtime = app.runtime();
    let soak = Soak {
        requests,
        failed,
        anonymous_first_bytes,
        anonymous_last_bytes,
        most_instances: runtime.most_instances(),
        live_instances: runtime.live_instances(),
        seconds,
    };
    server.stop().await;
    Ok(soak)
}

/// The bytes of one request.
fn message(file: Option<&Path>) -> Result<Vec<u8>> {
    let Some(file) = file else {
        let head = format!("GET {READY} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        return Ok(head.into_bytes());
    };
    let body = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let head = format!(
        "POST /v1/ocr HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok([head.into_bytes(), body].concat())
}

/// Sends `message` `requests` times; returns how often the answer was not 200.
async fn drive(address: SocketAddr, message: &Arc<Vec<u8>>, requests: u32) -> Result<u32> {
    let half = |requests: u32| {
        let message = Arc::clone(message);
        tokio::task::spawn_blocking(move || {
            (0..requests).try_fold(0, |failed, _| {
                Ok::<_, anyhow::Error>(failed + u32::from(!exchange(address, &message)?))
            })
        })
    };
    let (first, second) = (half(requests / 2), half(requests - requests / 2));
    Ok(first.await?? + second.await??)
}

/// Whether the answer was 200.
fn exchange(address: SocketAddr, message: &[u8]) -> Result<bool> {
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.write_all(message).context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("receiving")?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

impl Soak {
    /// Prints the result as lines, or as one JSON object.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn print(&self, json: bool, out: &mut impl Write) -> Result<()> {
        if json {
            return Ok(writeln!(out, "{}", serde_json::to_string(self)?)?);
        }
        let kib = |bytes: u64| bytes / 1024;
        writeln!(
            out,
            "{} requests in {:.1} s, {} failed",
            self.requests, self.seconds, self.failed
        )?;
        writeln!(
            out,
            "anonymous memory: {} KiB after {WARM_UP}, {} KiB at the end",
            kib(self.anonymous_first_bytes),
            kib(self.anonymous_last_bytes)
        )?;
        writeln!(
            out,
            "instances: at most {}, {} now",
            self.most_instances, self.live_instances
        )?;
        Ok(())
    }
}
