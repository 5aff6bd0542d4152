//! A server in a process of its own, so that its memory is measured and not its client's.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cgroup::Limited;
use crate::procfs::anonymous_bytes_of;

/// A server, listening; it ends with this value.
pub struct Child {
    process: std::process::Child,
    address: SocketAddr,
    group: Option<Limited>,
}

impl Child {
    /// `ephemera up` of what was built before, on a free port of this machine.
    ///
    /// `arguments`: further ones, such as `--memory-budget 512MiB`. `memory_bytes`: the limit of a control group for it alone.
    ///
    /// # Errors
    ///
    /// It does not start, or there may be no such group.
    pub fn host(
        program: &Path,
        manifest: &Path,
        arguments: &[String],
        memory_bytes: Option<u64>,
    ) -> Result<Self> {
        let group = memory_bytes.map(Limited::new).transpose()?;
        let mut command = match &group {
            None => Command::new(program),
            Some(group) => {
                // It enters the group before it becomes the server, so that nothing of it is counted elsewhere.
                let mut command = Command::new("sh");
                command
                    .args(["-c", "echo 0 > \"$0\" && exec \"$@\""])
                    .arg(group.entrance())
                    .arg(program);
                command
            }
        };
        command
            .arg("--manifest")
            .arg(manifest)
            .args(["up", "--no-build", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("EPHEMERA_LOG", "warn")
            .stdout(Stdio::piped());
        let mut process = command.spawn().context("starting the server")?;
        let said = process.stdout.take().expect("standard output is piped");
        Self::listening(process, said, group)
    }

    /// `wasmtime serve` of `component`, on a free port of this machine.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn wasmtime(program: &Path, component: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .args(["serve", "--addr", "127.0.0.1:0"])
            .arg(component)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting wasmtime serve")?;
        let said = process.stderr.take().expect("standard error is piped");
        Self::listening(process, said, None)
    }

    /// `process` once it says where it listens, as a line with an address like `http://127.0.0.1:3000`.
    fn listening(
        mut process: std::process::Child,
        said: impl std::io::Read + Send + 'static,
        group: Option<Limited>,
    ) -> Result<Self> {
        let mut lines = BufReader::new(said).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("http://")?
                .1
                .trim_end_matches('/')
                .parse()
                .ok()
        });
        let Some(address) = address else {
            bail!("the server ended before it listened: {}", process.wait()?);
        };
        // A full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self {
            process,
            address,
            group,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its anonymous memory now, in bytes.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn anonymous_bytes(&self) -> Result<u64> {
        anonymous_bytes_of(self.process.id()).context("the server has ended")
    }

    /// The group it runs in, if it has one of its own.
    pub fn group(&self) -> Option<&Limited> {
        self.group.as_ref()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell otherwise.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
