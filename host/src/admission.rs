//! Who runs next, within a budget of memory.
//!
//! A request is admitted when its function's ceiling fits into what the budget has left. Others wait, up to a number and a time. Interactive
//! requests go before batch ones, which get one turn in [`BATCH_TURN`]; within a priority, functions take turns by the memory that they were
//! given, and a function's own requests go in the order in which they came. Nobody overtakes one whose turn it is and that waits for much
//! memory, or it would wait for ever. Batch requests fill at most half of the queue.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::runtime::ASIDE;

/// Of so many turns that both priorities want, batch gets one.
const BATCH_TURN: u32 = 8;

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

/// What holds a part of the budget without a slot.
#[derive(Clone, Copy)]
enum Held {
    /// An input that is in hand.
    Input,
    /// A run that nobody waits for any more.
    Abandoned,
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

#[derive(Default)]
struct State {
    load_bytes: u64,
    held_bytes: u64,
    abandoned_bytes: u64,
    running: u32,
    /// Requests that run beside those, because they take long.
    aside: u32,
    usable_bytes: u64,
    queues: BTreeMap<(Priority, String), VecDeque<Waiter>>,
    /// Memory that each function was given so far for requests of a priority, in bytes, as far as it counts against the others.
    given: BTreeMap<(Priority, String), u64>,
    /// What the function that was admitted last had been given before, by priority.
    level: BTreeMap<Priority, u64>,
    /// Whose turn it is, if there was no room for it yet: nobody overtakes it.
    head: Option<(Priority, String)>,
    turn: u32,
    next_id: u64,
    /// How long requests take, in seconds.
    mean_s: f64,
}

struct Waiter {
    id: u64,
    bytes: u64,
    admitted: oneshot::Sender<()>,
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

impl State {
    fn held(&mut self, of: Held) -> &mut u64 {
        match of {
            Held::Input => &mut self.held_bytes,
            Held::Abandoned => &mut self.abandoned_bytes,
        }
    }

    fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// The queue whose turn it is.
    fn next(&self) -> Option<(Priority, String)> {
        let mut urgency = Priority::Interactive;
        let waits = |wanted: Priority| self.queues.keys().any(|(priority, _)| *priority == wanted);
        if !waits(Priority::Interactive)
            || (waits(Priority::Batch) && self.turn % BATCH_TURN == BATCH_TURN - 1)
        {
            urgency = Priority::Batch;
        }
        if let Some(head) = &self.head
            && head.0 == urgency
            && self.queues.contains_key(head)
        {
            return Some(head.clone());
        }
        let keys = self
            .queues
            .keys()
            .filter(|(priority, _)| *priority == urgency);
        keys.min_by_key(|key| self.given.get(*key)).cloned()
    }

