//! What many requests leave behind in a server's memory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::READY;
use super::child::Child;
use super::client::{Answers, Message, drive};
use super::plot;

/// How often memory is looked at over the whole run, for the slope.
const SAMPLES: u32 = 100;

/// How often memory is looked at between those, for the most it ever is.
const LOOK: Duration = Duration::from_millis(10);

/// Memory is back when it is within this of where it was: what an allocator keeps of many connections.
const BACK_BYTES: u64 = 2 << 20;

/// How long that may take before it is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent to whom.
#[derive(Debug)]
pub struct Options {
    /// Requests in all.
    pub requests: u32,
    /// At a time.
    pub clients: u32,
    /// What is posted; without it, `/health` is asked.
    pub file: Option<PathBuf>,
    /// Where the file is posted to.
    pub path: String,
    /// The limit of a control group for the server, in bytes.
    pub memory_limit: Option<u64>,
    /// Further arguments of `ephemera up`.
    pub arguments: Vec<String>,
    /// A folder for the plot and its data.
    pub out: Option<PathBuf>,
}

/// What many requests left behind.
#[derive(Debug, Serialize)]
pub struct Soak {
    /// How they were answered.
    pub answers: Answers,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Anonymous memory of the server before the first request, in bytes.
    pub idle_bytes: u64,
    /// The most it was seen to have.
    pub most_bytes: u64,
    /// And after the last answer, when it had settled.
    pub last_bytes: u64,
    /// How long after the last answer it was within 2 MiB of what it had after the first hundredth of the requests, or of its idle memory if
    /// all came in one burst, in milliseconds. `None` if it was not within 10 s.
    pub settled_ms: Option<u64>,
    /// How it changed with requests.
    pub slope: Slope,
    /// The server's control group, where it had one of its own.
    pub group: Option<GroupUse>,
    /// Its course.
    pub samples: Vec<Sample>,
}

/// One look at the server between requests.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Requests answered until then.
    pub requests: u32,
    /// Its anonymous memory, in bytes.
    pub anonymous_bytes: u64,
}

/// A straight line through the samples but the first tenth, by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slope {
    /// Bytes for each request.
    pub bytes_per_request: f64,
    /// Twice its standard error: a slope smaller than this is none.
    pub noise: f64,
}

/// What the kernel says of a control group.
#[derive(Debug, Serialize)]
pub struct GroupUse {
    /// Its limit, in bytes.
    pub limit_bytes: u64,
    /// The most it had, cached files included, in bytes.
    pub most_bytes: Option<u64>,
    /// Processes that the kernel ended in it.
    pub killed: u64,
}

/// Sends requests to a server in a process of its own, over loopback, a connection each, and watches its memory.
///
/// # Errors
///
/// The server does not start, or ends.
pub fn soak(program: &Path, manifest: &Path, options: &Options) -> Result<Soak> {
    let path = match options.file {
        Some(_) => options.path.as_str(),
        None => READY,
    };
    let message = Message::new(path, options.file.as_deref())?;
    let server = Child::host(program, manifest, &options.arguments, options.memory_limit)?;
    let idle_bytes = server.anonymous_bytes()?;

    let since = Instant::now();
    let (most, course) = watched(&server, || course(&server, &message, options));
    let (answers, samples) = course?;
    let seconds = since.elapsed().as_secs_f64();
    // A single burst has no course to compare with.
    let settled_at = match samples.as_slice() {
        [first, _, ..] => first.anonymous_bytes,
        _ => idle_bytes,
    };
    let settled = settled(&server, settled_at + BACK_BYTES)?;
    let soak = Soak {
        seconds,
        idle_bytes,
        most_bytes: most,
        last_bytes: server.anonymous_bytes()?,
        settled_ms: settled.map(|time| time.as_millis() as u64),
        slope: slope(&samples),
        group: server.group().map(|group| GroupUse {
            limit_bytes: group.limit_bytes(),
            most_bytes: group.most_bytes(),
            killed: group.killed(),
        }),
        answers,
        samples,
    };
    if let Some(folder) = &options.out {
        soak.write(folder)?;
    }
    Ok(soak)
}

/// All requests, with a look at the server's memory after each part of them.
fn course(server: &Child, message: &Message, options: &Options) -> Result<(Answers, Vec<Sample>)> {
    let mut answers = Answers::default();
    let mut samples = Vec::new();
    let parts = SAMPLES.min(options.requests / options.clients).max(1);
    let mut sent = 0;
    for part in 1..=parts {
        let until = u64::from(options.requests) * u64::from(part) / u64::from(parts);
        let until = u32::try_from(until).expect("no more than all requests");
        let (address, clients) = (server.address(), options.clients);
        answers.add(&drive(address, message, until - sent, clients));
        sent = until;
        samples.push(Sample {
            requests: sent,
            anonymous_bytes: server.anonymous_bytes()?,
        });
    }
    Ok((answers, samples))
}

