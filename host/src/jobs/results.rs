//! The folder of results: what it did not take once is tried again before anything is computed for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

use super::queue::STORAGE_PAUSE;
use crate::files::{
    Part, below, is_unfit, open_plain, read_open_at_most, remove_parts, remove_stale_parts,
    there_below, try_durable,
};

/// Folders that are remembered. A worker has one, or one for each folder of the inbox; the bound is for jobs that name many.
const MAX_FOLDERS: usize = 64;

/// Where results go.
#[derive(Debug)]
pub(crate) struct Results {
    out: PathBuf,
    /// Folders below it that did not take a result.
    refused: Mutex<BTreeMap<PathBuf, Refused>>,
    /// After a failure it is not tried again for so long.
    pause: Duration,
}

/// What is known of a folder that did not take a result.
#[derive(Debug, Clone)]
struct Refused {
    /// Of the result.
    bytes: usize,
    /// When it was tried last.
    tried: Instant,
    /// Why it did not go well then.
    cause: String,
}

impl Refused {
    fn now(bytes: usize, error: &Error) -> Self {
        Self {
            bytes,
            tried: Instant::now(),
            cause: error.root_cause().to_string(),
        }
    }
}

impl Results {
    /// In `out`, which is there.
    pub(crate) fn new(out: PathBuf) -> Self {
        Self {
            out,
            refused: Mutex::default(),
            pause: STORAGE_PAUSE,
        }
    }

    /// Whether a result can be written to `path`, as far as that is known: where the last one could not be, as many bytes are written and
    /// removed again, unless that was tried a moment ago. What a path does not allow at all is found out by whoever writes to it.
    ///
    /// # Errors
    ///
    /// It cannot be.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(path);
        let Some(known) = self.refused().get(folder).cloned() else {
            return Ok(());
        };
        if known.tried.elapsed() < self.pause {
            return Err(Error::msg(known.cause));
        }
        let tried = below(&self.out, path)
            .map_err(Error::from)
            .and_then(|path| try_durable(&path, known.bytes));
        match tried {
            Err(error) if !is_unfit(&error) => {
                let refused = Refused::now(known.bytes, &error);
                self.refused().insert(folder.to_owned(), refused);
                Err(error)
            }
            _ => {
                self.refused().remove(folder);
                Ok(())
            }
        }
    }

    /// Where `path` is below the folder, whose own folders are made.
    ///
    /// # Errors
    ///
    /// It leads out of the folder, or they cannot be made.
    pub(crate) fn find(&self, path: &Path) -> Result<PathBuf> {
        let found = below(&self.out, path).map_err(Error::from);
        self.remembering(path, 0, found)
    }

    /// Writes a result of `path` so that it has only to be given its name: `found`, which is where that is, or another one beside it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(crate) fn write(&self, path: &Path, found: &Path, bytes: &[u8]) -> Result<Part> {
        self.remembering(path, bytes.len(), Part::write(found, bytes))
    }

    /// Gives a result of `path` its name, instead of what was there.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to.
    pub(crate) fn replace(&self, path: &Path, part: Part) -> Result<()> {
        self.remembering(path, 0, part.replace())
    }

    /// The same, unless something of that name is there: whether it has it now.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to.
    pub(crate) fn place(&self, path: &Path, part: Part) -> Result<bool> {
        self.remembering(path, 0, part.place())
    }

    /// Remembers that a result of `path` could not be stored.
    fn remembering<T>(&self, path: &Path, bytes: usize, done: Result<T>) -> Result<T> {
        done.inspect_err(|error| {
            if !is_unfit(error) {
                let mut refused = self.refused();
                if refused.len() >= MAX_FOLDERS {
                    refused.pop_first();
                }
                let folder = path.parent().unwrap_or(path);
                // What did not fit before does not because something smaller failed since.
                let bytes = refused
                    .get(folder)
                    .map_or(bytes, |before| before.bytes.max(bytes));
                refused.insert(folder.to_owned(), Refused::now(bytes, error));
            }
        })
    }

    /// The result of `path`, if it is there and has at most `limit` bytes.
    pub(crate) fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
        let found = there_below(&self.out, path).ok()?;
        let file = open_plain(&found, File::options().read(true)).ok()?;
        read_open_at_most(&file, limit).ok()
    }

    /// Removes what the worker of this process, which is dead, had begun to write to `path`, and nobody holds.
    pub(crate) fn sweep(&self, path: &Path, process: u32) {
        self.sweep_by(path, |path| remove_parts(path, process));
    }

    /// Removes what a dead worker had begun to write to `path`: what nobody has touched for `age` and nobody holds.
    pub(crate) fn sweep_stale(&self, path: &Path, age: Duration) {
        self.sweep_by(path, |path| remove_stale_parts(path, age));
    }

    fn sweep_by(&self, path: &Path, remove: impl Fn(&Path) -> Result<()>) {
        let found = there_below(&self.out, path).map_err(Error::from);
        // Mostly there is none; and what stays does no harm.
        let _ = found.and_then(|path| remove(&path));
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Refused>> {
        // Each entry is whole even if a holder panicked.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_refused_is_tried_before_it_is_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut results = Results::new(folder.path().to_owned());
        results.pause = Duration::ZERO;
        let path = Path::new("a/b.txt");
        let write = || {
            let found = results.find(path)?;
            results.replace(path, results.write(path, &found, b"text")?)
        };
        results.check(path).expect("nothing is known against it");
        // No folder can be made here, whatever rights we have.
        let dangling = folder.path().join("a");
        std::os::unix::fs::symlink("/proc/self/nothing/there", &dangling).expect("linked");
        assert!(write().is_err());
        assert!(results.check(path).is_err(), "as before");
        results.check(Path::new("c.txt")).expect("another folder");
        std::fs::remove_file(dangling).expect("removed");
        results.check(path).expect("it would go well now");
        write().expect("it does");
        let left = std::fs::read_dir(folder.path().join("a")).expect("made");
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn what_failed_a_moment_ago_is_not_tried_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut results = Results::new(folder.path().to_owned());
        let path = Path::new("a/b.txt");
        let dangling = folder.path().join("a");
        std::os::unix::fs::symlink("/proc/self/nothing/there", &dangling).expect("linked");
        let failed = results.find(path).expect_err("as it must");
        std::fs::remove_file(dangling).expect("removed");
        let again = results.check(path).expect_err("it was a moment ago");
        let causes = [failed, again].map(|error| error.root_cause().to_string());
        assert_eq!(causes[0], causes[1]);
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 0, "nothing was written");
        results.pause = Duration::ZERO;
        results.check(path).expect("it is tried, and goes well");
    }
}
