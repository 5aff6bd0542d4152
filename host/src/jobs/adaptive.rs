//! How many items at once: more while that makes more of them done in a minute and memory allows it, fewer while the machine has too little.
//!
//! Where the work is computing, more at once than there are cores gains nothing, and costs memory and patience. Where it is waiting, for
//! inputs behind URLs or for a device, it gains much. So it is tried: one more at once, for as long as a rate takes to be known.

use std::time::Duration;

/// Items after which a rate is known, unless there are more places than that.
const ITEMS: u64 = 8;

/// And the least time that they may take.
const TIME: Duration = Duration::from_secs(2);

/// One more must make the rate so much higher.
const GAIN: f64 = 1.05;

/// After a step that gained nothing, so many rates are taken before the next is tried.
const REST: u32 = 10;

/// The number of items at once, by what it led to.
#[derive(Debug)]
pub struct Concurrency {
    most: usize,
    now: usize,
    /// The rate before the last step up.
    before: Option<f64>,
    rest: u32,
    /// Of the rate that is being taken: what was done, and in which time.
    done: u64,
    time: Duration,
}

impl Concurrency {
    /// Begins with `first` and never goes over `most`, which is at least 1.
    pub fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            now: first.clamp(1, most),
            before: None,
            rest: 0,
            done: 0,
            time: Duration::ZERO,
        }
    }

    /// How many at once.
    pub fn now(&self) -> usize {
        self.now
    }

    /// In `time`, `done` items were done, and all places were taken (`busy`) or not. `share` of the memory budget can be used.
    pub fn learn(&mut self, done: u64, time: Duration, busy: bool, share: f64) {
        if share < 1.0 {
            self.shrink(share);
            return;
        }
        if !busy {
            // What was done says nothing of what could have been.
            self.forget();
            return;
        }
        self.done += done;
        self.time += time;
        if self.done < ITEMS.max(2 * self.now as u64) || self.time < TIME {
            return;
        }
        let rate = self.done as f64 / self.time.as_secs_f64();
        self.forget();
        self.step(rate);
    }

    fn step(&mut self, rate: f64) {
        if let Some(before) = self.before.take()
            && rate < before * GAIN
        {
            self.now -= 1;
            self.rest = REST;
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        if self.now < self.most {
            self.before = Some(rate);
            self.now += 1;
        }
    }

    fn shrink(&mut self, share: f64) {
        let allowed = (self.most as f64 * share.max(0.0)) as usize;
        self.now = self.now.min(allowed).max(1);
        self.before = None;
        self.rest = REST;
        self.forget();
    }

    fn forget(&mut self) {
        self.done = 0;
        self.time = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a machine that does `rate(n)` items a second with `n` at once ends up after so many seconds.
    fn after(seconds: u32, first: usize, most: usize, rate: impl Fn(usize) -> f64) -> Vec<usize> {
        let mut concurrency = Concurrency::new(first, most);
        let mut owed = 0.0;
        (0..seconds)
            .map(|_| {
                owed += rate(concurrency.now());
                let done = owed as u64;
                owed -= done as f64;
                concurrency.learn(done, Duration::from_secs(1), true, 1.0);
                concurrency.now()
            })
            .collect()
    }

    #[test]
    fn it_grows_while_that_pays() {
        // Two cores and nothing but computing.
        let seen = after(600, 2, 8, |n| 4.0 * n.min(2) as f64);
        assert!(seen.iter().all(|&n| (2..=3).contains(&n)), "{seen:?}");
        let at_two = seen.iter().filter(|&&n| n == 2).count();
        assert!(
            at_two > seen.len() * 8 / 10,
            "{at_two} of {} seconds",
            seen.len()
        );
        // All waiting: as many as memory allows.
        let seen = after(60, 2, 8, |n| 10.0 * n as f64);
        assert_eq!(seen.last(), Some(&8));
        // Worse with every further one, from the first step on.
        let seen = after(600, 2, 8, |n| 10.0 / n as f64);
        assert!(seen.iter().all(|&n| n <= 3), "{seen:?}");
    }

    #[test]
    fn pressure_makes_it_shrink_at_once_and_grow_later() {
        let mut concurrency = Concurrency::new(8, 8);
        concurrency.learn(1, Duration::from_secs(1), true, 0.5);
        assert_eq!(concurrency.now(), 4);
        concurrency.learn(1, Duration::from_secs(1), true, 0.0);
        assert_eq!(concurrency.now(), 1);
        for _ in 0..REST {
            concurrency.learn(100, Duration::from_secs(2), true, 1.0);
            assert_eq!(concurrency.now(), 1);
        }
        concurrency.learn(100, Duration::from_secs(2), true, 1.0);
        assert_eq!(concurrency.now(), 2);
    }

    #[test]
    fn idle_time_says_nothing() {
        let mut concurrency = Concurrency::new(1, 4);
        for _ in 0..100 {
            concurrency.learn(7, Duration::from_secs(60), true, 1.0);
            concurrency.learn(0, Duration::from_secs(60), false, 1.0);
        }
        assert_eq!(concurrency.now(), 1);
    }
}
