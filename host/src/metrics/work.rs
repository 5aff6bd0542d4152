//! Work that no client waits for, messages of triggers and jobs of queues: what comes in, what becomes of it, how long each part takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::histogram::{Histogram, SECONDS};
use super::text::{Family, Kind, Text};

/// What a piece of work goes through, in this order; some of it only where there is something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reading or fetching the input.
    Fetch,
    /// Waiting for a part of the budget.
    Wait,
    /// The function's own work, its instance made and dropped.
    Run,
    /// Writing the result.
    Store,
    /// Posting the report.
    Post,
}

impl Phase {
    /// All of them: a phase's place is its number.
    const ALL: [Self; 5] = [Self::Fetch, Self::Wait, Self::Run, Self::Store, Self::Post];

    fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Wait => "wait",
            Self::Run => "run",
            Self::Store => "store",
            Self::Post => "post",
        }
    }
}

/// What became of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is done, and its result where it belongs.
    Done,
    /// It failed. A job is tried again.
    Failed,
    /// It is given up: among the dead letters, or too long to be read.
    Dead,
    /// It is another's, or its turn ended before it was begun.
    GivenBack,
}

impl End {
    /// All of them: an end's place is its number.
    const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Dead, Self::GivenBack];

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::GivenBack => "given_back",
        }
    }
}

/// What a kind of work is called.
#[derive(Debug)]
struct Names {
    received: &'static str,
    ended: &'static str,
    in_hand: &'static str,
    phases: &'static str,
    help: [&'static str; 4],
}

const MESSAGES: Names = Names {
    received: "ephemera_messages_received",
    ended: "ephemera_messages",
    in_hand: "ephemera_messages_in_hand",
    phases: "ephemera_message_phase_seconds",
    help: [
        "Messages of the Redis trigger that came in, by function.",
        "Messages by function and what became of them: done, failed, dead if too long to be read (no function).",
        "Messages that wait or run.",
        "Time of a message by phase.",
    ],
};

const JOBS: Names = Names {
    received: "ephemera_jobs_received",
    ended: "ephemera_jobs",
    in_hand: "ephemera_jobs_in_hand",
    phases: "ephemera_job_phase_seconds",
    help: [
        "Jobs that were taken from the queue.",
        "Attempts at jobs by what became of them: done, failed and to be tried again, dead letters, given back.",
        "Jobs that are being fetched, wait, run, or are being stored or posted.",
        "Time of a job by phase.",
    ],
};

/// Counts of one kind of work since the start.
#[derive(Debug)]
pub(crate) struct Work {
    names: Names,
    /// By function; under no name what is not told apart by it.
    counts: Mutex<BTreeMap<Arc<str>, Counts>>,
}

#[derive(Debug)]
struct Counts {
    received: u64,
    in_hand: u64,
    ends: [u64; End::ALL.len()],
    phases: [Histogram; Phase::ALL.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            received: 0,
            in_hand: 0,
            ends: [0; End::ALL.len()],
            phases: std::array::from_fn(|_| Histogram::new(SECONDS)),
        }
    }
}

/// A piece of work in hand. However it ends, it is so no more when this is dropped.
pub(crate) struct InHand<'a> {
    work: &'a Work,
    function: &'a str,
    end: End,
}

impl InHand<'_> {
    /// It came to this.
    pub(crate) fn ends(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.work.ends(self.function, self.end);
    }
}

impl Work {
    /// Of messages, each function's on its own.
    pub(crate) fn messages() -> Self {
        Self::called(MESSAGES)
    }

    /// Of jobs, all together: what one asks for is known when it has been read.
    pub(crate) fn jobs() -> Self {
        Self::called(JOBS)
    }

    fn called(names: Names) -> Self {
        Self {
            names,
            counts: Mutex::default(),
        }
    }

    /// One has come for `function`, and is in hand from now on.
    pub(crate) fn begins(&self, function: &str) {
        self.count(function, |counts| {
            counts.received += 1;
            counts.in_hand += 1;
        });
    }

    /// One is in hand until what is returned is dropped: by a panic too, then it failed.
    pub(crate) fn takes<'a>(&'a self, function: &'a str) -> InHand<'a> {
        self.begins(function);
        InHand {
            work: self,
            function,
            end: End::Failed,
        }
    }

    /// One that was in hand is no more.
    pub(crate) fn ends(&self, function: &str, end: End) {
        self.count(function, |counts| {
            counts.in_hand = counts.in_hand.saturating_sub(1);
            counts.ends[end as usize] += 1;
        });
    }

