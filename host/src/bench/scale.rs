//! How throughput grows with instances: the same pages, one at a time and as many as there are cores; beside what the machine gives at most.
//!
//! In the same run, in turns: the engine natively in as many processes ([`ceiling`](super::ceiling)), and as many servers of one instance each. What the
//! first lack is the machine's; what one server lacks against servers apart is lost in the host.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::ceiling::Workers;
use super::child::Child;
use super::client::{Answers, Message, drive};
use super::median;
use crate::procfs::processor_time_of_tree;

/// What works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Processes that run the engine natively and share nothing.
    Engine,
    /// Servers of one instance each.
    Apart,
    /// One server.
    Up,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Apart => "apart",
            Self::Up => "up",
        }
    }
}

/// One number of one kind.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What worked.
    pub what: What,
    /// How many at once, with as many clients.
    pub instances: u32,
    /// Answers, or units of the engine's work, a second: the median of the rounds.
    pub per_second: f64,
    /// Processor time of one, in milliseconds: the median of the rounds.
    pub processor_ms: f64,
    /// Against as many times the rate of one.
    pub efficiency: f64,
    /// That of the engine is 1.
    pub of_ceiling: f64,
}

/// What is sent.
#[derive(Debug)]
pub struct Options<'a> {
    /// The page.
    pub file: &'a Path,
    /// Where it is posted to.
    pub path: &'a str,
    /// How often in one round.
    pub requests: u32,
    /// Rounds; each row has its turn in each.
    pub rounds: u32,
}

/// What was measured of one row, a value a round.
struct Samples {
    what: What,
    instances: u32,
    rates: Vec<f64>,
    processor_ms: Vec<f64>,
}

/// One round of one row.
struct Round {
    done: u32,
    time: Duration,
    processor: Duration,
}

/// Measures 1 to `cores` instances and their peers, each in processes of its own, in turns.
///
/// # Errors
///
/// A process does not start, or a server does not answer everything with 200.
pub fn scale(
    program: &Path,
    manifest: &Path,
    cores: u32,
    options: &Options<'_>,
) -> Result<Vec<Row>> {
    let message = Message::new(options.path, Some(options.file))?;
    let row = |what| {
        move |instances| Samples {
            what,
            instances,
            rates: Vec::new(),
            processor_ms: Vec::new(),
        }
    };
    // A server of one instance is alone and apart.
    let engine = (1..=cores).map(row(What::Engine));
    let apart = (2..=cores).map(row(What::Apart));
    let up = (1..=cores).map(row(What::Up));
    let mut all: Vec<Samples> = engine.chain(up).chain(apart).collect();
    for _ in 0..options.rounds {
        for samples in &mut all {
            let (servers, each) = match samples.what {
                What::Engine => {
                    let round = engine_round(program, manifest, samples.instances, options)?;
                    samples.add(&round);
                    continue;
                }
                What::Apart => (samples.instances, 1),
                What::Up => (1, samples.instances),
            };
            let start = |_| start(program, manifest, each, &message);
            let servers = (0..servers).map(start).collect::<Result<Vec<_>>>()?;
            samples.add(&round(&servers, each, &message, options.requests)?);
        }
    }
    Ok(rows(&all))
}

impl Samples {
    fn add(&mut self, round: &Round) {
        let done = f64::from(round.done);
        self.rates.push(done / round.time.as_secs_f64());
        self.processor_ms
            .push(round.processor.as_secs_f64() * 1e3 / done);
    }
}

/// As many units of work as there are requests.
fn engine_round(
    program: &Path,
    manifest: &Path,
    workers: u32,
    options: &Options<'_>,
) -> Result<Round> {
    let each = options.requests.div_ceil(workers);
    let mut all = Workers::start(program, manifest, workers)?;
    let ids = all.ids();
    timed(each * workers, &ids, || all.run(each))
}

/// A server, warm.
fn start(program: &Path, manifest: &Path, instances: u32, message: &Message) -> Result<Child> {
    let arguments = ["--max-concurrency".to_owned(), instances.to_string()];
    let server = Child::host(program, manifest, &arguments, None)?;
    drive(server.address(), message, instances, instances);
    Ok(server)
}

