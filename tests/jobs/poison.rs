//! Jobs that end their guest, or their worker: they are given up with their cause, and the others are done.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::place::{Place, job_of};
use super::producer::{Producer, job};
use super::wait_until;

/// How often a bad function is tried.
const ATTEMPTS: u64 = 2;

/// A bad function and what is told of it.
const CAUSES: [(&str, &str); 4] = [
    ("endless", "the function computed for longer than 1 s"),
    (
        "growing",
        "the function needs more than 16 MiB for this request",
    ),
    ("panicking", "the function failed"),
    ("sleeping", "the function took longer than 3 s"),
];

#[test]
fn bad_functions_are_given_up_and_hold_up_nobody() -> Result<()> {
    let place = Place::new()?;
    let attempts = ATTEMPTS.to_string();
    let Some(mut crew) = place.crew(&["--max-concurrency", "2", "--attempts", &attempts])? else {
        return Ok(());
    };
    for (function, _) in CAUSES {
        place.put_job(function, function)?;
    }
    // Their names come last, so that all bad ones are begun before them.
    let pages: Vec<String> = (0..12).map(|number| format!("z{number:02}.png")).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    place.put_pages(&pages)?;
    crew.once()?;
    assert_eq!(place.waiting()?, BTreeSet::new());

    for (function, cause) in CAUSES {
        let told = place.reason(&job_of(function))?;
        let reason = told["reason"].as_str().context("a sentence")?;
        assert!(reason.contains(cause), "{function}: {reason}");
        assert_eq!(told["failures"], ATTEMPTS, "{function}");
        assert_eq!(told["deaths"], 0, "{function}");
    }
    let results = pages.iter().map(|page| format!("{page}.txt"));
    assert_eq!(place.results()?, results.collect::<BTreeSet<_>>());
    // The pages were done while the slowest of the bad ones was still being tried.
    let said = crew.all_said()?;
    let last_page = said.rfind("png: stored").context("pages are told")?;
    let last_failure = said
        .rfind("sleeping.job.json: failed")
        .context("it is told")?;
    assert!(last_page < last_failure, "{said}");
    Ok(())
}

#[test]
fn a_job_that_its_workers_die_of_is_given_up_alone() -> Result<()> {
    const DEATHS: usize = 3;
    let place = Place::new()?;
    let deaths = DEATHS.to_string();
    let Some(mut crew) = place.crew(&["--max-concurrency", "2", "--deaths", &deaths])? else {
        return Ok(());
    };
    let deadly = job_of("deadly");
    place.put_job("deadly", "sleeping")?;
    // One that is under way whenever it is: it takes as long, and would end as it does if it always had to die with it.
    place.put_job("neighbour", "sleeping")?;
    place.put_pages(&["a.png", "z.png"])?;
    let worker = crew.start()?;
    let mut kills = 0;
    wait_until("the deadly job has an end", || {
        if place.holder(&deadly)? == Some(crew.process(worker)) {
            // It has begun by then, and whoever else was begun with it.
            std::thread::sleep(std::time::Duration::from_millis(300));
            crew.replace(worker)?;
            kills += 1;
        }
        Ok(!place.has(&deadly))
    })?;
    wait_until("all has an end", || Ok(place.waiting()?.is_empty()))?;
    crew.stop()?;

    let told = place.reason(&deadly)?;
    assert_eq!(told["deaths"], DEATHS, "{told}");
    assert_eq!(told["reason"], format!("{DEATHS} workers died with it"));
    assert!(kills <= DEATHS + 1, "{kills} kills");
    let told = place.reason(&job_of("neighbour"))?;
    assert_eq!(told["failures"], 3, "of its own fault: {told}");
    let results = ["a.png.txt", "z.png.txt"].map(str::to_owned);
    assert_eq!(place.results()?, BTreeSet::from(results));
    Ok(())
}

#[test]
fn bad_functions_become_dead_letters_and_hold_up_nobody() -> Result<()> {
    const PAGES: u64 = 12;
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let attempts = ATTEMPTS.to_string();
    let Some(mut crew) = producer.crew(&["--max-concurrency", "2", "--attempts", &attempts])?
    else {
        return Ok(());
    };
    for (function, _) in CAUSES {
        producer.submit(&job(function, function)?)?;
    }
    for number in 0..PAGES {
        producer.submit(&job(&format!("page-{number}"), "ocr")?)?;
    }
    crew.once()?;
    for (function, cause) in CAUSES {
        let letter = producer.letter(function)?;
        assert!(letter["reason"].contains(cause), "{letter:?}");
        assert_eq!(letter["attempts"], attempts, "{letter:?}");
        assert_eq!(letter["deaths"], "0", "{letter:?}");
        assert!(letter["job"].contains(function), "it is there in full");
    }
    let counts = producer.counts()?;
    assert_eq!(counts["stored"], PAGES);
    assert_eq!(counts["failed"], CAUSES.len() as u64);
    let said = crew.all_said()?;
    let last_page = said.rfind(": stored").context("pages are told")?;
    let last_failure = said.rfind("sleeping: failed").context("it is told")?;
    assert!(last_page < last_failure, "{said}");
    Ok(())
}

#[test]
fn a_job_that_its_workers_die_of_becomes_a_dead_letter_alone() -> Result<()> {
    const DEATHS: usize = 3;
    let Some(mut producer) = Producer::new()? else {
        return Ok(());
    };
    let deaths = DEATHS.to_string();
    let options = [
        "--max-concurrency",
        "2",
        "--lease-s",
        "2",
        "--deaths",
        &deaths,
    ];
    let Some(mut crew) = producer.crew(&options)? else {
        return Ok(());
    };
    for (id, function) in [
        ("deadly", "sleeping"),
        ("neighbour", "sleeping"),
        ("page", "ocr"),
    ] {
        producer.submit(&job(id, function)?)?;
    }
    let worker = crew.start()?;
    let mut begun = String::new();
    let mut kills = 0;
    wait_until("the deadly job has an end", || {
        let known = producer.known("deadly")?;
        let now = known.get("begun").cloned().unwrap_or_default();
        if !known.contains_key("report") && !now.is_empty() && now != begun {
            begun = now;
            // Whoever else was taken with it has begun by then.
            std::thread::sleep(std::time::Duration::from_millis(300));
            crew.replace(worker)?;
            kills += 1;
        }
        Ok(known.contains_key("report"))
    })?;
    wait_until("all has an end", || Ok(producer.queued()? == 0))?;
    crew.stop()?;
    let letter = producer.letter("deadly")?;
    assert_eq!(letter["reason"], format!("{DEATHS} workers died with it"));
    assert_eq!(letter["deaths"], deaths);
    assert!(kills <= DEATHS + 1, "{kills} kills");
    let letter = producer.letter("neighbour")?;
    assert_eq!(letter["attempts"], "3", "of its own fault: {letter:?}");
    assert_eq!(producer.known("page")?["state"], "done");
    Ok(())
}
