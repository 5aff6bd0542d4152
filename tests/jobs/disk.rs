//! A small disk of a test's own, which is full until a worker has said so several times.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::project::Built;
use super::wait_until;
use crate::binary::{has, skip};

/// Bytes of the disk.
const SIZE: &str = "131072";

/// A folder `disk`, which is that inside of a sandbox, and beside it `results`, where what was on it lies in the end.
pub(super) struct FullDisk {
    folder: tempfile::TempDir,
    built: Built,
}

impl FullDisk {
    /// `None`, with a word about it, where such a thing cannot be had or a worker not be built.
    pub(super) fn new() -> Result<Option<Self>> {
        if !can_mount()? {
            return Ok(None);
        }
        let Some(built) = Built::new()? else {
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        for name in ["disk", "results"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        Ok(Some(Self { folder, built }))
    }

    /// What is called so, outside of the sandbox or on the disk.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `ephemera jobs` with `words` by a script of bash, until that ends well. The script is given the disk, which it is to fill, a file
    /// that is there when it is to make room, the folder `results`, and then the program's own words. Returns what was said.
    pub(super) fn run(&self, script: &str, words: &[OsString]) -> Result<String> {
        let log = File::create(self.at("log"))?;
        let mut sandboxed = Command::new("bwrap")
            .args(["--bind", "/", "/", "--dev", "/dev", "--proc", "/proc"])
            .args(["--unshare-user", "--die-with-parent", "--size", SIZE])
            .arg("--tmpfs")
            .arg(self.at("disk"))
            .args(["--", "bash", "-c", script, "bash"])
            .args(["disk", "room", "results"].map(|name| self.at(name)))
            .arg(&self.built.program)
            .arg("--manifest")
            .arg(self.built.manifest())
            .args(["jobs", "--no-build"])
            .args(words)
            .env("EPHEMERA_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let said = || Ok::<_, anyhow::Error>(std::fs::read_to_string(self.at("log"))?);
        let ended = (|| {
            wait_until("it says several times that the disk is full", || {
                Ok(said()?.matches("No space left on device").count() > 5)
            })?;
            std::fs::write(self.at("room"), "")?;
            wait_until("it ends", || Ok(sandboxed.try_wait()?.is_some()))
        })();
        // It may have ended by itself.
        let _ = sandboxed.kill();
        let status = sandboxed.wait()?;
        ended.with_context(|| said().unwrap_or_default())?;
        ensure!(status.success(), "{status}: {}", said()?);
        said()
    }
}

/// Whether a disk of a test's own can be had; if not, with a word about it.
fn can_mount() -> Result<bool> {
    if !has("bwrap") {
        skip("bubblewrap is not here")?;
        return Ok(false);
    }
    let tried = Command::new("bwrap")
        .args(["--bind", "/", "/", "--unshare-user", "true"])
        .status()?;
    if !tried.success() {
        // A setting of the machine's, and nothing that could be installed.
        eprintln!("skipped: this machine has no user namespaces for bubblewrap");
    }
    Ok(tried.success())
}

/// Words of a command line, of which some are paths.
pub(super) fn words(words: &[&str], folders: &[(&str, &Path)]) -> Vec<OsString> {
    let folders = folders
        .iter()
        .flat_map(|(flag, path)| [flag.into(), path.as_os_str().to_owned()]);
    words.iter().map(Into::into).chain(folders).collect()
}
