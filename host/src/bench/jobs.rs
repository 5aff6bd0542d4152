//! Many pages through a worker: how many a minute, and in how much memory; beside another worker, in turns.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

mod folder;
mod peer;
mod process;
mod stage;
mod streams;

use crate::procfs::{anonymous_bytes_of_tree, processor_time_of_tree};
use crate::progress::Progress;
use stage::{Scratch, Stage};

/// How often memory is looked at while pages are read.
const LOOK: Duration = Duration::from_millis(500);

/// How long a worker has been idle when its idle memory is read.
const REST: Duration = Duration::from_secs(1);

/// What is read by whom.
#[derive(Debug)]
pub struct Options {
    /// A page, or a folder of pages, which are repeated under other names.
    pub from: PathBuf,
    /// Pages in all.
    pub pages: u32,
    /// In so many rounds; each worker has its turn in each.
    pub rounds: u32,
    /// Further arguments of `ephemera jobs`.
    pub arguments: Vec<String>,
    /// Whether our worker has its turn on a stream of Redis as well.
    pub redis: bool,
    /// The other worker: a program and its arguments.
    pub peer: Vec<String>,
}

/// A worker with an empty queue.
trait Worker {
    fn name(&self) -> &'static str;

    /// Its first process; those that descend from it are its processes too.
    fn process(&self) -> u32;

    /// Reads all pages of a stage; returns the characters that were found, which the caller may look at for a sign of trouble.
    fn read(&mut self, stage: &Stage) -> Result<u64>;
}

/// What one worker did.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Who.
    pub worker: &'static str,
    /// Pages read.
    pub pages: u32,
    /// From the first page in the queue to the last result, all rounds together.
    pub seconds: f64,
    /// Pages a minute over all rounds.
    pub pages_per_minute: f64,
    /// The same of each round.
    pub rounds: Vec<f64>,
    /// Processor time of all of its processes for a page, in seconds: what a machine busy with other things changes least.
    pub cpu_s_per_page: f64,
    /// Anonymous memory of all of its processes before the first page, in bytes.
    pub idle_bytes: u64,
    /// The most that it was seen to have.
    pub most_bytes: u64,
    /// And a second after its last page.
    pub last_bytes: u64,
    /// Characters in all results.
    pub characters: u64,
}

