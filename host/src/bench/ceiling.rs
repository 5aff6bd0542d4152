//! What the cores of this machine give to the same work where nothing is shared: the engine natively, in processes of their own.
//!
//! Such a process has no server, no sandbox and no client. What as many of them as there are cores lack of as many times the speed of one is
//! the machine's: its clock, its caches, its memory, and whatever else runs on it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use ephemera_engine::{Graph, Model, Tensor};

use crate::models;

/// One unit of work, about what a page of some lines takes: graphs, heights and widths in pixels, and how often.
const WORK: [(&str, usize, usize, usize); 2] = [
    ("ocr-detector", 448, 768, 1),
    ("ocr-recogniser-latin", 48, 480, 8),
];

/// What is said once the graphs are there, and after each turn.
const READY: &str = "ready";

/// The process: for each line of `asked`, which is a number, does as many units of work and says so.
///
/// # Errors
///
/// `models`, the project's folder, lacks the graphs; a line is no number; `said` cannot be written to.
pub fn work(models: &Path, asked: impl BufRead, mut said: impl Write) -> Result<()> {
    let graphs = WORK.map(|(name, height, width, times)| {
        let folder = models::read(&models.join(name))?;
        let graph = Graph::load(&folder.manifest, &folder.onnx)?;
        let input = folder.manifest.inputs.first().context("a graph's input")?;
        let pixels = vec![128; height * width * 3];
        let tensor = Tensor::u8(&[1, height, width, 3], pixels)?;
        anyhow::Ok((graph, input.name.clone(), tensor, times))
    });
    let graphs = graphs.into_iter().collect::<Result<Vec<_>>>()?;
    let unit = || {
        for (graph, name, tensor, times) in &graphs {
            for _ in 0..*times {
                graph.run(&[(name, tensor.clone())])?;
            }
        }
        anyhow::Ok(())
    };
    unit()?;
    let mut ready = || writeln!(said, "{READY}").and_then(|()| said.flush());
    ready()?;
    for line in asked.lines() {
        let units: u32 = line?.trim().parse().context("expected a number")?;
        for _ in 0..units {
            unit()?;
        }
        ready()?;
    }
    Ok(())
}

/// Some of these processes, which end with this value.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    process: std::process::Child,
    asked: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Workers {
    /// Starts `count` of them, and waits until they have their graphs.
    ///
    /// # Errors
    ///
    /// One does not start, or has no graphs.
    pub(super) fn start(program: &Path, manifest: &Path, count: u32) -> Result<Self> {
        let start = |_| {
            let mut process = Command::new(program)
                .arg("--manifest")
                .arg(manifest)
                .args(["bench", "ceiling"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("starting a process")?;
            let asked = process.stdin.take().expect("standard input is piped");
            let said = process.stdout.take().expect("standard output is piped");
            let said = BufReader::new(said);
            anyhow::Ok(Worker {
                process,
                asked,
                said,
            })
        };
        let workers: Result<Vec<_>> = (0..count).map(start).collect();
        let mut workers = Self(workers?);
        workers.wait()?;
        Ok(workers)
    }

    /// Has each do `units` of work, all at once.
    ///
    /// # Errors
    ///
    /// One has ended.
    pub(super) fn run(&mut self, units: u32) -> Result<()> {
        for worker in &mut self.0 {
            writeln!(worker.asked, "{units}").context("asking a process")?;
        }
        self.wait()
    }

    /// Their numbers.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.0.iter().map(|worker| worker.process.id()).collect()
    }

    fn wait(&mut self) -> Result<()> {
        for worker in &mut self.0 {
            let mut line = String::new();
            worker.said.read_line(&mut line)?;
            ensure!(line.trim() == READY, "a process ended");
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell otherwise.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_as_it_is_asked() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let mut said = Vec::new();
        work(&models, &b"1\n0\n"[..], &mut said).expect("the graphs are committed");
        assert_eq!(said, b"ready\nready\nready\n");
        assert!(work(&models, &b"many\n"[..], Vec::new()).is_err());
        assert!(work(Path::new("/none"), &b""[..], Vec::new()).is_err());
    }
}
