//! Leases that are shorter than what they cover: a claim holds while its input is fetched or read, its result written and its report posted.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use redis::cmd;
use serde_json::json;

use super::patient::Patient;
use super::place::{Place, job_of};
use super::producer::{Producer, STREAM, job};
use super::project::page;
use super::slow::SlowDisk;
use super::wait_until;

#[test]
fn a_short_lease_holds_while_its_holder_waits_for_others() -> Result<()> {
    let place = Place::new()?;
    let (picture, word) = page()?;
    let service = Patient::listen(picture)?;
    let Some(mut crew) = place.crew(&["--lease-s", "1", "--allow-host", &service.url])? else {
        return Ok(());
    };
    let item = job_of("a");
    let job = json!({"version": 1, "id": "a", "function": "ocr",
        "input": {"url": format!("{}/page.png", service.url)},
        "reply": {"webhook": format!("{}/done", service.url)}});
    place.put(&item, job.to_string().as_bytes())?;
    crew.start()?;
    for what in ["fetched", "posted"] {
        service
            .asked
            .recv()
            .with_context(|| format!("to be {what}"))?;
        let expires = || Ok::<_, anyhow::Error>(place.record(&item)?.map_or(0, |r| r.expires));
        let first = expires()?;
        ensure!(first > 0, "{what}: nobody has it");
        // Longer than the lease.
        wait_until("it is renewed", || Ok(expires()? >= first + 3))
            .with_context(|| what.to_owned())?;
        service.answer.send(())?;
    }
    wait_until("it is done", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(
        std::fs::read_to_string(place.out().join("a.txt"))?.trim(),
        word
    );
    Ok(())
}

/// How often a lease is to be renewed while a disk is waited for.
const RENEWALS: usize = 3;

#[test]
fn a_short_lease_holds_while_a_disk_is_waited_for() -> Result<()> {
    // The input, the description, the result and its folder, the folder of originals, that of failures.
    for (slow, good) in [
        ("in/a.png", true),
        ("in/a.png.job.json", true),
        ("out", true),
        ("in/done", true),
        ("in/failed", false),
    ] {
        let place = Place::new()?;
        let Some(disk) = SlowDisk::new(&place.folder().canonicalize()?.join(slow))? else {
            return Ok(());
        };
        let Some(crew) = place.crew(&["--lease-s", "1", "--attempts", "1"])? else {
            return Ok(());
        };
        let mut crew = crew.wrapped(disk.wrapper());
        let function = if good { "ocr" } else { "panicking" };
        let job =
            json!({"version": 1, "id": "a", "function": function, "input": {"file": "a.png"}});
        let item = job_of("a.png");
        place.put("a.png", &page()?.0)?;
        place.put(&item, job.to_string().as_bytes())?;
        crew.start()?;
        disk.wait_until_asked()
            .with_context(|| format!("{slow}: {}", crew.all_said().unwrap_or_default()))?;
        let expires = || Ok::<_, anyhow::Error>(place.record(&item)?.map_or(0, |r| r.expires));
        let first = expires()?;
        ensure!(first > 0, "{slow}: nobody has it");
        wait_until(
            "it is renewed",
            || Ok(expires()? >= first + RENEWALS as u64),
        )
        .with_context(|| slow.to_owned())?;
        disk.hurry()?;
        wait_until("it is done", || Ok(place.waiting()?.is_empty()))?;
        crew.stop()?;
        ensure!(place.results()?.len() == usize::from(good), "{slow}");
        ensure!(place.names("failed")?.is_empty() == good, "{slow}");
    }
    Ok(())
}

#[test]
fn a_short_lease_of_redis_holds_while_a_disk_is_waited_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    for name in ["files", "out"] {
        std::fs::create_dir(at(name))?;
    }
    std::fs::write(at("files/a.png"), page()?.0)?;
    for slow in ["files", "out"] {
        let Some(disk) = SlowDisk::new(&at(slow).canonicalize()?)? else {
            return Ok(());
        };
        let Some(mut producer) = Producer::new()? else {
            return Ok(());
        };
        let (files, out) = (at("files"), at("out"));
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path");
        let (files, out) = (path(&files)?, path(&out)?);
        let words = ["--lease-s", "6", "--files", &files, "--out", &out];
        let Some(crew) = producer.crew(&words)? else {
            return Ok(());
        };
        let mut crew = crew.wrapped(disk.wrapper());
        let mut job = job("a", "ocr")?;
        job["input"] = json!({"file": "a.png"});
        job["reply"] = json!({"file": "a.txt"});
        producer.submit(&job)?;
        crew.start()?;
        disk.wait_until_asked()
            .with_context(|| format!("{slow}: {}", crew.all_said().unwrap_or_default()))?;
        // Another worker, whose disk is as slow, would take over what nobody renews.
        crew.start()?;
        let mut idle = 0;
        let mut renewals = 0;
        wait_until("it is renewed", || {
            let mut pending = cmd("XPENDING");
            pending.arg(STREAM).arg("workers").arg("-").arg("+").arg(1);
            let pending: Vec<(String, String, u64, u64)> = producer.ask(&pending)?;
            let (_, _, now, deliveries) = pending.first().context("somebody has it")?;
            ensure!(*deliveries == 1, "{slow}: it was taken over");
            renewals += usize::from(*now < idle);
            idle = *now;
            Ok(renewals >= RENEWALS)
        })?;
        disk.hurry()?;
        wait_until("it is done", || Ok(producer.queued()? == 0))?;
        crew.stop()?;
        let known = producer.known("a")?;
        ensure!(
            known.get("stored").is_some_and(|stored| stored == "1"),
            "{known:?}"
        );
        ensure!(!known.contains_key("deaths"), "{known:?}");
    }
    Ok(())
}
