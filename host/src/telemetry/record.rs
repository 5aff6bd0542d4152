//! What is known of a request when it is over: the one source of metrics, access lines and spans.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::trace::Trace;
use crate::admission::Priority;

/// What a request goes through, in this order. One that is refused goes through some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waiting for memory for the body, and reading it.
    Body,
    /// Waiting for a part of the budget.
    Admission,
    /// Making an instance.
    Instantiation,
    /// The function's own work, from its first instruction to its last byte.
    Guest,
    /// Handing the answer to the kernel.
    Sending,
}

impl Phase {
    /// All of them, in order: a phase's place is its number.
    pub(crate) const ALL: [Self; 5] = [
        Self::Body,
        Self::Admission,
        Self::Instantiation,
        Self::Guest,
        Self::Sending,
    ];

    /// As metrics, logs and spans call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Admission => "admission",
            Self::Instantiation => "instantiation",
            Self::Guest => "guest",
            Self::Sending => "sending",
        }
    }
}

/// One request, over.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) begun_at: SystemTime,
    pub(crate) method: String,
    /// Without the query, which may hold what is nobody's business.
    pub(crate) path: String,
    pub(crate) request_id: String,
    pub(crate) trace: Trace,
    /// Of the manifest; none if the path leads nowhere.
    pub(crate) function: Option<Arc<str>>,
    /// None if the client left before there was one.
    pub(crate) status: Option<u16>,
    /// Why the host answered instead of the function.
    pub(crate) failure: Option<&'static str>,
    pub(crate) priority: Priority,
    /// Where graphs ran outside the guest.
    pub(crate) device: Option<Box<str>>,
    /// From the request's start to the phase's, and how long it took.
    pub(crate) phases: [Option<(Duration, Duration)>; Phase::ALL.len()],
    /// From the headers to the last byte of the answer.
    pub(crate) total: Duration,
    /// Processor time of the instance.
    pub(crate) cpu: Duration,
    /// Linear memory of the instance.
    pub(crate) peak_memory_bytes: u64,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// What counts as the status of a request whose client left, by the custom of other servers.
pub(crate) const CLIENT_LEFT: u16 = 499;

impl Record {
    /// How long `phase` took, if it came to that.
    pub(crate) fn took(&self, phase: Phase) -> Option<Duration> {
        self.phases[phase as usize].map(|(_, took)| took)
    }

    /// What it was answered with.
    pub(crate) fn status(&self) -> u16 {
        self.status.unwrap_or(CLIENT_LEFT)
    }
}

impl Priority {
    /// As `X-Priority` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request of `function` that was answered with `status`, and nothing else known of it.
    pub(crate) fn record(function: &str, status: u16) -> Record {
        Record {
            begun_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            method: "POST".into(),
            path: "/v1/ocr".into(),
            request_id: "id-1".into(),
            trace: Trace {
                trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
                span_id: 2,
                parent_id: None,
                sampled: true,
            },
            function: Some(function.into()),
            status: Some(status),
            failure: None,
            priority: Priority::default(),
            device: None,
            phases: Default::default(),
            total: Duration::from_millis(40),
            cpu: Duration::ZERO,
            peak_memory_bytes: 0,
            minor_faults: 0,
            major_faults: 0,
            received_bytes: 0,
            sent_bytes: 0,
        }
    }

    #[test]
    fn phases_are_numbered_by_their_place() {
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, place);
        }
    }
}