/// Has workers read pages, in turns, and watches their memory. Both live from the first round to the last.
///
/// # Errors
///
/// A worker does not start, ends, or fails on a page.
pub fn jobs(
    program: &Path,
    manifest: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Vec<Row>> {
    ensure!(
        options.rounds <= options.pages,
        "{} rounds are more than {} pages",
        options.rounds,
        options.pages
    );
    let scratch = Scratch::new()?;
    let sources = stage::sources(&options.from)?;
    let ours = folder::Hot::start(program, manifest, &options.arguments, scratch.path())?;
    let mut workers: Vec<Box<dyn Worker>> = vec![Box::new(ours)];
    if options.redis {
        let arguments = &options.arguments;
        let ours = streams::Streams::start(program, manifest, arguments, scratch.path())?;
        workers.push(Box::new(ours));
    }
    if let [program, arguments @ ..] = options.peer.as_slice() {
        workers.push(Box::new(peer::Peer::start(program, arguments)?));
    }
    std::thread::sleep(REST);
    let mut rows = Vec::new();
    for worker in &workers {
        rows.push(Row::idle(worker.as_ref())?);
    }
    let mut staged = 0;
    for round in 1..=options.rounds {
        let until = u64::from(options.pages) * u64::from(round) / u64::from(options.rounds);
        let until = u32::try_from(until).context("no more than all pages")?;
        let stage = Stage::new(scratch.path(), &sources, staged..until)?;
        staged = until;
        for (worker, row) in workers.iter_mut().zip(&mut rows) {
            let step = progress.step(format!("round {round}, {}", worker.name()));
            row.take(worker.as_mut(), &stage)?;
            step.done(&format!(
                "{} pages so far, {:.1} a minute, {:.2} s of a processor each, at most {} MiB",
                row.pages,
                row.pages_per_minute,
                row.cpu_s_per_page,
                row.most_bytes >> 20
            ));
        }
        stage.remove()?;
    }
    Ok(rows)
}

impl Row {
    fn idle(worker: &dyn Worker) -> Result<Self> {
        let idle_bytes = anonymous_bytes_of_tree(worker.process())
            .with_context(|| format!("the worker of {} has ended", worker.name()))?;
        Ok(Self {
            worker: worker.name(),
            pages: 0,
            seconds: 0.0,
            pages_per_minute: 0.0,
            rounds: Vec::new(),
            cpu_s_per_page: 0.0,
            idle_bytes,
            most_bytes: idle_bytes,
            last_bytes: idle_bytes,
            characters: 0,
        })
    }

    /// One round.
    fn take(&mut self, worker: &mut dyn Worker, stage: &Stage) -> Result<()> {
        let process = worker.process();
        let before = processor_time_of_tree(process)?;
        let since = Instant::now();
        let (most, characters) = watched(process, || worker.read(stage));
        let seconds = since.elapsed().as_secs_f64();
        let taken = processor_time_of_tree(process)?.saturating_sub(before);
        let taken = taken.as_secs_f64() + self.cpu_s_per_page * f64::from(self.pages);
        self.characters += characters?;
        self.most_bytes = self.most_bytes.max(most);
        std::thread::sleep(REST);
        self.last_bytes = anonymous_bytes_of_tree(process).context("the worker has ended")?;
        self.pages += stage.pages();
        self.cpu_s_per_page = taken / f64::from(self.pages);
        self.seconds += seconds;
        self.pages_per_minute = f64::from(self.pages) * 60.0 / self.seconds;
        self.rounds.push(f64::from(stage.pages()) * 60.0 / seconds);
        Ok(())
    }
}

/// Does `work`; returns the most anonymous memory that the processes from `root` on were seen to have meanwhile.
fn watched<T>(root: u32, work: impl FnOnce() -> T) -> (u64, T) {
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(
                    anonymous_bytes_of_tree(root).unwrap_or(0),
                    Ordering::Relaxed,
                );
                std::thread::park_timeout(LOOK);
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        watching.thread().unpark();
        (most.load(Ordering::Relaxed), result)
    })
}

/// Prints `rows` as a table, or as one JSON object a line.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn print(rows: &[Row], json: bool, out: &mut impl Write) -> Result<()> {
    if json {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        return Ok(());
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(
        out,
        "worker            pages   seconds  pages/min  cpu s/page   idle MiB   most MiB   last MiB  characters"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<16}{:>7}{:>10.1}{:>11.1}{:>12.2}{:>11.1}{:>11.1}{:>11.1}{:>12}",
            row.worker,
            row.pages,
            row.seconds,
            row.pages_per_minute,
            row.cpu_s_per_page,
            mib(row.idle_bytes),
            mib(row.most_bytes),
            mib(row.last_bytes),
            row.characters
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_watched_while_work_lasts() {
        let (most, held) = watched(std::process::id(), || {
            let held = vec![1_u8; 32 << 20];
            std::thread::sleep(LOOK * 3);
            held
        });
        assert!(most >= held.len() as u64, "{most}");
    }

    #[test]
    fn a_table_has_a_line_for_each_worker() {
        let row = Row {
            worker: "ephemera",
            pages: 3,
            seconds: 9.0,
            pages_per_minute: 20.0,
            rounds: vec![20.0],
            cpu_s_per_page: 2.5,
            idle_bytes: 1 << 20,
            most_bytes: 5 << 19,
            last_bytes: 1 << 20,
            characters: 7,
        };
        let mut out = Vec::new();
        print(&[row], false, &mut out).expect("memory takes it");
        let text = String::from_utf8(out).expect("it is text");
        let fields: Vec<&str> = text
            .lines()
            .nth(1)
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        assert_eq!(
            fields,
            [
                "ephemera", "3", "9.0", "20.0", "2.50", "1.0", "2.5", "1.0", "7"
            ]
        );
    }
}
