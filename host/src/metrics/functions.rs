//! Records of requests -> counts and histograms by function.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;

use super::histogram::{BYTES, Histogram, SECONDS};
use super::text::{Kind, Text};
use crate::admission::Priority;
use crate::telemetry::record::{CLIENT_LEFT, Phase, Record};

/// Devices that are told apart. The host has a handful; the bound is for whoever makes labels by mistake.
const MAX_DEVICES: usize = 64;

/// All functions, and requests that led to none.
pub(super) struct Functions {
    by_name: BTreeMap<Arc<str>, Counts>,
    waits: [(Priority, Histogram); 2],
}

/// Of one function.
struct Counts {
    memory_limit_bytes: u64,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<&'static str, u64>,
    devices: BTreeMap<Box<str>, u64>,
    duration: Histogram,
    phases: [Histogram; Phase::ALL.len()],
    memory: Histogram,
    peak_memory_bytes: u64,
    cpu_s: f64,
    minor_faults: u64,
    major_faults: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Default for Functions {
    fn default() -> Self {
        let wait = |priority| (priority, Histogram::new(SECONDS));
        Self {
            by_name: BTreeMap::new(),
            waits: [wait(Priority::Interactive), wait(Priority::Batch)],
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            memory_limit_bytes: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            devices: BTreeMap::new(),
            duration: Histogram::new(SECONDS),
            phases: std::array::from_fn(|_| Histogram::new(SECONDS)),
            memory: Histogram::new(BYTES),
            peak_memory_bytes: 0,
            cpu_s: 0.0,
            minor_faults: 0,
            major_faults: 0,
            received_bytes: 0,
            sent_bytes: 0,
        }
    }
}

impl Functions {
    pub(super) fn declare(&mut self, name: &str, memory_bytes: u64) {
        let counts = self.by_name.entry(name.into()).or_default();
        counts.memory_limit_bytes = memory_bytes;
    }

    pub(super) fn count(&mut self, record: &Record) {
        if let Some(wait) = record.took(Phase::Admission) {
            let of = |(priority, _): &&mut (Priority, Histogram)| *priority == record.priority;
            if let Some((_, waits)) = self.waits.iter_mut().find(of) {
                waits.observe(wait.as_secs_f64());
            }
        }
        // What leads nowhere has no name.
        let name = record.function.clone().unwrap_or_else(|| "".into());
        self.by_name.entry(name).or_default().count(record);
    }

    pub(super) fn write(&self, text: &mut Text) {
        self.write_outcomes(text);
        self.write_times(text);
        self.write_memory(text);
        self.write_totals(text);
    }

    fn write_outcomes(&self, text: &mut Text) {
        let mut family = text.family(
            Kind::Counter,
            "ephemera_requests",
            "Requests by function and status; 499 if the client left, no function if the path leads to none.",
        );
        for (name, counts) in &self.by_name {
            for (status, count) in &counts.statuses {
                let status = match status {
                    0 => "other".to_owned(),
                    status => status.to_string(),
                };
                let labels = [("function", &**name), ("status", &status)];
                family.sample(&labels, *count as f64);
            }
        }
        let mut family = text.family(
            Kind::Counter,
            "ephemera_rejected_requests",
            "Requests that the host answered instead of the function, by reason.",
        );
        for (name, counts) in &self.by_name {
            for (reason, count) in &counts.failures {
                let labels = [("function", &**name), ("reason", reason)];
                family.sample(&labels, *count as f64);
            }
        }
        let mut family = text.family(
            Kind::Counter,
            "ephemera_device_requests",
            "Requests whose graphs ran outside the guest, by device.",
        );
        for (name, counts) in &self.by_name {
            for (device, count) in &counts.devices {
                let labels = [("function", &**name), ("device", device)];
                family.sample(&labels, *count as f64);
            }
        }
    }

