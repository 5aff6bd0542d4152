//! How slow a client may be: not a time for a whole body or answer, which a large one needs, but a least speed after a time of grace.

use std::time::Duration;

use tokio::time::Instant;

/// The least speed at which a client sends its body or takes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Time in which nothing need happen yet.
    pub grace: Duration,
    /// From then on, on average since the start.
    pub bytes_per_s: u32,
}

/// What one client has done so far, against a [`Floor`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    floor: Floor,
    since: Instant,
    bytes: u64,
}

impl Pace {
    /// Starts now.
    pub(crate) fn start(floor: Floor) -> Self {
        Self {
            floor,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts `bytes` that went over.
    pub(crate) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Does not count `time`, in which it was we who kept the client waiting.
    pub(crate) fn excuse(&mut self, time: Duration) {
        self.since += time;
    }

    /// When the client is too slow, if nothing more goes over until then.
    pub(crate) fn deadline(&self) -> Instant {
        let earned = self.bytes as f64 / f64::from(self.floor.bytes_per_s.max(1));
        // What a body or an answer may be, at one byte a second, is far below a century.
        let earned = Duration::from_secs_f64(earned.min(3e9));
        self.since + self.floor.grace + earned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_buys_time() {
        let mut pace = Pace::start(Floor {
            grace: Duration::from_secs(10),
            bytes_per_s: 100,
        });
        let start = pace.since;
        let left = |pace: &Pace| pace.deadline() - start;
        assert_eq!(left(&pace), Duration::from_secs(10));
        pace.moved(250);
        assert_eq!(left(&pace), Duration::from_millis(12_500));
        pace.excuse(Duration::from_secs(1));
        assert_eq!(left(&pace), Duration::from_millis(13_500));
        pace.moved(usize::MAX);
        pace.moved(usize::MAX);
        assert!(left(&pace) > Duration::from_secs(1 << 20));
    }
}
