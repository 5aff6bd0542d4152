//! What a worker holds when it has nothing to do: before its first page, and after many.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ephemera::procfs::anonymous_bytes_of;
use serde_json::json;

use super::place::Place;
use super::producer::{Producer, job};
use super::wait_until;
use crate::runners;

/// What an idle worker may have.
const IDLE_BYTES: u64 = 32 << 20;

/// Until freed memory is the kernel's again; it is given back within a second, and this machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(5);

const PAGES: usize = 20;

#[test]
fn an_idle_worker_of_a_folder_holds_next_to_nothing() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&[])? else {
        return Ok(());
    };
    let worker = crew.start()?;
    wait_until("it has begun", || Ok(place.progress().is_ok()))?;
    let process = crew.process(worker);
    println!("folder, before: {}", idle(process)?);
    let page = std::fs::read(runners::root().join("tests/cases/ocr/clean-page/request.png"))?;
    for number in 0..PAGES {
        place.put(&format!("{number}.png"), &page)?;
    }
    wait_until("all pages are read", || Ok(place.waiting()?.is_empty()))?;
    println!("folder, after {PAGES} pages: {}", idle(process)?);
    assert_eq!(place.results()?.len(), PAGES);
    crew.stop()
}

#[test]
fn an_idle_worker_of_redis_holds_next_to_nothing() -> Result<()> {
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let Some(mut crew) = producer.crew(&[])? else {
        return Ok(());
    };
    let worker = crew.start()?;
    producer.submit(&job("first", "ocr")?)?;
    wait_until("it has begun", || {
        Ok(producer.counts()?.contains_key("stored"))
    })?;
    let process = crew.process(worker);
    println!("redis, after its first page: {}", idle(process)?);
    let page = std::fs::read(runners::root().join("tests/cases/ocr/clean-page/request.png"))?;
    for number in 0..PAGES {
        let mut job = job(&format!("page-{number}"), "ocr")?;
        job["input"] = json!({"inline": STANDARD.encode(&page)});
        producer.submit(&job)?;
    }
    let all = PAGES as u64 + 1;
    wait_until("all pages are read", || {
        Ok(producer.counts()?["stored"] == all)
    })?;
    println!("redis, after {PAGES} pages: {}", idle(process)?);
    crew.stop()
}

/// Waits until a process holds no more than it may, and says how much that is, and when.
pub(super) fn idle(process: u32) -> Result<String> {
    let since = Instant::now();
    loop {
        let bytes = anonymous_bytes_of(process)?;
        let waited = since.elapsed();
        if bytes <= IDLE_BYTES {
            let mib = bytes as f64 / f64::from(1 << 20);
            return Ok(format!("{mib:.1} MiB after {:.2} s", waited.as_secs_f64()));
        }
        ensure!(
            waited < PATIENCE,
            "{bytes} bytes, {waited:?} after its work"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
