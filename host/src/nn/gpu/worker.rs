//! The worker: the process that holds a device's context and the loaded graphs, at the other end of its standard input.
//!
//! It ends when its host does, when nothing has been asked of it for a while, and when what it reads is no frame. All that it had on the
//! device goes with it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use ephemera_engine::{Error, Model, Precision, RealGraph};

use super::frame::{self, Answer, Ask, Refusal, Tensors};
use crate::digest::sha256;
use crate::models::{self, Folder};

/// What a worker runs graphs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorkerDevice {
    /// The one GPU that `CUDA_VISIBLE_DEVICES` leaves.
    Cuda,
    /// The processor, on the same graphs, for tests of all that is not CUDA's.
    CpuF32,
}

impl WorkerDevice {
    /// tract's name for what runs there.
    fn runtime(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::CpuF32 => "cpu",
        }
    }
}

/// How a worker is started. Its standard input is a socket.
#[derive(Debug, Clone, Args)]
pub struct WorkerOptions {
    /// What it runs graphs on.
    #[arg(long, value_enum)]
    pub device: WorkerDevice,
    /// The project's `models/`.
    #[arg(long)]
    pub models: PathBuf,
    /// Compute with 16 bits.
    #[arg(long)]
    pub f16: bool,
    /// Bytes that it may take.
    #[arg(long)]
    pub limit_bytes: u64,
    /// Graphs that it keeps.
    #[arg(long)]
    pub graphs_kept: usize,
    /// Milliseconds without a question after which it ends; never if not given.
    #[arg(long)]
    pub idle_ms: Option<u64>,
}

/// Exit code after something that is no frame.
const NOT_A_FRAME: i32 = 2;

/// Answers what it is asked until it is to end; does not return but for an error at its start.
///
/// # Errors
///
/// A standard input that is no socket.
pub fn run(options: &WorkerOptions) -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut answers = UnixStream::from(socket);
    answers
        .peer_addr()
        .context("the standard input of a worker is a socket to its host")?;
    let mut questions = answers.try_clone()?;
    let (sender, asked) = mpsc::sync_channel::<(Ask, Tensors)>(1);
    // A thread of its own notices the end of the host while a graph runs.
    std::thread::Builder::new().spawn(move || {
        loop {
            match frame::read(&mut questions) {
                Ok(Some(question)) => {
                    if sender.send(question).is_err() {
                        exit(0);
                    }
                }
                Ok(None) => exit(0),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::error!("{error}");
                    exit(NOT_A_FRAME)
                }
                Err(_) => exit(0),
            }
        }
    })?;

    let device = start(options.device);
    let ready = match &device {
        Ok(()) => Answer::Ready,
        Err(error) => Answer::Refused(Refusal::Unavailable(cut(format!("{error:#}")))),
    };
    frame::write(&mut answers, ready, &[])?;
    if device.is_err() {
        exit(0);
    }

    let mut desk = Desk {
        options,
        graphs: vec![],
    };
    loop {
        let next = match options.idle_ms {
            Some(idle) => asked.recv_timeout(Duration::from_millis(idle)),
            None => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // Idle for long enough, or the host is gone.
        let Ok((ask, tensors)) = next else { exit(0) };
        let (answer, tensors) = match desk.answer(&ask, tensors) {
            Ok(done) => done,
            Err(Refusal::Failed(reason)) => (Answer::Refused(Refusal::Failed(cut(reason))), vec![]),
            Err(refusal) => (Answer::Refused(refusal), vec![]),
        };
        match frame::write(&mut answers, answer, &tensors) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::error!("{error}");
                exit(NOT_A_FRAME)
            }
            // The host is gone.
            Err(_) => exit(0),
        }
    }
}

/// A reason as far as it fits into a frame's head: compilers say a lot.
fn cut(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

/// Bytes of a reason.
const MAX_REASON_BYTES: usize = 4096;

/// Opens the device.
fn start(device: WorkerDevice) -> Result<()> {
    if device == WorkerDevice::CpuF32 {
        return Ok(());
    }
    // Before anything of cudarc's: it panics where a library is missing.
    tract_cuda::utils::ensure_cuda_runtime_dependencies("opening the GPU")?;
    let open = || tract_cuda::with_cuda_stream(|_| Ok(()));
    std::panic::catch_unwind(open).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(anyhow::anyhow!(
            text.unwrap_or_else(|| "CUDA could not be started".to_owned())
        ))
    })
}

