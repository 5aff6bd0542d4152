//! GPUs as [`Device`]s: `models/<name>` + tensors -> tensors, computed with reals in a process of its own.
//!
//! ```text
//! built.rs      a GPU for the functions of one build
//! settings.rs   flags, environment, presets -> GpuSettings
//! turns.rs      one run at a time, in the order of coming
//! child.rs      the host's end of a worker: start, ask, watch, end
//! frame.rs      what they say to each other
//! worker.rs     the worker: loads graphs, runs them, ends when idle
//! meter.rs      how much memory a worker has taken
//! ```
//!
//! A CUDA context outlives all that is done in it, and an error in it is there to stay; a process can be ended. A worker is started when
//! something is asked of its GPU, and ended when it errs, takes too long or too much, or has had nothing to do. The next request starts
//! another. Nothing is asked twice, but for what met a worker that had just ended for want of work.

mod built;
mod child;
mod frame;
mod meter;
pub mod settings;
mod turns;
pub mod worker;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use ephemera_engine::{Precision, Tensor};

use super::device::{Device, DeviceError};
use crate::gpu::nvml::{self, Found};
use crate::metrics::gpu::Ours;
use crate::{models, shapes};
pub use built::{Built, Descriptions};
use child::{Broken, Watch, Worker};
use frame::{Answer, Ask, Refusal, Tensors};
use meter::Meter;
pub use settings::{DeviceChoice, GpuFlags, GpuSettings, Preset, SettingsError};
use turns::Turns;
use worker::WorkerDevice;

/// A context, and on a machine's first start its kernels, which NVRTC compiles and the disk keeps.
const START_LIMIT: Duration = Duration::from_secs(300);

