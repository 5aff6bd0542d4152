//! Jobs of Redis whose answers become files: on a disk that is full, in a folder that is read-only, beside what the dead left. Told, tried
//! again, nothing lost, and nothing computed in vain.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use redis::cmd;
use serde_json::{Value, json};

use super::disk::{FullDisk, words};
use super::faults::{set_mode, without_rights};
use super::metrics::metrics;
use super::names;
use super::producer::{Producer, STREAM, job};
use super::project::page;
use super::wait_until;
use crate::metrics::value;

/// Fills the disk `$1`, makes room when the file `$2` is there, and copies what is on it to `$3` when the worker ends.
const FULL_DISK: &str = r#"
disk=$1 room=$2 results=$3
shift 3
cat /dev/zero > "$disk/filler" 2>/dev/null
"$@" &
worker=$!
trap 'kill "$worker"' TERM
until [ -e "$room" ]; do sleep 0.05; done
rm "$disk/filler"
wait "$worker"
cp -r "$disk/." "$results/"
"#;

/// How often functions ran, among the metrics.
const RUNS: &str = "ephemera_job_phase_seconds_count{phase=\"run\"}";

/// A job whose answer becomes the file `id`.txt.
fn written(id: &str) -> Result<Value> {
    let mut job = job(id, "ocr")?;
    job["reply"] = json!({"file": format!("{id}.txt")});
    Ok(job)
}

fn submit(producer: &mut Producer, ids: &[&str]) -> Result<()> {
    ids.iter().try_for_each(|id| producer.submit(&written(id)?))
}

/// Files of `folder`, of which each is the answer to the page with one word.
fn answers(folder: &Path) -> Result<BTreeSet<String>> {
    let (_, word) = page()?;
    let found = names(folder)?;
    for name in &found {
        let text = std::fs::read_to_string(folder.join(name))?;
        ensure!(text.trim() == word, "{name}: {text}");
    }
    Ok(found)
}

/// That each job was stored once, without a failure of its own.
fn check(producer: &mut Producer, ids: &[&str]) -> Result<()> {
    for id in ids {
        let known = producer.known(id)?;
        assert_eq!(known.get("state").map(String::as_str), Some("done"), "{id}");
        assert_eq!(known.get("stored").map(String::as_str), Some("1"), "{id}");
        let failures = known.get("failures").map_or("0", String::as_str);
        assert_eq!(failures, "0", "{id}");
    }
    assert!(producer.dead()?.is_empty());
    Ok(())
}

#[test]
fn answers_wait_until_they_may_be_written() -> Result<()> {
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    std::fs::create_dir(&out)?;
    let out_path = out.to_str().context("a path")?;
    let listening = ["--metrics-listen", "127.0.0.1:0"];
    let words = [&["--attempts", "1", "--out", out_path][..], &listening].concat();
    let Some(crew) = producer.crew(&words)? else {
        return Ok(());
    };
    let mut crew = crew.wrapped(without_rights()?);
    set_mode(&out, 0o555)?;
    let ids = ["a", "b"];
    submit(&mut producer, &ids)?;
    crew.start()?;
    wait_until("it says what is wrong, more than once each", || {
        Ok(crew.all_said()?.matches("Permission denied").count() >= 4)
    })?;
    assert_eq!(producer.queued()?, 2, "nothing is given up");
    let runs = || value(&metrics(&crew)?, RUNS);
    let in_vain = runs()?;
    ensure!(in_vain <= 2.0, "{in_vain}: each is computed once at most");
    set_mode(&out, 0o755)?;
    wait_until("all is done", || Ok(producer.queued()? == 0))?;
    assert_eq!(runs()?, in_vain + 2.0, "and once more to be stored");
    crew.stop()?;
    assert_eq!(answers(&out)?, ["a.txt", "b.txt"].map(str::to_owned).into());
    check(&mut producer, &ids)
}

#[test]
fn a_full_disk_loses_no_answer() -> Result<()> {
    let Some(disk) = FullDisk::new()? else {
        return Ok(());
    };
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let ids = ["a", "b", "c"];
    submit(&mut producer, &ids)?;
    let url = producer.redis.url();
    let asked = [
        "--once",
        "--attempts",
        "1",
        "--redis",
        &url,
        "--stream",
        STREAM,
    ];
    disk.run(FULL_DISK, &words(&asked, &[("--out", &disk.at("disk"))]))?;
    let expected = ids.map(|id| format!("{id}.txt"));
    assert_eq!(answers(&disk.at("results"))?, expected.into());
    check(&mut producer, &ids)
}

#[test]
fn what_a_dead_worker_had_begun_to_write_is_removed() -> Result<()> {
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let words = ["--out", folder.path().to_str().context("a path")?];
    let Some(mut crew) = producer.crew(&words)? else {
        return Ok(());
    };
    let part = |name: &str| {
        let file = File::create(folder.path().join(name))?;
        file.set_modified(SystemTime::now() - Duration::from_secs(600))?;
        Ok::<_, anyhow::Error>(file)
    };
    drop(part(".a.txt.7.0.part")?);
    drop(part(".b.txt.7.0.part")?);
    // Somebody who lives writes to it.
    let held = part(".a.txt.8.0.part")?;
    held.lock()?;
    // As a worker that died with it leaves it.
    let known = format!("{STREAM}:job:a");
    producer.ask::<u64>(cmd("HSET").arg(known).arg("deaths").arg(1))?;
    submit(&mut producer, &["a", "b"])?;
    crew.once()?;
    let left = [".a.txt.8.0.part", ".b.txt.7.0.part", "a.txt", "b.txt"];
    assert_eq!(names(folder.path())?, left.map(str::to_owned).into());
    Ok(())
}
