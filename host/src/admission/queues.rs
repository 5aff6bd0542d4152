//! The queues of those that wait, by priority and function, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use super::Priority;

/// Of so many turns that both priorities want, batch gets one.
const BATCH_TURN: u32 = 8;

/// What holds a part of the budget without a slot.
#[derive(Clone, Copy)]
pub(super) enum Held {
    /// An input that is in hand.
    Input,
    /// A run that nobody waits for any more.
    Abandoned,
}

/// What runs, what is held, and who waits.
#[derive(Default)]
pub(super) struct State {
    pub(super) load_bytes: u64,
    pub(super) held_bytes: u64,
    pub(super) abandoned_bytes: u64,
    pub(super) running: u32,
    /// Requests that run beside those, because they take long.
    pub(super) aside: u32,
    pub(super) usable_bytes: u64,
    pub(super) queues: BTreeMap<(Priority, String), VecDeque<Waiter>>,
    /// Memory that each function was given so far for requests of a priority, in bytes, as far as it counts against the others.
    pub(super) given: BTreeMap<(Priority, String), u64>,
    /// What the function that was admitted last had been given before, by priority.
    pub(super) level: BTreeMap<Priority, u64>,
    /// Whose turn it is, if there was no room for it yet: nobody overtakes it.
    pub(super) head: Option<(Priority, String)>,
    pub(super) turn: u32,
    pub(super) next_id: u64,
    /// How long requests take, in seconds.
    pub(super) mean_s: f64,
}

pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) bytes: u64,
    pub(super) admitted: oneshot::Sender<()>,
}

impl State {
    pub(super) fn held(&mut self, of: Held) -> &mut u64 {
        match of {
            Held::Input => &mut self.held_bytes,
            Held::Abandoned => &mut self.abandoned_bytes,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// The queue whose turn it is.
    pub(super) fn next(&self) -> Option<(Priority, String)> {
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
    pub(super) fn catch_up(&mut self, key: &(Priority, String)) {
        if !self.queues.contains_key(key) {
            let level = self.level.get(&key.0).copied().unwrap_or(0);
            let given = self.given.entry(key.clone()).or_default();
            *given = (*given).max(level);
        }
    }
}
