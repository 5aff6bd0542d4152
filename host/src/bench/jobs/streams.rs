//! Our worker on a stream of a Redis that is started for it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Worker;
use super::folder::characters;
use super::process::{Ending, ephemera, worker};
use super::stage::Stage;

const STREAM: &str = "bench";

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
        let mut redis = Command::new("redis-server");
        redis
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(scratch);
        let redis = Ending::start(&mut redis).context("starting redis-server")?;
        let url = format!("redis://127.0.0.1:{port}");
        let words = ["--stream", STREAM, "--redis", &url];
        // A worker makes its group, and the stream with it, before it takes anything.
        let has_begun = || exists(port, STREAM).unwrap_or(false);
        let process = worker(program, manifest, &words, arguments, has_begun)?;
        Ok(Self {
            process,
            _redis: redis,
            program: program.to_owned(),
            manifest: manifest.to_owned(),
            url,
            out: scratch.join("answers"),
        })
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
        self.process.id()
    }

    fn read(&mut self, stage: &Stage) -> Result<u64> {
        let status = ephemera(&self.program, &self.manifest)
            .args(["submit", "--stream", STREAM, "--redis", &self.url])
            .args(["--function", "ocr", "--wait", "--out"])
            .arg(&self.out)
            .arg(stage.folder())
            .stdout(Stdio::null())
            .status()
            .context("submitting pages")?;
        ensure!(status.success(), "submitting pages ended with {status}");
        characters(&self.out, stage)
    }
}
