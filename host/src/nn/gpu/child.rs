//! The host's end of a worker: starting it, asking it, watching it, ending it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{self, Answer, Ask, Tensors};

/// How often a worker's memory is looked at while it is at work.
const GLANCE: Duration = Duration::from_millis(25);

/// How long the kernel may take to end a process that was killed.
const DEATH_LIMIT: Duration = Duration::from_secs(5);

/// How a worker ended, or had to be ended, while something was asked of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// By itself and in order: nothing had been asked of it for a while.
    #[error("the worker had ended")]
    Idle,
    #[error("the worker ended in the middle of a run: {0}")]
    Ended(String),
    #[error("the worker gave no answer within {0:?} and was killed")]
    Hung(Duration),
    #[error("the worker took {used_bytes} bytes, its limit is {limit_bytes}, and was killed")]
    OverLimit { used_bytes: u64, limit_bytes: u64 },
    #[error("the worker's answer was {0}, and it was killed")]
    Garbage(String),
}

/// A worker process.
#[derive(Debug)]
pub(super) struct Worker {
    socket: UnixStream,
    process: Arc<Mutex<Child>>,
    pid: u32,
}

/// What a worker is held to while it works.
pub(super) struct Watch<'w> {
    pub(super) deadline: Instant,
    /// For the error's sentence.
    pub(super) limit: Duration,
    pub(super) limit_bytes: u64,
    /// Bytes that the worker has now; `None` where nothing tells.
    pub(super) used_bytes: &'w dyn Fn(u32) -> Option<u64>,
}

impl Worker {
    /// Starts `command` with a socket as its standard input; what it writes to its standard error goes to the log, as `label`'s.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn start(mut command: Command, label: &str) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(GLANCE))?;
        socket.set_write_timeout(Some(GLANCE))?;
        let mut process = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A signal from the terminal is for the host, which still answers what is running.
            .process_group(0)
            .spawn()?;
        // The command holds the other end of the socket, which would never seem closed.
        drop(command);
        let pid = process.id();
        let stderr = process.stderr.take();
        let process = Arc::new(Mutex::new(process));
        let (label, reaped) = (label.to_owned(), process.clone());
        std::thread::Builder::new()
            .name("gpu-worker-log".to_owned())
            .spawn(move || {
                stderr.into_iter().for_each(|stderr| log(&label, stderr));
                // Its end is also the process's, which is waited for so that the kernel forgets it.
                ended(&reaped);
            })?;
        Ok(Self {
            socket,
            process,
            pid,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process has ended.
    pub(super) fn is_gone(&self) -> bool {
        !matches!(lock(&self.process).try_wait(), Ok(None))
    }

    /// Waits for what it says without being asked.
    ///
    /// # Errors
    ///
    /// See [`Broken`]; the worker has ended then.
    pub(super) fn hear(&mut self, watch: &Watch<'_>) -> Result<(Answer, Tensors), Broken> {
        let pid = self.pid;
        let mut patient = Patient {
            socket: &mut self.socket,
            watch,
            pid,
            broken: None,
            heard: false,
        };
        let read = frame::read(&mut patient);
        let (broken, heard) = (patient.broken.take(), patient.heard);
        match (read, broken) {
            (Ok(Some(answer)), _) => Ok(answer),
            (_, Some(broken)) => {
                self.kill();
                Err(broken)
            }
            (Err(error), None) if error.kind() == io::ErrorKind::InvalidData => {
                self.kill();
                Err(Broken::Garbage(error.to_string()))
            }
            (Ok(None) | Err(_), None) => Err(self.end(heard)),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// See [`Broken`]; the worker has ended then.
    pub(super) fn ask(
        &mut self,
        ask: &Ask,
        tensors: &[(String, ephemera_engine::Tensor)],
        watch: &Watch<'_>,
    ) -> Result<(Answer, Tensors), Broken> {
        let mut patient = Patient {
            socket: &mut self.socket,
            watch,
            pid: self.pid,
            broken: None,
            heard: false,
        };
        let written = frame::write(&mut patient, ask, tensors);
        match (written, patient.broken.take()) {
            (Ok(()), _) => self.hear(watch),
            (Err(_), Some(broken)) => {
                self.kill();
                Err(broken)
            }
            (Err(error), None) if error.kind() == io::ErrorKind::InvalidInput => {
                self.kill();
                Err(Broken::Garbage(error.to_string()))
            }
            (Err(_), None) => Err(self.end(false)),
        }
    }

    /// Ends the process now.
    pub(super) fn kill(&self) {
        // It may have ended by itself.
        let _ = lock(&self.process).kill();
        ended(&self.process);
    }

    /// Why the socket was closed.
    fn end(&self, heard: bool) -> Broken {
        let status = ended(&self.process);
        if status.is_none() {
            self.kill();
        }
        match status {
            Some(status) if status.success() && !heard => Broken::Idle,
            Some(status) => Broken::Ended(said(status)),
            None => Broken::Ended("it closed its socket".to_owned()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A socket that gives up when the worker takes too long or too much.
struct Patient<'p, 'w> {
    socket: &'p mut UnixStream,
    watch: &'p Watch<'w>,
    pid: u32,
    broken: Option<Broken>,
    /// Whether a byte came.
    heard: bool,
}

impl Patient<'_, '_> {
    /// Called whenever the worker has been silent for a while.
    fn glance(&mut self) -> io::Result<()> {
        let watch = self.watch;
        self.broken = match (watch.used_bytes)(self.pid) {
            Some(used_bytes) if used_bytes > watch.limit_bytes => Some(Broken::OverLimit {
                used_bytes,
                limit_bytes: watch.limit_bytes,
            }),
            _ if Instant::now() >= watch.deadline => Some(Broken::Hung(watch.limit)),
            _ => return Ok(()),
        };
        Err(io::Error::other("the worker is to be ended"))
    }

    fn patiently<T>(
        &mut self,
        mut act: impl FnMut(&mut UnixStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match act(self.socket) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    self.glance()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl Read for Patient<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.patiently(|socket| socket.read(buffer))?;
        self.heard |= count > 0;
        Ok(count)
    }
}

impl Write for Patient<'_, '_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.patiently(|socket| socket.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock(process: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits a little for a process that is about to end; `None` when it does not.
fn ended(process: &Mutex<Child>) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < DEATH_LIMIT {
        match lock(process).try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return None,
        }
    }
    None
}

fn said(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}

/// Longest line of a worker that is logged, in bytes.
const MAX_LINE_BYTES: u64 = 4096;

/// Logs lines until the other end is closed.
fn log(label: &str, stderr: impl Read) {
    let mut lines = BufReader::new(stderr);
    loop {
        let mut line = vec![];
        match lines
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = String::from_utf8_lossy(&line);
                tracing::info!(device = label, "worker: {}", line.trim_end());
            }
        }
    }
}
