//! `ephemera bench`: how soon models are ready, and what many requests leave behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Request;
use hyper::header::HOST;
use serde::Serialize;

use crate::app::App;
use crate::body::Pieces;
use crate::build::{Artifact, precompile};
use crate::config::{Function, Project};
use crate::models;
use crate::procfs::anonymous_bytes;
use crate::progress::Progress;
use crate::runtime::{Loaded, Runtime};
use crate::serve::{Options, Server};

/// Samples before those that count: page cache, first faults of the host's own code.
const WARM_UP: u32 = 5;

/// Loading from ONNX takes so long that few samples say enough.
const MAX_ONNX_RUNS: u32 = 7;

/// The route that answers once the models are there, and does nothing else.
const READY: &str = "/health";

/// Requests after which everything that is made once has been made.
const SOAK_WARM_UP: u32 = 20;

/// One way to get models ready.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The function.
    pub case: String,
    /// `snapshot`: a fresh instance of the component as built. `onnx`: the same function, loading the same models from ONNX.
    pub runner: &'static str,
    /// Median, in microseconds.
    pub median_us: f64,
    /// The fastest sample, in microseconds.
    pub min_us: f64,
    /// Number of samples.
    pub runs: u32,
}

/// Measures from an accepted request to loaded models, with and without the snapshot. Each sample has an instance of its own.
///
/// # Errors
///
/// The function does not start, or does not answer on `/health`.
pub fn start(
    function: &Function,
    artifact: &Artifact,
    models: &Path,
    runs: u32,
    progress: &Progress,
) -> Result<Vec<Row>> {
    let runtime = Runtime::new(1)?;
    // One thread, so that no sample waits for another to wake.
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .context("starting the executor")?;

    let snapshot = runtime.load(&function.name, &artifact.precompiled, function.limits)?;
    let snapshot = samples(WARM_UP, runs, || executor.block_on(ready(&snapshot)))?;

    let unloaded = std::fs::read(&artifact.unloaded).context("reading the unloaded component")?;
    let precompiled = precompile(&function.name, &artifact.unloaded, &unloaded, progress)?;
    let onnx = runtime.load(&function.name, &precompiled, function.limits)?;
    let stream = models::bundle(models, &function.models)?;
    let onnx = samples(1, runs.min(MAX_ONNX_RUNS), || {
        let stream = stream.clone();
        let since = Instant::now();
        executor.block_on(onnx.load_models(stream))?;
        Ok(since.elapsed())
    })?;

    let row = |runner, samples: Vec<Duration>| Row {
        case: function.name.clone(),
        runner,
        median_us: median_us(&samples),
        min_us: samples.iter().min().map_or(f64::NAN, microseconds),
        runs: samples.len() as u32,
    };
    Ok(vec![row("snapshot", snapshot), row("onnx", onnx)])
}

async fn ready(function: &Loaded) -> Result<Duration> {
    let request = Request::get(READY)
        .header(HOST, "localhost")
        .body(Pieces::default())?;
    let since = Instant::now();
    let response = function.handle(request).await?;
    let taken = since.elapsed();
    let status = response.status();
    ensure!(status.is_success(), "{READY}: expected 200, got {status}");
    Ok(taken)
}

fn samples(
    warm_up: u32,
    runs: u32,
    mut sample: impl FnMut() -> Result<Duration>,
) -> Result<Vec<Duration>> {
    for _ in 0..warm_up {
        sample()?;
    }
    (0..runs).map(|_| sample()).collect()
}

fn microseconds(duration: &Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Of an even number, the mean of the two in the middle.
fn median_us(samples: &[Duration]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => microseconds(&sorted[middle]),
        _ => (microseconds(&sorted[middle - 1]) + microseconds(&sorted[middle])) / 2.0,
    }
}

/// Prints `rows` as a table, or as one JSON object a line.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn print(rows: &[Row], json: bool, out: &mut impl Write) -> Result<()> {
    if !json {
        writeln!(
            out,
            "case        runner        median us        min us   runs"
        )?;
    }
    for row in rows {
        if json {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        } else {
            let Row {
                case,
                runner,
                median_us,
                min_us,
                runs,
            } = row;
            writeln!(
                out,
                "{case:<12}{runner:<10}{median_us:>13.1}{min_us:>14.1}{runs:>7}"
            )?;
        }
    }
    Ok(())
}

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
    let app = App::load(project, artifacts, options.instances)?;
    let server = Server::start(Arc::new(app), options).await?;

    let since = Instant::now();
    let mut failed = drive(server.address(), &message, SOAK_WARM_UP).await?;
    let anonymous_first_bytes = anonymous_bytes()?;
    let rest = requests.saturating_sub(SOAK_WARM_UP);
    failed += drive(server.address(), &message, rest).await?;
    let seconds = since.elapsed().as_secs_f64();
    let anonymous_last_bytes = anonymous_bytes()?;

    let runtime = server.app().runtime();
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
            "anonymous memory: {} KiB after {SOAK_WARM_UP}, {} KiB at the end",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let of = |samples: &[u64]| {
            let samples: Vec<_> = samples
                .iter()
                .map(|us| Duration::from_micros(*us))
                .collect();
            median_us(&samples)
        };
        assert_eq!(of(&[3, 1, 2]), 2.0);
        assert_eq!(of(&[4, 1, 2, 3]), 2.5);
        assert!(of(&[]).is_nan());
    }

    #[test]
    fn rows_are_json_lines() {
        let row = Row {
            case: "ocr".into(),
            runner: "snapshot",
            median_us: 8.5,
            min_us: 8.0,
            runs: 3,
        };
        let mut out = Vec::new();
        print(&[row], true, &mut out).expect("a vector takes every write");
        let expected = "{\"case\":\"ocr\",\"runner\":\"snapshot\",\"median_us\":8.5,\"min_us\":8.0,\"runs\":3}\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
