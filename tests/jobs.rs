//! `ephemera jobs`: queues whose workers are killed, starved and poisoned at any moment.
//!
//! ```text
//! project.rs   good and bad functions in one manifest, built once
//! crew.rs      workers as processes, and what they said
//! dice.rs      what happens when, by a seed that is printed and can be given again
//! storm.rs     many jobs, many kills, whatever the queue is
//! stored.rs    how often each result was stored, as the kernel saw it
//! place.rs     an inbox and its results
//! folder.rs    the storm over a folder of files
//! producer.rs  a Redis and who submits jobs to it
//! streams.rs   the storm over Redis
//! poison.rs    jobs that end their guest, or their worker
//! disk.rs      a disk that is full for a while
//! faults.rs    full disks, folders that are gone, inputs that change
//! written.rs   answers of Redis that become files
//! patient.rs   a service that is waited for
//! slow.rs      a disk that is waited for
//! hurry.rs     who goes first in a folder
//! metrics.rs   what workers say of themselves
//! leases.rs    claims that are renewed whatever is waited for
//! webhook.rs   reports that are posted to somebody who is away
//! memory.rs    what idle workers hold
//! shares.rs    who does how much
//! ```

mod crew;
mod dice;
mod disk;
mod faults;
mod folder;
mod hurry;
mod leases;
mod memory;
mod metrics;
mod patient;
mod place;
mod poison;
mod producer;
mod project;
mod shares;
mod slow;
mod stored;
mod storm;
mod streams;
mod webhook;
mod written;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Names of the files in `folder`, not below it.
fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // It may be gone by now.
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            found.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(found)
}

/// Waits until `holds`, for as long as a busy machine may take.
fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let since = Instant::now();
    while !holds()? {
        ensure!(since.elapsed() < Duration::from_secs(120), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