    fn write_times(&self, text: &mut Text) {
        let mut family = text.family(
            Kind::Histogram,
            "ephemera_request_duration_seconds",
            "From a request's headers to the last byte of its answer.",
        );
        for (name, counts) in &self.by_name {
            counts.duration.write(&mut family, &[("function", name)]);
        }
        let mut family = text.family(
            Kind::Histogram,
            "ephemera_request_phase_seconds",
            "Time of a request by phase.",
        );
        for (name, counts) in &self.by_name {
            for (phase, times) in Phase::ALL.iter().zip(&counts.phases) {
                let labels = [("function", &**name), ("phase", phase.name())];
                times.write(&mut family, &labels);
            }
        }
        let mut family = text.family(
            Kind::Histogram,
            "ephemera_queue_wait_seconds",
            "How long requests waited for a part of the budget, by priority.",
        );
        for (priority, waits) in &self.waits {
            waits.write(&mut family, &[("priority", priority.name())]);
        }
    }

    fn write_memory(&self, text: &mut Text) {
        let mut family = text.family(
            Kind::Histogram,
            "ephemera_memory_bytes",
            "Linear memory of requests' instances at their largest.",
        );
        for (name, counts) in &self.by_name {
            counts.memory.write(&mut family, &[("function", name)]);
        }
        let mut family = text.family(
            Kind::Gauge,
            "ephemera_memory_peak_bytes",
            "The most linear memory that an instance took since the start.",
        );
        for (name, counts) in &self.by_name {
            family.sample(&[("function", name)], counts.peak_memory_bytes as f64);
        }
        let mut family = text.family(
            Kind::Gauge,
            "ephemera_memory_limit_bytes",
            "Linear memory that one request may take.",
        );
        for (name, counts) in self.named() {
            family.sample(&[("function", name)], counts.memory_limit_bytes as f64);
        }
    }

    fn write_totals(&self, text: &mut Text) {
        type Total = fn(&Counts) -> f64;
        let totals: [(&str, &str, Total); 3] = [
            (
                "ephemera_cpu_seconds",
                "Processor time of instances.",
                |counts| counts.cpu_s,
            ),
            ("ephemera_received_bytes", "Bodies of requests.", |counts| {
                counts.received_bytes as f64
            }),
            ("ephemera_sent_bytes", "Bodies of answers.", |counts| {
                counts.sent_bytes as f64
            }),
        ];
        for (name, help, total) in totals {
            let mut family = text.family(Kind::Counter, name, help);
            for (name, counts) in &self.by_name {
                family.sample(&[("function", name)], total(counts));
            }
        }
        let mut family = text.family(
            Kind::Counter,
            "ephemera_page_faults",
            "Page faults of instances: minor ones touch a page first, major ones read it from a disk.",
        );
        for (name, counts) in &self.by_name {
            for (kind, faults) in [
                ("minor", counts.minor_faults),
                ("major", counts.major_faults),
            ] {
                let labels = [("function", &**name), ("kind", kind)];
                family.sample(&labels, faults as f64);
            }
        }
    }

