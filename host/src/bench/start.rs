//! How soon models are ready, from the snapshot and without it.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Request;
use hyper::header::HOST;
use serde::Serialize;

use super::child::Child;
use super::client::Message;
use super::{READY, median};
use crate::body::Pieces;
use crate::build::{Artifact, precompile};
use crate::config::Function;
use crate::models;
use crate::progress::Progress;
use crate::runtime::{Loaded, Runtime};
use crate::variables::Values;

/// Samples before those that count: page cache, first faults of the host's own code.
const WARM_UP: u32 = 5;

/// One way to get models ready.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The function.
    pub case: String,
    /// `snapshot`: a fresh instance of the component as built, to the answer that its models are there. `unloaded`: the same function
    /// before its snapshot, reading the same lowered models. `up` and `wasmtime serve`: the first of these, asked over a new connection.
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

    let snapshot = runtime.load(
        &function.name,
        &artifact.precompiled,
        function.limits,
        Values::default(),
    )?;
    let snapshot = samples(WARM_UP, runs, || executor.block_on(ready(&snapshot)))?;

    let unloaded = std::fs::read(&artifact.unloaded).context("reading the unloaded component")?;
    let precompiled = precompile(&function.name, &artifact.unloaded, &unloaded, progress)?;
    let unloaded = runtime.load(
        &function.name,
        &precompiled,
        function.limits,
        Values::default(),
    )?;
    let bundle = models::bundle(models, &function.models)?;
    let unloaded = samples(WARM_UP, runs, || {
        let stream = bundle.stream.clone();
        let since = Instant::now();
        executor.block_on(unloaded.load_models(stream))?;
        Ok(since.elapsed())
    })?;

    let name = function.name.as_str();
    Ok(vec![
        row(name, "snapshot", &snapshot),
        row(name, "unloaded", &unloaded),
    ])
}

/// Measures the whole way over HTTP, a new connection for each request: `server`, which routes `/health` to the function, and `wasmtime
/// serve` of the same component, in turns.
///
/// # Errors
///
/// A server that does not answer on `/health`.
pub fn over_http(
    artifact: &Artifact,
    server: &Child,
    wasmtime: Option<&Child>,
    runs: u32,
) -> Result<Vec<Row>> {
    let message = Message::new(READY, None)?;
    let ask = |server: &Child| {
        let (status, taken) = message.send(server.address())?;
        ensure!(status == 200, "{READY}: expected 200, got {status}");
        Ok(taken)
    };
    let servers: Vec<_> = [("up", Some(server)), ("wasmtime serve", wasmtime)]
        .into_iter()
        .filter_map(|(runner, server)| Some((runner, server?)))
        .collect();
    let mut taken = vec![Vec::new(); servers.len()];
    for run in 0..WARM_UP + runs {
        for ((_, server), taken) in servers.iter().zip(&mut taken) {
            let sample = ask(server)?;
            if run >= WARM_UP {
                taken.push(sample);
            }
        }
    }
    let rows = servers.iter().zip(&taken);
    let rows = rows.map(|((runner, _), samples)| row(&artifact.name, runner, samples));
    Ok(rows.collect())
}

fn row(case: &str, runner: &'static str, samples: &[Duration]) -> Row {
    Row {
        case: case.to_owned(),
        runner,
        median_us: median(samples.iter().map(microseconds)),
        min_us: samples.iter().min().map_or(f64::NAN, microseconds),
        runs: samples.len() as u32,
    }
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

/// Prints `rows` as a table, or as one JSON object a line.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn print(rows: &[Row], json: bool, out: &mut impl Write) -> Result<()> {
    if !json {
        writeln!(
            out,
            "case        runner              median us        min us   runs"
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
                "{case:<12}{runner:<16}{median_us:>13.1}{min_us:>14.1}{runs:>7}"
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
