//! Our worker on a hot folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Worker;
use super::process::{Ending, LOOK, worker};
use super::stage::Stage;
use crate::jobs::inbox::{DONE, FAILED, PROGRESS};

/// `ephemera jobs` in a process of its own; it ends with this value.
pub(super) struct Hot {
    process: Ending,
    inbox: PathBuf,
    out: PathBuf,
}

impl Hot {
    /// Starts it on folders below `scratch`. Pages are renamed into its inbox, so none is ever incomplete.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(super) fn start(
        program: &Path,
        manifest: &Path,
        arguments: &[String],
        scratch: &Path,
    ) -> Result<Self> {
        let (inbox, out) = (scratch.join("in"), scratch.join("out"));
        let word = OsStr::new;
        let words = [
            word("--settle-s"),
            word("0"),
            word("--inbox"),
            inbox.as_os_str(),
            word("--out"),
            out.as_os_str(),
        ];
        let has_begun = || inbox.join(PROGRESS).exists();
        let process = worker(program, manifest, &words, arguments, has_begun)?;
        Ok(Self {
            process,
            inbox,
            out,
        })
    }
}

impl Worker for Hot {
    fn name(&self) -> &'static str {
        "ephemera"
    }

    fn process(&self) -> u32 {
        self.process.id()
    }

    fn read(&mut self, stage: &Stage) -> Result<u64> {
        for page in stage.files() {
            // A second name for the same file appears at once, and leaves the stage to the other worker.
            std::fs::hard_link(stage.folder().join(page), self.inbox.join(page))
                .context("queueing a page")?;
        }
        let (done, failed) = (self.inbox.join(DONE), self.inbox.join(FAILED));
        for page in stage.files() {
            while !done.join(page).exists() {
                self.process.check()?;
                ensure!(!failed.join(page).exists(), "the worker failed on {page}");
                std::thread::sleep(LOOK);
            }
        }
        characters(&self.out, stage)
    }
}

/// The characters of all results of a stage below `out`.
pub(super) fn characters(out: &Path, stage: &Stage) -> Result<u64> {
    let counts = stage.files().iter().map(|page| {
        let path = out.join(format!("{page}.txt"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(text.trim_end().chars().count() as u64)
    });
    counts.sum()
}
