//! Items of a queue, several at once, until a signal or until there are none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::adaptive::Concurrency;
use super::perform::Performer;
use super::progress::{HEARTBEAT, Progress};
use super::queue::{Queue, Step, Taken};
use crate::metrics::work::End;
use crate::pressure::Gauge;

/// After a problem with the queue, nothing is begun for so long.
const PROBLEM_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked at how many items to do at once.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// How a worker goes about it.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Items at once to begin with.
    pub first: usize,
    /// Items at once, at most.
    pub most: usize,
    /// Items in hand for each that runs, itself included.
    pub prefetch: usize,
    /// How long the queue is waited for when there is nothing to do.
    pub poll: Duration,
    /// Whether it ends when there is nothing left, instead of waiting for more.
    pub once: bool,
    /// How long running items may still take after a signal to stop; then they are put back.
    pub grace: Duration,
}

type Finished = (String, Result<Step>);

/// Works until `stop` becomes true, or, if it is to end by itself, until nothing is left. Returns what it did.
///
/// # Errors
///
/// Progress cannot be told at the start; later, problems are told and it goes on.
pub async fn work<Q: Queue>(
    queue: Arc<Q>,
    performer: Arc<Performer>,
    pace: &Pace,
    mut stop: watch::Receiver<bool>,
) -> Result<Progress> {
    let mut worker = Worker::new(queue, performer, pace);
    worker.progress.places = worker.concurrency.now() as u64;
    worker.queue.tell(&worker.progress).await?;
    let (give_up, given_up) = watch::channel(false);
    while !*stop.borrow() {
        worker.look();
        if worker.told.elapsed() >= HEARTBEAT {
            worker.tell().await;
        }
        let room = worker.room();
        if room == 0 {
            worker.wait(&mut stop).await;
            continue;
        }
        match worker.take(room, &stop).await {
            Ok(taken) => {
                if taken.items.is_empty()
                    && !taken.left
                    && worker.running.is_empty()
                    && worker.pace.once
                {
                    break;
                }
                for item in taken.items {
                    worker.begin(item, given_up.clone());
                }
            }
            Err(error) => {
                worker.problem(&error);
                worker.rest(&mut stop).await;
            }
        }
    }
    worker.drain(&give_up).await;
    worker.tell().await;
    Ok(worker.progress)
}

struct Worker<'a, Q: Queue> {
    queue: Arc<Q>,
    performer: Arc<Performer>,
    pace: &'a Pace,
    concurrency: Concurrency,
    gauge: Gauge,
    looked: Instant,
    /// Items that ended since it was looked.
    ended: u64,
    /// Whether all places have been taken since then.
    busy: bool,
    running: JoinSet<Finished>,
    progress: Progress,
    told: Instant,
}

impl<'a, Q: Queue> Worker<'a, Q> {
    fn new(queue: Arc<Q>, performer: Arc<Performer>, pace: &'a Pace) -> Self {
        let concurrency = Concurrency::new(pace.first, pace.most);
        performer.gate().set(concurrency.now());
        Self {
            queue,
            performer,
            pace,
            concurrency,
            gauge: Gauge::new(),
            looked: Instant::now(),
            ended: 0,
            busy: true,
            running: JoinSet::new(),
            progress: Progress::default(),
            told: Instant::now(),
        }
    }

    /// How many more items may be taken.
    fn room(&self) -> usize {
        let in_hand = self.concurrency.now().saturating_mul(self.pace.prefetch);
        let room = in_hand.saturating_sub(self.running.len());
        // One is worked on whatever it takes.
        let least = usize::from(self.running.is_empty());
        room.min(
            self.performer
                .room_for_inputs(self.running.len())
                .max(least),
        )
    }

