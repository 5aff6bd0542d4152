//! Samples -> what a server was like at one moment. What is not among them is 0, or absent where that differs.

use std::collections::BTreeMap;

use super::samples::Samples;
use crate::telemetry::record::Phase;

/// A server at one moment; counts are since it started.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) version: String,
    /// Seconds since the epoch.
    pub(super) started_s: f64,
    /// When this was seen, in seconds since the epoch.
    pub(super) seen_s: f64,
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) running: f64,
    pub(super) max_concurrency: f64,
    pub(super) queue: f64,
    pub(super) queue_limit: f64,
    pub(super) admitted_bytes: f64,
    pub(super) budget_bytes: f64,
    /// Of the budget that is given out, 0 to 1.
    pub(super) share: f64,
    pub(super) instances: f64,
    pub(super) most_instances: f64,
    pub(super) connections: f64,
    pub(super) connections_limit: f64,
    pub(super) bodies_bytes: f64,
    pub(super) bodies_limit_bytes: f64,
    pub(super) spans_dropped: f64,
    pub(super) spans_failed: f64,
    pub(super) anonymous_bytes: f64,
    pub(super) file_bytes: f64,
    pub(super) cpu_s: f64,
    pub(super) cores: f64,
    /// Of the machine's processors.
    pub(super) idle_s: f64,
    pub(super) machine_bytes: f64,
    pub(super) available_bytes: f64,
    pub(super) group_bytes: Option<f64>,
    pub(super) group_limit_bytes: Option<f64>,
    /// Share of time in which something waited for memory, if the kernel tells.
    pub(super) pressure: Option<f64>,
    pub(super) gpus: Vec<Gpu>,
}

/// What a function's requests came to. Requests that led nowhere have the empty name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Function {
    pub(super) statuses: BTreeMap<String, f64>,
    pub(super) rejected: BTreeMap<String, f64>,
    pub(super) duration: Histogram,
    /// By [`Phase`].
    pub(super) phases: [Histogram; Phase::ALL.len()],
    pub(super) memory: Histogram,
    pub(super) peak_bytes: f64,
    pub(super) limit_bytes: f64,
    pub(super) cpu_s: f64,
    pub(super) major_faults: f64,
}

/// Bounds, and how many values lie at or below each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram(pub(super) Vec<(f64, f64)>);

/// One GPU.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub(super) struct Gpu {
    pub(super) device: String,
    pub(super) name: String,
    pub(super) used_bytes: f64,
    pub(super) total_bytes: f64,
    pub(super) own_bytes: f64,
    pub(super) limit_bytes: Option<f64>,
    pub(super) utilisation: Option<f64>,
}

impl Snapshot {
    /// What `samples` say.
    pub(super) fn of(samples: &Samples) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let number = |name: &str| samples.or_zero(name, &[]);
        let resident = |kind| samples.or_zero("ephemera_resident_bytes", &[("kind", kind)]);
        let spans = |result| samples.or_zero("ephemera_spans_total", &[("result", result)]);
        let about = samples.all("ephemera_build_info").first();
        Self {
            version: about.map_or("", |about| about.label("version")).to_owned(),
            started_s: number("process_start_time_seconds"),
            seen_s: now.unwrap_or_default().as_secs_f64(),
            functions: functions(samples),
            running: number("ephemera_running_requests"),
            max_concurrency: number("ephemera_max_concurrency"),
            queue: number("ephemera_queue_length"),
            queue_limit: number("ephemera_queue_limit"),
            admitted_bytes: number("ephemera_admitted_bytes"),
            budget_bytes: number("ephemera_budget_bytes"),
            share: samples
                .get("ephemera_budget_share_ratio", &[])
                .unwrap_or(1.0),
            instances: number("ephemera_instances"),
            most_instances: number("ephemera_instances_most"),
            connections: number("ephemera_connections"),
            connections_limit: number("ephemera_connections_limit"),
            bodies_bytes: number("ephemera_bodies_bytes"),
            bodies_limit_bytes: number("ephemera_bodies_limit_bytes"),
            spans_dropped: spans("dropped"),
            spans_failed: spans("failed"),
            anonymous_bytes: resident("anonymous"),
            file_bytes: resident("file"),
            cpu_s: number("process_cpu_seconds_total"),
            cores: number("ephemera_machine_cores"),
            idle_s: samples.or_zero("ephemera_machine_cpu_seconds_total", &[("mode", "idle")]),
            machine_bytes: number("ephemera_machine_memory_bytes"),
            available_bytes: number("ephemera_machine_memory_available_bytes"),
            group_bytes: samples.get("ephemera_cgroup_memory_bytes", &[]),
            group_limit_bytes: samples.get("ephemera_cgroup_memory_limit_bytes", &[]),
            pressure: samples.get("ephemera_memory_pressure_ratio", &[]),
            gpus: gpus(samples),
        }
    }

    /// What happened from `before` to this moment, as if the server had started then; of another server's life, nothing of it is taken off.
    pub(super) fn since(&self, before: Option<&Self>) -> (Self, f64) {
        let before = before.filter(|before| before.started_s == self.started_s);
        let Some(before) = before else {
            return (self.clone(), (self.seen_s - self.started_s).max(1e-3));
        };
        let mut passed = self.clone();
        passed.cpu_s -= before.cpu_s;
        passed.idle_s -= before.idle_s;
        passed.spans_dropped -= before.spans_dropped;
        passed.spans_failed -= before.spans_failed;
        for (name, function) in &mut passed.functions {
            if let Some(before) = before.functions.get(name) {
                function.take_off(before);
            }
        }
        (passed, (self.seen_s - before.seen_s).max(1e-3))
    }
}