    /// A function that had nothing waiting starts level with those that had: what it did not ask for is not owed to it.
    fn catch_up(&mut self, key: &(Priority, String)) {
        if !self.queues.contains_key(key) {
            let level = self.level.get(&key.0).copied().unwrap_or(0);
            let given = self.given.entry(key.clone()).or_default();
            *given = (*given).max(level);
        }
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
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Waits long where a test does not wait for it.
    fn admission(memory_mib: u64, instances: u32, waiting: usize) -> Admission {
        waiting_for(Duration::from_secs(600), memory_mib, instances, waiting)
    }

    fn waiting_for(
        wait_time: Duration,
        memory_mib: u64,
        instances: u32,
        waiting: usize,
    ) -> Admission {
        Admission::new(Budget {
            memory_bytes: memory_mib * MIB,
            instances,
            waiting,
            wait_time,
        })
    }

    /// Functions and priorities of requests in the order in which they were let in, one at a time.
    async fn order(
        admission: &'static Admission,
        asked: &[(&'static str, Priority)],
    ) -> Vec<String> {
        let (send, mut let_in) = tokio::sync::mpsc::unbounded_channel();
        let first = admission.slot("first", MIB, Priority::Interactive);
        let first = first.await.expect("nobody else is there");
        let mut tasks = tokio::task::JoinSet::new();
        for &(function, priority) in asked {
            let send = send.clone();
            tasks.spawn(async move {
                let _slot = admission
                    .slot(function, MIB, priority)
                    .await
                    .expect("a turn");
                let _ = send.send(format!("{function} {priority:?}"));
            });
            // Each is in its queue before the next one comes.
            tokio::task::yield_now().await;
        }
        drop((first, send));
        let mut seen = vec![];
        while let Some(one) = let_in.recv().await {
            seen.push(one);
        }
        tasks.join_all().await;
        seen
    }

    fn leaked(admission: Admission) -> &'static Admission {
        Box::leak(Box::new(admission))
    }

    #[tokio::test]
    async fn memory_and_instances_bound_what_runs() {
        let admission = admission(10, 3, 0);
        let slot = |mib: u64| admission.slot("f", mib * MIB, Priority::Interactive);
        let first = slot(4).await.expect("4 of 10");
        let second = slot(6).await.expect("10 of 10");
        assert!(
            matches!(slot(1).await, Err(Failure::Busy { .. })),
            "11 of 10"
        );
        drop(second);
        let small = (slot(1).await.expect("5"), slot(1).await.expect("6"));
        assert!(
            matches!(slot(1).await, Err(Failure::Busy { .. })),
            "a fourth"
        );
        assert_eq!(
            (admission.load().running, admission.load().admitted_bytes),
            (3, 6 * MIB)
        );
        drop((first, small));
        // More than there is runs alone.
        let large = slot(11).await.expect("alone");
        assert!(matches!(slot(1).await, Err(Failure::Busy { .. })));
        drop(large);
        let load = admission.load();
        assert_eq!((load.running, load.waiting, load.admitted_bytes), (0, 0, 0));
    }

    #[tokio::test]
    async fn who_takes_long_lets_others_run_and_keeps_its_memory() {
        let admission = admission(3, 1, 0);
        let slot = || admission.slot("f", MIB, Priority::Interactive);
        let mut first = slot().await.expect("nobody is there");
        assert!(admission.is_full(MIB, Priority::Interactive));
        first.step_aside();
        first.step_aside();
        assert!(!admission.is_full(MIB, Priority::Interactive));
        let mut second = slot().await.expect("the first takes long");
        second.step_aside();
        assert!(admission.is_full(MIB, Priority::Interactive), "one may");
        let many = (admission.load().admitted_bytes, admission.load().running);
        assert_eq!(many, (2 * MIB, 2));
        let large = admission.slot("f", 2 * MIB, Priority::Interactive);
        assert!(matches!(large.await, Err(Failure::Busy { .. })), "4 of 3");
        drop((first, second));
        let load = admission.load();
        assert_eq!((load.running, load.admitted_bytes), (0, 0));
    }

    #[tokio::test]
    async fn what_is_in_hand_leaves_less_for_others() {
        let admission = Arc::new(waiting_for(Duration::from_millis(20), 3, 5, 10));
        let slot = || admission.slot("f", MIB, Priority::Batch);
        let held = admission.hold(5 * MIB);
        assert_eq!(admission.load().held_bytes, 5 * MIB);
        let first = slot().await.expect("one runs whatever is in hand");
        assert!(matches!(slot().await, Err(Failure::Busy { .. })));
        drop(held);
        let second = slot().await.expect("there is room again");
        drop((first, second));
        let load = admission.load();
        assert_eq!((load.running, load.held_bytes), (0, 0));
    }

    #[tokio::test]
    async fn small_inputs_cost_nobody_a_place() {
        for (held_bytes, abandoned_bytes, second) in [
            (1, 0, true),
            (MIB, 0, true),
            (MIB + 1, 0, false),
            (0, 1, false),
        ] {
            let admission = Arc::new(waiting_for(Duration::from_millis(20), 8, 5, 10));
            let slot = || admission.slot("f", 4 * MIB, Priority::Batch);
            // Of the one that runs and of the one that is to run.
            let held = [held_bytes / 2, held_bytes.div_ceil(2)];
            let held = held.map(|bytes| admission.hold(bytes));
            let abandoned = admission.hold_abandoned(abandoned_bytes);
            let first = slot().await.expect("one runs in any case");
            let fits = slot().await.is_ok();
            assert_eq!(fits, second, "{held_bytes} {abandoned_bytes}");
            drop((first, held, abandoned));
            let load = admission.load();
            assert_eq!((load.held_bytes, load.abandoned_bytes), (0, 0));
        }
    }

    #[tokio::test]
    async fn who_waits_too_long_leaves_its_place() {
        let admission = leaked(waiting_for(Duration::from_millis(20), 10, 1, 1));
        let running = admission
            .slot("f", MIB, Priority::Interactive)
            .await
            .expect("free");
        let waiting = tokio::spawn(async {
            let slot = admission.slot("f", MIB, Priority::Interactive).await;
            slot.map(drop)
        });
        tokio::task::yield_now().await;
        assert_eq!(admission.load().waiting, 1);
        let third = admission.slot("f", MIB, Priority::Interactive).await;
        assert!(matches!(third, Err(Failure::Busy { .. })), "one may wait");
        assert!(matches!(waiting.await, Ok(Err(Failure::Busy { .. }))));
        assert_eq!(admission.load().waiting, 0);

        // Who goes away does so as well, and who comes next gets the slot.
        let gone = tokio::spawn(admission.slot("f", MIB, Priority::Interactive));
        tokio::task::yield_now().await;
        gone.abort();
        assert!(gone.await.is_err());
        assert_eq!(admission.load().waiting, 0);
        drop(running);
        drop(
            admission
                .slot("f", MIB, Priority::Interactive)
                .await
                .expect("free"),
        );
        assert_eq!(admission.load().running, 0);
    }

    #[tokio::test]
    async fn functions_take_turns() {
        let admission = leaked(admission(1, 1, 99));
        let now = Priority::Interactive;
        let asked = [("a", now), ("a", now), ("a", now), ("b", now), ("b", now)];
        let expected = ["a", "b", "a", "b", "a"].map(|name| format!("{name} Interactive"));
        assert_eq!(order(admission, &asked).await, expected);
        // What a function did not ask for before is not owed to it: not both of `c` first.
        let asked = [("a", now), ("a", now), ("c", now), ("c", now)];
        let expected = ["c", "a", "c", "a"].map(|name| format!("{name} Interactive"));
        assert_eq!(order(admission, &asked).await, expected);
    }

    #[tokio::test]
    async fn batch_gets_one_turn_in_eight() {
        let admission = leaked(admission(1, 1, 99));
        let mut asked = vec![("f", Priority::Batch); 3];
        asked.extend([("f", Priority::Interactive); 10]);
        let order = order(admission, &asked).await;
        let batch = order
            .iter()
            .enumerate()
            .filter(|(_, one)| one.ends_with("Batch"));
        let places: Vec<usize> = batch.map(|(place, _)| place).collect();
        // The turn counts from the request that ran first.
        assert_eq!(places, [6, 11, 12]);
    }

    #[tokio::test]
    async fn a_large_request_is_not_overtaken() {
        let admission = leaked(admission(10, 9, 9));
        let half = admission
            .slot("f", 5 * MIB, Priority::Interactive)
            .await
            .expect("free");
        let large = tokio::spawn(admission.slot("f", 8 * MIB, Priority::Interactive));
        tokio::task::yield_now().await;
        // Of another function, which was given nothing yet.
        let small = tokio::spawn(admission.slot("g", MIB, Priority::Interactive));
        tokio::task::yield_now().await;
        assert_eq!(admission.load().waiting, 2, "1 MiB would fit");
        drop(half);
        let large = large.await.expect("no panic").expect("its turn");
        let small = small.await.expect("no panic").expect("beside it");
        assert_eq!(admission.load().admitted_bytes, 9 * MIB);
        drop((large, small));
    }

    #[tokio::test]
    async fn a_smaller_share_lets_fewer_in() {
        let admission = leaked(admission(10, 9, 9));
        admission.limit(0.5);
        let slot = || admission.slot("f", 3 * MIB, Priority::Interactive);
        let first = slot().await.expect("3 of 5");
        let second = tokio::spawn(slot());
        tokio::task::yield_now().await;
        assert_eq!((admission.load().running, admission.load().waiting), (1, 1));
        admission.limit(1.0);
        let second = second.await.expect("no panic").expect("6 of 10");
        admission.limit(0.0);
        drop((first, second));
        drop(slot().await.expect("one always runs"));
    }

    #[tokio::test]
    async fn batch_leaves_places_to_those_somebody_waits_for() {
        let admission = leaked(admission(1, 1, 3));
        let running = admission
            .slot("f", MIB, Priority::Batch)
            .await
            .expect("free");
        let mut waiting = vec![];
        for priority in [Priority::Batch, Priority::Batch, Priority::Interactive] {
            waiting.push(tokio::spawn(admission.slot("f", MIB, priority)));
            tokio::task::yield_now().await;
        }
        for priority in [Priority::Batch, Priority::Interactive] {
            assert!(matches!(
                admission.slot("f", MIB, priority).await,
                Err(Failure::Busy { .. })
            ));
        }
        assert_eq!(admission.load().waiting, 3);
        waiting.remove(2).abort();
        let refused = admission.slot("f", MIB, Priority::Batch).await;
        assert!(matches!(refused, Err(Failure::Busy { .. })), "two of three");
        for one in waiting {
            one.abort();
        }
        drop(running);
    }

    /// Batch and interactive requests of a function do not pay for each other: a standing queue of the one buys the other no turns.
    #[tokio::test]
    async fn turns_are_counted_by_priority() {
        let admission = leaked(admission(1, 1, 99));
        let (now, later) = (Priority::Interactive, Priority::Batch);
        let mut asked = vec![("a", later)];
        asked.extend([("g", now); 5]);
        asked.extend([("a", now); 3]);
        let order = order(admission, &asked).await;
        let expected = ["a", "g", "a", "g", "a", "g"].map(|name| format!("{name} Interactive"));
        assert_eq!(order[..6], expected);
    }

    #[test]
    fn priorities_have_names() {
        assert_eq!(Priority::named(" Batch"), Some(Priority::Batch));
        assert_eq!(Priority::named("interactive"), Some(Priority::Interactive));
        assert_eq!(Priority::named("urgent"), None);
    }
}
