//! The binary `ephemera`, as a process, for what only a process can show.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The binary beside the tests: `cargo test --workspace` builds it, `--test all` alone does not.
pub(crate) fn path() -> Option<PathBuf> {
    let tests = std::env::current_exe().ok()?;
    let binary = tests.parent()?.parent()?.join("ephemera");
    binary.is_file().then_some(binary)
}

/// Says that a test is skipped for want of something; in CI that is a failure.
pub(crate) fn skip(reason: &str) -> Result<()> {
    if std::env::var_os("CI").is_some() {
        bail!("{reason}");
    }
    eprintln!("skipped: {reason}");
    Ok(())
}

/// Whether a program is in the path.
pub(crate) fn has(program: &str) -> bool {
    let said = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    said.is_ok_and(|status| status.success())
}

/// A server that ends with this value.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
    log: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Starts `command`, an `ephemera up` in some form, and waits until it listens.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Result<Self> {
        let mut child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting it")?;
        let (send, log) = mpsc::channel();
        let errors = child.stderr.take().context("standard error")?;
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut output = BufReader::new(child.stdout.take().context("standard output")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        // Examples follow; nobody reads them, and nobody may wait to write them.
        std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
        let address = first.trim().strip_prefix("listening on http://");
        let address = address.map(str::to_owned);
        let mut running = Self {
            child,
            address: String::new(),
            log,
            seen: Vec::new(),
        };
        match address {
            Some(address) => running.address = address,
            None => {
                running.child.wait()?;
                bail!("it does not listen: {}", running.said());
            }
        }
        Ok(running)
    }

    /// What it has said on standard error so far.
    pub(crate) fn said(&mut self) -> String {
        self.seen.extend(self.log.try_iter());
        self.seen.join("\n")
    }

    /// Waits until it says something with `text` in it that it has not been waited for yet.
    pub(crate) fn wait_for(&mut self, text: &str) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(120);
        while Instant::now() < until {
            self.seen.extend(self.log.try_iter());
            if let Some(place) = self.seen.iter().position(|line| line.contains(text)) {
                self.seen.drain(..=place);
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("it did not say `{text}`: {}", self.said())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
