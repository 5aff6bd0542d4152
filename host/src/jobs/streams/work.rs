//! An entry -> its report stored, put back, or given up with its cause.
//!
//! ```text
//! perform.rs  a job -> what became of it
//! steps.rs    what Redis is told
//! ```

mod perform;
mod steps;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ephemera_jobs::{Answer, Reply, Report};
use tokio::sync::{Mutex, watch};

use super::broker::{Broker, passes};
use super::pull::{Entry, Pull, join, now_ms};
use super::scripts::{Call, REST};
use crate::jobs::claim::now;
use crate::jobs::company::{Companies, Company, is_suspect};
use crate::jobs::perform::{Outcome, Performer};
use crate::jobs::progress::Progress;
use crate::jobs::queue::{Queue, STORAGE_PAUSE, Step, Taken, pause};
use crate::jobs::reach::{Reach, Trouble};
use crate::jobs::results::Results;
use crate::metrics::work::Phase;
pub(in crate::jobs::streams) use steps::priority;
use steps::{At, Todo, without_reply};

/// How long a worker that starts waits for a Redis that starts, and how often it asks.
const START_TIME: Duration = Duration::from_secs(60);
const START_PAUSE: Duration = Duration::from_millis(500);

/// How a worker treats jobs.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often a job may fail before it is given up.
    pub attempts: u32,
    /// How often a worker may die with it.
    pub deaths: u64,
    /// For how long a job is a worker's that says nothing.
    pub lease: Duration,
    /// How long reports are kept.
    pub keep: Duration,
    /// Where `file:` inputs are.
    pub files: Option<PathBuf>,
    /// Where `reply.file` leads.
    pub out: Option<PathBuf>,
}

/// A worker of Redis streams.
pub struct Streams {
    broker: Broker,
    performer: Arc<Performer>,
    reach: Reach,
    options: Options,
    consumer: String,
    pull: Mutex<Pull>,
    company: Companies,
    /// Where `reply.file` leads.
    results: Option<Arc<Results>>,
}

impl Streams {
    /// Joins the group, as a worker of its own name.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked.
    pub async fn join(
        broker: Broker,
        performer: Arc<Performer>,
        reach: Reach,
        options: Options,
    ) -> Result<Self> {
        join_patiently(&broker).await.context("joining the group")?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let consumer = format!("{}-{}-{}", host.trim(), std::process::id(), now_ms());
        let pull = Pull::new(consumer.clone(), options.lease);
        let results = options.out.clone().map(|out| Arc::new(Results::new(out)));
        Ok(Self {
            broker,
            performer,
            reach,
            options,
            consumer,
            pull: Mutex::new(pull),
            company: Companies::default(),
            results,
        })
    }
}

impl Queue for Streams {
    type Item = Entry;

    async fn take(
        &self,
        most: usize,
        patience: Duration,
        _stop: watch::Receiver<bool>,
    ) -> Result<Taken<Entry>> {
        let mut pull = self.pull.lock().await;
        let pulled = pull.pull(&self.broker, most, patience).await?;
        Ok(Taken {
            left: pulled.elsewhere + pulled.waiting > 0,
            waiting: pulled.waiting,
            items: pulled.entries,
        })
    }

    async fn work(&self, entry: Entry, stop: watch::Receiver<bool>) -> Result<Step> {
        // Of one that is no job nothing is kept but the reason, and it says nothing of how large jobs are.
        let _held = entry.job.is_ok().then(|| self.performer.hold(entry.bytes));
        // Both go on side by side: a Redis that does not answer does not stop the job.
        tokio::select! {
            biased;
            step = self.attempt(&entry, stop) => step,
            () = self.keep(&entry) => {
                tracing::warn!("{}: another worker took it over", Self::name(&entry));
                Ok(Step::NotOurs)
            }
        }
    }

    async fn tell(&self, _progress: &Progress) -> Result<()> {
        // The scripts count; what each worker has is in the group.
        Ok(())
    }

    fn name(entry: &Entry) -> String {
        // The id is what people look for; the entry is what there always is.
        match &entry.job {
            Ok(job) => job.id.clone(),
            Err(_) => format!("{}/{}", entry.stream, entry.id),
        }
    }
}

impl Streams {
    /// Renews the lease until the entry is no longer ours.
    async fn keep(&self, entry: &Entry) {
        loop {
            tokio::time::sleep(self.options.lease / 3).await;
            if !self.renew(entry).await {
                return;
            }
        }
    }

