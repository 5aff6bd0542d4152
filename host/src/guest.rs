//! The reins of one running guest: how long it has computed, when it must give way, and why it is ended.
//!
//! The clock interrupts a guest at every tick ([`Reins::tick`]). There it is ended if it is over a limit, with a trap that has its stack,
//! and otherwise yields to the executor and waits for its turn. A guest that waits in the host is not interrupted; it is dropped.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wasmtime::UpdateDeadline;

use crate::turns::{Seat, Turns};

/// A guest that has computed for so long no longer counts as one that is soon done.
const LONG: Duration = Duration::from_millis(100);

/// Why a guest was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It computed for too long.
    Cpu,
    /// Its time is over.
    Deadline,
    /// It has answered, or its answer is refused.
    Answered,
}

/// What a guest traps with when the host ends it.
#[derive(Debug, thiserror::Error)]
#[error("ended by the host")]
pub(crate) struct Ended;

/// Tells that a guest has computed for long.
#[derive(Debug, Default)]
pub struct Long(Notify);

impl Long {
    /// Waits for it; for ever, mostly.
    pub async fn happened(&self) {
        self.0.notified().await;
    }
}

/// One guest's.
#[derive(Debug)]
pub(crate) struct Reins {
    seat: Seat,
    cpu: Duration,
    start: Instant,
    timeout: Duration,
    /// Processor time that it took until it last gave way, in nanoseconds.
    before: AtomicU64,
    /// What its thread had taken when it was last let go on, in nanoseconds.
    since: AtomicU64,
    /// It gives way at a tick, rather than wait in the host.
    yields: AtomicBool,
    reason: Mutex<Option<Reason>>,
    long: Arc<Long>,
    told: AtomicBool,
}

impl Reins {
    pub(crate) fn new(
        turns: &Arc<Turns>,
        cpu: Duration,
        timeout: Duration,
        long: Arc<Long>,
    ) -> Self {
        Self {
            seat: Seat::new(turns),
            cpu,
            start: Instant::now(),
            timeout,
            before: AtomicU64::new(0),
            since: AtomicU64::new(0),
            yields: AtomicBool::new(false),
            reason: Mutex::default(),
            long,
            told: AtomicBool::new(false),
        }
    }

    /// Ends the guest: at the next tick, if it computes.
    pub(crate) fn end(&self, reason: Reason) {
        self.set(reason);
        self.seat.force();
    }

    /// Whether it waits for something in the host, where it has no stack to speak of.
    pub(crate) fn is_away(&self) -> bool {
        !self.yields.load(Ordering::Relaxed)
    }

    /// Why it was ended, if it was.
    pub(crate) fn reason(&self) -> Option<Reason> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it has computed.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.before.load(Ordering::Relaxed))
    }

    /// The first reason stays.
    fn set(&self, reason: Reason) -> Reason {
        let mut own = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        *own.get_or_insert(reason)
    }

    /// What the guest does at a tick of the clock.
    ///
    /// # Errors
    ///
    /// [`Ended`], which traps.
    pub(crate) fn tick(self: &Arc<Self>) -> wasmtime::Result<UpdateDeadline> {
        let since = self.since.load(Ordering::Relaxed);
        let spent = self.spent() + Duration::from_nanos(thread_ns().saturating_sub(since));
        if spent >= self.cpu {
            self.set(Reason::Cpu);
        } else if self.start.elapsed() >= self.timeout {
            self.set(Reason::Deadline);
        }
        if self.reason().is_some() {
            return Err(Ended.into());
        }
        if spent >= LONG && !self.told.swap(true, Ordering::Relaxed) {
            self.long.0.notify_one();
        }
        let mut turn = self.seat.next(spent);
        let reins = Arc::clone(self);
        self.yields.store(true, Ordering::Relaxed);
        let give_way = async move {
            match turn.try_recv() {
                Ok(()) => yield_once().await,
                // It is dropped only with the guest.
                Err(_) => drop(turn.await),
            }
            reins.yields.store(false, Ordering::Relaxed);
        };
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(give_way)))
    }

    /// `guest`, its computing counted.
    pub(crate) async fn hold<F: Future>(&self, guest: F) -> F::Output {
        let mut guest = pin!(guest);
        poll_fn(|cx| {
            let since = thread_ns();
            self.since.store(since, Ordering::Relaxed);
            let polled = Pin::as_mut(&mut guest).poll(cx);
            let computed = thread_ns().saturating_sub(since);
            self.before.fetch_add(computed, Ordering::Relaxed);
            let waits = polled.is_pending() && !self.yields.load(Ordering::Relaxed);
            if waits || polled.is_ready() {
                self.seat.leave();
            }
            polled
        })
        .await
    }
}

/// Processor time of this thread, in nanoseconds: what others take of the machine is not the guest's.
fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    u64::try_from(nanoseconds).unwrap_or(0)
}

/// Lets the executor look after others. Tokio's own way would wait for a worker with nothing to do, and a thread that is free might not
/// take over what waits there.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
