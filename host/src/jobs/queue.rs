//! What a worker needs to know of a queue: a folder or Redis streams.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;

use super::progress::Progress;
use crate::run::MAX_INPUT_BYTES;

/// Items that were taken to be worked on now.
#[derive(Debug)]
pub struct Taken<I> {
    /// As many as were asked for, or fewer.
    pub items: Vec<I>,
    /// How many items wait in the queue, those that were taken not counted.
    pub waiting: u64,
    /// Whether something is left that cannot be taken now: it waits for its time, or another worker has it.
    pub left: bool,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its result is there.
    Stored,
    /// It is given up, for this reason.
    Failed(String),
    /// It is to be tried again.
    PutBack {
        /// When.
        pause: Duration,
        /// What went wrong; nothing if it was only its turn that ended.
        reason: Option<String>,
    },
    /// Another worker has it, or it is gone, or it was done before.
    NotOurs,
}

/// A queue of items, with several workers.
pub trait Queue: Send + Sync + 'static {
    /// The right to work on one item, as this worker has it.
    type Item: Send + 'static;

    /// Items to be worked on, at most `most`. Waits for `patience` where there are none, or until `stop` becomes true. Is never broken off.
    fn take(
        &self,
        most: usize,
        patience: Duration,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<Taken<Self::Item>>> + Send;

    /// Does an item. When `stop` becomes true, it is put back.
    ///
    /// An error is not the item's fault; it stays, and is tried again.
    fn work(
        &self,
        item: Self::Item,
        stop: watch::Receiver<bool>,
    ) -> impl Future<Output = Result<Step>> + Send;

    /// Says how far this worker is, where others can read it.
    fn tell(&self, progress: &Progress) -> impl Future<Output = Result<()>> + Send;

    /// What an item is called in the log.
    fn name(item: &Self::Item) -> String;
}

/// Bytes of a job's JSON in a queue: an inline input is at most as large as any other that the host takes, in Base64. A component of the
/// jobs' triggers takes less, as `ephemera_jobs::MAX_JOB_BYTES` says.
pub(crate) const MAX_QUEUED_JOB_BYTES: u64 = MAX_INPUT_BYTES / 3 * 4 + (1 << 16);

/// Of so many turns that both priorities want, batch gets one: as in the server's admission.
pub(super) const BATCH_TURN: u32 = 8;

/// How often it is tried to post a report: with the pauses between, for some fourteen minutes.
pub const DELIVERIES: u32 = 11;

/// Between attempts: so many seconds after the first, twice as many after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// And never more.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Until what is not the item's fault is tried again, such as a full disk.
pub(super) const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// Of a pause, so much more or less at random: what failed together is not tried again together.
const JITTER: f64 = 0.2;

/// How long to wait after so many failures.
pub fn pause(failures: u32) -> Duration {
    jittered(doubled(failures), rand())
}

fn doubled(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE)
}

/// `dice` is from 0 to 1.
fn jittered(pause: Duration, dice: f64) -> Duration {
    pause.mul_f64(1.0 + JITTER * (2.0 * dice - 1.0))
}

/// A number from 0 to 1, by the seed that each hash table of the standard library has of the system.
fn rand() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0_u8);
    bits as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let seconds = [1, 2, 3, 9, 10, 99].map(|failures| doubled(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn pauses_differ_by_a_fifth() {
        let pause = Duration::from_secs(10);
        let seconds = [0.0, 0.5, 1.0].map(|dice| jittered(pause, dice).as_secs_f64());
        assert_eq!(seconds, [8.0, 10.0, 12.0]);
        let dice: Vec<f64> = (0..20).map(|_| rand()).collect();
        assert!(dice.iter().all(|dice| (0.0..=1.0).contains(dice)));
        assert!(dice.windows(2).any(|two| two[0] != two[1]));
    }
}
