//! Who does how much: workers that share a queue, each with a budget of its own.

use anyhow::{Result, ensure};

use super::crew::Crew;
use super::place::Place;
use super::producer::{Producer, job};
use super::wait_until;

/// Jobs in all, and how many are done when the third worker joins.
const JOBS: usize = 150;
const BEFORE: usize = 40;

/// What each worker may have.
const EACH: [&str; 4] = ["--max-concurrency", "1", "--memory-budget", "160MiB"];

#[test]
fn three_workers_of_a_folder_share_it() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&EACH)? else {
        return Ok(());
    };
    let pages: Vec<String> = (0..JOBS).map(|number| format!("{number:03}.png")).collect();
    place.put_pages(&pages.iter().map(String::as_str).collect::<Vec<_>>())?;
    crew.start()?;
    crew.start()?;
    wait_until("some are done", || Ok(place.results()?.len() >= BEFORE))?;
    crew.start()?;
    wait_until("all are done", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    assert_eq!(place.results()?.len(), JOBS);
    check_shares("folder", &crew)
}

#[test]
fn three_workers_of_redis_share_it() -> Result<()> {
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let Some(mut crew) = producer.crew(&EACH)? else {
        return Ok(());
    };
    for number in 0..JOBS {
        producer.submit(&job(&format!("page-{number}"), "ocr")?)?;
    }
    let mut stored = || {
        let counts = producer.counts()?;
        Ok::<_, anyhow::Error>(counts.get("stored").copied().unwrap_or(0) as usize)
    };
    crew.start()?;
    crew.start()?;
    wait_until("some are done", || Ok(stored()? >= BEFORE))?;
    crew.start()?;
    wait_until("all are done", || Ok(stored()? == JOBS))?;
    crew.stop()?;
    check_shares("redis", &crew)
}

/// That of the jobs after the third's first, each of three workers did between a fifth and a half.
fn check_shares(name: &str, crew: &Crew) -> Result<()> {
    let said = crew.said()?;
    let stored = said.iter().map(|log| stored_at(log));
    let stored: Vec<Vec<&str>> = stored.collect();
    ensure!(stored.len() == 3, "{} workers", stored.len());
    let Some(&joined) = stored[2].first() else {
        anyhow::bail!("the third did nothing");
    };
    let after = stored.iter().map(|times| {
        // All of one length, in UTC: they compare as texts.
        let after = times.iter().filter(|&&time| time >= joined);
        after.count()
    });
    let after: Vec<usize> = after.collect();
    let all: usize = after.iter().sum();
    println!("{name}: {after:?} of the {all} jobs after the third joined");
    for done in &after {
        let even = (0.2..=0.5).contains(&(*done as f64 / all as f64));
        ensure!(even, "{after:?} of {all}");
    }
    Ok(())
}

/// When a worker stored results.
fn stored_at(log: &str) -> Vec<&str> {
    let lines = log.lines().filter(|line| line.ends_with(": stored"));
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}
