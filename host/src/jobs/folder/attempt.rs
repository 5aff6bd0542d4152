//! A claimed item -> one step further: performed and stored, given up, or put back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ephemera_jobs::Job;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::said::Said;
use super::store::Target;
use super::{Hot, changed};
use crate::files::is_unfit;
use crate::jobs::aside::aside;
use crate::jobs::claim::Claim;
use crate::jobs::company::{Company, is_suspect};
use crate::jobs::inbox::Item;
use crate::jobs::perform::{Outcome, Task};
use crate::jobs::queue::{STORAGE_PAUSE, Step, pause};
use crate::jobs::reach::Trouble;
use crate::metrics::work::Phase;

/// What became of an item that nobody moved to where items go.
const GONE: &str = "it was deleted while it was worked on";

/// What an attempt came to, and where its result goes if it has one.
type Attempted = (Option<Target>, Outcome);

impl Hot {
    pub(super) async fn attempt(
        &self,
        item: &Item,
        claim: &mut Claim,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Step> {
        let Some(said) = self.keeping(claim, &mut stop, self.said(item)).await? else {
            return Ok(unbegun());
        };
        let mut said = said?;
        if let Some(dead) = claim.dead {
            self.sweep(item, said.job(), claim, dead).await?;
        }
        // What it says is not known just now: neither of whom its end is to be told to, nor which file it describes.
        if matches!(said, Said::NoJob(Trouble::Later(_))) && self.has_an_end(claim) {
            return Ok(Step::PutBack {
                pause: STORAGE_PAUSE,
                reason: None,
            });
        }
        // What is known is of another file than that which is described now. If there is none, a worker that died had moved it.
        let described = self.described_identity(item, &said);
        if described.is_some() && described != claim.record.described {
            claim.record.described = described;
            (claim.record.storing, claim.record.given_up) = (None, None);
            (claim.record.put_away, claim.record.told) = (None, false);
        }
        let stored = self.stored(claim).await?;
        if claim.record.given_up.is_some() || stored.is_some() {
            return self
                .conclude(item, said.job(), claim, stored, &mut stop)
                .await;
        }
        if claim.record.deaths >= self.policy.deaths {
            let reason = format!("{} workers died with it", claim.record.deaths);
            return self
                .give_up(item, said.job(), claim, reason, &mut stop)
                .await;
        }
        let Some(attempted) = self.attempted(item, &mut said, claim, &mut stop).await? else {
            return Ok(unbegun());
        };
        // Who lost the claim has no more to say about it: another has done it, or will.
        claim.renew()?;
        // It was written to while it was read: what was read is not what is there.
        let job = said.job();
        match self.identity(item) {
            None => {
                return self
                    .give_up(item, job, claim, GONE.to_owned(), &mut stop)
                    .await;
            }
            Some(identity) if identity != item.identity => return Ok(changed()),
            Some(_) if self.described_identity(item, &said) != described => return Ok(changed()),
            Some(_) => {}
        }
        self.settle(item, job, claim, attempted, &mut stop).await
    }

    /// Whether nothing is left to be done with an item but to tell of it and to move it away.
    fn has_an_end(&self, claim: &Claim) -> bool {
        let record = &claim.record;
        record.storing.is_some() || record.given_up.is_some() || record.deaths >= self.policy.deaths
    }

    /// What the item asks for, done; `None` if `stop` became true before. The claim is kept alive meanwhile.
    async fn attempted(
        &self,
        item: &Item,
        said: &mut Said,
        claim: &mut Claim,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Attempted>> {
        self.check_room(item, said.job(), claim).await?;
        let work = self.performer.work();
        let asked = work.time("", Phase::Fetch, self.asked(item, said));
        let Some(asked) = self.keeping(claim, stop, asked).await? else {
            return Ok(None);
        };
        let task = match asked {
            Ok(task) => task,
            Err(Trouble::Never(reason)) => return Ok(Some((None, Outcome::Refused(reason)))),
            Err(Trouble::Later(reason)) => return Ok(Some((None, Outcome::Broke(reason)))),
        };
        claim.record.failures = claim.record.failures.max(said.attempt());
        let target = Target::of(item, said.job(), task.extension());
        let outcome = self.perform(task, claim, stop).await?;
        Ok(outcome.map(|outcome| (Some(target), outcome)))
    }

    /// Stores what there is to be stored, or says what comes next.
    async fn settle(
        &self,
        item: &Item,
        job: Option<&Job>,
        claim: &mut Claim,
        attempted: Attempted,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Step> {
        match attempted {
            (Some(target), Outcome::Answer { bytes, media_type }) => {
                let work = self.performer.work();
                let storing = self.store(claim, target, &media_type, &bytes);
                if let Err(error) = work.time("", Phase::Store, storing).await {
                    if !is_unfit(&error) {
                        return Err(error);
                    }
                    claim.record.storing = None;
                    let reason = format!("its result cannot be stored: {}", error.root_cause());
                    return self.give_up(item, job, claim, reason, stop).await;
                }
                self.conclude(item, job, claim, Some(bytes.into()), stop)
                    .await
            }
            (None, Outcome::Answer { .. }) => anyhow::bail!("an answer to nothing"),
            (_, Outcome::Refused(reason)) => self.give_up(item, job, claim, reason, stop).await,
            (_, Outcome::Broke(reason)) => {
                claim.record.failures = claim.record.failures.saturating_add(1);
                claim.record.reason = Some(reason.clone());
                if claim.record.failures >= self.policy.attempts {
                    return self.give_up(item, job, claim, reason, stop).await;
                }
                Ok(Step::PutBack {
                    pause: pause(claim.record.failures),
                    reason: Some(reason),
                })
            }
        }
    }

    /// The outcome; `None` if `stop` became true before it was there.
    async fn perform(
        &self,
        task: Task,
        claim: &mut Claim,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Outcome>> {
        let company = tokio::select! {
            company = self.company(claim) => company?,
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        };
        let performer = Arc::clone(&self.performer);
        // A task of its own: instances run on all processors. It ends with this set.
        let mut running = JoinSet::new();
        running.spawn(async move {
            let _company = company;
            performer.perform(task).await
        });
        let outcome = self.keeping(claim, stop, running.join_next()).await?;
        let outcome = outcome.flatten().transpose();
        outcome.context("it broke off")
    }

    /// What `work` comes to; `None` if `stop` becomes true before. The claim is renewed meanwhile, however long that takes.
    ///
    /// # Errors
    ///
    /// The claim is lost; then `work` is dropped.
    pub(super) async fn keeping<T>(
        &self,
        claim: &mut Claim,
        stop: &mut watch::Receiver<bool>,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>> {
        tokio::select! {
            // What is done is done, such as a report that was posted.
            biased;
            done = self.renewing(claim, work) => done.map(Some),
            _ = stop.wait_for(|stop| *stop) => Ok(None),
        }
    }

    /// The same of what waits for a disk, which is never broken off: whether something is stored or moved has to be known.
    ///
    /// # Errors
    ///
    /// The claim is lost, or `work` panicked.
    pub(super) async fn through<T: Send + 'static>(
        &self,
        claim: &mut Claim,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.renewing(claim, aside(work)).await?
    }

    async fn renewing<T>(&self, claim: &mut Claim, work: impl Future<Output = T>) -> Result<T> {
        let mut work = pin!(work);
        let mut renewal = tokio::time::interval(self.policy.lease / 3);
        renewal.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                _ = renewal.tick() => claim.renew()?,
            }
        }
    }

    /// The right to run, beside others or alone. Who dies while it is waited for did not die of this item.
    async fn company(&self, claim: &mut Claim) -> Result<Company> {
        let suspect = is_suspect(claim.record.deaths.into(), self.policy.deaths.into());
        if let Some(company) = self.company.at_once(suspect) {
            return Ok(company);
        }
        claim.rest()?;
        let company = self.company.wait(suspect).await;
        claim.renew()?;
        Ok(company)
    }
}

/// Its turn ended before it was there. Whoever has it next begins it again.
pub(super) fn unbegun() -> Step {
    Step::PutBack {
        pause: Duration::ZERO,
        reason: None,
    }
}
