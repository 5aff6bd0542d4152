//! Who runs next, within a budget of memory.
//!
//! A request is admitted when its function's ceiling fits into what the budget has left. Others wait, up to a number and a time. Interactive
//! requests go before batch ones, which get one turn in eight; within a priority, functions take turns by the memory that they were
//! given, and a function's own requests go in the order in which they came. Nobody overtakes one whose turn it is and that waits for much
//! memory, or it would wait for ever. Batch requests fill at most half of the queue.

mod queues;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::runtime::ASIDE;
use queues::{Held, State, Waiter};

/// Weight of the last request in the mean of how long requests take: about the last twenty count.
const LAST: f64 = 0.1;

/// Inputs in hand may take so great a part of the budget beside requests: small ones cost none its place, of which an exact multiple of a
/// ceiling would have one less otherwise.
const INPUTS_PART: u64 = 8;

/// What there is to give out.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Linear memory of all instances at once, in bytes.
    pub memory_bytes: u64,
    /// Instances at once. More than there are cores gains nothing: a function computes.
    pub instances: u32,
    /// Requests that may wait.
    pub waiting: usize,
    /// How long one may wait.
    pub wait_time: Duration,
}

/// How urgent a request is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody waits for it.
    #[default]
    Interactive,
    /// Nobody does.
    Batch,
}

impl Priority {
    /// `interactive` or `batch`, in capitals or not.
    pub fn named(name: &str) -> Option<Self> {
        [("interactive", Self::Interactive), ("batch", Self::Batch)]
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name.trim()))
            .map(|(_, priority)| priority)
    }
}

/// The budget and who waits for a part of it.
pub(crate) struct Admission {
    budget: Budget,
    state: Mutex<State>,
}

/// The right to run, given back when dropped.
pub(crate) struct Slot<'a> {
    admission: &'a Admission,
    bytes: u64,
    since: Instant,
    aside: bool,
}

/// A part of the budget that is taken by what is in hand and does not run, given back when dropped.
pub(crate) struct Hold {
    admission: Arc<Admission>,
    bytes: u64,
    of: Held,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Requests that run.
    pub running: u32,
    /// Requests that wait.
    pub waiting: usize,
    /// Memory that running requests may take, in bytes.
    pub admitted_bytes: u64,
    /// Memory that inputs take while they are in hand, in bytes.
    pub held_bytes: u64,
    /// Memory that runs take which go on though nobody waits for them any more, in bytes.
    pub abandoned_bytes: u64,
    /// Memory that may be given out now, in bytes: less than the budget while the machine is under pressure.
    pub usable_bytes: u64,
}

impl Admission {
    pub(crate) fn new(budget: Budget) -> Self {
        let state = State {
            usable_bytes: budget.memory_bytes,
            ..State::default()
        };
        Self {
            budget,
            state: Mutex::new(state),
        }
    }

