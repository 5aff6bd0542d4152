//! What `/metrics` says: records of requests, and readings of the moment -> text for Prometheus.
//!
//! ```text
//! functions.rs  records -> counts and histograms by function
//! histogram.rs  observations -> buckets
//! machine.rs    the kernel's files -> memory and processor time of the process and the machine
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

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::admission::{Budget, Load};
use crate::telemetry::record::Record;

use functions::Functions;
use gpu::Gpus;
use text::{Format, Kind, Text};

/// Counts since the server started.
pub(crate) struct Metrics {
    started: SystemTime,
    functions: Mutex<Functions>,
    gpus: Gpus,
}

/// What the server's parts hold at the moment of asking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gauges {
    pub(crate) load: Load,
    pub(crate) budget: Budget,
    pub(crate) instances: usize,
    pub(crate) most_instances: usize,
    pub(crate) connections: usize,
    pub(crate) max_connections: usize,
    pub(crate) bodies_bytes: u64,
    pub(crate) max_bodies_bytes: u64,
    pub(crate) answers_bytes: u64,
    pub(crate) max_answers_bytes: u64,
    pub(crate) spans: SpanCounts,
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
        }
    }

    /// The function `name` is there, and one request of it may take `memory_bytes`.
    pub(crate) fn declare(&self, name: &str, memory_bytes: u64) {
        self.functions().declare(name, memory_bytes);
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
        (
            "ephemera_connections",
            "Open connections, idle ones included.",
            gauges.connections as f64,
        ),
        (
            "ephemera_connections_limit",
            "Connections that may be open.",
            gauges.max_connections as f64,
        ),
        (
            "ephemera_bodies_bytes",
            "Memory set aside for bodies of requests.",
            gauges.bodies_bytes as f64,
        ),
        (
            "ephemera_bodies_limit_bytes",
            "Memory that bodies may take.",
            gauges.max_bodies_bytes as f64,
        ),
        (
            "ephemera_answers_bytes",
            "Finished answers that their clients have not read yet.",
            gauges.answers_bytes as f64,
        ),
        (
            "ephemera_answers_limit_bytes",
            "Memory that such answers may take.",
            gauges.max_answers_bytes as f64,
        ),
    ] {
        text.family(Kind::Gauge, name, help).sample(&[], value);
    }
    let SpanCounts {
        exported,
        dropped,
        failed,
    } = gauges.spans;
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
