//! How slow a client may be: not a time for a whole body or answer, which a large one needs, but a least speed after a time of grace.

use std::time::Duration;

use tokio::time::Instant;

/// The least speed at which a client sends its body or takes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Time in which nothing need happen yet.
    pub grace: Duration,
    /// From then on. Who was faster has that long in hand once more, and not longer.
    pub bytes_per_s: u32,
}

/// More than any grace is; a clock takes it.
const MOST_EARNED_S: f64 = 1e6;

/// What one client has done so far, against a [`Floor`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    floor: Floor,
    deadline: Instant,
}

impl Pace {
    /// Starts now.
    pub(crate) fn start(floor: Floor) -> Self {
        Self {
            floor,
            deadline: Instant::now() + floor.grace,
        }
    }

    /// Counts `bytes` that went over.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let earned = bytes as f64 / f64::from(self.floor.bytes_per_s.max(1));
        let later = self.deadline + Duration::from_secs_f64(earned.min(MOST_EARNED_S));
        self.deadline = later
            .min(Instant::now() + self.floor.grace)
            .max(self.deadline);
    }

    /// Does not count `time`, in which it was we who kept the client waiting.
    pub(crate) fn excuse(&mut self, time: Duration) {
        self.deadline += time;
    }

    /// When the client is too slow, if nothing more goes over until then.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_buy_time_up_to_the_grace() {
        let grace = Duration::from_secs(1000);
        let mut pace = Pace::start(Floor {
            grace,
            bytes_per_s: 100,
        });
        let start = Instant::now();
        // However much comes at once: whoever stops then has no more than the grace.
        pace.moved(usize::MAX);
        let most = pace.deadline() - start;
        assert!(
            most >= grace && most < grace + Duration::from_secs(60),
            "{most:?}"
        );

        // As it is when all but six seconds of it have passed.
        pace.deadline = start + Duration::from_secs(6);
        pace.moved(250);
        assert_eq!(pace.deadline() - start, Duration::from_millis(8_500));
        pace.excuse(Duration::from_secs(1));
        assert_eq!(pace.deadline() - start, Duration::from_millis(9_500));
    }
}