    /// Waits until `bytes` are there for a request of `function`.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`]: too many wait already, or this one waited too long.
    pub(crate) async fn slot(
        &self,
        function: &str,
        bytes: u64,
        priority: Priority,
    ) -> Result<Slot<'_>, Failure> {
        let key = (priority, function.to_owned());
        let (id, mut admitted) = {
            let mut state = self.state();
            let at_once = state.queues.is_empty() && self.fits(&state, bytes);
            if !at_once && state.waiting() >= self.places(priority) {
                return Err(self.told(&state));
            }
            state.catch_up(&key);
            let id = state.next_id;
            state.next_id += 1;
            let (send, admitted) = oneshot::channel();
            let waiter = Waiter {
                id,
                bytes,
                admitted: send,
            };
            state
                .queues
                .entry(key.clone())
                .or_default()
                .push_back(waiter);
            self.admit(&mut state);
            (id, admitted)
        };
        let mut waiting = Waiting {
            admission: self,
            key,
            id,
            bytes,
            done: false,
        };
        let answer = tokio::time::timeout(self.budget.wait_time, &mut admitted).await;
        if let Ok(Ok(())) = answer {
            waiting.done = true;
            return Ok(Slot {
                admission: self,
                bytes,
                since: Instant::now(),
                aside: false,
            });
        }
        // Leaves its place, or gives back what it was given at the last moment; its end of the channel is open until then.
        drop(waiting);
        Err(self.busy())
    }

    /// Counts an input of `bytes` that is in hand already: what inputs take beyond an eighth of the budget is not there for requests. One
    /// request runs in any case.
    pub(crate) fn hold(self: &Arc<Self>, bytes: u64) -> Hold {
        self.hold_as(Held::Input, bytes)
    }

    /// Counts a run of `bytes` that goes on though nobody waits for it: so much less is there for requests. One runs in any case.
    pub(crate) fn hold_abandoned(self: &Arc<Self>, bytes: u64) -> Hold {
        self.hold_as(Held::Abandoned, bytes)
    }

    fn hold_as(self: &Arc<Self>, of: Held, bytes: u64) -> Hold {
        *self.state().held(of) += bytes;
        Hold {
            admission: Arc::clone(self),
            bytes,
            of,
        }
    }

    /// Gives out at most `share` of the budget from now on, of 0 to 1. One request runs whatever the share.
    pub(crate) fn limit(&self, share: f64) {
        let mut state = self.state();
        state.usable_bytes = (self.budget.memory_bytes as f64 * share.clamp(0.0, 1.0)) as u64;
        self.admit(&mut state);
    }

    /// What there is to give out.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// What is going on.
    pub(crate) fn load(&self) -> Load {
        let state = self.state();
        Load {
            running: state.running + state.aside,
            waiting: state.waiting(),
            admitted_bytes: state.load_bytes,
            held_bytes: state.held_bytes,
            abandoned_bytes: state.abandoned_bytes,
            usable_bytes: state.usable_bytes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }

    /// How many may wait before one of this priority is refused: batch leaves half of the places to those somebody waits for.
    fn places(&self, priority: Priority) -> usize {
        match priority {
            Priority::Interactive => self.budget.waiting,
            Priority::Batch => self.budget.waiting.div_ceil(2),
        }
    }

    fn fits(&self, state: &State, bytes: u64) -> bool {
        let beside = self.budget.memory_bytes / INPUTS_PART;
        let inputs = state.held_bytes.saturating_sub(beside);
        let held = inputs.saturating_add(state.abandoned_bytes);
        let taken = state.load_bytes.saturating_add(held);
        let room = taken.saturating_add(bytes) <= state.usable_bytes;
        state.running + state.aside == 0 || (room && state.running < self.budget.instances)
    }

    /// Lets in whoever is next, as long as there is room for them.
    fn admit(&self, state: &mut State) {
        while let Some(key) = state.next() {
            let queue = state.queues.get_mut(&key).expect("the key is of a queue");
            let bytes = queue.front().expect("queues are not empty").bytes;
            if !self.fits(state, bytes) {
                // One that waits for others to end, and not for memory, has not had its turn.
                let instances = state.running < self.budget.instances;
                state.head = instances.then_some(key);
                return;
            }
            state.head = None;
            let queue = state.queues.get_mut(&key).expect("as before");
            let waiter = queue.pop_front().expect("as before");
            if queue.is_empty() {
                state.queues.remove(&key);
            }
            state.turn = state.turn.wrapping_add(1);
            let priority = key.0;
            let given = state.given.entry(key).or_default();
            state.level.insert(priority, *given);
            *given += bytes;
            state.load_bytes += bytes;
            state.running += 1;
            // Who waits keeps the other end until it has left the queue.
            let _ = waiter.admitted.send(());
        }
    }

    fn give_back(&self, bytes: u64, took: Option<Duration>, aside: bool) {
        let mut state = self.state();
        state.load_bytes -= bytes;
        match aside {
            true => state.aside -= 1,
            false => state.running -= 1,
        }
        if let Some(took) = took {
            let took = took.as_secs_f64();
            state.mean_s = match state.mean_s {
                0.0 => took,
                mean => mean + (took - mean) * LAST,
            };
        }
        self.admit(&mut state);
    }

    /// Whether a request for `bytes` of this priority would be refused now.
    pub(crate) fn is_full(&self, bytes: u64, priority: Priority) -> bool {
        let state = self.state();
        let at_once = state.queues.is_empty() && self.fits(&state, bytes);
        !at_once && state.waiting() >= self.places(priority)
    }

    /// The refusal of a request: there is no room, and it says when there may be.
    pub(crate) fn busy(&self) -> Failure {
        self.told(&self.state())
    }

    /// When those that are here will have been worked off, if all take as long as others did.
    fn told(&self, state: &State) -> Failure {
        let running = f64::from(state.running.max(1));
        let rounds = (state.waiting() as f64 + running) / running;
        let seconds = (state.mean_s * rounds).ceil().clamp(1.0, 3600.0);
        Failure::Busy {
            retry_after: Duration::from_secs(seconds as u64),
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Hold({} bytes)", self.bytes)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        *state.held(self.of) -= self.bytes;
        self.admission.admit(&mut state);
    }
}

/// A place in a queue. Left when dropped, also by a caller who went away.
struct Waiting<'a> {
    admission: &'a Admission,
    key: (Priority, String),
    id: u64,
    bytes: u64,
    done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.admission.state();
        let mut left = false;
        if let Some(queue) = state.queues.get_mut(&self.key) {
            let before = queue.len();
            queue.retain(|waiter| waiter.id != self.id);
            left = queue.len() < before;
            if queue.is_empty() {
                state.queues.remove(&self.key);
            }
        }
        if left {
            // Who came behind may fit where this one did not.
            self.admission.admit(&mut state);
        } else {
            drop(state);
            self.admission.give_back(self.bytes, None, false);
        }
    }
}

impl Slot<'_> {
    /// Lets another request run beside this one, which takes long; its memory still counts. There is room for [`ASIDE`] such requests; beyond
    /// that it stays as it is.
    pub(crate) fn step_aside(&mut self) {
        let mut state = self.admission.state();
        if !self.aside && state.aside < ASIDE {
            self.aside = true;
            state.running -= 1;
            state.aside += 1;
            self.admission.admit(&mut state);
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let took = Some(self.since.elapsed());
        self.admission.give_back(self.bytes, took, self.aside);
    }
}

#[cfg(test)]
mod tests;
