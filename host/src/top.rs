//! `ephemera top`: what a server's `/metrics` say, for people, again and again.
//!
//! ```text
//! samples.rs   text -> samples
//! snapshot.rs  samples -> what the server was like at one moment
//! advice.rs    two snapshots -> what to change, and why
//! frame.rs     two snapshots -> rates, quantiles and readings, as people want to see them
//! plain.rs     frame -> lines of text
//! view.rs      frame -> a terminal
//! live.rs      a server and a keyboard -> one view after another
//! ```
//!
//! It knows of the server what anybody who asks `/metrics` knows, so it looks at one on another machine as well.

mod advice;
mod frame;
mod live;
mod plain;
mod samples;
mod snapshot;
mod view;

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::Request;
use hyper::body::Bytes;

use crate::http_client::{self, Url};
use crate::telemetry::PATH;

use frame::Frame;
use snapshot::Snapshot;

pub use live::watch;

/// Where `ephemera up` listens unless told otherwise.
const PORT: u16 = 3000;

/// Some hundreds of series are 100 KiB.
const MAX_BYTES: usize = 16 << 20;

/// A server that does not answer within this time is away.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is looked at, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server is, such as `http://127.0.0.1:3000`.
    pub url: String,
    /// Between looks.
    pub interval: Duration,
    /// Rates and quantiles are of the last so much.
    pub window: Duration,
}

/// A server that can be asked.
struct Server {
    metrics: Url,
    url: String,
}

impl Server {
    fn new(url: &str) -> Result<Self> {
        let address = Url::parse(url, PORT).context("--url")?;
        let asked = url.trim_end_matches('/');
        // Who gives the whole address of the metrics means the same.
        let metrics = match asked.ends_with(PATH) {
            true => address,
            false => address.join(PATH),
        };
        Ok(Self {
            metrics,
            url: asked.to_owned(),
        })
    }

    async fn look(&self) -> Result<Snapshot> {
        let request = Request::get("/").body(Bytes::new())?;
        let answer = http_client::exchange(&self.metrics, request, MAX_BYTES, TIMEOUT).await?;
        let status = answer.status();
        ensure!(status.is_success(), "{} answered {status}", self.metrics);
        let text = std::str::from_utf8(answer.body()).context("metrics that are no text")?;
        let snapshot = Snapshot::of(&samples::Samples::parse(text)?);
        ensure!(
            !snapshot.version.is_empty(),
            "{} has no metrics of `ephemera up`",
            self.metrics
        );
        Ok(snapshot)
    }
}

/// Looks once, and prints what happened since the server started: lines of text, or one JSON object.
///
/// # Errors
///
/// No such server, or `out` cannot be written to.
pub async fn once(options: &Options, json: bool, out: &mut impl Write) -> Result<()> {
    let server = Server::new(&options.url)?;
    let now = server
        .look()
        .await
        .with_context(|| format!("asking {}", server.metrics))?;
    let frame = Frame::of(&server.url, None, &now);
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&frame)?)?,
        false => out.write_all(plain::text(&frame).as_bytes())?,
    }
    Ok(out.flush()?)
}
