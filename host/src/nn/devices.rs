//! What an operator asks for -> [`Devices`]: which device runs a graph, and how many runs there are at once.
//!
//! Nothing falls back in silence: a GPU that was asked for by its number and cannot be had is an error at start, and what `auto` has taken
//! is in [`Choice::find`]'s log line and in every answer.

use std::cmp::Reverse;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, ensure};
use ephemera_engine::{Data, Tensor};
use tokio::sync::Semaphore;

use super::abandoned;
use super::cpu::{self, Cpu};
use super::device::{Device, DeviceError};
use super::gpu::{self, Built, Descriptions, DeviceChoice, GpuFlags};
use crate::admission::Admission;
use crate::build::Placement;
use crate::metrics::gpu::{Gpu, GpuSource, Ours};
use crate::models;

/// Where models run, as `--device` and `SURYA_GPU_DEVICE` say it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Choice {
    /// Inside the instance of the function.
    #[default]
    Guest,
    /// Outside it.
    Device(DeviceChoice),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "guest" => Ok(Self::Guest),
            other => {
                let device = other.parse().map(Self::Device);
                device.map_err(|_| {
                    format!("expected guest, cpu, auto or cuda:N such as cuda:0, got `{text}`")
                })
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest => f.write_str("guest"),
            Self::Device(device) => device.fmt(f),
        }
    }
}

impl Choice {
    /// Which build of a function it needs.
    pub fn placement(self) -> Placement {
        match self {
            Self::Guest => Placement::Guest,
            Self::Device(_) => Placement::Host,
        }
    }

    /// Looks for what it means on this machine, under `flags`. What it finds goes into the log. `models`: the project's folder; `graphs`:
    /// those that a GPU loads at the start where its memory may not grow.
    ///
    /// # Errors
    ///
    /// A GPU that cannot be used, or is asked for where none may be.
    pub fn find(self, flags: &GpuFlags, models: PathBuf, graphs: Vec<String>) -> Result<Found> {
        let Self::Device(device) = self else {
            return Ok(Found::Guest);
        };
        let devices = gpu::devices(&flags.settings(device, models, graphs)?)?;
        let found = match devices.is_empty() {
            true => Found::Processor,
            false => Found::Gpus(devices),
        };
        tracing::info!("device {self}: models run on {found}");
        Ok(found)
    }
}

/// What there is to run models on.
#[derive(Debug, Clone)]
pub enum Found {
    /// The instance of the function.
    Guest,
    /// The processor.
    Processor,
    /// At least one GPU.
    Gpus(Vec<Arc<gpu::Gpu>>),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest => f.write_str("guest"),
            Self::Processor => f.write_str(cpu::LABEL),
            Self::Gpus(devices) => {
                let labels: Vec<&str> = devices.iter().map(Device::label).collect();
                f.write_str(&labels.join(", "))
            }
        }
    }
}

impl Found {
    /// Which build of a function it needs.
    pub fn placement(&self) -> Placement {
        match self {
            Self::Guest => Placement::Guest,
            Self::Processor | Self::Gpus(_) => Placement::Host,
        }
    }

    /// The devices, for at most `runs` runs at once; none where the models run inside the instance. `graphs`: files with the models that the
    /// functions were built with. GPUs stay those that they are, however often they are opened.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is no stream of models; functions that were built with different models of one name.
    pub fn open(&self, runs: u32, graphs: &[&Path]) -> Result<Option<Arc<Devices>>> {
        let devices = match self {
            Self::Guest => return Ok(None),
            Self::Processor => {
                let mut cpu = Cpu::default();
                for path in graphs {
                    cpu.load(path)?;
                }
                vec![Box::new(cpu) as Box<dyn Device>]
            }
            Self::Gpus(gpus) => {
                let built = Arc::new(descriptions(graphs)?);
                let boxed = |gpu: &Arc<gpu::Gpu>| {
                    let built = Built::new(Arc::clone(gpu), Arc::clone(&built));
                    Box::new(built) as Box<dyn Device>
                };
                gpus.iter().map(boxed).collect()
            }
        };
        Ok(Some(Arc::new(Devices::new(devices, runs)?)))
    }
}

/// What all of the files say that their models are.
fn descriptions(graphs: &[&Path]) -> Result<Descriptions> {
    let mut all = Descriptions::new();
    for path in graphs {
        let reading = || format!("reading the graphs in {}", path.display());
        let file = File::open(path).with_context(reading)?;
        let found = models::descriptions(BufReader::new(file)).with_context(reading)?;
        for (name, described) in found {
            let known = all.entry(name).or_insert(described.clone());
            ensure!(
                *known == described,
                "functions were built with different models of one name: run `ephemera build`"
            );
        }
    }
    Ok(all)
}

/// Devices that have the same graphs.
pub struct Devices {
    /// Each with its runs and those that wait for it.
    all: Vec<(Box<dyn Device>, AtomicUsize)>,
    /// The right to run. A run that nobody waits for any more has it until it ends.
    runs: Arc<Semaphore>,
    /// Whose budget such a run counts in.
    admission: OnceLock<Arc<Admission>>,
}

