//! What workers and handlers of messages say of themselves where nothing else is served; and flags that mean nothing there.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::crew::Crew;
use super::place::Place;
use super::producer::{Producer, job};
use super::wait_until;
use crate::metrics::{scrape, value};
use crate::{binary, runners};

/// What is said of jobs, once some worker says where.
pub(super) fn metrics(crew: &Crew) -> Result<String> {
    let mut address = None;
    wait_until("it says where", || {
        let said = crew.all_said()?;
        let line = said
            .lines()
            .find(|line| line.contains("metrics at http://"));
        address = line.and_then(|line| {
            let rest = line.split("http://").nth(1)?;
            Some(rest.split('/').next()?.to_owned())
        });
        Ok(address.is_some())
    })?;
    scrape(address.context("an address")?)
}

/// The metrics when two jobs are done and one is given up.
fn settled(crew: &Crew) -> Result<String> {
    let mut settled = String::new();
    wait_until("all has an end", || {
        settled = metrics(crew)?;
        let ends = ["done", "dead"].map(|result| {
            let sample = format!("ephemera_jobs_total{{result=\"{result}\"}}");
            value(&settled, &sample)
        });
        Ok(matches!(ends, [Ok(2.0), Ok(1.0)]))
    })?;
    Ok(settled)
}

/// Of two good jobs and one that panics twice.
fn check(text: &str) -> Result<()> {
    for (sample, expected) in [
        ("ephemera_jobs_received_total", 4.0),
        ("ephemera_jobs_in_hand", 0.0),
        ("ephemera_jobs_total{result=\"done\"}", 2.0),
        ("ephemera_jobs_total{result=\"failed\"}", 1.0),
        ("ephemera_jobs_total{result=\"dead\"}", 1.0),
        ("ephemera_job_phase_seconds_count{phase=\"run\"}", 4.0),
        ("ephemera_job_phase_seconds_count{phase=\"fetch\"}", 4.0),
        (
            "ephemera_requests_total{function=\"ocr\",status=\"200\"}",
            2.0,
        ),
        ("ephemera_inputs_bytes", 0.0),
    ] {
        let actual = value(text, sample)?;
        ensure!(actual == expected, "{sample}: {actual}");
    }
    let peak = value(text, "ephemera_memory_peak_bytes{function=\"ocr\"}")?;
    ensure!(peak > 1e6, "{peak}");
    // Nobody is answered over HTTP.
    ensure!(!text.contains("ephemera_connections"), "{text}");
    Ok(())
}

const WORDS: [&str; 4] = ["--metrics-listen", "127.0.0.1:0", "--attempts", "2"];

#[test]
fn a_folders_worker_counts_its_jobs() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&WORDS)? else {
        return Ok(());
    };
    place.put_pages(&["a.png", "b.png"])?;
    place.put_job("c", "panicking")?;
    crew.start()?;
    let text = settled(&crew)?;
    // Others looked at again meanwhile are given back, and count as received: one place is one item at a time.
    let given_back = value(&text, "ephemera_jobs_total{result=\"given_back\"}")?;
    let received = value(&text, "ephemera_jobs_received_total")?;
    let text = text.replace(
        &format!("ephemera_jobs_received_total {received}"),
        &format!("ephemera_jobs_received_total {}", received - given_back),
    );
    crew.stop()?;
    check(&text)
}

#[test]
fn a_worker_of_redis_counts_its_jobs() -> Result<()> {
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let Some(mut crew) = producer.crew(&WORDS)? else {
        return Ok(());
    };
    for (id, function) in [("a", "ocr"), ("b", "ocr"), ("c", "panicking")] {
        producer.submit(&job(id, function)?)?;
    }
    crew.start()?;
    let text = settled(&crew)?;
    crew.stop()?;
    check(&text)
}

#[test]
fn flags_that_mean_nothing_are_errors() -> Result<()> {
    let Some(program) = binary::path() else {
        return binary::skip("`ephemera` is not built: test the whole workspace");
    };
    let refused = |words: &[&str]| {
        let manifest = runners::root().join("functions/jobs/spin.toml");
        let output = Command::new(&program)
            .arg("--manifest")
            .arg(manifest)
            .arg("up")
            .args(words)
            .env("SPIN_VARIABLE_REDIS_ADDRESS", "redis://127.0.0.1:1")
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{words:?}: {said}");
        Ok(said)
    };
    let command = ["--component-id", "ocr-command"];
    let handler = ["--component-id", "ocr-jobs"];
    for (component, flags, expected) in [
        (command, &["--listen", "127.0.0.1:0"][..], "--listen"),
        (command, &["--metrics-listen", "127.0.0.1:0"], "a command"),
        (command, &["--max-concurrency", "2"], "a command"),
        (command, &["--device", "cpu"], "a command"),
        (command, &["--memory-budget", "1MiB"], "the memory budget"),
        (command, &["--access-log"], "HTTP"),
        (handler, &["--listen", "127.0.0.1:0"], "--listen"),
        (handler, &["--otlp", "http://127.0.0.1:1"], "HTTP"),
        (handler, &["--no-metrics"], "HTTP"),
        (handler, &["--memory-budget", "1MiB"], "the memory budget"),
    ] {
        let words = [&component[..], flags].concat();
        let said = refused(&words)?;
        ensure!(said.contains(expected), "{words:?}: {said}");
    }
    Ok(())
}