/// Sends `requests` in all to `servers`, to each by `clients` clients.
fn round(servers: &[Child], clients: u32, message: &Message, requests: u32) -> Result<Round> {
    let count = servers.len() as u32;
    let each = requests.div_ceil(count);
    let ids: Vec<u32> = servers.iter().map(Child::id).collect();
    timed(each * count, &ids, || {
        let answers = std::thread::scope(|scope| {
            let driven = servers.iter().map(|server| {
                let address = server.address();
                scope.spawn(move || drive(address, message, each, clients))
            });
            let driven: Vec<_> = driven.collect();
            let mut all = Answers::default();
            for one in driven {
                all.add(&one.join().expect("a client does not panic"));
            }
            all
        });
        let expected = each * count;
        ensure!(
            answers.ok == expected,
            "expected {expected} times 200, got {answers:?}"
        );
        Ok(())
    })
}

/// What `work`, of `done` units, took of the processes `ids`.
fn timed(done: u32, ids: &[u32], work: impl FnOnce() -> Result<()>) -> Result<Round> {
    let processor = || {
        let times = ids.iter().map(|&id| processor_time_of_tree(id));
        times.sum::<Result<Duration>>()
    };
    let before = processor()?;
    let since = Instant::now();
    work()?;
    let time = since.elapsed();
    Ok(Round {
        done,
        time,
        processor: processor()?.saturating_sub(before),
    })
}

fn rows(all: &[Samples]) -> Vec<Row> {
    let rate = |what, instances| {
        let of = |samples: &&Samples| samples.what == what && samples.instances == instances;
        let samples = all.iter().find(of);
        samples.map_or(f64::NAN, |samples| median(samples.rates.iter().copied()))
    };
    let efficiency = |what, instances| {
        let one = match what {
            What::Engine => rate(What::Engine, 1),
            What::Apart | What::Up => rate(What::Up, 1),
        };
        rate(what, instances) / one / f64::from(instances)
    };
    let row = |samples: &Samples| {
        let (what, instances) = (samples.what, samples.instances);
        Row {
            what,
            instances,
            per_second: rate(what, instances),
            processor_ms: median(samples.processor_ms.iter().copied()),
            efficiency: efficiency(what, instances),
            of_ceiling: efficiency(what, instances) / efficiency(What::Engine, instances),
        }
    };
    all.iter().map(row).collect()
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
            "what    instances  a second  processor ms  efficiency  of the engine's"
        )?;
    }
    for row in rows {
        if json {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
            continue;
        }
        let Row {
            what,
            instances,
            per_second,
            processor_ms,
            efficiency,
            of_ceiling,
        } = row;
        let what = what.name();
        writeln!(
            out,
            "{what:<8}{instances:>9}{per_second:>10.2}{processor_ms:>14.0}{efficiency:>12.2}{of_ceiling:>17.2}"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_not_ours() {
        let samples = |what, instances, rates: [f64; 3]| Samples {
            what,
            instances,
            rates: rates.to_vec(),
            processor_ms: vec![5.0],
        };
        let rows = rows(&[
            samples(What::Engine, 1, [10.0, 9.0, 11.0]),
            samples(What::Engine, 2, [16.0, 16.0, 1.0]),
            samples(What::Up, 1, [2.0, 2.0, 3.0]),
            samples(What::Up, 2, [2.8, 2.8, 2.8]),
            samples(What::Apart, 2, [3.2, 3.2, 3.2]),
        ]);
        let figures = rows.iter().map(|row| (row.efficiency, row.of_ceiling));
        let expected = [(1.0, 1.0), (0.8, 1.0), (1.0, 1.0), (0.7, 0.875), (0.8, 1.0)];
        for (found, expected) in figures.zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-9, "{found:?}");
            assert!((found.1 - expected.1).abs() < 1e-9, "{found:?}");
        }
    }
}
