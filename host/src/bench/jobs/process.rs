//! Processes that end with the value that stands for them; our worker among them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How often it is looked at what a process has done.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// How long the worker may take until it has begun.
const START: Duration = Duration::from_secs(60);

/// A process that ends with this value.
pub(super) struct Ending(Child);

impl Ending {
    /// Starts `command`, which says nothing but on its standard error.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(silent.spawn()?))
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// # Errors
    ///
    /// It has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.0.try_wait()? {
            bail!("the worker ended: {status}");
        }
        Ok(())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell otherwise.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `program` with its manifest, as it is to be quiet.
pub(super) fn ephemera(program: &Path, manifest: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--manifest")
        .arg(manifest)
        .env("EPHEMERA_LOG", "warn");
    command
}

/// Starts `ephemera jobs` on the queue that `words` name, and waits until it `has_begun`.
///
/// # Errors
///
/// It does not start, or does not begin.
pub(super) fn worker<W: AsRef<OsStr>>(
    program: &Path,
    manifest: &Path,
    words: &[W],
    arguments: &[String],
    mut has_begun: impl FnMut() -> bool,
) -> Result<Ending> {
    let mut command = ephemera(program, manifest);
    command.args(["jobs", "--no-build"]);
    let mut worker =
        Ending::start(command.args(words).args(arguments)).context("starting the worker")?;
    let since = Instant::now();
    while !has_begun() {
        worker.check()?;
        ensure!(since.elapsed() < START, "the worker does not begin");
        std::thread::sleep(LOOK);
    }
    Ok(worker)
}
