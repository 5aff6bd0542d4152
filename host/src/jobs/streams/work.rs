//! An entry -> its report stored, put back, or given up with its cause.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ephemera_jobs::{Answer, Input, Job, Reply, Report, Status, Urgency};
use hyper::body::Bytes;
use redis::AsyncCommands;
use tokio::sync::{Mutex, watch};

use super::broker::{Broker, passes};
use super::layout::COUNTS_LIFE_S;
use super::pull::{Entry, Pull, join, now_ms};
use super::scripts::{BEGIN, BURY, Call, DELAY, DELIVERED, FINISH, RELEASE, RENEW};
use crate::files::{below, is_unfit, read_at_most, write_durable};
use crate::jobs::claim::now;
use crate::jobs::company::{Companies, Company, is_suspect};
use crate::jobs::perform::{Outcome, Performer, named, of_url};
use crate::jobs::progress::Progress;
use crate::jobs::queue::{DELIVERIES, Queue, STORAGE_PAUSE, Step, Taken, pause};
use crate::jobs::reach::{Reach, Trouble};
use crate::run::MAX_INPUT_BYTES;

/// Dead letters that are kept; the oldest go first.
const MAX_DEAD: u64 = 100_000;

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
}

/// What is to be done with an entry.
struct Begun {
    todo: Todo,
    failures: u32,
    deaths: u64,
}