impl Function {
    /// All requests.
    pub(super) fn requests(&self) -> f64 {
        total(self.statuses.values().copied())
    }

    /// Requests with a status that begins with `first`.
    pub(super) fn answered(&self, first: char) -> f64 {
        let of = |(status, _): &(&String, &f64)| status.starts_with(first);
        let counts = self.statuses.iter().filter(of);
        total(counts.map(|(_, count)| *count))
    }

    /// Requests that the host answered for this reason.
    pub(super) fn rejected_for(&self, reason: &str) -> f64 {
        self.rejected.get(reason).copied().unwrap_or(0.0)
    }

    /// The times of `phase`.
    pub(super) fn phase(&self, phase: Phase) -> &Histogram {
        &self.phases[phase as usize]
    }

    fn take_off(&mut self, before: &Self) {
        for (counts, before) in [
            (&mut self.statuses, &before.statuses),
            (&mut self.rejected, &before.rejected),
        ] {
            for (key, count) in counts {
                *count -= before.get(key).unwrap_or(&0.0);
            }
        }
        self.duration.take_off(&before.duration);
        self.memory.take_off(&before.memory);
        for (times, before) in self.phases.iter_mut().zip(&before.phases) {
            times.take_off(before);
        }
        self.cpu_s -= before.cpu_s;
        self.major_faults -= before.major_faults;
    }
}

/// The sum; of nothing it is 0 and not -0, as the standard library has it.
pub(super) fn total(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

impl Histogram {
    /// How many values there are.
    pub(super) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// The value that the share `quantile` of all lies below, on a line between the bounds around it, as Prometheus has it. What lies above
    /// the last bound counts as that. `None` without values.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let wanted = self.count() * quantile;
        let place = self.0.partition_point(|(_, count)| *count < wanted);
        let (bound, count) = *self.0.get(place).filter(|_| self.count() > 0.0)?;
        let (below_bound, below) = match place {
            0 => (0.0, 0.0),
            _ => self.0[place - 1],
        };
        if bound.is_infinite() || count <= below {
            return Some(if bound.is_infinite() {
                below_bound
            } else {
                bound
            });
        }
        Some(below_bound + (bound - below_bound) * (wanted - below) / (count - below))
    }

    fn take_off(&mut self, before: &Self) {
        if self.0.len() == before.0.len() {
            for ((_, count), (_, before)) in self.0.iter_mut().zip(&before.0) {
                *count -= before;
            }
        }
    }
}

fn functions(samples: &Samples) -> BTreeMap<String, Function> {
    let durations = samples.all("ephemera_request_duration_seconds_count");
    let names = durations.iter().map(|sample| sample.label("function"));
    names
        .map(|name| (name.to_owned(), function(samples, name)))
        .collect()
}

