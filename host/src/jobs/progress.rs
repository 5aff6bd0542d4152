//! How far all workers of an inbox are: each writes what it has done, and whoever looks adds it up.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::claim::now;
use super::inbox::{Inbox, PROGRESS};
use crate::files::{read_at_most, write_atomic, write_through};

/// Workers that said nothing for so long count no more.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Nor does what a worker has under way that said nothing for so long: it is dead.
const SILENT: Duration = Duration::from_secs(60);

/// How often one that is alive says so.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

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
        // What a worker leaves that dies meanwhile lies where it is looked after.
        write_through(
            &folder.join(format!(".{name}.{PROGRESS}.tmp")),
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
        let entry = entry.context("listing workers")?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            remove_if_old(&path);
            continue;
        }
        // One that is just being replaced is counted the next time.
        let Ok(text) = read_at_most(&path, MAX_BYTES) else {
            continue;
        };
        let Ok(worker) = serde_json::from_slice::<Progress>(&text) else {
            continue;
        };
        let silent = Duration::from_secs(now().saturating_sub(worker.at));
        if silent > FORGOTTEN {
            // Another may have removed it.
            let _ = std::fs::remove_file(&path);
            continue;
        }
        sum.stored += worker.stored;
        sum.failed += worker.failed;
        sum.put_back += worker.put_back;
        if silent <= SILENT {
            sum.running += worker.running;
            sum.places += worker.places;
        }
        sum.problem = sum.problem.or(worker.problem);
    }
    Ok(sum)
}

/// Removes what a worker that died had begun to write.
fn remove_if_old(path: &Path) {
    let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    if age.is_some_and(|age| age > FORGOTTEN) {
        // Another may have removed it.
        let _ = std::fs::remove_file(path);
    }
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
        let silent = Progress {
            at: now() - 100,
            ..worker(1, None)
        };
        let silent = serde_json::to_vec(&silent).expect("JSON");
        std::fs::write(inbox.workers().join("e.json"), &silent).expect("written");
        std::fs::write(inbox.workers().join(".f.json.1.tmp"), &silent).expect("written");
        worker(4, None).tell(&inbox, "a").expect("written");
        let text = std::fs::read(inbox.root().join(PROGRESS)).expect("there");
        let all: Progress = serde_json::from_slice(&text).expect("JSON");
        assert_eq!((all.stored, all.running, all.waiting), (8, 2, 7));
        assert_eq!(all.problem.as_deref(), Some("full"));
        assert!(!inbox.workers().join("c.json").exists());
    }
}
