//! Jobs in a hurry in a folder: they go before those that came earlier.

use anyhow::Result;

use super::place::{Place, job_of};
use super::producer::job;
use super::wait_until;

#[test]
fn who_is_in_a_hurry_overtakes() -> Result<()> {
    let place = Place::new()?;
    let Some(mut crew) = place.crew(&["--max-concurrency", "1", "--attempts", "1"])? else {
        return Ok(());
    };
    let put = |name: &str, priority: &str| {
        let mut job = job(name, "ocr")?;
        job["priority"] = priority.into();
        place.put(&job_of(name), job.to_string().as_bytes())
    };
    // It takes its three seconds, longer than the folder is not looked at.
    place.put_job("a", "sleeping")?;
    for name in ["b", "c", "d"] {
        put(name, "batch")?;
    }
    crew.start()?;
    wait_until("the first is worked on", || {
        Ok(place.holder(&job_of("a"))?.is_some())
    })?;
    put("z", "interactive")?;
    wait_until("all has an end", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;
    let said = crew.all_said()?;
    let stored = |name: &str| said.find(&format!("{name}.job.json: stored"));
    assert!(stored("z").is_some(), "{said}");
    assert!(stored("z") < stored("b"), "{said}");
    Ok(())
}
