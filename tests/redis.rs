//! A real Redis on a free port, for as long as a test needs it.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::binary;

/// How long it may take to start, with a log to be read.
const START_TIME: Duration = Duration::from_secs(30);

/// A server, gone with this value. What it has is kept in its folder, and there again after a restart.
pub(crate) struct Redis {
    folder: tempfile::TempDir,
    options: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    /// Starts one; nothing if there is none on this machine, which is a failure where `CI` is set.
    pub(crate) fn start(options: &[&str]) -> Result<Option<Self>> {
        if !binary::has("redis-server") {
            binary::skip("`redis-server` is not installed: apt-get install redis-server")?;
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        // Free now; nobody else is told of it until the server has it.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut redis = Self {
            folder,
            options: options.iter().map(|&option| option.to_owned()).collect(),
            port,
            child: None,
        };
        redis.run()?;
        Ok(Some(redis))
    }

    /// Runs it again, where it was, with what it had.
    pub(crate) fn run(&mut self) -> Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))?;
        let child = Command::new("redis-server")
            .args(["--appendonly", "yes", "--save", "", "--dir"])
            .arg(self.folder.path())
            .args(["--port", &self.port.to_string()])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting redis-server")?;
        self.child = Some(child);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            ensure!(
                began.elapsed() < START_TIME,
                "redis-server does not listen: {}",
                std::fs::read_to_string(self.folder.path().join("log"))?
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it: by SIGKILL, or in good order.
    pub(crate) fn stop(&mut self, kill: bool) -> Result<()> {
        let mut child = self.child.take().context("it runs")?;
        match kill {
            true => child.kill()?,
            false => {
                let pid = child.id().to_string();
                Command::new("kill").args(["-TERM", &pid]).status()?;
            }
        }
        child.wait()?;
        Ok(())
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port, for TLS where it has been given the options for that.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What `redis-cli` prints for a command.
    pub(crate) fn ask(&self, command: &[&str]) -> Result<String> {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(command)
            .output()
            .context("running redis-cli")?;
        if !output.status.success() {
            bail!("redis-cli: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.is_some() {
            // It is on its way out in any case.
            let _ = self.stop(true);
        }
    }
}
