//! Another worker, behind a program that queues pages for it: what is said and heard is in `host/benches/celery_rapidocr.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

use super::Worker;
use super::stage::Stage;

/// A program that queues pages, and its worker; both end with this value.
pub(super) struct Peer {
    process: Child,
    /// Until it is told that nothing more comes.
    asked: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    worker: u32,
}

impl Peer {
    /// Starts `program` and waits until its worker is ready.
    ///
    /// # Errors
    ///
    /// It does not start, or says something else.
    pub(super) fn start(program: &str, arguments: &[String]) -> Result<Self> {
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let asked = process.stdin.take();
        let said = process.stdout.take().context("standard output is piped")?;
        let mut peer = Self {
            process,
            asked,
            said: BufReader::new(said),
            worker: 0,
        };
        peer.worker = peer.answer("ready")?;
        Ok(peer)
    }

    /// The number that follows `word` on the next line that it says.
    fn answer<T: std::str::FromStr>(&mut self, word: &str) -> Result<T> {
        let mut line = String::new();
        self.said.read_line(&mut line).context("the peer")?;
        let number = line.trim().strip_prefix(word);
        let number = number.and_then(|number| number.trim().parse().ok());
        number.with_context(|| format!("expected `{word} NUMBER` of the peer, got {line:?}"))
    }
}

impl Worker for Peer {
    fn name(&self) -> &'static str {
        "peer"
    }

    fn process(&self) -> u32 {
        self.worker
    }

    fn read(&mut self, stage: &Stage) -> Result<u64> {
        let asked = self.asked.as_mut().context("standard input is piped")?;
        writeln!(asked, "{}", stage.folder().display()).context("telling the peer")?;
        self.answer("done")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is what it ends by, and it ends its worker.
        drop(self.asked.take());
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::jobs::stage::sources;

    fn shell(script: &str) -> Result<Peer> {
        Peer::start("sh", &["-c".to_owned(), script.to_owned()])
    }

    #[test]
    fn a_peer_answers_each_folder() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        std::fs::write(scratch.path().join("page"), "")?;
        let sources = sources(&scratch.path().join("page"))?;
        let stage = Stage::new(scratch.path(), &sources, 0..3)?;
        let script = "echo ready $$; while read f; do echo done $(ls \"$f\" | wc -l); done";
        let mut peer = shell(script)?;
        assert_eq!(peer.process(), peer.process.id());
        assert_eq!(peer.read(&stage)?, 3);
        assert_eq!(peer.read(&stage)?, 3);
        Ok(())
    }

    #[test]
    fn a_peer_that_ends_or_babbles_is_an_error() -> Result<()> {
        let refused = |script: &str| shell(script).err().map(|error| error.to_string());
        assert!(refused("exit 1").is_some_and(|said| said.contains("got \"\"")));
        assert!(refused("echo ready soon").is_some());
        let scratch = tempfile::tempdir()?;
        std::fs::write(scratch.path().join("page"), "")?;
        let sources = sources(&scratch.path().join("page"))?;
        let stage = Stage::new(scratch.path(), &sources, 0..1)?;
        let mut peer = shell("echo ready $$; read f; exit 1")?;
        assert!(peer.read(&stage).is_err());
        Ok(())
    }
}
