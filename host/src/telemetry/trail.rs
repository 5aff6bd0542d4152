//! What is known of a request while it is worked on: those who work on it say what they do, in a line each.
//!
//! A [`Trail`] travels in the request's extensions. Without one, as when no server is there, every call is without effect.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper::Request;
use nix::sys::resource::{Usage, UsageWho, getrusage};

use super::record::{Phase, Record};
use super::trace::Trace;
use crate::admission::Priority;
use crate::failure::Failure;

/// Notes about one request. Clones write to the same notes.
#[derive(Clone, Default)]
pub(crate) struct Trail(Option<Arc<Notes>>);

struct Notes {
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    record: Record,
    now: Option<(Phase, Instant)>,
}

/// What a request is known by from its start.
pub(super) struct Start {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_id: String,
    pub(super) trace: Trace,
}

impl Trail {
    /// Of a request that starts now.
    pub(super) fn begin(start: Start) -> Self {
        let record = Record {
            begun_at: SystemTime::now(),
            method: start.method,
            path: start.path,
            request_id: start.request_id,
            trace: start.trace,
            function: None,
            status: None,
            failure: None,
            priority: Priority::default(),
            device: None,
            phases: Default::default(),
            total: Duration::ZERO,
            cpu: Duration::ZERO,
            peak_memory_bytes: 0,
            minor_faults: 0,
            major_faults: 0,
            received_bytes: 0,
            sent_bytes: 0,
        };
        let state = State { record, now: None };
        Self(Some(Arc::new(Notes {
            begun: Instant::now(),
            state: Mutex::new(state),
        })))
    }

    /// The one that `request` carries.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let carried = request.extensions().get::<Self>();
        carried.cloned().unwrap_or_default()
    }

    /// What came before is over, and `phase` begins.
    pub(crate) fn enter(&self, phase: Phase) {
        self.note(|state, begun| state.enter(phase, begun));
    }

    /// `function` is to answer.
    pub(crate) fn leads_to(&self, function: &Arc<str>) {
        self.record(|record| record.function = Some(Arc::clone(function)));
    }

    /// It waits among requests of `priority`.
    pub(crate) fn ranks(&self, priority: Priority) {
        self.record(|record| record.priority = priority);
    }

    /// A body of so many bytes is here.
    pub(crate) fn received(&self, bytes: u64) {
        self.record(|record| record.received_bytes = bytes);
    }

    /// The instance holds so much linear memory now.
    pub(crate) fn holds(&self, bytes: usize) {
        self.record(|record| {
            record.peak_memory_bytes = record.peak_memory_bytes.max(bytes as u64);
        });
    }

    /// Graphs of the request run on the device with this label.
    pub(crate) fn runs_on(&self, device: &str) {
        self.record(|record| record.device = Some(device.into()));
    }

    /// The host, not the function, answers.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.note(|state, _| {
            let now = state.now.map(|(phase, since)| (phase, since.elapsed()));
            state.record.failure = Some(super::reason::of(failure, now));
        });
    }

    /// An answer of so many bytes goes out.
    pub(super) fn answers(&self, status: u16, bytes: usize) {
        self.record(|record| {
            record.status = Some(status);
            record.sent_bytes = bytes as u64;
        });
        self.enter(Phase::Sending);
    }

    /// Runs `future`, and counts what the threads that it runs on do for it.
    pub(crate) async fn measured<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            if self.0.is_none() {
                return future.as_mut().poll(context);
            }
            let before = usage();
            let polled = future.as_mut().poll(context);
            if let (Some(before), Some(after)) = (before, usage()) {
                self.record(|record| record.add_usage(&before, &after));
            }
            polled
        })
        .await
    }

    /// The id that log lines about the request carry.
    pub(crate) fn request_id(&self) -> Option<Arc<str>> {
        let notes = self.0.as_ref()?;
        Some(notes.state().record.request_id.as_str().into())
    }

    /// All that was noted, when it is over.
    pub(super) fn end(&self) -> Option<Record> {
        let notes = self.0.as_ref()?;
        let mut state = notes.state();
        state.leave(notes.begun);
        state.record.total = notes.begun.elapsed();
        Some(state.record.clone())
    }

    fn record(&self, write: impl FnOnce(&mut Record)) {
        self.note(|state, _| write(&mut state.record));
    }

    fn note(&self, write: impl FnOnce(&mut State, Instant)) {
        if let Some(notes) = &self.0 {
            write(&mut notes.state(), notes.begun);
        }
    }
}

impl Notes {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain values are whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase, begun: Instant) {
        self.leave(begun);
        self.now = Some((phase, Instant::now()));
    }

    fn leave(&mut self, begun: Instant) {
        if let Some((phase, since)) = self.now.take() {
            let span = (since.duration_since(begun), since.elapsed());
            self.record.phases[phase as usize] = Some(span);
        }
    }
}

impl Record {
    fn add_usage(&mut self, before: &Usage, after: &Usage) {
        let since = |before: i64, after: i64| u64::try_from(after - before).unwrap_or(0);
        self.minor_faults += since(before.minor_page_faults(), after.minor_page_faults());
        self.major_faults += since(before.major_page_faults(), after.major_page_faults());
        self.cpu += cpu(after).saturating_sub(cpu(before));
    }
}

/// Of this thread.
fn usage() -> Option<Usage> {
    getrusage(UsageWho::RUSAGE_THREAD).ok()
}

/// Processor time, of the program and of the kernel for it.
pub(crate) fn cpu(usage: &Usage) -> Duration {
    let time = |value: nix::sys::time::TimeVal| {
        let micros = value.tv_sec() * 1_000_000 + value.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    time(usage.user_time()) + time(usage.system_time())
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trail").finish_non_exhaustive()
    }
}
