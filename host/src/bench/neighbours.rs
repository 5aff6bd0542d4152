//! How long good requests take beside hostile guests, against alone: all in one run, in turns, so that a busy machine is busy for all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::READY;
use crate::app::App;
use crate::build;
use crate::config::Project;
use crate::progress::Progress;
use crate::serve::{Options, Server, executor};

/// What is served.
const MANIFEST: &str = include_str!("neighbours.toml");

/// A real page, small: one word.
const PAGE: &str = "tests/cases/ocr/single-word/request.png";

/// The hostile guests: a name, the path of the request, and how many there are at once, in multiples of the cores; none is one.
const HOSTILE: [(&str, &str, usize); 10] = [
    ("loop", "/loop", 0),
    ("loops", "/loop", 2),
    ("grow", "/grow", 0),
    ("panic", "/panic", 0),
    ("recurse", "/recurse", 0),
    ("write", "/write-forever", 0),
    ("tables", "/tables", 0),
    ("bodies", "/bodies", 0),
    ("sleep", "/sleep", 0),
    ("late", "/late", 0),
];

/// Good requests of one kind, beside hostile ones of one kind.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The hostile guest; `alone` without one.
    pub beside: &'static str,
    /// What was asked: `health` or `page`.
    pub request: &'static str,
    /// Median from the connection to the last byte of the answer, in milliseconds.
    pub p50_ms: f64,
    /// What 99 of 100 took at most, in milliseconds.
    pub p99_ms: f64,
    /// Against alone.
    pub p50_ratio: f64,
    /// Against alone.
    pub p99_ratio: f64,
    /// Number of samples.
    pub runs: usize,
    /// Hostile requests that were ended meanwhile.
    pub ended: u32,
}

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Size {
    /// How often each has its turn.
    pub rounds: u32,
    /// `/health` requests in one turn.
    pub healths: u32,
    /// Pages in one turn.
    pub pages: u32,
    /// The hostile guests wanted; all if none is named.
    pub beside: Vec<String>,
}

/// Times good requests alone and beside each hostile guest, one after the other, each on a connection of its own.
///
/// # Errors
///
/// Something does not build or start, or a good request is not answered 200.
pub fn neighbours(project: &Project, size: &Size, progress: &Progress) -> Result<Vec<Row>> {
    let page = page(&project.root)?;
    let project = Project::parse(MANIFEST, &project.root)?;
    let artifacts = build::build(&project, &[], progress)?;
    let mut options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Options::default()
    };
    options.budget.waiting = 256;
    let app = Arc::new(App::load(project, &artifacts, options.budget.instances)?);
    let executor = executor()?;
    let server = executor.block_on(Server::start(app, options))?;
    let address = server.address();

    let wanted = |name: &str| size.beside.is_empty() || size.beside.iter().any(|one| one == name);
    let mut all = vec![Samples::new("alone", "", 0)];
    let hostile = HOSTILE.iter().filter(|(name, ..)| wanted(name));
    all.extend(hostile.map(|&(name, path, times)| Samples::new(name, path, guests(times))));
    let step = progress.step("measuring".to_owned());
    for _ in 0..size.rounds {
        for samples in &mut all {
            samples.take(address, &page, size)?;
        }
    }
    step.done("");
    executor.block_on(server.stop());
    Ok(rows(&all))
}

fn guests(times: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (times * cores).max(1)
}

/// What was measured beside one hostile guest.
struct Samples {
    beside: &'static str,
    path: &'static str,
    guests: usize,
    health: Vec<f64>,
    page: Vec<f64>,
    ended: u32,
}

impl Samples {
    fn new(beside: &'static str, path: &'static str, guests: usize) -> Self {
        Self {
            beside,
            path,
            guests,
            health: Vec::new(),
            page: Vec::new(),
            ended: 0,
        }
    }

