//! Items, several at once, until a signal or until there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::folder::{Hot, Step};
use super::inbox::Item;
use super::progress::{HEARTBEAT, Progress};

/// After a problem with the folders, nothing is begun for so long.
const PROBLEM_PAUSE: Duration = Duration::from_secs(1);

/// How a worker goes about it.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Items at once.
    pub jobs: usize,
    /// How often the folder is looked at when there is nothing to do.
    pub poll: Duration,
    /// Whether it ends when there is nothing left, instead of waiting for more.
    pub once: bool,
    /// How long running items may still take after a signal to stop; then they are put back.
    pub grace: Duration,
}

type Finished = (Item, Result<Step>);

/// Works until `stop` becomes true, or, if it is to end by itself, until nothing is left. Returns what it did.
///
/// # Errors
///
/// The inbox cannot be listed, or progress not be written, at the start; later it is told and tried again.
pub async fn work(hot: Arc<Hot>, pace: &Pace, mut stop: watch::Receiver<bool>) -> Result<Progress> {
    let mut worker = Worker::new(hot);
    worker.tell()?;
    let (give_up, given_up) = watch::channel(false);
    while !*stop.borrow() {
        let items = match worker.look() {
            Ok(items) => items,
            Err(error) => {
                worker.problem(&error);
                rest(PROBLEM_PAUSE, &mut stop).await;
                continue;
            }
        };
        let idle = items.is_empty() && worker.running.is_empty();
        if idle && pace.once && worker.paused.is_empty() {
            break;
        }
        for item in items {
            while worker.running.len() >= pace.jobs && !*stop.borrow() {
                worker.wait(&mut stop).await;
            }
            if *stop.borrow() {
                break;
            }
            worker.begin(item, given_up.clone());
        }
        if !worker.running.is_empty() {
            tokio::select! {
                () = worker.wait(&mut stop) => {}
                // There may be more by then, and room for it.
                () = tokio::time::sleep(pace.poll) => {}
            }
            worker.tell_if_silent();
        } else if !*stop.borrow() {
            rest(pace.poll, &mut stop).await;
        }
    }
    worker.drain(pace.grace, &give_up).await;
    worker.tell()?;
    Ok(worker.progress)
}

async fn rest(time: Duration, stop: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

struct Worker {
    hot: Arc<Hot>,
    name: String,
    running: JoinSet<Finished>,
    under_way: BTreeSet<PathBuf>,
    /// Items that are not to be tried before a time.
    paused: BTreeMap<PathBuf, Instant>,
    progress: Progress,
    told: Instant,
}

impl Worker {
    fn new(hot: Arc<Hot>) -> Self {
        Self {
            hot,
            name: format!("{}-{}", std::process::id(), super::claim::now()),
            running: JoinSet::new(),
            under_way: BTreeSet::new(),
            paused: BTreeMap::new(),
            progress: Progress::default(),
            told: Instant::now(),
        }
    }

    /// What there is to begin.
    fn look(&mut self) -> Result<Vec<Item>> {
        let mut items = self.hot.inbox().scan()?;
        self.progress.waiting = items.len() as u64;
        let now = Instant::now();
        let there: BTreeSet<&PathBuf> = items.iter().map(|item| &item.below).collect();
        self.paused
            .retain(|below, until| *until > now && there.contains(below));
        items.retain(|item| {
            !self.under_way.contains(&item.below) && !self.paused.contains_key(&item.below)
        });
        Ok(items)
    }

    fn begin(&mut self, item: Item, stop: watch::Receiver<bool>) {
        self.under_way.insert(item.below.clone());
        let hot = Arc::clone(&self.hot);
        self.running.spawn(async move {
            let step = hot.work(&item, stop).await;
            (item, step)
        });
    }

    /// Until one is finished, or `stop` becomes true.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) {
        tokio::select! {
            finished = self.running.join_next() => self.finished(finished),
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    fn finished(&mut self, finished: Option<Result<Finished, tokio::task::JoinError>>) {
        let Some(finished) = finished else { return };
        let (item, step) = match finished.context("a worker's task broke off") {
            Ok(finished) => finished,
            Err(error) => return self.problem(&error),
        };
        self.under_way.remove(&item.below);
        let name = item.below.display();
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
                self.paused.insert(item.below, Instant::now() + pause);
            }
            // Whoever has it is looked after when it is still there the next time.
            Ok(Step::NotOurs) => {
                self.paused
                    .insert(item.below, Instant::now() + PROBLEM_PAUSE);
            }
            Err(error) => {
                self.problem(&error.context(format!("{name}")));
                self.paused
                    .insert(item.below, Instant::now() + PROBLEM_PAUSE);
            }
        }
        if let Err(error) = self.tell() {
            self.problem(&error);
        }
    }

    /// Lets running items finish within `grace`, then has them put back.
    async fn drain(&mut self, grace: Duration, give_up: &watch::Sender<bool>) {
        let finishing = async {
            while let Some(finished) = self.running.join_next().await {
                self.finished(Some(finished));
            }
        };
        if tokio::time::timeout(grace, finishing).await.is_err() {
            give_up.send_replace(true);
            while let Some(finished) = self.running.join_next().await {
                self.finished(Some(finished));
            }
        }
    }

    fn problem(&mut self, error: &anyhow::Error) {
        tracing::error!("{error:#}");
        self.progress.problem = Some(format!("{error:#}"));
    }

    /// That it is alive.
    fn tell_if_silent(&mut self) {
        if self.told.elapsed() >= HEARTBEAT
            && let Err(error) = self.tell()
        {
            self.problem(&error);
        }
    }

    fn tell(&mut self) -> Result<()> {
        self.told = Instant::now();
        self.progress.running = self.running.len() as u64;
        self.progress.tell(self.hot.inbox(), &self.name)
    }
}
