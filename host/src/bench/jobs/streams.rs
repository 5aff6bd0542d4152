//! Our worker on a stream of a Redis that is started for it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Worker;
use super::folder::characters;
use super::stage::Stage;

const STREAM: &str = "bench";

/// How often it is asked whether the worker has begun.
const LOOK: Duration = Duration::from_millis(50);

/// How long the worker may take until it has made its group.
const START: Duration = Duration::from_secs(60);

/// `ephemera jobs` and a Redis; both end with this value.
pub(super) struct Streams {
    process: Ending,
    /// Not counted as the worker's memory.
    _redis: Ending,
    program: PathBuf,
    manifest: PathBuf,
    url: String,
    out: PathBuf,
}

/// A process that ends with this value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell otherwise.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Streams {
    /// Starts both; Redis keeps its data in memory alone.
    ///
    /// # Errors
    ///
    /// One of them does not start.
    pub(super) fn start(
        program: &Path,
        manifest: &Path,
        arguments: &[String],
        scratch: &Path,
    ) -> Result<Self> {
        // Of those ports that are free now.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let redis = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(scratch)
            .stdout(Stdio::null())
            .spawn()
            .context("starting redis-server")?;
        let redis = Ending(redis);
        let url = format!("redis://127.0.0.1:{port}");
        let process = Command::new(program)
            .arg("--manifest")
            .arg(manifest)
            .args(["jobs", "--no-build", "--stream", STREAM, "--redis", &url])
            .args(arguments)
            .env("EPHEMERA_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting the worker")?;
        let mut streams = Self {
            process: Ending(process),
            _redis: redis,
            program: program.to_owned(),
            manifest: manifest.to_owned(),
            url,
            out: scratch.join("answers"),
        };
        let since = Instant::now();
        // A worker makes its group, and the stream with it, before it takes anything.
        while !exists(port, STREAM).unwrap_or(false) {
            if let Some(status) = streams.process.0.try_wait()? {
                bail!("the worker ended: {status}");
            }
            ensure!(since.elapsed() < START, "the worker does not begin");
            std::thread::sleep(LOOK);
        }
        Ok(streams)
    }
}

/// Whether Redis has a key.
fn exists(port: u16, key: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "EXISTS {key}\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end() == ":1")
}

impl Worker for Streams {
    fn name(&self) -> &'static str {
        "ephemera, Redis"
    }

    fn process(&self) -> u32 {
        self.process.0.id()
    }

    fn read(&mut self, stage: &Stage) -> Result<u64> {
        let status = Command::new(&self.program)
            .arg("--manifest")
            .arg(&self.manifest)
            .args(["submit", "--stream", STREAM, "--redis", &self.url])
            .args(["--function", "ocr", "--wait", "--out"])
            .arg(&self.out)
            .arg(stage.folder())
            .env("EPHEMERA_LOG", "warn")
            .stdout(Stdio::null())
            .status()
            .context("submitting pages")?;
        ensure!(status.success(), "submitting pages ended with {status}");
        characters(&self.out, stage)
    }
}
