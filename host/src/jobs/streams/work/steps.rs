//! The steps of a job in Redis, as this worker takes them: begun, finished, posted, put off, let go, buried.

use std::time::Duration;

use anyhow::{Context, Result};
use ephemera_jobs::{Job, Reply, Report, Status, Urgency};
use tokio::sync::watch;

use super::Streams;
use crate::jobs::claim::now;
use crate::jobs::queue::{DELIVERIES, Step, pause};
use crate::jobs::reach::Trouble;
use crate::jobs::streams::layout::COUNTS_LIFE_S;
use crate::jobs::streams::pull::{Entry, now_ms};
use crate::jobs::streams::scripts::{BEGIN, BURY, Call, DELAY, DELIVERED, FINISH, RELEASE, RENEW};
use crate::metrics::work::Phase;

/// Dead letters that are kept; the oldest go first.
const MAX_DEAD: u64 = 100_000;

/// What is to be done with an entry.
pub(super) struct Begun {
    pub(super) todo: Todo,
    pub(super) failures: u32,
    pub(super) deaths: u64,
}

pub(super) enum Todo {
    /// From its input on.
    Run,
    /// Only to be posted.
    Deliver(Report),
}

/// A job under way.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) entry: &'a Entry,
    pub(super) job: &'a Job,
    pub(super) stop: &'a watch::Receiver<bool>,
}

impl Streams {
    /// Whether the entry is still ours. Where Redis does not answer, it is taken to be.
    pub(super) async fn renew(&self, entry: &Entry) -> bool {
        let call = Call::new(&RENEW, [entry.stream.clone()])
            .arg(self.broker.layout.group())
            .arg(&self.consumer)
            .arg(&entry.id);
        self.broker.call::<u64>(&call).await.unwrap_or(1) == 1
    }

    /// What is to be done; nothing if the job is finished.
    pub(super) async fn begin(
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

    pub(super) async fn give_up(
        &self,
        at: &At<'_>,
        reason: &str,
        attempts: u32,
        deaths: u64,
    ) -> Result<Step> {
        let report = Report::failed(at.job, reason, attempts, now());
        self.finish(at, &report, deaths).await
    }

    /// Stores a report, and posts it if it is to be.
    pub(super) async fn finish(&self, at: &At<'_>, report: &Report, deaths: u64) -> Result<Step> {
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
    pub(super) async fn deliver(
        &self,
        at: &At<'_>,
        report: &Report,
        failures: u32,
    ) -> Result<Step> {
        let Some(Reply::Webhook(url)) = &at.job.reply else {
            return self.delivered(at, report, "").await;
        };
        let mut stop = at.stop.clone();
        let posted = tokio::select! {
            posted = self.performer.work().time("", Phase::Post, self.reach.post(url, &at.job.id, report.json())) => Some(posted),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(posted) = posted else {
            return self.release(at).await;
        };
        match posted {
            Ok(()) => self.delivered(at, report, "").await,
            Err(Trouble::Later(reason)) if failures.saturating_add(1) < DELIVERIES => {
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

    pub(super) async fn delay(
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

    pub(super) async fn release(&self, at: &At<'_>) -> Result<Step> {
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

    pub(super) async fn bury(
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

/// The same job, of which nobody is told.
pub(super) fn without_reply(job: &Job) -> Job {
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
pub(in crate::jobs::streams) fn priority(priority: Urgency) -> &'static str {
    match priority {
        Urgency::Interactive => "interactive",
        Urgency::Batch => "batch",
    }
}