    /// One ended before it was in anybody's hand.
    pub(crate) fn dropped(&self) {
        self.count("", |counts| counts.ends[End::Dead as usize] += 1);
    }

    /// Does `work`, and notes how long that takes, if it is not broken off.
    pub(crate) async fn time<F: Future>(&self, function: &str, phase: Phase, work: F) -> F::Output {
        let begun = Instant::now();
        let done = work.await;
        self.took(function, phase, begun.elapsed());
        done
    }

    /// A phase took so long.
    pub(crate) fn took(&self, function: &str, phase: Phase, time: Duration) {
        self.count(function, |counts| {
            counts.phases[phase as usize].observe(time.as_secs_f64());
        });
    }

    fn count(&self, function: &str, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts();
        match counts.get_mut(function) {
            Some(counts) => change(counts),
            None => change(counts.entry(function.into()).or_default()),
        }
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Counts>> {
        // Plain counts are whole even if a holder panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it, as families of `text`.
    pub(crate) fn write(&self, text: &mut Text) {
        let counts = self.counts();
        let [received, ended, in_hand, phases] = self.names.help;
        let mut family = text.family(Kind::Counter, self.names.received, received);
        for (name, counts) in &*counts {
            sample(&mut family, name, &[], counts.received as f64);
        }
        let mut family = text.family(Kind::Counter, self.names.ended, ended);
        for (name, counts) in &*counts {
            for (end, count) in End::ALL.iter().zip(counts.ends) {
                let label = [("result", end.name())];
                sample(&mut family, name, &label, count as f64);
            }
        }
        let mut family = text.family(Kind::Gauge, self.names.in_hand, in_hand);
        for (name, counts) in &*counts {
            sample(&mut family, name, &[], counts.in_hand as f64);
        }
        let mut family = text.family(Kind::Histogram, self.names.phases, phases);
        for (name, counts) in &*counts {
            for (phase, times) in Phase::ALL.iter().zip(&counts.phases) {
                let labels = labels(name, &[("phase", phase.name())]);
                times.write(&mut family, &labels);
            }
        }
    }
}

fn sample(family: &mut Family<'_>, function: &str, more: &[(&str, &str)], value: f64) {
    family.sample(&labels(function, more), value);
}

/// With the function, where it is told apart by that.
fn labels<'a>(function: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let function = (!function.is_empty()).then_some(("function", function));
    function.into_iter().chain(more.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::text::Format;
    use super::*;

    fn lines(work: &Work) -> Vec<String> {
        let mut text = Text::new(Format::Prometheus);
        work.write(&mut text);
        text.end().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn what_comes_in_is_in_hand_until_it_ends() {
        let work = Work::messages();
        for _ in 0..2 {
            work.begins("ocr-jobs");
        }
        work.ends("ocr-jobs", End::Failed);
        work.dropped();
        work.takes("ocr-jobs").ends(End::Done);
        drop(work.takes("broken-off"));
        let seven = work.time("ocr-jobs", Phase::Run, std::future::ready(7));
        assert_eq!(seven.await, 7);
        let lines = lines(&work);
        for expected in [
            "ephemera_messages_received_total{function=\"ocr-jobs\"} 3",
            "ephemera_messages_in_hand{function=\"ocr-jobs\"} 1",
            "ephemera_messages_total{function=\"ocr-jobs\",result=\"done\"} 1",
            "ephemera_messages_total{function=\"ocr-jobs\",result=\"failed\"} 1",
            "ephemera_messages_total{result=\"dead\"} 1",
            "ephemera_messages_in_hand{function=\"broken-off\"} 0",
            "ephemera_messages_total{function=\"broken-off\",result=\"failed\"} 1",
            "ephemera_message_phase_seconds_count{function=\"ocr-jobs\",phase=\"run\"} 1",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}");
        }
    }

    #[test]
    fn jobs_are_told_apart_by_nothing_that_they_bring() {
        let work = Work::jobs();
        work.begins("");
        work.ends("", End::Dead);
        work.took("", Phase::Fetch, Duration::from_secs(2));
        let lines = lines(&work);
        for expected in [
            "ephemera_jobs_received_total 1",
            "ephemera_jobs_total{result=\"dead\"} 1",
            "ephemera_jobs_in_hand 0",
            "ephemera_job_phase_seconds_sum{phase=\"fetch\"} 2",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}");
        }
    }
}