fn function(samples: &Samples, name: &str) -> Function {
    let number = |family: &str| samples.or_zero(family, &[("function", name)]);
    let counts = |family: &str, by: &str| {
        let of = samples.all(family).iter();
        of.filter(|sample| sample.label("function") == name)
            .map(|sample| (sample.label(by).to_owned(), sample.value))
            .collect()
    };
    let times = |family: &str| histogram(samples, family, &[("function", name)]);
    let faults = [("function", name), ("kind", "major")];
    Function {
        statuses: counts("ephemera_requests_total", "status"),
        rejected: counts("ephemera_rejected_requests_total", "reason"),
        duration: times("ephemera_request_duration_seconds_bucket"),
        phases: Phase::ALL.map(|phase| {
            let labels = [("function", name), ("phase", phase.name())];
            histogram(samples, "ephemera_request_phase_seconds_bucket", &labels)
        }),
        memory: times("ephemera_memory_bytes_bucket"),
        peak_bytes: number("ephemera_memory_peak_bytes"),
        limit_bytes: number("ephemera_memory_limit_bytes"),
        cpu_s: number("ephemera_cpu_seconds_total"),
        major_faults: samples.or_zero("ephemera_page_faults_total", &faults),
    }
}

fn histogram(samples: &Samples, buckets: &str, labels: &[(&str, &str)]) -> Histogram {
    let of = samples.all(buckets).iter();
    let of = of.filter(|sample| sample.has(labels));
    let bounds = of.filter_map(|sample| {
        let bound: f64 = sample.label("le").parse().ok()?;
        (!bound.is_nan()).then_some((bound, sample.value))
    });
    let mut bounds: Vec<_> = bounds.collect();
    bounds.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    Histogram(bounds)
}

fn gpus(samples: &Samples) -> Vec<Gpu> {
    let about = samples.all("ephemera_gpu_info").iter();
    about
        .map(|about| {
            let device = about.label("device");
            let get = |name: &str| samples.get(name, &[("device", device)]);
            Gpu {
                device: device.to_owned(),
                name: about.label("name").to_owned(),
                used_bytes: get("ephemera_gpu_memory_used_bytes").unwrap_or(0.0),
                total_bytes: get("ephemera_gpu_memory_total_bytes").unwrap_or(0.0),
                own_bytes: get("ephemera_gpu_memory_own_bytes").unwrap_or(0.0),
                limit_bytes: get("ephemera_gpu_memory_limit_bytes"),
                utilisation: get("ephemera_gpu_utilisation_ratio"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_on_a_line_between_bounds() {
        let histogram = Histogram(vec![
            (1.0, 10.0),
            (2.0, 10.0),
            (4.0, 30.0),
            (f64::INFINITY, 40.0),
        ]);
        for (quantile, expected) in [
            (0.125, 0.5),
            (0.25, 1.0),
            (0.5, 3.0),
            (0.75, 4.0),
            (0.95, 4.0),
        ] {
            assert_eq!(histogram.quantile(quantile), Some(expected), "{quantile}");
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram(vec![(f64::INFINITY, 0.0)]).quantile(0.5), None);
        assert_eq!(
            Histogram(vec![(f64::INFINITY, 3.0)]).quantile(0.5),
            Some(0.0)
        );
    }

    fn snapshot(started: u32, requests: u32) -> Snapshot {
        let text = format!(
            "ephemera_build_info{{version=\"1\"}} 1\nprocess_start_time_seconds {started}\n\
             process_cpu_seconds_total {requests}\n\
             ephemera_requests_total{{function=\"f\",status=\"200\"}} {requests}\n\
             ephemera_requests_total{{function=\"f\",status=\"503\"}} 2\n\
             ephemera_request_duration_seconds_bucket{{function=\"f\",le=\"1.0\"}} {requests}\n\
             ephemera_request_duration_seconds_bucket{{function=\"f\",le=\"+Inf\"}} {requests}\n\
             ephemera_request_duration_seconds_count{{function=\"f\"}} {requests}\n"
        );
        Snapshot::of(&Samples::parse(&text).expect("valid"))
    }

    #[test]
    fn what_passed_is_the_difference_unless_the_server_started_anew() {
        let (before, now) = (snapshot(7, 10), snapshot(7, 30));
        let (passed, _) = now.since(Some(&before));
        let function = &passed.functions["f"];
        assert_eq!(
            (function.answered('2'), function.answered('5')),
            (20.0, 0.0)
        );
        assert_eq!((function.duration.count(), passed.cpu_s), (20.0, 20.0));
        let (passed, _) = snapshot(8, 3).since(Some(&before));
        assert_eq!(passed.functions["f"].requests(), 5.0);
    }
}
