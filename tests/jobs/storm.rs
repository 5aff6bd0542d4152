//! Many jobs, many kills, whatever the queue is.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crew::Crew;
use super::dice::{Dice, number};

/// Workers at any time.
const WORKERS: usize = 2;

/// A worker lives for this long at least, and for ten times as long at most: some die while they start, some in the middle of a job.
const SHORTEST_LIFE: u64 = 60;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) jobs: usize,
    pub(super) kills: usize,
}

impl Size {
    /// `EPHEMERA_JOBS` and `EPHEMERA_KILLS`, or what takes some seconds.
    pub(super) fn asked() -> Result<Self> {
        Ok(Self {
            jobs: number("EPHEMERA_JOBS", 120)? as usize,
            kills: number("EPHEMERA_KILLS", 24)? as usize,
        })
    }
}

/// Where jobs come from.
pub(super) trait Queue {
    /// Hands in some of the jobs.
    fn submit(&mut self, jobs: Range<usize>) -> Result<()>;

    /// How many jobs have no end yet.
    fn left(&mut self) -> Result<usize>;

    /// Whatever else goes wrong with this queue; `turn` of `turns`, one for each kill.
    fn disturb(&mut self, turn: usize, turns: usize, dice: &mut Dice) -> Result<()>;
}

/// Hands in all jobs in pieces, kills a worker after each, and waits for the end. The seconds that it took.
pub(super) fn storm(
    queue: &mut impl Queue,
    crew: &mut Crew,
    size: Size,
    dice: &mut Dice,
) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..WORKERS {
        crew.start()?;
    }
    let mut submitted = 0;
    for kill in 0..size.kills {
        // One piece more than there were kills, so that every kill finds work under way.
        let upto = size.jobs * (kill + 2) / (size.kills + 1);
        queue.submit(submitted..upto.min(size.jobs))?;
        submitted = upto.min(size.jobs);
        let life = SHORTEST_LIFE + dice.below(9 * SHORTEST_LIFE);
        std::thread::sleep(Duration::from_millis(life));
        crew.replace(dice.below(WORKERS as u64) as usize)?;
        queue.disturb(kill, size.kills, dice)?;
    }
    queue.submit(submitted..size.jobs)?;
    let patience = Duration::from_secs(120 + size.jobs as u64);
    let since = Instant::now();
    while queue.left()? > 0 {
        let left = queue.left()?;
        ensure!(since.elapsed() < patience, "{left} jobs are left");
        std::thread::sleep(Duration::from_millis(100));
    }
    crew.stop()?;
    for line in crew.all_said()?.lines() {
        // Guests may.
        let ours = line.contains("panicked") && !line.contains("ephemera::guest");
        ensure!(!ours, "{line}");
    }
    Ok(began.elapsed().as_secs_f64())
}
