//! What `/metrics` says: records of requests, and readings of the moment -> text for Prometheus.
//!
//! ```text
//! functions.rs  records -> counts and histograms by function
//! histogram.rs  observations -> buckets
//! machine.rs    the kernel's files -> memory and processor time of the process and the machine
//! work.rs       messages and jobs -> counts and histograms
//! gpu.rs        who knows of GPUs -> readings
//! text.rs       families and samples -> the exposition formats
//! ```
//!
//! Labels hold names of the manifest, of the host's own lists and of devices, never what a request brings: a client cannot make series.
//! Everything else is read when somebody asks, so nothing wakes for it.

mod functions;
pub mod gpu;
mod histogram;
mod machine;
pub(crate) mod text;
pub(crate) mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::admission::{Budget, Load};
use crate::telemetry::record::Record;

use functions::Functions;
use gpu::Gpus;
use text::{Format, Kind, Text};
use work::Work;

/// Counts since the server started.
pub(crate) struct Metrics {
    started: SystemTime,
    functions: Mutex<Functions>,
    gpus: Gpus,
    work: Mutex<Vec<Arc<Work>>>,
}

/// What the server's parts hold at the moment of asking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) load: Load,
    pub(crate) budget: Budget,
    pub(crate) instances: usize,
    pub(crate) most_instances: usize,
    /// Of those who are answered over HTTP, if anybody is.
    pub(crate) served: Option<Served>,
    pub(crate) spans: SpanCounts,
}

/// What connections and requests hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    pub(crate) bodies_bytes: u64,
    pub(crate) max_bodies_bytes: u64,
    pub(crate) answers_bytes: u64,
    pub(crate) max_answers_bytes: u64,
}

/// What became of the spans that were to be exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SpanCounts {
    pub(crate) exported: u64,
    /// There was no room for them.
    pub(crate) dropped: u64,
    /// The collector did not take them.
    pub(crate) failed: u64,
}

impl Metrics {
    pub(crate) fn new(gpus: Gpus) -> Self {
        Self {
            started: SystemTime::now(),
            functions: Mutex::default(),
            gpus,
            work: Mutex::default(),
        }
    }

    /// The function `name` is there, and one request of it may take `memory_bytes`.
    pub(crate) fn declare(&self, name: &str, memory_bytes: u64) {
        self.functions().declare(name, memory_bytes);
    }

    /// Tells of `work` too.
    pub(crate) fn measures(&self, work: Arc<Work>) {
        self.work().push(work);
    }

    /// Counts a request.
    pub(crate) fn count(&self, record: &Record) {
        self.functions().count(record);
    }

    /// All of it, as text.
    pub(crate) fn text(&self, gauges: &Gauges, format: Format) -> String {
        let mut text = Text::new(format);
        self.about(&mut text);
        self.write_functions(&mut text);
        self.work().iter().for_each(|work| work.write(&mut text));
        write_gauges(gauges, &mut text);
        machine::write(&mut text);
        gpu::write(&self.gpus.read(), &mut text);
        text.end()
    }

    /// What records came to.
    pub(crate) fn write_functions(&self, text: &mut Text) {
        self.functions().write(text);
    }

    fn about(&self, text: &mut Text) {
        let version = env!("CARGO_PKG_VERSION");
        let architecture = std::env::consts::ARCH;
        text.family(Kind::Gauge, "ephemera_build_info", "The host's version.")
            .sample(&[("version", version), ("architecture", architecture)], 1.0);
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH);
        text.family(
            Kind::Gauge,
            "process_start_time_seconds",
            "When the server started, since the epoch.",
        )
        .sample(&[], started.unwrap_or_default().as_secs_f64());
    }

    fn work(&self) -> MutexGuard<'_, Vec<Arc<Work>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn functions(&self) -> MutexGuard<'_, Functions> {
        // Plain counts are whole even if a holder panicked.
        self.functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_gauges(gauges: &Gauges, text: &mut Text) {
    let Gauges { load, budget, .. } = gauges;
    let share = match budget.memory_bytes {
        0 => 1.0,
        bytes => load.usable_bytes as f64 / bytes as f64,
    };
    for (name, help, value) in [
        (
            "ephemera_running_requests",
            "Requests that run.",
            f64::from(load.running),
        ),
        (
            "ephemera_max_concurrency",
            "Requests that may run at once.",
            f64::from(budget.instances),
        ),
        (
            "ephemera_queue_length",
            "Requests that wait for a part of the budget.",
            load.waiting as f64,
        ),
        (
            "ephemera_queue_limit",
            "Requests that may wait.",
            budget.waiting as f64,
        ),
        (
            "ephemera_queue_wait_limit_seconds",
            "How long a request may wait.",
            budget.wait_time.as_secs_f64(),
        ),
        (
            "ephemera_admitted_bytes",
            "Memory that running requests may take.",
            load.admitted_bytes as f64,
        ),
        (
            "ephemera_budget_bytes",
            "Memory that all requests at once may take.",
            budget.memory_bytes as f64,
        ),
        (
            "ephemera_inputs_bytes",
            "Part of the budget that messages and inputs of jobs take while they are in hand.",
            load.held_bytes as f64,
        ),
        (
            "ephemera_abandoned_bytes",
            "Part of the budget that runs of models take which go on though nobody waits for them.",
            load.abandoned_bytes as f64,
        ),
        (
            "ephemera_budget_share_ratio",
            "Share of the budget that is given out: less than 1 while the machine is short of memory.",
            share,
        ),
        (
            "ephemera_instances",
            "WebAssembly instances that exist.",
            gauges.instances as f64,
        ),
        (
            "ephemera_instances_most",
            "The most that existed at once.",
            gauges.most_instances as f64,
        ),
    ] {
        text.family(Kind::Gauge, name, help).sample(&[], value);
    }
    if let Some(served) = &gauges.served {
        write_served(served, text);
    }
    write_spans(gauges.spans, text);
}

fn write_served(served: &Served, text: &mut Text) {
    for (name, help, value) in [
        (
            "ephemera_connections",
            "Open connections, idle ones included.",
            served.connections as f64,
        ),
        (
            "ephemera_connections_limit",
            "Connections that may be open.",
            served.max_connections as f64,
        ),
        (
            "ephemera_bodies_bytes",
            "Memory set aside for bodies of requests.",
            served.bodies_bytes as f64,
        ),
        (
            "ephemera_bodies_limit_bytes",
            "Memory that bodies may take.",
            served.max_bodies_bytes as f64,
        ),
        (
            "ephemera_answers_bytes",
            "Finished answers that their clients have not read yet.",
            served.answers_bytes as f64,
        ),
        (
            "ephemera_answers_limit_bytes",
            "Memory that such answers may take.",
            served.max_answers_bytes as f64,
        ),
    ] {
        text.family(Kind::Gauge, name, help).sample(&[], value);
    }
}

fn write_spans(spans: SpanCounts, text: &mut Text) {
    let SpanCounts {
        exported,
        dropped,
        failed,
    } = spans;
    let mut spans = text.family(
        Kind::Counter,
        "ephemera_spans",
        "Spans of traces: exported, dropped for want of room, not taken by the collector.",
    );
    for (result, count) in [
        ("exported", exported),
        ("dropped", dropped),
        ("failed", failed),
    ] {
        spans.sample(&[("result", result)], count as f64);
    }
}
