//! A record -> one line in the log, under the target `ephemera::access`.
//!
//! What went well is of interest to who looks for it (`debug`), unless access lines are asked for; all else is `info`.

use super::record::{Phase, Record};

/// Names of fields are those of [`Record`], times in milliseconds. They stay as they are: programs read them.
macro_rules! line {
    ($level:ident, $record:expr) => {{
        let record: &Record = $record;
        let phase = |phase| record.took(phase).map(milliseconds);
        tracing::event!(
            target: "ephemera::access",
            tracing::Level::$level,
            method = record.method,
            path = record.path,
            status = record.status(),
            function = record.function.as_deref(),
            reason = record.failure,
            priority = record.priority.name(),
            device = record.device.as_deref(),
            total_ms = milliseconds(record.total),
            body_ms = phase(Phase::Body),
            admission_ms = phase(Phase::Admission),
            instantiation_ms = phase(Phase::Instantiation),
            guest_ms = phase(Phase::Guest),
            sending_ms = phase(Phase::Sending),
            cpu_ms = milliseconds(record.cpu),
            peak_memory_bytes = record.peak_memory_bytes,
            minor_faults = record.minor_faults,
            major_faults = record.major_faults,
            received_bytes = record.received_bytes,
            sent_bytes = record.sent_bytes,
            request_id = record.request_id,
            trace_id = %format_args!("{:032x}", record.trace.trace_id),
            span_id = %format_args!("{:016x}", record.trace.span_id),
            "request"
        );
    }};
}

/// Logs `record`; one that went well at `info` if `all`.
pub(super) fn log(record: &Record, all: bool) {
    let went_well = (200..400).contains(&record.status());
    match went_well && !all {
        true => line!(DEBUG, record),
        false => line!(INFO, record),
    }
}

/// To the microsecond.
fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
