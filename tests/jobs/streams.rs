//! The storm over Redis: workers are killed and so is Redis, jobs come twice, fail and wait; each has one end, which is stored once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use redis::cmd;
use serde_json::{Value, json};

use super::dice::Dice;
use super::names;
use super::producer::{ANSWERS, Producer, job};
use super::project::page;
use super::storm::{Queue, Size, storm};

/// How often Redis is restarted, every other time after SIGKILL.
const RESTARTS: usize = 5;

/// Longer than a worker is away that is alive, and short for the test's sake.
const LEASE_S: &str = "3";

/// How a job ends: by its number, so that every kind is in every storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    /// No picture: refused at once.
    Broken,
    /// A function that panics: given up after its attempts, with pauses between.
    Panics,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 20 {
            7 => Self::Broken,
            13 => Self::Panics,
            _ => Self::Read,
        }
    }
}

struct Streams {
    producer: Producer,
    size: Size,
    files: std::path::PathBuf,
}

fn id(number: usize) -> String {
    format!("job-{number:04}")
}

/// Every job of which the number leaves this many more than a multiple of four has its reply there.
fn reply(number: usize) -> Option<Value> {
    match number % 4 {
        0 => Some(json!({"key": format!("answer:{number}")})),
        1 => Some(json!({"list": ANSWERS})),
        2 => Some(json!({"file": format!("{number:04}.txt")})),
        _ => None,
    }
}

impl Streams {
    fn hand_in(&mut self, number: usize) -> Result<()> {
        let function = match Kind::of(number) {
            Kind::Panics => "panicking",
            Kind::Read | Kind::Broken => "ocr",
        };
        let mut job = job(&id(number), function)?;
        if let Some(reply) = reply(number) {
            job["reply"] = reply;
        }
        if number.is_multiple_of(3) {
            job["priority"] = json!("interactive");
        }
        if Kind::of(number) == Kind::Broken {
            job["input"] = json!({"inline": "eA=="});
        } else if number.is_multiple_of(5) {
            let name = format!("{number:04}.png");
            std::fs::write(self.files.join(&name), page()?.0)?;
            job["input"] = json!({"file": name});
        }
        self.producer.submit(&job)?;
        // Whoever is not sure that it was submitted does it again.
        if number % 10 == 4 {
            self.producer.submit(&job)?;
        }
        Ok(())
    }
}

impl Queue for Streams {
    fn submit(&mut self, jobs: Range<usize>) -> Result<()> {
        jobs.into_iter().try_for_each(|number| self.hand_in(number))
    }

    fn left(&mut self) -> Result<usize> {
        let counts = self.producer.counts()?;
        let count = |name: &str| counts.get(name).copied().unwrap_or(0) as usize;
        let unfinished = self
            .size
            .jobs
            .saturating_sub(count("stored") + count("failed"));
        Ok(unfinished.max(self.producer.queued()? as usize))
    }

    fn disturb(&mut self, turn: usize, turns: usize, dice: &mut Dice) -> Result<()> {
        let every = (turns / RESTARTS).max(1);
        if turn % every != every - 1 || turn / every >= RESTARTS {
            return Ok(());
        }
        self.producer.redis.stop((turn / every).is_multiple_of(2))?;
        std::thread::sleep(Duration::from_millis(dice.below(400)));
        self.producer.redis.run()
    }
}

#[test]
fn every_job_has_one_report_whoever_dies() -> Result<()> {
    let Some(producer) = Producer::new()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (files, out) = (folder.path().join("files"), folder.path().join("out"));
    std::fs::create_dir(&files)?;
    std::fs::create_dir(&out)?;
    let (files_name, out_name) = (files.to_string_lossy(), out.to_string_lossy());
    let mut options = vec!["--files", &files_name, "--out", &out_name];
    options.extend(["--lease-s", LEASE_S, "--deaths", "1000"]);
    let Some(mut crew) = producer.crew(&options)? else {
        return Ok(());
    };
    let size = Size::asked()?;
    let mut dice = Dice::thrown()?;
    let mut queue = Streams {
        producer,
        size,
        files: files.clone(),
    };
    let took = storm(&mut queue, &mut crew, size, &mut dice)?;
    let Streams { mut producer, .. } = queue;
    let counts = producer.counts()?;
    println!("redis: {size:?}, {RESTARTS} restarts in {took:.1} s, {counts:?}");

    let (_, word) = page()?;
    let numbers = || (0..size.jobs).map(|number| (number, Kind::of(number)));
    let (mut answers, mut written) = (BTreeSet::new(), BTreeSet::new());
    let mut failed = BTreeSet::new();
    for (number, kind) in numbers() {
        let id = id(number);
        let known = producer.known(&id)?;
        assert_eq!(
            known.get("stored").map(String::as_str),
            Some("1"),
            "{known:?}"
        );
        let report: Value = serde_json::from_str(known.get("report").context("a report")?)?;
        match kind {
            Kind::Read => {
                let text = report["answer"]["text"].as_str().context("a text")?;
                assert_eq!(text.trim(), word, "{id}");
                assert_eq!(known["state"], "done", "{id}");
            }
            Kind::Broken | Kind::Panics => {
                assert_eq!(known["state"], "failed", "{id}");
                failed.insert(id.clone());
            }
        }
        if kind == Kind::Panics {
            assert_eq!(report["attempts"], 3, "{id}: {report}");
        }
        match number % 4 {
            0 => {
                let reply = producer.ask::<String>(cmd("GET").arg(format!("answer:{number}")))?;
                assert_eq!(reply, known["report"], "{id}");
            }
            1 => drop(answers.insert(known["report"].clone())),
            2 if kind == Kind::Read => drop(written.insert(format!("{number:04}.txt"))),
            _ => {}
        }
    }
    // Each once, in the list and among the dead letters.
    let replies = producer.ask::<Vec<String>>(cmd("LRANGE").arg(ANSWERS).arg(0).arg(-1))?;
    assert_eq!(replies.len(), answers.len());
    assert_eq!(replies.into_iter().collect::<BTreeSet<_>>(), answers);
    let mut letters = BTreeMap::<String, usize>::new();
    for letter in producer.dead()? {
        *letters.entry(letter["id"].clone()).or_default() += 1;
    }
    let once = failed.iter().map(|id| (id.clone(), 1));
    assert_eq!(letters, once.collect::<BTreeMap<_, _>>());
    // What a worker that died had begun to write is hidden, and nobody's result.
    let mut results = names(&out)?;
    results.retain(|name| !name.starts_with('.'));
    assert_eq!(results, written);
    for name in &written {
        let text = std::fs::read_to_string(out.join(name))?;
        assert_eq!(text.trim(), word, "{name}");
    }
    assert_eq!(counts["stored"] as usize, size.jobs - failed.len());
    assert_eq!(counts["failed"] as usize, failed.len());
    assert_eq!((producer.queued()?, producer.pending()?), (0, 0));
    Ok(())
}
