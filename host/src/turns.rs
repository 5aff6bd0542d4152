//! Who computes next, when more guests want to than there are cores.
//!
//! A guest computes until the clock interrupts it. Then it goes on only if nobody who has computed for less is waiting, so that an endless
//! loop gives way to a short request within a tick. Of some turns one goes to whoever has waited longest, or a long request would stand
//! still for as long as short ones come. A guest that was not interrupted yet takes no turn: what is over within a tick need not wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Of so many turns, one goes to whoever has waited longest.
const OLDEST_TURN: u64 = 8;

/// As many turns at once as there are cores.
#[derive(Debug)]
pub(crate) struct Turns {
    cores: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    given: u64,
    /// In the order in which they came.
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    spent: Duration,
    seat: Arc<AtomicBool>,
    go: oneshot::Sender<()>,
}

/// One guest's part in it. Its turn ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    turns: Arc<Turns>,
    /// Whether it has a turn.
    has: Arc<AtomicBool>,
}

impl Turns {
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            cores,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives turns to those that wait, as long as there are some.
    fn give(&self, state: &mut State) {
        while state.taken < self.cores && !state.waiting.is_empty() {
            state.given += 1;
            let next = if state.given.is_multiple_of(OLDEST_TURN) {
                0
            } else {
                let spent = |(_, waiter): &(usize, &Waiter)| waiter.spent;
                let least = state.waiting.iter().enumerate().min_by_key(spent);
                least.map_or(0, |(index, _)| index)
            };
            let Waiter { seat, go, .. } = state.waiting.remove(next);
            // One that has gone takes no turn.
            if go.send(()).is_ok() {
                seat.store(true, Ordering::SeqCst);
                state.taken += 1;
            }
        }
    }
}

impl Seat {
    pub(crate) fn new(turns: &Arc<Turns>) -> Self {
        Self {
            turns: Arc::clone(turns),
            has: Arc::default(),
        }
    }

    /// Ends the turn and asks for the next, after `spent` of computing; what comes back is told when it is there.
    pub(crate) fn next(&self, spent: Duration) -> oneshot::Receiver<()> {
        let (go, told) = oneshot::channel();
        let mut state = self.turns.state();
        self.end(&mut state);
        state.waiting.push(Waiter {
            spent,
            seat: Arc::clone(&self.has),
            go,
        });
        self.turns.give(&mut state);
        told
    }

    /// Ends the turn: the guest waits for something else, or has gone.
    pub(crate) fn leave(&self) {
        let mut state = self.turns.state();
        self.end(&mut state);
        self.turns.give(&mut state);
    }

    /// Lets it go on whoever else waits, for the short time in which it is ended.
    pub(crate) fn force(&self) {
        let mut state = self.turns.state();
        let own = |waiter: &Waiter| Arc::ptr_eq(&waiter.seat, &self.has);
        if let Some(index) = state.waiting.iter().position(own) {
            // It has gone, perhaps.
            let _ = state.waiting.remove(index).go.send(());
        }
    }

    fn end(&self, state: &mut State) {
        if self.has.swap(false, Ordering::SeqCst) {
            state.taken -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        let own = |waiter: &Waiter| Arc::ptr_eq(&waiter.seat, &self.has);
        state.waiting.retain(|waiter| !own(waiter));
        self.end(&mut state);
        self.turns.give(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn told(receiver: &mut oneshot::Receiver<()>) -> bool {
        receiver.try_recv().is_ok()
    }

    #[test]
    fn who_computed_least_goes_first() {
        let turns = Arc::new(Turns::new(1));
        let seats: Vec<Seat> = (0..3).map(|_| Seat::new(&turns)).collect();
        let mut old = seats[0].next(ms(500));
        assert!(told(&mut old), "nobody else is there");
        let mut older = seats[1].next(ms(900));
        let mut fresh = seats[2].next(ms(5));
        assert!(!told(&mut older) && !told(&mut fresh));
        // The tick: one that computed for less is waiting.
        let mut old = seats[0].next(ms(510));
        assert!(told(&mut fresh) && !told(&mut old));
        seats[2].leave();
        assert!(told(&mut old) && !told(&mut older));
        // Gone in the middle of its turn.
        drop(seats);
        let state = turns.state();
        assert_eq!((state.taken, state.waiting.len()), (0, 0));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let turns = Arc::new(Turns::new(1));
        let (old, fresh) = (Seat::new(&turns), Seat::new(&turns));
        let mut running = fresh.next(ms(0));
        assert!(told(&mut running));
        let mut old = old.next(ms(9000));
        let rounds = (0..2 * OLDEST_TURN).take_while(|_| {
            drop(fresh.next(ms(0)));
            !told(&mut old)
        });
        assert!(rounds.count() < OLDEST_TURN as usize);
    }

    #[test]
    fn one_that_is_ended_need_not_wait() {
        let turns = Arc::new(Turns::new(1));
        let (first, second) = (Seat::new(&turns), Seat::new(&turns));
        assert!(told(&mut first.next(ms(1))));
        let mut waiting = second.next(ms(2));
        second.force();
        assert!(told(&mut waiting));
        assert_eq!(turns.state().taken, 1);
    }

    #[test]
    fn there_are_as_many_turns_as_cores() {
        let turns = Arc::new(Turns::new(2));
        let seats: Vec<Seat> = (0..3).map(|_| Seat::new(&turns)).collect();
        let mut asked: Vec<_> = seats.iter().map(|seat| seat.next(ms(1))).collect();
        let told: Vec<bool> = asked.iter_mut().map(told).collect();
        assert_eq!(told, [true, true, false]);
    }
}
