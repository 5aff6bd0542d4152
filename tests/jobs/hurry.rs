//! Jobs in a hurry in a folder: they go before those that came earlier.

use anyhow::{Context, Result};
use serde_json::json;

use super::patient::Patient;
use super::place::{Place, job_of};
use super::producer::job;
use super::project::page;
use super::wait_until;

#[test]
fn who_is_in_a_hurry_overtakes() -> Result<()> {
    let place = Place::new()?;
    let service = Patient::listen(page()?.0)?;
    let words = ["--max-concurrency", "1", "--allow-host", &service.url];
    let Some(mut crew) = place.crew(&words)? else {
        return Ok(());
    };
    let put = |name: &str, priority: &str| {
        let mut job = job(name, "ocr")?;
        job["priority"] = priority.into();
        place.put(&job_of(name), job.to_string().as_bytes())
    };
    // While it is fetched nothing else is begun, and nothing was there when it was.
    let mut first = job("a", "ocr")?;
    first["input"] = json!({"url": format!("{}/page.png", service.url)});
    place.put(&job_of("a"), first.to_string().as_bytes())?;
    crew.start()?;
    service.asked.recv().context("the first is fetched")?;
    for name in ["b", "c", "d"] {
        put(name, "batch")?;
    }
    put("z", "interactive")?;
    service.answer.send(())?;
    wait_until("all has an end", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    let said = crew.all_said()?;
    let stored = |name: &str| said.find(&format!("{name}.job.json: stored"));
    assert!(stored("a").is_some() && stored("a") < stored("z"), "{said}");
    for name in ["b", "c", "d"] {
        assert!(stored("z") < stored(name), "{name}: {said}");
    }
    Ok(())
}
