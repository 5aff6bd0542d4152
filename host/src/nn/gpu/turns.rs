//! One at a time, in the order of coming.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Who has the device, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// The first has the device.
    waiting: VecDeque<u64>,
    next: u64,
}

/// Holds the device until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    ticket: u64,
}

impl Turns {
    /// Waits until all who came before are done; `None` when that is not before `deadline`.
    pub(super) fn take(&self, deadline: Instant) -> Option<Turn<'_>> {
        let mut queue = self.lock();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.push_back(ticket);
        let turn = Turn {
            turns: self,
            ticket,
        };
        loop {
            if queue.waiting.front() == Some(&ticket) {
                return Some(turn);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The turn leaves the queue when it is dropped, which takes the lock.
                drop(queue);
                return None;
            }
            let waited = self.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many have the device or wait for it.
    pub(super) fn load(&self) -> usize {
        self.lock().waiting.len()
    }

    /// The queue is whole between any two of its changes, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns
            .lock()
            .waiting
            .retain(|&ticket| ticket != self.ticket);
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Longer than any of these tests waits.
    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let turns = Turns::default();
        let (done, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let first = turns.take(late()).expect("nobody else");
            for index in 0..5 {
                let (turns, done) = (&turns, done.clone());
                scope.spawn(move || {
                    let _turn = turns.take(late()).expect("a turn");
                    done.send(index).expect("a receiver");
                });
                while turns.load() < index + 2 {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        drop(done);
        assert_eq!(order.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(turns.load(), 0);
    }

    #[test]
    fn who_waits_too_long_leaves_the_queue() {
        let turns = Turns::default();
        let held = turns.take(late()).expect("nobody else");
        assert!(turns.take(Instant::now()).is_none());
        assert_eq!(turns.load(), 1);
        drop(held);
        assert!(turns.take(Instant::now()).is_some());
    }
}