enum Todo {
    Run,
    /// Only to be posted.
    Deliver(Report),
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
        Ok(Self {
            broker,
            performer,
            reach,
            options,
            consumer,
            pull: Mutex::new(pull),
            company: Companies::default(),
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

    /// Whether the entry is still ours. Where Redis does not answer, it is taken to be.
    async fn renew(&self, entry: &Entry) -> bool {
        let call = Call::new(&RENEW, [entry.stream.clone()])
            .arg(self.broker.layout.group())
            .arg(&self.consumer)
            .arg(&entry.id);
        self.broker.call::<u64>(&call).await.unwrap_or(1) == 1
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
                match self.write(job, &bytes) {
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

    /// What is to be done; nothing if the job is finished.
    async fn begin(
        &self,
        entry: &Entry,
        job: &Job,
        stop: &watch::Receiver<bool>,
    ) -> Result<Option<Begun>> {
        let keys = [entry.stream.clone(), self.broker.layout.job(&job.id)];
        let call = Call::new(&BEGIN, keys)
            .arg(self.broker.layout.group())
            .arg(&entry.id)
            .arg(now())
            .arg(&job.function)
            .arg(entry.deliveries);
        let answer: (String, String, String, Vec<u8>) = self.broker.insist(&call, stop).await?;
        let (todo, failures, deaths, report) = answer;
        let todo = match todo.as_str() {
            "finished" => return Ok(None),
            "deliver" => Todo::Deliver(serde_json::from_slice(&report).context("a report")?),
            _ => Todo::Run,
        };
        Ok(Some(Begun {
            todo,
            failures: failures.parse().unwrap_or(0),
            deaths: deaths.parse().unwrap_or(0),
        }))
    }

    /// The right to run, beside others or alone. Nothing if `stop` became true before; in it, nothing if the job was finished before.
    async fn company(&self, at: &At<'_>, deaths: u64) -> Result<Option<Option<Company>>> {
        let suspect = is_suspect(deaths, self.options.deaths);
        if let Some(company) = self.company.at_once(suspect) {
            return Ok(Some(Some(company)));
        }
        // Who dies while it is waited for did not die of this job.
        let known = self.broker.layout.job(&at.job.id);
        let resting = self.broker.commands().hdel(known, "begun").await;
        let _: u64 = resting.context("asking Redis")?;
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

    async fn run(&self, job: &Job) -> Outcome {
        if job.deadline.is_some_and(|deadline| now() >= deadline) {
            return Outcome::Refused("its deadline has passed".to_owned());
        }
        if matches!(job.reply, Some(Reply::File(_))) && self.options.out.is_none() {
            return Outcome::Refused("reply.file: this worker has no folder of results".to_owned());
        }
        if matches!(job.input, Input::File(_)) && self.options.files.is_none() {
            return Outcome::Refused("input.file: this worker has no folder of inputs".to_owned());
        }
        let (name, input) = match self.input(job).await {
            Ok(input) => input,
            Err(Trouble::Never(reason)) => return Outcome::Refused(reason),
            Err(Trouble::Later(reason)) => return Outcome::Broke(reason),
        };
        match self.performer.described(job, &name, input) {
            Ok(task) => self.performer.perform(task).await,
            Err(error) => Outcome::Refused(format!("{error:#}")),
        }
    }

    /// The name of the input, for its type, and its bytes.
    async fn input(&self, job: &Job) -> Result<(String, Bytes), Trouble> {
        match &job.input {
            Input::Inline(text) => {
                let bytes = Input::decode(text);
                let bytes = bytes.map_err(|error| Trouble::Never(error.to_string()))?;
                Ok((String::new(), bytes.into()))
            }
            Input::Url(url) => {
                let bytes = self.reach.get(url).await.map_err(of_url)?;
                Ok((named(url), bytes))
            }
            Input::File(path) => {
                let bytes = self.read(path);
                // A file system of the network may be back the next time.
                let bytes =
                    bytes.map_err(|error| Trouble::Later(format!("input.file: {error}")))?;
                Ok((path.to_string_lossy().into_owned(), bytes.into()))
            }
        }
    }

    /// A file below the folder of inputs. A link that leads out of it is not followed.
    fn read(&self, path: &std::path::Path) -> Result<Vec<u8>> {
        let folder = self.options.files.as_ref();
        let folder = folder.context("this worker has no folder of inputs")?;
        let found = folder.join(path).canonicalize()?;
        ensure!(
            found.starts_with(folder.canonicalize()?) && found.is_file(),
            "expected a file below the folder of inputs"
        );
        read_at_most(&found, MAX_INPUT_BYTES)
    }

    fn write(&self, job: &Job, answer: &[u8]) -> Result<(), Trouble> {
        let (Some(Reply::File(path)), Some(out)) = (&job.reply, &self.options.out) else {
            return Ok(());
        };
        let written = below(out, path)
            .map_err(anyhow::Error::from)
            .and_then(|path| write_durable(&path, answer));
        written.map_err(|error| {
            let reason = format!("reply.file: {}", error.root_cause());
            match is_unfit(&error) {
                true => Trouble::Never(reason),
                false => Trouble::Later(reason),
            }
        })
    }

    async fn give_up(&self, at: &At<'_>, reason: &str, attempts: u32, deaths: u64) -> Result<Step> {
        let report = Report::failed(at.job, reason, attempts, now());
        self.finish(at, &report, deaths).await
    }

    /// Stores a report, and posts it if it is to be.
    async fn finish(&self, at: &At<'_>, report: &Report, deaths: u64) -> Result<Step> {
        let (kind, reply) = match &at.job.reply {
            Some(Reply::Key(key)) => ("key", key.as_str()),
            Some(Reply::List(key)) => ("list", key.as_str()),
            Some(Reply::File(_) | Reply::Webhook(_)) | None => ("", ""),
        };
        let webhook = matches!(at.job.reply, Some(Reply::Webhook(_)));
        let layout = &self.broker.layout;
        let keys = [
            at.entry.stream.clone(),
            layout.job(&at.job.id),
            layout.progress(),
            layout.batch(at.job.batch.as_deref()),
            layout.dead(),
            reply.to_owned(),
        ];
        let reason = report.reason.as_deref().unwrap_or_default();
        let call = Call::new(&FINISH, keys)
            .arg(layout.group())
            .arg(&at.entry.id)
            .arg(report.json())
            .arg(state(report.status))
            .arg(self.options.keep.as_secs().max(1))
            .arg(now())
            .arg(kind)
            .arg(u8::from(webhook))
            .arg(reason)
            .arg(report.attempts)
            .arg(deaths)
            .arg(MAX_DEAD)
            .arg(&at.job.id)
            .arg(priority(at.job.priority))
            .arg(COUNTS_LIFE_S);
        let answer: String = self.broker.insist(&call, at.stop).await?;
        match answer.as_str() {
            "stored" if webhook => self.deliver(at, report, 0).await,
            "stored" => Ok(ended(report)),
            "known" => Ok(Step::NotOurs),
            // Such as a list that is no list. Without its reply, it is given up.
            trouble => {
                let reason = format!("reply: {trouble}");
                let report = Report::failed(at.job, &reason, report.attempts, now());
                let job = without_reply(at.job);
                Box::pin(self.finish(&At { job: &job, ..*at }, &report, deaths)).await
            }
        }
    }

    /// Posts a report that is stored. `failures`: how often that went wrong.
    async fn deliver(&self, at: &At<'_>, report: &Report, failures: u32) -> Result<Step> {
        let Some(Reply::Webhook(url)) = &at.job.reply else {
            return self.delivered(at, report, "").await;
        };
        let mut stop = at.stop.clone();
        let posted = tokio::select! {
            posted = self.reach.post(url, &at.job.id, report.json()) => Some(posted),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(posted) = posted else {
            return self.release(at).await;
        };
        match posted {
            Ok(()) => self.delivered(at, report, "").await,
            Err(Trouble::Later(reason)) if failures + 1 < DELIVERIES => {
                let reason = format!("reply.webhook: {reason}");
                self.delay(at, pause(failures + 1), reason, true).await
            }
            Err(Trouble::Later(reason) | Trouble::Never(reason)) => {
                let reason = format!("reply.webhook: {reason}");
                self.delivered(at, report, &reason).await?;
                Ok(Step::Failed(reason))
            }
        }
    }

    /// The report need not be posted again, because it was or, if there is a `reason`, because that is given up.
    async fn delivered(&self, at: &At<'_>, report: &Report, reason: &str) -> Result<Step> {
        let layout = &self.broker.layout;
        let keys = [
            at.entry.stream.clone(),
            layout.job(&at.job.id),
            layout.dead(),
        ];
        let call = Call::new(&DELIVERED, keys)
            .arg(layout.group())
            .arg(&at.entry.id)
            .arg(state(report.status))
            .arg(self.options.keep.as_secs().max(1))
            .arg(reason)
            .arg(MAX_DEAD)
            .arg(&at.job.id)
            .arg(priority(at.job.priority))
            .arg(now());
        self.broker.insist::<u64>(&call, at.stop).await?;
        Ok(ended(report))
    }

    async fn delay(
        &self,
        at: &At<'_>,
        pause: Duration,
        reason: String,
        counts: bool,
    ) -> Result<Step> {
        let layout = &self.broker.layout;
        let keys = [
            at.entry.stream.clone(),
            layout.job(&at.job.id),
            layout.delayed(),
            layout.delayed_jobs(),
            layout.progress(),
            layout.batch(at.job.batch.as_deref()),
        ];
        let due_ms = now_ms() + pause.as_millis() as u64;
        let call = Call::new(&DELAY, keys)
            .arg(layout.group())
            .arg(&at.entry.id)
            .arg(&at.job.id)
            .arg(due_ms)
            .arg(&priority(at.job.priority)[..1])
            .arg(&reason)
            .arg(u8::from(counts))
            .arg(now())
            .arg(COUNTS_LIFE_S);
        self.broker.insist::<u64>(&call, at.stop).await?;
        Ok(Step::PutBack {
            pause,
            reason: Some(reason),
        })
    }

    async fn release(&self, at: &At<'_>) -> Result<Step> {
        let keys = [at.entry.stream.clone(), self.broker.layout.job(&at.job.id)];
        let call = Call::new(&RELEASE, keys)
            .arg(self.broker.layout.group())
            .arg(&at.entry.id);
        self.broker.call::<u64>(&call).await?;
        Ok(Step::PutBack {
            pause: Duration::ZERO,
            reason: None,
        })
    }

    async fn bury(
        &self,
        entry: &Entry,
        reason: &str,
        stop: &watch::Receiver<bool>,
    ) -> Result<Step> {
        let layout = &self.broker.layout;
        let keys = [entry.stream.clone(), layout.dead(), layout.progress()];
        let call = Call::new(&BURY, keys)
            .arg(layout.group())
            .arg(&entry.id)
            .arg(reason)
            .arg(now())
            .arg(MAX_DEAD)
            .arg(COUNTS_LIFE_S);
        self.broker.insist::<u64>(&call, stop).await?;
        Ok(Step::Failed(reason.to_owned()))
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

/// A job under way.
#[derive(Clone, Copy)]
struct At<'a> {
    entry: &'a Entry,
    job: &'a Job,
    stop: &'a watch::Receiver<bool>,
}

/// The same job, of which nobody is told.
fn without_reply(job: &Job) -> Job {
    Job {
        reply: None,
        ..job.clone()
    }
}

fn ended(report: &Report) -> Step {
    match report.status {
        Status::Done => Step::Stored,
        Status::Failed => Step::Failed(report.reason.clone().unwrap_or_default()),
    }
}

fn state(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Failed => "failed",
    }
}

/// As it is called in dead letters.
pub(super) fn priority(priority: Urgency) -> &'static str {
    match priority {
        Urgency::Interactive => "interactive",
        Urgency::Batch => "batch",
    }
}
