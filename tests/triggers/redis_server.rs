//! Debian's redis-server on a free port, for as long as a test wants it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use redis::{Client, Connection};

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct RedisServer {
    pub(crate) port: u16,
    child: Child,
}

impl RedisServer {
    /// One that holds nothing yet.
    pub(crate) fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self {
            child: spawn(port)?,
            port,
        })
    }

    /// Kills it, and starts another at the same place.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(self.port)?;
        Ok(())
    }

    /// Its host and port.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        connect(self.port)
    }

    /// Publishes, as soon as somebody listens.
    pub(crate) fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        let mut connection = self.connect()?;
        until("somebody listens", || {
            let command = redis::cmd("PUBLISH").arg(channel).arg(message).to_owned();
            let heard: u32 = command.query(&mut connection)?;
            Ok((heard > 0).then_some(()))
        })
    }

    /// The text at `key`, as soon as it is there.
    pub(crate) fn text_at(&self, key: &str) -> Result<String> {
        let mut connection = self.connect()?;
        until(key, || {
            Ok(redis::cmd("GET").arg(key).query(&mut connection)?)
        })
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16) -> Result<Connection> {
    let client = Client::open(format!("redis://127.0.0.1:{port}"))?;
    Ok(client.get_connection_with_timeout(Duration::from_secs(5))?)
}

fn spawn(port: u16) -> Result<Child> {
    let port_text = port.to_string();
    let child = Command::new("redis-server")
        .args(["--port", &port_text, "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("starting redis-server")?;
    until("redis-server answers", || Ok(connect(port).ok()))?;
    Ok(child)
}

/// Waits for something to be there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(there) = look()? {
            return Ok(there);
        }
        ensure!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