/// Does `work`; returns the most anonymous memory that the server was seen to have meanwhile.
fn watched<T>(server: &Child, work: impl FnOnce() -> T) -> (u64, T) {
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(server.anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (most.load(Ordering::Relaxed), result)
    })
}

/// How long it takes until the server's anonymous memory is at most `bytes`.
fn settled(server: &Child, bytes: u64) -> Result<Option<Duration>> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if server.anonymous_bytes()? <= bytes {
            return Ok(Some(since.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// Of a course too short for one, zero with endless noise.
fn slope(samples: &[Sample]) -> Slope {
    let samples = &samples[samples.len() / 10..];
    let n = samples.len() as f64;
    let x = |s: &Sample| f64::from(s.requests);
    let y = |s: &Sample| s.anonymous_bytes as f64;
    let sum = |term: &dyn Fn(&Sample) -> f64| samples.iter().map(term).sum::<f64>();
    let (mean_x, mean_y) = (sum(&x) / n, sum(&y) / n);
    let spread = sum(&|s| (x(s) - mean_x).powi(2));
    if samples.len() < 3 || spread == 0.0 {
        return Slope {
            bytes_per_request: 0.0,
            noise: f64::INFINITY,
        };
    }
    let slope = sum(&|s| (x(s) - mean_x) * (y(s) - mean_y)) / spread;
    let residue = sum(&|s| (y(s) - mean_y - slope * (x(s) - mean_x)).powi(2));
    Slope {
        bytes_per_request: slope,
        noise: 2.0 * (residue / (n - 2.0) / spread).sqrt(),
    }
}

impl Soak {
    /// Writes `soak.csv` and `soak.svg`.
    fn write(&self, folder: &Path) -> Result<()> {
        ensure!(!self.samples.is_empty(), "no samples to plot");
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut table = "requests,anonymous_bytes\n".to_owned();
        for sample in &self.samples {
            table.push_str(&format!("{},{}\n", sample.requests, sample.anonymous_bytes));
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write("soak.csv", &table)?;
        write("soak.svg", &plot::memory(&self.samples)?)
    }

    /// Prints the result as lines, or as one JSON object.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn print(&self, json: bool, out: &mut impl Write) -> Result<()> {
        if json {
            return Ok(writeln!(out, "{}", serde_json::to_string(self)?)?);
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Answers {
            ok,
            busy,
            other,
            lost,
        } = self.answers;
        let seconds = self.seconds;
        writeln!(
            out,
            "answered in {seconds:.1} s: {ok} with 200, {busy} with 503, {other} otherwise, {lost} lost"
        )?;
        writeln!(
            out,
            "anonymous memory: {:.1} MiB idle, at most {:.1} MiB, {:.1} MiB at the end, {}",
            mib(self.idle_bytes),
            mib(self.most_bytes),
            mib(self.last_bytes),
            match self.settled_ms {
                Some(ms) => format!("settled after {ms} ms"),
                None => "not settled".to_owned(),
            }
        )?;
        let Slope {
            bytes_per_request,
            noise,
        } = self.slope;
        if noise.is_finite() {
            writeln!(
                out,
                "slope: {bytes_per_request:.2} bytes a request, noise {noise:.2}"
            )?;
        }
        if let Some(group) = &self.group {
            let most = group.most_bytes.map_or(f64::NAN, mib);
            writeln!(
                out,
                "control group: limit {:.0} MiB, at most {most:.0} MiB with cached files, {} killed",
                mib(group.limit_bytes),
                group.killed
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(bytes: &[u64]) -> Vec<Sample> {
        let sample = |(i, &anonymous_bytes): (usize, &u64)| Sample {
            requests: 10 * (i as u32 + 1),
            anonymous_bytes,
        };
        bytes.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn slopes_are_worked_out_by_hand() {
        let line = slope(&samples(&[100, 200, 300, 400]));
        assert_eq!((line.bytes_per_request, line.noise), (10.0, 0.0));
        // x = -10, 0, 10 about its mean; y = 0, 6, 0: no slope, residues -2, 4, -2 about the mean of 2.
        let peak = slope(&samples(&[0, 6, 0]));
        assert_eq!(peak.bytes_per_request, 0.0);
        assert!((peak.noise - 2.0 * (24.0f64 / 200.0).sqrt()).abs() < 1e-12);
        assert!(slope(&samples(&[1, 2])).noise.is_infinite());
    }

    #[test]
    fn the_start_does_not_count() {
        let bytes: Vec<u64> = (0..20).map(|i| if i < 2 { 0 } else { 50 }).collect();
        let level = slope(&samples(&bytes));
        assert_eq!((level.bytes_per_request, level.noise), (0.0, 0.0));
    }
}