/// Reading a graph, and writing it to the device.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// How long a second worker in a row that fails keeps a third from being started; doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The GPUs that `settings` mean. None for the processor, and for `auto` where there
/// is none. Each has been tried: its worker has opened it.
///
/// # Errors
///
/// [`DeviceError::Unavailable`] where a GPU is named and cannot be had; where growth is off, all that loading its graphs can say.
pub fn devices(settings: &GpuSettings) -> Result<Vec<Arc<Gpu>>, DeviceError> {
    let gpus = found(settings)?;
    let mut working = vec![];
    for gpu in gpus {
        let ready = match settings.allow_growth {
            true => gpu.try_out(),
            false => gpu.take_all(),
        };
        match ready {
            Ok(()) => working.push(gpu),
            // Whoever leaves the choice to us gets what works.
            Err(error) if settings.device == DeviceChoice::Auto => {
                tracing::warn!("{} is not used: {error}", gpu.label);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(working)
}

/// The same, each by itself.
pub(crate) fn found(settings: &GpuSettings) -> Result<Vec<Arc<Gpu>>, DeviceError> {
    let gpu = |found: &Found| Arc::new(Gpu::cuda(settings, found));
    match settings.device {
        DeviceChoice::Cpu => Ok(vec![]),
        DeviceChoice::Auto => match nvml::visible() {
            Ok(found) => Ok(found.iter().map(gpu).collect()),
            Err(reason) => {
                tracing::info!("no GPU is used: {reason}");
                Ok(vec![])
            }
        },
        DeviceChoice::Cuda(number) => {
            let unavailable = |reason| DeviceError::Unavailable {
                device: settings.device.to_string(),
                reason,
            };
            let found = nvml::visible().map_err(unavailable)?;
            let chosen = found.iter().find(|found| found.number == number);
            let chosen = chosen
                .ok_or_else(|| unavailable(format!("expected a number below {}", found.len())))?;
            Ok(vec![gpu(chosen)])
        }
    }
}

/// One GPU.
#[derive(Debug)]
pub struct Gpu {
    label: String,
    settings: GpuSettings,
    on: WorkerDevice,
    /// What names the GPU to CUDA.
    uuid: Option<String>,
    limit_bytes: u64,
    meter: Meter,
    turns: Turns,
    bench: Mutex<Bench>,
    /// Of the worker, zero for none. Like the next, to be read while it works.
    pid: AtomicU32,
    /// Bytes that the device had in use before the worker was started.
    baseline: AtomicU64,
}

/// Where the worker sits. Whoever has the turn has it too.
#[derive(Debug, Default)]
struct Bench {
    worker: Option<Worker>,
    /// Workers in a row that failed, when the last of them did, and how.
    failures: u32,
    failed: Option<(Instant, String)>,
}

impl Gpu {
    fn cuda(settings: &GpuSettings, found: &Found) -> Self {
        Self {
            label: format!("cuda:{}", found.number),
            limit_bytes: settings.limit_bytes(found.total_bytes),
            meter: Meter::Device(found.uuid.clone()),
            on: WorkerDevice::Cuda,
            uuid: Some(found.uuid.clone()),
            ..Self::on_processor(settings, 0)
        }
    }

    /// The worker on the processor, which may take `limit_bytes`: for tests of all that is not CUDA's.
    pub fn on_processor(settings: &GpuSettings, limit_bytes: u64) -> Self {
        Self {
            label: "cpu-f32".to_owned(),
            settings: settings.clone(),
            on: WorkerDevice::CpuF32,
            uuid: None,
            limit_bytes,
            meter: Meter::Process,
            turns: Turns::default(),
            bench: Mutex::default(),
            pid: AtomicU32::new(0),
            baseline: AtomicU64::new(0),
        }
    }

    /// The process id of the worker, while there is one.
    pub fn worker_pid(&self) -> Option<u32> {
        let pid = self.pid.load(Ordering::Relaxed);
        let alive = pid != 0 && Path::new("/proc").join(pid.to_string()).exists();
        alive.then_some(pid)
    }

    /// Bytes that the worker takes; `None` where there is none, or nothing tells.
    pub fn used_bytes(&self) -> Option<u64> {
        let pid = self.worker_pid()?;
        let baseline = self.baseline.load(Ordering::Relaxed);
        self.meter.used_bytes(pid, baseline)
    }

    /// Requests that run or wait.
    pub fn load(&self) -> usize {
        self.turns.load()
    }

    /// Starts the worker, which says whether the GPU can be used. It ends by itself when it has had nothing to do.
    fn try_out(&self) -> Result<(), DeviceError> {
        let mut bench = self.lock();
        match self.start(&mut bench) {
            Ok(()) => Ok(()),
            Err(attempt) => {
                bench.worker = None;
                Err(match self.told("", attempt) {
                    DeviceError::Failed { device, cause, .. } => DeviceError::Unavailable {
                        device,
                        reason: format!("{cause:#}"),
                    },
                    other => other,
                })
            }
        }
    }

    /// Loads all graphs and runs each once on zeros, so that what they take is taken.
    fn take_all(&self) -> Result<(), DeviceError> {
        for graph in &self.settings.graphs {
            let failed = |cause: anyhow::Error| self.failed(graph, cause);
            let folder = self.settings.models.join(graph);
            let manifest = models::read(&folder).map_err(failed)?.manifest;
            let usual = shapes::usual(&manifest).map_err(failed)?;
            let zeros = shapes::zeros(&manifest, &usual).map_err(failed)?;
            let zeros = zeros.into_iter();
            let zeros = zeros.map(|(name, tensor)| (name.to_owned(), tensor));
            self.run_within(graph, None, &zeros.collect::<Vec<_>>(), LOAD_LIMIT)?;
        }
        Ok(())
    }

    /// `described`: as [`Ask::Load`] has it.
    fn run_within(
        &self,
        graph: &str,
        described: Option<&str>,
        inputs: &[(String, Tensor)],
        limit: Duration,
    ) -> Result<Tensors, DeviceError> {
        let deadline = Instant::now() + limit;
        let _turn = self.turns.take(deadline).ok_or_else(|| {
            let waiting = self.turns.load();
            self.failed(
                graph,
                anyhow!("no turn within {limit:?}, {waiting} ask for it"),
            )
        })?;
        let mut bench = self.lock();
        match self.attempt(&mut bench, (graph, described), inputs, limit) {
            Err(Attempt::Idle) => self
                .attempt(&mut bench, (graph, described), inputs, limit)
                .map_err(|error| self.told(graph, error)),
            other => other.map_err(|error| self.told(graph, error)),
        }
    }

    /// Runs the graph in the worker that is there, or in a new one. A worker that fails is gone afterwards.
    fn attempt(
        &self,
        bench: &mut Bench,
        graph: (&str, Option<&str>),
        inputs: &[(String, Tensor)],
        limit: Duration,
    ) -> Result<Tensors, Attempt> {
        let result = self.converse(bench, graph, inputs, limit);
        match &result {
            Ok(_) => bench.failures = 0,
            // It can go on.
            Err(Attempt::Refused(
                Refusal::UnknownGraph | Refusal::Changed | Refusal::Input(_) | Refusal::Memory(_),
            )) => {}
            Err(Attempt::Paused(_)) => {}
            Err(Attempt::Idle) => bench.worker = None,
            Err(Attempt::Broken(broken)) => bench.fail(broken.to_string()),
            Err(Attempt::Refused(Refusal::Unavailable(reason) | Refusal::Failed(reason))) => {
                bench.fail(reason.clone());
            }
        }
        result
    }

    fn converse(
        &self,
        bench: &mut Bench,
        (graph, described): (&str, Option<&str>),
        inputs: &[(String, Tensor)],
        limit: Duration,
    ) -> Result<Tensors, Attempt> {
        if bench.worker.as_ref().is_none_or(Worker::is_gone) {
            self.start(bench)?;
        }
        let baseline = self.baseline.load(Ordering::Relaxed);
        let worker = bench.worker.as_mut().ok_or(Attempt::Idle)?;
        let ask = |worker: &mut Worker, ask: Ask, tensors: &[(String, Tensor)], limit| {
            let answer = worker.ask(
                &ask,
                tensors,
                &self.watch(limit, &|pid| self.meter.used_bytes(pid, baseline)),
            );
            understood(answer)
        };
        let load = Ask::Load(graph.to_owned(), described.map(str::to_owned));
        ask(worker, load, &[], LOAD_LIMIT)?;
        // What took less than a glance is seen here.
        let used_bytes = self.meter.used_bytes(worker.pid(), baseline).unwrap_or(0);
        if used_bytes > self.limit_bytes {
            return Err(Attempt::Broken(Broken::OverLimit {
                used_bytes,
                limit_bytes: self.limit_bytes,
            }));
        }
        let (_, outputs) = ask(worker, Ask::Run(graph.to_owned()), inputs, limit)?;
        Ok(outputs)
    }

    /// Starts a worker and waits until its device works.
    fn start(&self, bench: &mut Bench) -> Result<(), Attempt> {
        if let Some(left) = bench.pause() {
            let last = bench.failed.as_ref().map_or("", |(_, how)| how);
            return Err(Attempt::Paused(format!(
                "its worker failed {} times in a row, the next is started in {left:.1?}; the last: {last}",
                bench.failures
            )));
        }
        let baseline = self.meter.baseline();
        self.baseline.store(baseline, Ordering::Relaxed);
        let worker = Worker::start(self.command(), &self.label).map_err(|error| {
            Attempt::Refused(Refusal::Unavailable(format!(
                "its worker could not be started: {error}"
            )))
        })?;
        self.pid.store(worker.pid(), Ordering::Relaxed);
        tracing::info!(device = self.label, pid = worker.pid(), "worker started");
        let worker = bench.worker.insert(worker);
        let used = |pid| self.meter.used_bytes(pid, baseline);
        understood(worker.hear(&self.watch(START_LIMIT, &used)))?;
        Ok(())
    }

    fn command(&self) -> Command {
        let settings = &self.settings;
        let mut command = Command::new(&settings.program);
        command
            .arg("gpu-worker")
            .args([
                "--device",
                match self.on {
                    WorkerDevice::Cuda => "cuda",
                    WorkerDevice::CpuF32 => "cpu-f32",
                },
            ])
            .arg("--models")
            .arg(&settings.models)
            .args(["--limit-bytes", &self.limit_bytes.to_string()])
            .args(["--graphs-kept", &settings.graphs_kept.to_string()]);
        if settings.precision == Precision::F16 {
            command.arg("--f16");
        }
        if let Some(idle) = settings.idle {
            let idle_ms = idle.as_millis().max(1);
            command.args(["--idle-ms", &idle_ms.to_string()]);
        }
        if let Some(uuid) = &self.uuid {
            command.env("CUDA_VISIBLE_DEVICES", uuid);
        }
        command
    }

    fn watch<'w>(&self, limit: Duration, used_bytes: &'w dyn Fn(u32) -> Option<u64>) -> Watch<'w> {
        Watch {
            deadline: Instant::now() + limit,
            limit,
            limit_bytes: self.limit_bytes,
            used_bytes,
        }
    }

    /// What is said to who asked.
    fn told(&self, graph: &str, attempt: Attempt) -> DeviceError {
        let graph = graph.to_owned();
        let device = self.label.clone();
        match attempt {
            Attempt::Refused(Refusal::UnknownGraph) => DeviceError::UnknownGraph(graph),
            Attempt::Refused(Refusal::Changed) => DeviceError::Unavailable {
                reason: format!("model `{graph}` was changed after its function was built"),
                device,
            },
            Attempt::Refused(Refusal::Input(reason)) => DeviceError::Input { graph, reason },
            Attempt::Refused(Refusal::Unavailable(reason)) | Attempt::Paused(reason) => {
                DeviceError::Unavailable { device, reason }
            }
            Attempt::Refused(Refusal::Memory(needed)) => {
                tracing::warn!(device, graph, needed, limit = self.limit_bytes, "refused");
                DeviceError::Memory {
                    graph,
                    device,
                    limit_bytes: self.limit_bytes,
                }
            }
            Attempt::Broken(broken @ Broken::OverLimit { .. }) => {
                tracing::warn!(device, graph, "{broken}");
                DeviceError::Memory {
                    graph,
                    device,
                    limit_bytes: self.limit_bytes,
                }
            }
            Attempt::Refused(Refusal::Failed(reason)) => self.failed(&graph, anyhow!(reason)),
            Attempt::Broken(broken) => self.failed(&graph, broken.into()),
            Attempt::Idle => self.failed(&graph, Broken::Idle.into()),
        }
    }

    fn failed(&self, graph: &str, cause: anyhow::Error) -> DeviceError {
        DeviceError::Failed {
            graph: graph.to_owned(),
            device: self.label.clone(),
            cause,
        }
    }

    /// The worker is one that answers or it is none, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Bench> {
        self.bench.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for Arc<Gpu> {
    fn label(&self) -> &str {
        &self.label
    }

    fn run(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, DeviceError> {
        self.run_within(graph, None, &inputs, self.settings.run_limit)
    }

    fn is_ready(&self) -> bool {
        // Whoever holds the bench works.
        let bench = self.bench.try_lock();
        bench.map_or(true, |bench| bench.pause().is_none())
    }

    fn ours(&self) -> Option<Ours> {
        // Without a worker nothing of it is ours.
        let own_bytes = self.worker_pid().map_or(Some(0), |_| self.used_bytes());
        Some(Ours {
            device: self.label.clone(),
            limit_bytes: self.limit_bytes,
            own_bytes,
        })
    }

    fn free_bytes(&self) -> u64 {
        let uuid = self.uuid.as_deref();
        uuid.and_then(nvml::free_bytes).unwrap_or(0)
    }
}

impl Bench {
    fn fail(&mut self, how: String) {
        // Dropping a worker ends it.
        self.worker = None;
        self.failures += 1;
        self.failed = Some((Instant::now(), how));
    }

    /// How long no worker is started yet. The first that fails may be an accident, and is followed by another at once.
    fn pause(&self) -> Option<Duration> {
        let (at, _) = self.failed.as_ref()?;
        let doublings = self.failures.checked_sub(2)?.min(16);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        pause
            .checked_sub(at.elapsed())
            .filter(|left| !left.is_zero())
    }
}

/// How an attempt to run a graph failed.
#[derive(Debug)]
enum Attempt {
    /// It met a worker that had just ended in order.
    Idle,
    /// Too many workers failed just now.
    Paused(String),
    Refused(Refusal),
    Broken(Broken),
}

fn understood(answer: Result<(Answer, Tensors), Broken>) -> Result<(Answer, Tensors), Attempt> {
    match answer {
        Ok((Answer::Refused(refusal), _)) => Err(Attempt::Refused(refusal)),
        Ok(answer) => Ok(answer),
        Err(Broken::Idle) => Err(Attempt::Idle),
        Err(broken) => Err(Attempt::Broken(broken)),
    }
}