    /// From time to time, what went on since the last time decides how many run at once.
    fn look(&mut self) {
        self.busy &= self.running.len() >= self.concurrency.now();
        let time = self.looked.elapsed();
        if time < LOOK_TIME {
            return;
        }
        let share = self.gauge.look();
        self.performer.limit(share);
        let before = self.concurrency.now();
        self.concurrency.learn(self.ended, time, self.busy, share);
        let now = self.concurrency.now();
        if now != before {
            tracing::debug!("{now} at once");
            self.performer.gate().set(now);
        }
        self.progress.places = now as u64;
        (self.looked, self.ended, self.busy) = (Instant::now(), 0, true);
    }

    /// What the queue has, while those that run go on.
    async fn take(&mut self, room: usize, stop: &watch::Receiver<bool>) -> Result<Taken<Q::Item>> {
        let queue = Arc::clone(&self.queue);
        let mut taking = std::pin::pin!(queue.take(room, self.pace.poll, stop.clone()));
        let taken = loop {
            tokio::select! {
                taken = &mut taking => break taken?,
                Some(finished) = self.running.join_next() => self.finished(finished).await,
            }
        };
        self.busy &= taken.items.len() == room;
        self.progress.waiting = taken.waiting;
        Ok(taken)
    }

    fn begin(&mut self, item: Q::Item, stop: watch::Receiver<bool>) {
        let queue = Arc::clone(&self.queue);
        self.performer.work().begins("");
        self.running.spawn(async move {
            let name = Q::name(&item);
            let step = queue.work(item, stop).await;
            (name, step)
        });
    }

    /// Until one is finished, `stop` becomes true, or it is time to look.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) {
        tokio::select! {
            Some(finished) = self.running.join_next() => self.finished(finished).await,
            _ = stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(LOOK_TIME) => {}
        }
    }

    async fn finished(&mut self, finished: Result<Finished, JoinError>) {
        let (name, step) = match finished.context("a worker's task broke off") {
            Ok(finished) => finished,
            Err(error) => {
                self.performer.work().ends("", End::GivenBack);
                return self.problem(&error);
            }
        };
        self.ended += 1;
        self.performer.work().ends("", end(&step));
        match step {
            Ok(Step::Stored) => {
                tracing::info!("{name}: stored");
                self.progress.stored += 1;
                self.progress.problem = None;
            }
            Ok(Step::Failed(reason)) => {
                tracing::warn!("{name}: failed: {reason}");
                self.progress.failed += 1;
            }
            Ok(Step::PutBack { pause, reason }) => {
                if let Some(reason) = reason {
                    tracing::warn!("{name}: again in {} s: {reason}", pause.as_secs());
                    self.progress.put_back += 1;
                }
            }
            Ok(Step::NotOurs) => {}
            Err(error) => self.problem(&error.context(name)),
        }
        self.tell().await;
    }

    /// Lets running items finish within the grace, then has them put back.
    async fn drain(&mut self, give_up: &watch::Sender<bool>) {
        let grace = self.pace.grace;
        let finishing = async {
            while let Some(finished) = self.running.join_next().await {
                self.finished(finished).await;
            }
        };
        if tokio::time::timeout(grace, finishing).await.is_err() {
            give_up.send_replace(true);
            while let Some(finished) = self.running.join_next().await {
                self.finished(finished).await;
            }
        }
    }

    async fn rest(&self, stop: &mut watch::Receiver<bool>) {
        tokio::select! {
            () = tokio::time::sleep(PROBLEM_PAUSE) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn problem(&mut self, error: &anyhow::Error) {
        tracing::error!("{error:#}");
        // Whoever reads it need not know where things are here.
        self.progress.problem = Some(error.root_cause().to_string());
    }

    async fn tell(&mut self) {
        self.told = Instant::now();
        self.progress.running = self.running.len() as u64;
        if let Err(error) = self.queue.tell(&self.progress).await {
            self.problem(&error);
        }
    }
}

/// As metrics call it.
fn end(step: &Result<Step>) -> End {
    match step {
        Ok(Step::Stored) => End::Done,
        Ok(Step::Failed(_)) => End::Dead,
        Ok(Step::PutBack {
            reason: Some(_), ..
        })
        | Err(_) => End::Failed,
        Ok(Step::PutBack { reason: None, .. } | Step::NotOurs) => End::GivenBack,
    }
}
