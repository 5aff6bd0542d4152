//! The clock that interrupts running guests, and stands still when none runs.
//!
//! Compiled guests compare the engine's epoch with a deadline at every loop; each tick makes them yield to the executor, which is then
//! free to serve others, to notice a deadline, or to drop them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use wasmtime::Engine;

/// How long a guest computes before it yields. A request that was interrupted waits for about one tick of each guest that computes before
/// it: with ticks of 10 ms a small page beside four endless loops on two cores took twice as long as alone, with 2 ms as long as alone. What
/// a tick costs, some microseconds, could not be measured beside the rest of a request.
const TICK: Duration = Duration::from_millis(2);

/// Ticks as long as it lives and somebody holds a [`Running`].
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// While one exists, the clock ticks.
pub(crate) struct Running(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    stopped: bool,
    ticks: u64,
}

impl Ticker {
    /// Starts the clock of `engine`, standing still.
    ///
    /// # Errors
    ///
    /// No thread to be had.
    pub(crate) fn start(engine: Engine) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("epoch".into())
            .stack_size(64 * 1024)
            .spawn(move || of_thread.tick(&engine))
            .context("starting the epoch thread")?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Lets the clock tick until the guard is dropped.
    pub(crate) fn running(&self) -> Running {
        self.shared.state().running += 1;
        self.shared.changed.notify_one();
        Running(Arc::clone(&self.shared))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Three plain numbers are whole even if a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &Engine) {
        let mut state = self.state();
        while !state.stopped {
            if state.running == 0 {
                state = self.wait(state);
                continue;
            }
            let (next, _) = self
                .changed
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.ticks += 1;
            engine.increment_epoch();
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panicked clock has nothing more to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_clock_stands_still() {
        let ticker = Ticker::start(Engine::default()).expect("a thread");
        let ticks = || ticker.shared.state().ticks;
        std::thread::sleep(TICK * 5);
        assert_eq!(ticks(), 0, "nothing ran yet");

        let running = ticker.running();
        while ticks() < 3 {
            std::thread::sleep(TICK);
        }
        drop(running);

        // The tick under way may still come, whenever the thread has its turn, and no other.
        let stopped_at = ticks();
        std::thread::sleep(TICK * 8);
        assert!(ticks() <= stopped_at + 1);
    }
}