/// The loaded graphs, the one used last at the end.
struct Desk<'o> {
    options: &'o WorkerOptions,
    graphs: Vec<Loaded>,
}

struct Loaded {
    name: String,
    /// The SHA-256 of its `model.toml`, which has those of its other files.
    described: String,
    graph: RealGraph,
}

impl Desk<'_> {
    fn answer(&mut self, ask: &Ask, tensors: Tensors) -> Result<(Answer, Tensors), Refusal> {
        match ask {
            Ask::Load(name, described) => {
                self.graph(name, described.as_deref())?;
                Ok((Answer::Loaded, vec![]))
            }
            Ask::Run(name) => {
                self.graph(name, None)?;
                Ok((Answer::Ran, self.run(tensors)?))
            }
        }
    }

    /// Sees to it that the graph `name` is the last, as it is `wanted`.
    fn graph(&mut self, name: &str, wanted: Option<&str>) -> Result<(), Refusal> {
        let index = self.graphs.iter().position(|loaded| loaded.name == name);
        if let Some(index) = index
            && wanted.is_none_or(|wanted| wanted == self.graphs[index].described)
        {
            self.graphs[index..].rotate_left(1);
            return Ok(());
        }
        let folder = read(self.options, name)?;
        let described = sha256(&folder.table).to_string();
        // Another function's request may still want the one that is loaded, so it stays until there is a better one.
        if wanted.is_some_and(|wanted| wanted != described) {
            return Err(Refusal::Changed);
        }
        self.graphs.retain(|loaded| loaded.name != name);
        let excess = (self.graphs.len() + 1).saturating_sub(self.options.graphs_kept.max(1));
        self.graphs.drain(..excess);
        let graph = load(self.options, &folder)?;
        let needed = graph.weight_bytes() + self.weight_bytes();
        if needed > self.options.limit_bytes {
            return Err(Refusal::Memory(needed));
        }
        self.graphs.push(Loaded {
            name: name.to_owned(),
            described,
            graph,
        });
        Ok(())
    }

    fn weight_bytes(&self) -> u64 {
        let graphs = self.graphs.iter();
        graphs.map(|loaded| loaded.graph.weight_bytes()).sum()
    }

    /// Runs the last graph.
    fn run(&self, tensors: Tensors) -> Result<Tensors, Refusal> {
        let Loaded { graph, .. } = self.graphs.last().ok_or(Refusal::UnknownGraph)?;
        let (names, tensors): (Vec<String>, Vec<_>) = tensors.into_iter().unzip();
        let names = names.iter().map(String::as_str);
        let inputs: Vec<(&str, _)> = names.zip(tensors).collect();
        let activations = graph.activation_bytes(&inputs).map_err(refusal)?;
        let needed = activations.saturating_add(self.weight_bytes());
        if needed > self.options.limit_bytes {
            return Err(Refusal::Memory(needed));
        }
        graph.run(&inputs).map_err(refusal)
    }
}

fn read(options: &WorkerOptions, name: &str) -> Result<Folder, Refusal> {
    let folder = folder(&options.models, name).ok_or(Refusal::UnknownGraph)?;
    let failed = |error: anyhow::Error| Refusal::Failed(format!("{error:#}"));
    models::read(&folder).map_err(failed)
}

fn load(options: &WorkerOptions, model: &Folder) -> Result<RealGraph, Refusal> {
    let precision = match options.f16 {
        true => Precision::F16,
        false => Precision::F32,
    };
    let runtime = options.device.runtime();
    RealGraph::load(&model.manifest, &model.onnx, precision, runtime).map_err(refusal)
}

/// The folder of a model, which lies in `models` and nowhere else.
fn folder(models: &Path, name: &str) -> Option<PathBuf> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    let folder = models.join(name);
    (plain && folder.join("model.toml").is_file()).then_some(folder)
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::Input(reason) => Refusal::Input(reason),
        Error::Load(cause) | Error::Run(cause) => Refusal::Failed(format!("{cause:#}")),
        Error::Manifest(_) | Error::Bundle(_) | Error::TooLarge(_) => {
            Refusal::Failed(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_lie_in_their_folder() {
        let models = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(models.path().join("m")).expect("a folder");
        std::fs::write(models.path().join("m/model.toml"), "").expect("a file");
        assert!(folder(models.path(), "m").is_some());
        for name in ["", ".", "..", "../m", "m/../m", "/m", "n", ".m", "m\0"] {
            assert!(folder(models.path(), name).is_none(), "{name:?}");
        }
    }
}