    /// Functions of the manifest.
    fn named(&self) -> impl Iterator<Item = (&Arc<str>, &Counts)> {
        self.by_name.iter().filter(|(name, _)| !name.is_empty())
    }
}

impl Counts {
    fn count(&mut self, record: &Record) {
        *self.statuses.entry(known(record.status())).or_default() += 1;
        if let Some(reason) = record.failure {
            *self.failures.entry(reason).or_default() += 1;
        }
        if let Some(device) = &record.device
            && (self.devices.contains_key(device) || self.devices.len() < MAX_DEVICES)
        {
            *self.devices.entry(device.clone()).or_default() += 1;
        }
        self.duration.observe(record.total.as_secs_f64());
        for (phase, times) in Phase::ALL.iter().zip(&mut self.phases) {
            if let Some(took) = record.took(*phase) {
                times.observe(took.as_secs_f64());
            }
        }
        // Who is refused before there is an instance says nothing of how much one takes.
        if record.peak_memory_bytes > 0 {
            self.memory.observe(record.peak_memory_bytes as f64);
            self.peak_memory_bytes = self.peak_memory_bytes.max(record.peak_memory_bytes);
        }
        self.cpu_s += record.cpu.as_secs_f64();
        self.minor_faults += record.minor_faults;
        self.major_faults += record.major_faults;
        self.received_bytes += record.received_bytes;
        self.sent_bytes += record.sent_bytes;
    }
}

/// A function may answer with any number; those without a name share 0, or it could make series without end.
fn known(status: u16) -> u16 {
    let named = StatusCode::from_u16(status).is_ok_and(|code| code.canonical_reason().is_some());
    match named || status == CLIENT_LEFT {
        true => status,
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::text::Format;
    use crate::telemetry::record::tests::record;

    fn written(functions: &Functions) -> String {
        let mut text = Text::new(Format::Prometheus);
        functions.write(&mut text);
        text.end()
    }

    #[test]
    fn a_record_counts_once_in_each_family_that_it_concerns() {
        let mut functions = Functions::default();
        functions.declare("ocr", 128 << 20);
        functions.declare("gait", 64 << 20);
        let mut one = record("ocr", 200);
        one.phases[Phase::Admission as usize] = Some((Duration::ZERO, Duration::from_millis(3)));
        one.phases[Phase::Guest as usize] = Some((Duration::ZERO, Duration::from_millis(30)));
        one.priority = Priority::Batch;
        one.peak_memory_bytes = 20 << 20;
        one.minor_faults = 7;
        one.received_bytes = 11;
        one.sent_bytes = 13;
        one.cpu = Duration::from_millis(500);
        one.device = Some("cpu".into());
        functions.count(&one);
        one.peak_memory_bytes = 0;
        one.failure = Some("queue_full");
        one.status = Some(503);
        functions.count(&one);
        let text = written(&functions);
        for line in [
            "ephemera_requests_total{function=\"ocr\",status=\"200\"} 1",
            "ephemera_requests_total{function=\"ocr\",status=\"503\"} 1",
            "ephemera_rejected_requests_total{function=\"ocr\",reason=\"queue_full\"} 1",
            "ephemera_device_requests_total{function=\"ocr\",device=\"cpu\"} 2",
            "ephemera_request_phase_seconds_bucket{function=\"ocr\",phase=\"guest\",le=\"0.025\"} 0",
            "ephemera_request_phase_seconds_bucket{function=\"ocr\",phase=\"guest\",le=\"0.05\"} 2",
            "ephemera_request_phase_seconds_count{function=\"ocr\",phase=\"body\"} 0",
            "ephemera_queue_wait_seconds_count{priority=\"batch\"} 2",
            "ephemera_queue_wait_seconds_count{priority=\"interactive\"} 0",
            "ephemera_memory_bytes_count{function=\"ocr\"} 1",
            "ephemera_memory_bytes_bucket{function=\"ocr\",le=\"25165824.0\"} 1",
            "ephemera_memory_peak_bytes{function=\"ocr\"} 20971520",
            "ephemera_memory_limit_bytes{function=\"gait\"} 67108864",
            "ephemera_cpu_seconds_total{function=\"ocr\"} 1",
            "ephemera_received_bytes_total{function=\"ocr\"} 22",
            "ephemera_sent_bytes_total{function=\"ocr\"} 26",
            "ephemera_page_faults_total{function=\"ocr\",kind=\"minor\"} 14",
            "ephemera_request_duration_seconds_count{function=\"gait\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }

    #[test]
    fn requests_cannot_make_series_without_end() {
        let mut functions = Functions::default();
        for status in 100..1000 {
            let mut one = record("ocr", status);
            one.path = format!("/{status}");
            one.device = Some(status.to_string().into());
            functions.count(&one);
        }
        let mut nowhere = record("", 404);
        nowhere.function = None;
        nowhere.status = None;
        functions.count(&nowhere);
        let text = written(&functions);
        assert!(text.contains("ephemera_requests_total{function=\"ocr\",status=\"other\"} "));
        assert!(text.contains("ephemera_requests_total{function=\"\",status=\"499\"} 1\n"));
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert!(series("ephemera_requests_total{") < 80);
        assert_eq!(series("ephemera_device_requests_total{"), MAX_DEVICES);
    }
}