/// What a run gave, and where it ran.
pub struct Ran {
    /// The label of the device.
    pub device: String,
    /// As [`Device::run`] has it.
    pub outputs: Result<Vec<(String, Tensor)>, DeviceError>,
}

impl Devices {
    /// All of `devices`, for at most `runs` runs at once.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn new(devices: Vec<Box<dyn Device>>, runs: u32) -> Result<Self> {
        ensure!(!devices.is_empty(), "expected a device, got none");
        let idle = |device| (device, AtomicUsize::new(0));
        Ok(Self {
            all: devices.into_iter().map(idle).collect(),
            runs: Arc::new(Semaphore::new(runs.max(1) as usize)),
            admission: OnceLock::new(),
        })
    }

    /// The labels of all, in words.
    pub fn labels(&self) -> String {
        let labels: Vec<&str> = self.all.iter().map(|(device, _)| device.label()).collect();
        labels.join(", ")
    }

    /// Runs that go on now, those included that nobody waits for any more.
    pub fn running(&self) -> usize {
        let running = |(_, running): &(_, AtomicUsize)| running.load(Ordering::SeqCst);
        self.all.iter().map(running).sum()
    }

    /// Bytes of this machine's memory that a run takes for itself, on whichever device.
    pub fn working_bytes(&self, graph: &str, inputs: &[(String, Tensor)]) -> usize {
        let bytes = |(device, _): &(Box<dyn Device>, _)| device.working_bytes(graph, inputs);
        self.all.iter().map(bytes).max().unwrap_or(0)
    }

    /// Has runs that nobody waits for any more counted in the budget of `admission`, or of the first that it was told.
    pub(crate) fn count_in(&self, admission: &Arc<Admission>) {
        // Later ones are of the same process, and of the same memory.
        let _ = self.admission.set(Arc::clone(admission));
    }

    /// Runs `graph` on the device that has the least to do, on a thread that may be held; it takes `working_bytes` of this machine's memory
    /// beside its inputs.
    ///
    /// When this is dropped, a run that has begun goes on in the background, and counts until it ends.
    pub async fn run(
        self: Arc<Self>,
        graph: Arc<str>,
        inputs: Vec<(String, Tensor)>,
        working_bytes: usize,
    ) -> Ran {
        let permit = Arc::clone(&self.runs).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let bytes = inputs.iter().map(|(_, tensor)| bytes_of(tensor));
        let bytes = bytes.fold(working_bytes, usize::saturating_add);
        let (_waits, runs) = abandoned::ends(self.admission.get().cloned(), bytes);
        let counted = self.least_loaded();
        let label = counted.device().label().to_owned();
        let name = Arc::clone(&graph);
        let run = move || {
            let (_permit, _runs) = (permit, runs);
            counted.device().run(&graph, inputs)
        };
        let outputs = tokio::task::spawn_blocking(run).await;
        let outputs = outputs.context("the run ended with a panic");
        Ran {
            outputs: outputs.unwrap_or_else(|cause| {
                Err(DeviceError::Failed {
                    graph: name.as_ref().to_owned(),
                    device: label.clone(),
                    cause,
                })
            }),
            device: label,
        }
    }

    fn least_loaded(self: Arc<Self>) -> Counted {
        let rank = |&place: &usize| {
            let (device, running) = &self.all[place];
            let running = running.load(Ordering::SeqCst);
            (!device.is_ready(), running, Reverse(device.free_bytes()))
        };
        let place = match self.all.len() {
            1 => 0,
            several => (0..several).min_by_key(rank).unwrap_or(0),
        };
        self.all[place].1.fetch_add(1, Ordering::SeqCst);
        Counted {
            devices: self,
            place,
        }
    }
}

impl GpuSource for Devices {
    /// The driver tells what there is.
    fn gpus(&self) -> Vec<Gpu> {
        Vec::new()
    }

    fn ours(&self) -> Vec<Ours> {
        let devices = self.all.iter();
        devices.filter_map(|(device, _)| device.ours()).collect()
    }
}

/// A run on one of the devices, counted for as long as this lives.
struct Counted {
    devices: Arc<Devices>,
    place: usize,
}

impl Counted {
    fn device(&self) -> &dyn Device {
        self.devices.all[self.place].0.as_ref()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.devices.all[self.place]
            .1
            .fetch_sub(1, Ordering::SeqCst);
    }
}