    async fn attempt(&self, entry: &Entry, stop: watch::Receiver<bool>) -> Result<Step> {
        let job = match &entry.job {
            Ok(job) => job,
            Err(reason) => return self.bury(entry, reason, &stop).await,
        };
        let Some(begun) = self.begin(entry, job, &stop).await? else {
            return Ok(Step::NotOurs);
        };
        let at = At {
            entry,
            job,
            stop: &stop,
        };
        if let Todo::Deliver(report) = &begun.todo {
            return self.deliver(&at, report, begun.failures).await;
        }
        let failures = begun.failures.saturating_add(job.attempt);
        let attempts = failures.saturating_add(1);
        if let Some(Reply::Key(key) | Reply::List(key)) = &job.reply
            && self.broker.layout.has(key)
        {
            let job = &without_reply(job);
            let reason = "reply: expected a key that is none of the queue's own";
            return self
                .give_up(&At { job, ..at }, reason, attempts, begun.deaths)
                .await;
        }
        if begun.deaths >= self.options.deaths {
            let reason = format!("{} workers died with it", begun.deaths);
            return self.give_up(&at, &reason, failures, begun.deaths).await;
        }
        if begun.deaths > 0 {
            self.sweep(job).await?;
        }
        if let Err(Trouble::Later(reason)) = self.check_room(job).await {
            return self.delay(&at, STORAGE_PAUSE, reason, false).await;
        }
        let Some(company) = self.company(&at, begun.deaths).await? else {
            return self.release(&at).await;
        };
        let Some(company) = company else {
            return Ok(Step::NotOurs);
        };
        let outcome = self.outcome(&at).await?;
        drop(company);
        match outcome {
            None => self.release(&at).await,
            Some(Outcome::Answer { bytes, media_type }) => {
                let writing = self.write(job, &bytes);
                match self.performer.work().time("", Phase::Store, writing).await {
                    Ok(()) => {}
                    Err(Trouble::Never(reason)) => {
                        return self.give_up(&at, &reason, attempts, begun.deaths).await;
                    }
                    // It is not the job's fault, and does not count against it.
                    Err(Trouble::Later(reason)) => {
                        return self.delay(&at, STORAGE_PAUSE, reason, false).await;
                    }
                }
                let answer = Answer::new(&media_type, &bytes);
                let report = Report::done(job, answer, attempts, now());
                self.finish(&at, &report, begun.deaths).await
            }
            Some(Outcome::Refused(reason)) => {
                self.give_up(&at, &reason, attempts, begun.deaths).await
            }
            Some(Outcome::Broke(reason)) if attempts >= self.options.attempts => {
                self.give_up(&at, &reason, attempts, begun.deaths).await
            }
            Some(Outcome::Broke(reason)) => self.delay(&at, pause(attempts), reason, true).await,
        }
    }

    /// The right to run, beside others or alone. Nothing if `stop` became true before; in it, nothing if the job was finished before.
    async fn company(&self, at: &At<'_>, deaths: u64) -> Result<Option<Option<Company>>> {
        let suspect = is_suspect(deaths, self.options.deaths);
        if let Some(company) = self.company.at_once(suspect) {
            return Ok(Some(Some(company)));
        }
        let rest = Call::new(&REST, [self.broker.layout.job(&at.job.id)]);
        self.broker.insist::<u64>(&rest, at.stop).await?;
        let mut stop = at.stop.clone();
        let company = tokio::select! {
            company = self.company.wait(suspect) => company,
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        };
        let begun = self.begin(at.entry, at.job, at.stop).await?;
        Ok(Some(begun.map(|_| company)))
    }

    /// What became of it; nothing if `stop` became true before.
    async fn outcome(&self, at: &At<'_>) -> Result<Option<Outcome>> {
        let mut stop = at.stop.clone();
        tokio::select! {
            outcome = self.run(at.job) => Ok(Some(outcome)),
            _ = stop.wait_for(|stop| *stop) => Ok(None),
        }
    }
}

/// Joins the group of a Redis that may just be starting, and reading what it had.
async fn join_patiently(broker: &Broker) -> redis::RedisResult<()> {
    let began = Instant::now();
    loop {
        match join(broker).await {
            Err(error) if passes(&error) && began.elapsed() < START_TIME => {
                tokio::time::sleep(START_PAUSE).await;
            }
            joined => return joined,
        }
    }
}
