//! Workers as processes, each with a log of its own.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::project::Built;

/// Workers of one queue. Dropping it kills them.
pub(super) struct Crew {
    built: Built,
    logs: tempfile::TempDir,
    arguments: Vec<OsString>,
    /// What the program is started by, such as a sandbox.
    wrapper: Vec<OsString>,
    started: usize,
    workers: Vec<Worker>,
}

struct Worker {
    child: Child,
    /// Of its log.
    number: usize,
}

impl Crew {
    /// None yet; each will be `ephemera jobs` with `arguments`.
    pub(super) fn new(built: Built, arguments: Vec<OsString>) -> Result<Self> {
        Ok(Self {
            built,
            logs: tempfile::tempdir()?,
            arguments,
            wrapper: Vec::new(),
            started: 0,
            workers: Vec::new(),
        })
    }

    /// Those that are started from now on are started by `wrapper`, which ends with its own `--` or the like.
    pub(super) fn wrapped(mut self, wrapper: Vec<OsString>) -> Self {
        self.wrapper = wrapper;
        self
    }

    /// One more; its number.
    pub(super) fn start(&mut self) -> Result<usize> {
        let worker = self.spawn(&[])?;
        self.workers.push(worker);
        Ok(self.workers.len() - 1)
    }

    fn spawn(&mut self, more: &[&str]) -> Result<Worker> {
        let number = self.started;
        let log = std::fs::File::create(self.log(number))?;
        self.started += 1;
        let program = self.built.program.as_os_str();
        let mut words = self.wrapper.iter().map(OsString::as_os_str);
        let first = words.next();
        let mut command = Command::new(first.unwrap_or(program));
        command.args(words);
        if first.is_some() {
            command.arg(program);
        }
        let child = command
            .arg("--manifest")
            .arg(self.built.manifest())
            .args(["jobs", "--no-build"])
            .args(&self.arguments)
            .args(more)
            .env("EPHEMERA_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting a worker")?;
        Ok(Worker { child, number })
    }

    fn log(&self, number: usize) -> PathBuf {
        self.logs.path().join(format!("{number:04}.log"))
    }

    fn said_by(&self, number: usize) -> Result<String> {
        Ok(std::fs::read_to_string(self.log(number))?)
    }

    /// What each of all workers so far said, in the order in which they were started.
    pub(super) fn said(&self) -> Result<Vec<String>> {
        (0..self.started)
            .map(|number| self.said_by(number))
            .collect()
    }

    /// All of that in one.
    pub(super) fn all_said(&self) -> Result<String> {
        Ok(self.said()?.concat())
    }

    /// The process of a worker.
    pub(super) fn process(&self, worker: usize) -> u32 {
        self.workers[worker].child.id()
    }

    /// Kills a worker by SIGKILL, and starts another in its place.
    pub(super) fn replace(&mut self, worker: usize) -> Result<()> {
        self.workers[worker].child.kill()?;
        self.workers[worker].child.wait()?;
        self.workers[worker] = self.spawn(&[])?;
        Ok(())
    }

    /// One that works until nothing is left; an error if it does not end well.
    pub(super) fn once(&mut self) -> Result<()> {
        let status = self.spawn(&["--once"])?.child.wait()?;
        ensure!(status.success(), "{status}: {}", self.all_said()?);
        Ok(())
    }

    /// Asks all workers to stop, and waits until they have.
    pub(super) fn stop(&mut self) -> Result<()> {
        for worker in &self.workers {
            signal("TERM", worker.child.id())?;
        }
        while let Some(mut worker) = self.workers.pop() {
            let status = wait(&mut worker.child)?;
            let said = self.said_by(worker.number)?;
            // One that has just been started does not listen to signals yet, and has nothing in hand.
            let early = said.is_empty() && status.signal() == Some(15);
            ensure!(status.success() || early, "{status}: {said}");
        }
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // It may have ended by itself.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

/// Sends a signal, such as `TERM`, to a process.
pub(super) fn signal(name: &str, process: u32) -> Result<()> {
    let status = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status()?;
    ensure!(status.success(), "kill -s {name} {process}: {status}");
    Ok(())
}

fn wait(worker: &mut Child) -> Result<ExitStatus> {
    let since = Instant::now();
    loop {
        if let Some(status) = worker.try_wait()? {
            return Ok(status);
        }
        ensure!(
            since.elapsed() < Duration::from_secs(90),
            "it does not stop"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
