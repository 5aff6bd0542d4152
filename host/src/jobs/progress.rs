//! How far all workers of an inbox are: each writes what it has done, and whoever looks adds it up.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::claim::now;
use super::inbox::{Inbox, PROGRESS};
use crate::files::{read_at_most, write_atomic};

/// Workers that said nothing for so long count no more.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Bytes of what one worker says.
const MAX_BYTES: u64 = 4096;

/// What one worker, or all of them, did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Results stored.
    pub stored: u64,
    /// Items given up.
    pub failed: u64,
    /// Items put back to be tried again, with a reason.
    pub put_back: u64,
    /// Items under way now.
    pub running: u64,
    /// How many may be under way at once, as far as that pays and memory allows it.
    #[serde(default)]
    pub places: u64,
    /// Items that waited when it was last looked.
    pub waiting: u64,
    /// What is wrong with the folders, if anything.
    pub problem: Option<String>,
    /// When this was said, in seconds since 1970 UTC.
    pub at: u64,
}

impl Progress {
    /// Writes what worker `name` did, and what all did.
    ///
    /// # Errors
    ///
    /// The inbox cannot be written to.
    pub fn tell(&self, inbox: &Inbox, name: &str) -> Result<()> {
        let own = Self {
            at: now(),
            ..self.clone()
        };
        let folder = inbox.workers();
        write_atomic(
            &folder.join(format!("{name}.json")),
            &serde_json::to_vec(&own)?,
        )?;
        let sum = sum(&folder, self.waiting)?;
        write_atomic(
            &inbox.root().join(PROGRESS),
            &serde_json::to_vec_pretty(&sum)?,
        )
    }
}

fn sum(folder: &Path, waiting: u64) -> Result<Progress> {
    let mut sum = Progress {
        waiting,
        at: now(),
        ..Progress::default()
    };
    for entry in std::fs::read_dir(folder).context("listing workers")? {
        let path = entry.context("listing workers")?.path();
        // One that is just being replaced is counted the next time.
        let Ok(text) = read_at_most(&path, MAX_BYTES) else {
            continue;
        };
        let Ok(worker) = serde_json::from_slice::<Progress>(&text) else {
            continue;
        };
        if now().saturating_sub(worker.at) > FORGOTTEN.as_secs() {
            // Another may have removed it.
            let _ = std::fs::remove_file(&path);
            continue;
        }
        sum.stored += worker.stored;
        sum.failed += worker.failed;
        sum.put_back += worker.put_back;
        sum.running += worker.running;
        sum.places += worker.places;
        sum.problem = sum.problem.or(worker.problem);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(folder.path(), Duration::ZERO).expect("made");
        let worker = |stored, problem: Option<&str>| Progress {
            stored,
            running: 1,
            waiting: 7,
            problem: problem.map(str::to_owned),
            ..Progress::default()
        };
        worker(2, None).tell(&inbox, "a").expect("written");
        worker(3, Some("full")).tell(&inbox, "b").expect("written");
        worker(4, None).tell(&inbox, "a").expect("written");
        let old = Progress {
            at: 5,
            ..worker(100, None)
        };
        std::fs::write(
            inbox.workers().join("c.json"),
            serde_json::to_vec(&old).expect("JSON"),
        )
        .expect("written");
        std::fs::write(inbox.workers().join("d.json"), "{").expect("written");
        worker(4, None).tell(&inbox, "a").expect("written");
        let text = std::fs::read(inbox.root().join(PROGRESS)).expect("there");
        let all: Progress = serde_json::from_slice(&text).expect("JSON");
        assert_eq!((all.stored, all.running, all.waiting), (7, 2, 7));
        assert_eq!(all.problem.as_deref(), Some("full"));
        assert!(!inbox.workers().join("c.json").exists());
    }
}