/// Of this machine's memory, as far as it has many.
fn bytes_of(tensor: &Tensor) -> usize {
    match &tensor.data {
        Data::U8(bytes) => bytes.len(),
        Data::F32(reals) => size_of_val(reals.as_slice()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::admission::Budget;

    #[test]
    fn a_device_is_named_as_the_settings_have_it() {
        for (text, expected) in [
            ("guest", Some(Choice::Guest)),
            ("cpu", Some(Choice::Device(DeviceChoice::Cpu))),
            ("auto", Some(Choice::Device(DeviceChoice::Auto))),
            ("cuda:0", Some(Choice::Device(DeviceChoice::Cuda(0)))),
            ("cuda:11", Some(Choice::Device(DeviceChoice::Cuda(11)))),
            ("cuda:", None),
            ("cuda:-1", None),
            ("CPU", None),
            ("", None),
        ] {
            let parsed = text.parse::<Choice>();
            assert_eq!(parsed.clone().ok(), expected, "{text}: {parsed:?}");
            if let Ok(choice) = parsed {
                assert_eq!(choice.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_found_decides_the_build_and_the_devices() {
        let find = |choice: Choice, disabled| {
            let flags = GpuFlags {
                disabled: Some(disabled),
                ..GpuFlags::default()
            };
            choice.find(&flags, "models".into(), vec![])
        };
        let cpu = Choice::Device(DeviceChoice::Cpu);
        for (choice, label) in [
            (Choice::Guest, "guest"),
            (cpu, "cpu"),
            (Choice::Device(DeviceChoice::Auto), "cpu"),
        ] {
            let found = find(choice, true).expect("it is always there");
            assert_eq!(
                (found.placement(), found.to_string()),
                (choice.placement(), label.to_owned())
            );
            let devices = found.open(1, &[]).expect("it opens");
            let labels = devices.map(|devices| devices.labels());
            let outside = choice != Choice::Guest;
            assert_eq!(labels, outside.then(|| "cpu".to_owned()));
        }
        let none = Choice::Device(DeviceChoice::Cuda(99));
        for (disabled, says) in [
            // As many GPUs as no machine has.
            (false, "cuda:99 cannot be used"),
            (true, "DISABLE_GPU is true"),
        ] {
            let error = find(none, disabled).expect_err("there is none");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    /// Says that it runs, and runs until it is told to stop.
    struct Held {
        label: &'static str,
        started: mpsc::Sender<&'static str>,
        stop: std::sync::Mutex<mpsc::Receiver<()>>,
    }

    impl Device for Held {
        fn label(&self) -> &str {
            self.label
        }

        fn run(
            &self,
            graph: &str,
            inputs: Vec<(String, Tensor)>,
        ) -> Result<Vec<(String, Tensor)>, DeviceError> {
            assert_ne!(graph, "panic", "as asked");
            let stop = self.stop.lock().expect("no run panics with it");
            self.started.send(self.label).expect("the test listens");
            stop.recv().expect("the test says when");
            Ok(inputs)
        }
    }

    fn held(
        label: &'static str,
        started: &mpsc::Sender<&'static str>,
    ) -> (Box<dyn Device>, mpsc::Sender<()>) {
        let (stop, stopped) = mpsc::channel();
        let device = Held {
            label,
            started: started.clone(),
            stop: stopped.into(),
        };
        (Box::new(device), stop)
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn runs_are_bounded_counted_and_go_where_least_is_done() {
        let (started, starts) = mpsc::channel();
        let (a, stop_a) = held("a", &started);
        let (b, stop_b) = held("b", &started);
        let devices = Arc::new(Devices::new(vec![a, b], 2).expect("two devices"));
        assert_eq!(devices.labels(), "a, b");
        let admission = Arc::new(Admission::new(Budget {
            memory_bytes: 100,
            instances: 2,
            waiting: 2,
            wait_time: PATIENCE,
        }));
        devices.count_in(&admission);
        let run = || {
            let tensor = Tensor::f32(&[3], vec![0.0; 3]).expect("three reals");
            let inputs = vec![("x".to_owned(), tensor)];
            tokio::spawn(Arc::clone(&devices).run("g".into(), inputs, 5))
        };
        let (first, second) = (run(), run());
        let mut ran = [(); 2].map(|()| starts.recv_timeout(PATIENCE).expect("it starts"));
        ran.sort_unstable();
        assert_eq!(ran, ["a", "b"]);
        let third = run();
        let early = starts.recv_timeout(Duration::from_millis(50));
        assert!(early.is_err(), "two runs are all that there may be");
        // Given up, the first goes on, and still counts.
        first.abort();
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(devices.running(), 2);
        let abandoned_bytes = admission.load().abandoned_bytes;
        assert_eq!(abandoned_bytes, 5 + 12, "its memory is not free yet");
        assert!(starts.recv_timeout(Duration::from_millis(50)).is_err());
        for stop in [&stop_a, &stop_b] {
            stop.send(()).expect("it runs");
        }
        let ran = second.await.expect("it ends");
        assert!(ran.outputs.is_ok());
        let label = starts.recv_timeout(PATIENCE).expect("the third starts");
        let stop = if label == "a" { stop_a } else { stop_b };
        stop.send(()).expect("it runs");
        assert_eq!(third.await.expect("it ends").device, label);
        assert_eq!(admission.load().abandoned_bytes, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_run_that_panics_is_a_failure_and_gives_its_right_back() {
        let (started, _starts) = mpsc::channel();
        let (a, _stop) = held("a", &started);
        let devices = Arc::new(Devices::new(vec![a], 1).expect("a device"));
        for _ in 0..2 {
            let ran = Arc::clone(&devices)
                .run("panic".into(), Vec::new(), 5)
                .await;
            assert!(matches!(ran.outputs, Err(DeviceError::Failed { .. })));
        }
        assert_eq!(devices.running(), 0);
    }
}