    /// One turn, with the hostile requests coming all the time.
    fn take(&mut self, address: SocketAddr, page: &[u8], size: &Size) -> Result<()> {
        let health = format!("GET {READY} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let hostile = format!(
            "GET /unruly{} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            self.path
        );
        let (done, ended) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..self.guests {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst)
                        && exchange(address, hostile.as_bytes()).is_ok()
                    {
                        ended.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            // Until all of them are at work.
            std::thread::sleep(Duration::from_millis(300));
            let measured: Result<()> = (|| {
                for _ in 0..size.healths {
                    self.health.push(time(address, health.as_bytes())?);
                }
                for _ in 0..size.pages {
                    self.page.push(time(address, page)?);
                }
                Ok(())
            })();
            done.store(true, Ordering::SeqCst);
            measured
        })?;
        self.ended += ended.into_inner();
        Ok(())
    }
}

/// The bytes of a request with the page.
fn page(root: &Path) -> Result<Vec<u8>> {
    let path = root.join(PAGE);
    let body = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let head = format!(
        "POST /v1/ocr HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: image/png\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Ok([head.into_bytes(), body].concat())
}

/// How long the answer took, in milliseconds.
fn time(address: SocketAddr, request: &[u8]) -> Result<f64> {
    let since = Instant::now();
    let answer = exchange(address, request)?;
    let taken = since.elapsed().as_secs_f64() * 1e3;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "expected 200, got {}",
        String::from_utf8_lossy(&answer[..answer.len().min(200)])
    );
    Ok(taken)
}

fn exchange(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).context("connecting")?;
    stream.write_all(request).context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("receiving")?;
    Ok(answer)
}

fn rows(all: &[Samples]) -> Vec<Row> {
    type Of = fn(&Samples) -> &[f64];
    let kinds: [(&'static str, Of); 2] = [
        ("health", |samples| &samples.health),
        ("page", |samples| &samples.page),
    ];
    let mut rows = Vec::new();
    for (request, of) in kinds {
        let alone = all.first().map_or(&[][..], of);
        for samples in all {
            let (p50_ms, p99_ms) = (quantile(of(samples), 0.5), quantile(of(samples), 0.99));
            rows.push(Row {
                beside: samples.beside,
                request,
                p50_ms,
                p99_ms,
                p50_ratio: p50_ms / quantile(alone, 0.5),
                p99_ratio: p99_ms / quantile(alone, 0.99),
                runs: of(samples).len(),
                ended: samples.ended,
            });
        }
    }
    rows
}

/// The smallest sample that at least this share of all do not exceed; of none, not a number.
fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let index = rank.saturating_sub(1);
    sorted.get(index).copied().unwrap_or(f64::NAN)
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
            "request  beside       p50 ms    p99 ms   p50 ratio   p99 ratio   runs  ended"
        )?;
    }
    for row in rows {
        if json {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
            continue;
        }
        let Row {
            beside,
            request,
            p50_ms,
            p99_ms,
            p50_ratio,
            p99_ratio,
            runs,
            ended,
        } = row;
        writeln!(
            out,
            "{request:<9}{beside:<9}{p50_ms:>10.2}{p99_ms:>10.2}{p50_ratio:>12.2}{p99_ratio:>12.2}{runs:>7}{ended:>7}"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantile(&samples, 0.5), 100.0);
        assert_eq!(quantile(&samples, 0.99), 198.0);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn ratios_are_against_alone() {
        let mut alone = Samples::new("alone", "", 0);
        let mut beside = Samples::new("loop", "/loop", 1);
        alone.health = vec![1.0, 2.0];
        beside.health = vec![2.0, 5.0];
        let rows = rows(&[alone, beside]);
        assert_eq!((rows[1].p50_ratio, rows[1].p99_ratio), (2.0, 2.5));
        assert_eq!((rows[1].beside, rows[1].request), ("loop", "health"));
    }

    #[test]
    fn the_manifest_is_one() {
        let project = Project::parse(MANIFEST, Path::new("/x")).expect("it is good");
        assert_eq!(project.routes.find("/unruly/loop"), Some("unruly"));
    }
}
