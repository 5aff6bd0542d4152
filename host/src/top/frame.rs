//! Two snapshots -> what is shown: rates, quantiles and readings, in the units of their names.

use serde::Serialize;

use super::advice::{Advice, advise};
use super::snapshot::{Function, Gpu, Histogram, Snapshot};
use crate::telemetry::record::Phase;

/// All that one view shows; `--json` is this.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Frame {
    pub(super) url: String,
    pub(super) version: String,
    /// How long the server has been running.
    pub(super) up_s: f64,
    /// Rates, counts and quantiles are of the last so much.
    pub(super) window_s: f64,
    pub(super) functions: Vec<Row>,
    pub(super) running: f64,
    pub(super) max_concurrency: f64,
    pub(super) queue: f64,
    pub(super) queue_limit: f64,
    pub(super) instances: f64,
    pub(super) most_instances: f64,
    pub(super) connections: f64,
    pub(super) connections_limit: f64,
    pub(super) bodies_bytes: f64,
    pub(super) bodies_limit_bytes: f64,
    pub(super) admitted_bytes: f64,
    pub(super) budget_bytes: f64,
    pub(super) budget_share: f64,
    pub(super) anonymous_bytes: f64,
    pub(super) file_bytes: f64,
    /// Processors' worth of time that the server used.
    pub(super) busy_cores: f64,
    pub(super) cores: f64,
    pub(super) machine_bytes: f64,
    pub(super) available_bytes: f64,
    pub(super) cgroup_bytes: Option<f64>,
    pub(super) cgroup_limit_bytes: Option<f64>,
    pub(super) memory_pressure: Option<f64>,
    pub(super) gpus: Vec<Gpu>,
    pub(super) advice: Vec<Advice>,
}

/// One function.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// Empty for requests whose path led nowhere.
    pub(super) function: String,
    pub(super) requests: f64,
    pub(super) per_second: f64,
    /// Answers with a status of 400 to 499, and from 500 on.
    pub(super) refused: f64,
    pub(super) failed: f64,
    pub(super) total: Times,
    pub(super) body: Times,
    pub(super) admission: Times,
    pub(super) instantiation: Times,
    pub(super) guest: Times,
    pub(super) sending: Times,
    /// Processor time of a request.
    pub(super) cpu_ms: Option<f64>,
    /// Since the server started.
    pub(super) peak_bytes: f64,
    pub(super) limit_bytes: f64,
}

/// Quantiles; none without requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Times {
    pub(super) p50_ms: Option<f64>,
    pub(super) p95_ms: Option<f64>,
}

impl Frame {
    /// Of the server at `url` as it is `now`, with what happened since `before`, or since it started.
    pub(super) fn of(url: &str, before: Option<&Snapshot>, now: &Snapshot) -> Self {
        let (passed, window_s) = now.since(before);
        let rows = passed.functions.iter();
        // Who has not asked for nothing needs no line for it.
        let rows = rows.filter(|(name, function)| !name.is_empty() || function.requests() > 0.0);
        Self {
            url: url.to_owned(),
            version: now.version.clone(),
            up_s: (now.seen_s - now.started_s).max(0.0),
            window_s,
            functions: rows
                .map(|(name, function)| Row::of(name, function, window_s))
                .collect(),
            running: now.running,
            max_concurrency: now.max_concurrency,
            queue: now.queue,
            queue_limit: now.queue_limit,
            instances: now.instances,
            most_instances: now.most_instances,
            connections: now.connections,
            connections_limit: now.connections_limit,
            bodies_bytes: now.bodies_bytes,
            bodies_limit_bytes: now.bodies_limit_bytes,
            admitted_bytes: now.admitted_bytes,
            budget_bytes: now.budget_bytes,
            budget_share: now.share,
            anonymous_bytes: now.anonymous_bytes,
            file_bytes: now.file_bytes,
            busy_cores: passed.cpu_s / window_s,
            cores: now.cores,
            machine_bytes: now.machine_bytes,
            available_bytes: now.available_bytes,
            cgroup_bytes: now.group_bytes,
            cgroup_limit_bytes: now.group_limit_bytes,
            memory_pressure: now.pressure,
            gpus: now.gpus.clone(),
            advice: advise(before, now),
        }
    }
}

impl Row {
    fn of(name: &str, passed: &Function, window_s: f64) -> Self {
        let requests = passed.requests();
        let times = |phase| Times::of(passed.phase(phase));
        Self {
            function: name.to_owned(),
            requests,
            per_second: requests / window_s,
            refused: passed.answered('4'),
            failed: passed.answered('5'),
            total: Times::of(&passed.duration),
            body: times(Phase::Body),
            admission: times(Phase::Admission),
            instantiation: times(Phase::Instantiation),
            guest: times(Phase::Guest),
            sending: times(Phase::Sending),
            cpu_ms: (requests > 0.0).then(|| passed.cpu_s / requests * 1000.0),
            peak_bytes: passed.peak_bytes,
            limit_bytes: passed.limit_bytes,
        }
    }
}

impl Times {
    fn of(times: &Histogram) -> Self {
        let quantile = |quantile| Some(times.quantile(quantile)? * 1000.0);
        Self {
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
        }
    }
}

/// What rows are in order of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Name,
    Rate,
    Slowest,
    Memory,
}

impl Order {
    /// The one after this, round and round.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Name => Self::Rate,
            Self::Rate => Self::Slowest,
            Self::Slowest => Self::Memory,
            Self::Memory => Self::Name,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Slowest => "p95",
            Self::Memory => "memory",
        }
    }

    /// Puts `rows` into this order, the largest first.
    pub(super) fn sort(self, rows: &mut [Row]) {
        let key = |row: &Row| match self {
            Self::Name => 0.0,
            Self::Rate => row.per_second,
            Self::Slowest => row.total.p95_ms.unwrap_or(0.0),
            Self::Memory => row.peak_bytes,
        };
        rows.sort_by(|one, other| {
            let by_key = key(other).total_cmp(&key(one));
            by_key.then_with(|| one.function.cmp(&other.function))
        });
    }
}
