//! Our worker on a hot folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Worker;
use super::stage::Stage;
use crate::jobs::inbox::{DONE, FAILED, PROGRESS};

/// How often the folder is looked at for what is done.
const LOOK: Duration = Duration::from_millis(50);

/// How long the worker may take until it says how far it is.
const START: Duration = Duration::from_secs(60);

/// `ephemera jobs` in a process of its own; it ends with this value.
pub(super) struct Hot {
    process: Child,
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
        let process = Command::new(program)
            .arg("--manifest")
            .arg(manifest)
            .args(["jobs", "--no-build", "--settle-s", "0", "--inbox"])
            .arg(&inbox)
            .arg("--out")
            .arg(&out)
            .args(arguments)
            .env("EPHEMERA_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting the worker")?;
        let mut hot = Self {
            process,
            inbox,
            out,
        };
        let since = Instant::now();
        while !hot.inbox.join(PROGRESS).exists() {
            hot.check()?;
            ensure!(since.elapsed() < START, "the worker does not begin");
            std::thread::sleep(LOOK);
        }
        Ok(hot)
    }

    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("the worker ended: {status}");
        }
        Ok(())
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
                self.check()?;
                ensure!(!failed.join(page).exists(), "the worker failed on {page}");
                std::thread::sleep(LOOK);
            }
        }
        characters(&self.out, stage)
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell otherwise.
        let _ = self.process.kill();
        let _ = self.process.wait();
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
