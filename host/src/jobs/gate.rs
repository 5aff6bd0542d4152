//! How many items run at once, as a number that may change while they do.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Lets at most so many run at once.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    /// Somebody left, or there is more room.
    room: Notify,
}

#[derive(Debug)]
struct State {
    most: usize,
    inside: usize,
}

/// The right to run, given back when dropped.
#[derive(Debug)]
pub struct Inside<'a>(&'a Gate);

impl Gate {
    /// For at most `most`, and at least one.
    pub fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                most: most.max(1),
                inside: 0,
            }),
            room: Notify::new(),
        }
    }

    /// Lets at most `most` run from now on. Those that run already are not stopped.
    pub fn set(&self, most: usize) {
        self.state().most = most.max(1);
        self.room.notify_waiters();
    }

    /// How many run.
    pub fn inside(&self) -> usize {
        self.state().inside
    }

    /// Waits until there is room.
    pub async fn enter(&self) -> Inside<'_> {
        loop {
            // Before the look, so that who leaves between it and the wait is noticed.
            let room = self.room.notified();
            {
                let mut state = self.state();
                if state.inside < state.most {
                    state.inside += 1;
                    return Inside(self);
                }
            }
            room.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Two numbers cannot be left in disorder.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        // All look; those for whom there is no room wait again.
        self.0.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_so_many_are_inside() {
        let gate = Arc::new(Gate::new(1));
        let first = gate.enter().await;
        let waits = tokio::time::timeout(Duration::from_millis(20), gate.enter()).await;
        assert!(waits.is_err());
        gate.set(2);
        let second = gate.enter().await;
        assert_eq!(gate.inside(), 2);
        gate.set(1);
        drop(second);
        let waits = tokio::time::timeout(Duration::from_millis(20), gate.enter()).await;
        assert!(waits.is_err(), "one is enough now");
        drop(first);
        gate.set(0);
        drop(gate.enter().await);
        assert_eq!(gate.inside(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everybody_gets_in() {
        let gate = Arc::new(Gate::new(3));
        let tasks = (0..200).map(|_| {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let _inside = gate.enter().await;
                assert!(gate.inside() <= 3);
                tokio::task::yield_now().await;
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            tokio::time::timeout(Duration::from_secs(20), task)
                .await
                .expect("its turn comes")
                .expect("no panic");
        }
    }
}
