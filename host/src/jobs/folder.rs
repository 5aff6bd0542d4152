//! One item of an inbox -> its result stored, or its reason told; each step leaves on disk what the next worker needs if this one dies.
//!
//! ```text
//! claim -> read -> perform -> say what will be stored -> store -> move the original to done/ -> drop the claim
//!                          -> tell the reason         -> move the original to failed/        -> drop the claim
//!                          -> put back, to be tried again
//!                          -> deleted or replaced meanwhile: told, or begun anew
//! ```

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ephemera_jobs::{Input, Job};
use hyper::body::Bytes;
use rustix::fs::OFlags;
use serde::Serialize;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};
use tokio::task::JoinSet;

use super::claim::{Claim, Identity, Storing, now};
use super::inbox::{DONE, FAILED, Inbox, Item, JOB};
use super::perform::{Outcome, Performer, Task};
use crate::digest::sha256;
use crate::files::{move_aside, part_of, put_in_place, write_durable};
use crate::run::MAX_INPUT_BYTES;

/// Bytes of a description: an inline input is at most as large as any other, in Base64.
const MAX_JOB_BYTES: u64 = MAX_INPUT_BYTES / 3 * 4 + (1 << 16);

/// Between attempts: so many seconds after the first, twice as many after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And never more.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Until what is not the item's fault is looked at again, such as a full disk.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

/// What became of an item that nobody moved to where items go.
const GONE: &str = "it was deleted while it was worked on";

/// How patient workers are.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How often an item may fail before it is given up.
    pub attempts: u32,
    /// How often a worker may die with it.
    pub deaths: u32,
    /// For how long a claim holds without being renewed.
    pub lease: Duration,
    /// Parameters of files that have no description.
    pub options: BTreeMap<String, String>,
}

/// A worker of one inbox.
pub struct Hot {
    inbox: Inbox,
    out: PathBuf,
    performer: Arc<Performer>,
    policy: Policy,
    /// Held by all that run; alone by one that may be what workers die of, so that no other dies with it.
    company: Arc<RwLock<()>>,
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
    /// Another worker has it, or it is gone.
    NotOurs,
}

/// What stands beside an original that could not be done.
#[derive(Debug, Serialize)]
struct Reason<'a> {
    reason: &'a str,
    failures: u32,
    deaths: u32,
    seconds_since_1970: u64,
}

/// The right to run, until dropped.
enum Company {
    Alone(#[expect(dead_code, reason = "held")] OwnedRwLockWriteGuard<()>),
    Together(#[expect(dead_code, reason = "held")] OwnedRwLockReadGuard<()>),
}

/// What an item asks for, before it is run.
enum Asked {
    Task(Task),
    /// Never to be done.
    Refused(String),
    /// What may be there the next time is not there.
    Unreadable(String),
}

impl Hot {
    /// Items of `inbox`, results to `out`.
    ///
    /// # Errors
    ///
    /// `out` cannot be made, or lies in the inbox, where results would become items.
    pub fn new(
        inbox: Inbox,
        out: &Path,
        performer: Arc<Performer>,
        policy: Policy,
    ) -> Result<Self> {
        let opening = || format!("opening the folder of results {}", out.display());
        std::fs::create_dir_all(out).with_context(opening)?;
        let out = out.canonicalize().with_context(opening)?;
        ensure!(
            !out.starts_with(inbox.root()),
            "the folder of results must not lie in the inbox"
        );
        Ok(Self {
            inbox,
            out,
            performer,
            policy,
            company: Arc::default(),
        })
    }

    /// The inbox.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Does `item`, unless somebody else does. When `stop` becomes true, it is put back.
    ///
    /// # Errors
    ///
    /// What is not the item's fault: folders that cannot be read or written. The item stays, and may be tried again.
    pub async fn work(&self, item: &Item, stop: watch::Receiver<bool>) -> Result<Step> {
        let claim = Claim::take(&self.inbox.claim_of(item), item.identity, self.policy.lease)?;
        let Some(mut claim) = claim else {
            return Ok(Step::NotOurs);
        };
        if self.identity(item) != Some(item.identity) {
            claim.finish()?;
            return Ok(Step::NotOurs);
        }
        // A clock that was set back makes no pause longer than pauses are.
        let wait = claim.record.not_before.saturating_sub(now());
        let pause = Duration::from_secs(wait).min(LONGEST_PAUSE);
        if wait > 0 {
            claim.put_back(pause)?;
            return Ok(Step::PutBack {
                pause,
                reason: None,
            });
        }
        match self.attempt(item, &mut claim, stop).await {
            Ok(step @ (Step::Stored | Step::Failed(_))) => {
                // The item is gone, and with it what the claim is about.
                if let Err(error) = claim.finish() {
                    tracing::warn!("{}: {error:#}", item.below.display());
                }
                Ok(step)
            }
            Ok(Step::PutBack { pause, reason }) => {
                claim.put_back(pause)?;
                Ok(Step::PutBack { pause, reason })
            }
            Ok(Step::NotOurs) => Ok(Step::NotOurs),
            Err(error) => {
                // The claim may be on the full disk as well; its lock goes in any case.
                let _ = claim.put_back(STORAGE_PAUSE);
                Err(error)
            }
        }
    }

    async fn attempt(
        &self,
        item: &Item,
        claim: &mut Claim,
        stop: watch::Receiver<bool>,
    ) -> Result<Step> {
        let described = self.described_identity(item);
        if self.is_stored(claim, described) {
            return self.put_away(item, described, DONE, Step::Stored);
        }
        if let Some(dead) = claim.dead {
            self.sweep(item, claim, dead);
        }
        if claim.record.deaths >= self.policy.deaths {
            let deaths = claim.record.deaths;
            return self.give_up(item, claim, format!("{deaths} workers died with it"));
        }
        let task = match self.asked(item)? {
            Asked::Task(task) => task,
            Asked::Refused(reason) => return self.give_up(item, claim, reason),
            Asked::Unreadable(_) if self.identity(item).is_none() => {
                return self.give_up(item, claim, GONE.to_owned());
            }
            Asked::Unreadable(reason) => return self.broke(item, claim, reason),
        };
        let extension = task.extension();
        let Some(outcome) = self.perform(task, claim, stop).await? else {
            return Ok(Step::PutBack {
                pause: Duration::ZERO,
                reason: None,
            });
        };
        // Who lost the claim has no more to say about it: another has done it, or will.
        claim.renew()?;
        // It was written to while it was read: what was read is not what is there.
        match self.identity(item) {
            None => return self.give_up(item, claim, GONE.to_owned()),
            Some(identity) if identity != item.identity => return Ok(changed()),
            Some(_) if self.described_identity(item) != described => return Ok(changed()),
            Some(_) => {}
        }
        match outcome {
            Outcome::Answer(answer) => self.store(item, described, claim, extension, &answer),
            Outcome::Refused(reason) => self.give_up(item, claim, reason),
            Outcome::Broke(reason) => self.broke(item, claim, reason),
        }
    }

    /// It is tried again, or that was its last attempt.
    fn broke(&self, item: &Item, claim: &mut Claim, reason: String) -> Result<Step> {
        claim.record.failures += 1;
        claim.record.reason = Some(reason.clone());
        if claim.record.failures >= self.policy.attempts {
            return self.give_up(item, claim, reason);
        }
        Ok(Step::PutBack {
            pause: pause(claim.record.failures),
            reason: Some(reason),
        })
    }

    /// Removes what a dead worker had begun to write about `item`.
    fn sweep(&self, item: &Item, claim: &Claim, dead: u32) {
        let result = claim.record.storing.as_ref();
        let result = result.map(|storing| self.out.join(&storing.target));
        for path in result.into_iter().chain([self.reason_of(item)]) {
            // Mostly there is none.
            let _ = std::fs::remove_file(part_of(&path, dead));
        }
    }

    /// The outcome; `None` if `stop` became true before it was there. The claim is kept alive meanwhile.
    async fn perform(
        &self,
        task: Task,
        claim: &mut Claim,
        mut stop: watch::Receiver<bool>,
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
        let mut renewal = tokio::time::interval(self.policy.lease / 3);
        renewal.tick().await;
        loop {
            tokio::select! {
                Some(outcome) = running.join_next() => {
                    return outcome.context("it broke off").map(Some);
                }
                _ = renewal.tick() => claim.renew()?,
                _ = stop.wait_for(|stop| *stop) => return Ok(None),
            }
        }
    }

    /// The right to run: alone for what may be what workers die of, together with others for all else.
    async fn company(&self, claim: &mut Claim) -> Result<Company> {
        // Whoever else was under way at those deaths is as suspect, until it has had a turn alone.
        let deaths = claim.record.deaths;
        let suspect = deaths > 0 && deaths >= self.policy.deaths / 2;
        let company = || Arc::clone(&self.company);
        let at_once = match suspect {
            true => company().try_write_owned().map(Company::Alone),
            false => company().try_read_owned().map(Company::Together),
        };
        if let Ok(company) = at_once {
            return Ok(company);
        }
        claim.rest()?;
        let company = match suspect {
            true => Company::Alone(company().write_owned().await),
            false => Company::Together(company().read_owned().await),
        };
        claim.renew()?;
        Ok(company)
    }

    fn identity(&self, item: &Item) -> Option<Identity> {
        identity_at(&self.inbox.root().join(&item.below))
    }

    /// Of the file that `item` describes, if it does and that is there.
    fn described_identity(&self, item: &Item) -> Option<Identity> {
        let described = item.is_job().then(|| item.described()).flatten()?;
        identity_at(&self.inbox.root().join(described))
    }

    fn asked(&self, item: &Item) -> Result<Asked> {
        let limit = match item.is_job() {
            true => MAX_JOB_BYTES,
            false => MAX_INPUT_BYTES,
        };
        let bytes = self.read(&item.below, limit);
        let task = bytes
            .context("it cannot be read")
            .and_then(|bytes| match item.is_job() {
                true => self.described(item, &bytes),
                false => {
                    let name = item.below.to_string_lossy();
                    self.performer.plain(&name, bytes, &self.policy.options)
                }
            });
        Ok(match task {
            Ok(task) => Asked::Task(task),
            // The file system's word, not ours: a file that is yet to come, rights that somebody is about to give.
            Err(error) if error.is::<std::io::Error>() => Asked::Unreadable(format!("{error:#}")),
            Err(error) => Asked::Refused(format!("{error:#}")),
        })
    }

    fn described(&self, item: &Item, text: &[u8]) -> Result<Task> {
        let job = Job::parse(text)?;
        if let Some(deadline) = job.deadline {
            ensure!(now() < deadline, "its deadline has passed");
        }
        let file = match &job.input {
            Input::Inline(_) => None,
            Input::Url(_) => bail!("input.url: no host is allowed"),
            Input::File(path) => {
                let described = item.described().context("a name")?;
                let name = described.file_name().unwrap_or_default();
                ensure!(
                    path.as_os_str() == name,
                    "input.file: expected `{}`, the file that {JOB} is beside",
                    name.display()
                );
                let bytes = self.read(&described, MAX_INPUT_BYTES);
                Some(bytes.context("input.file cannot be read")?)
            }
        };
        self.performer.described(&job, file)
    }

    /// A plain file below the inbox. A link that took its place since it was found is not followed.
    fn read(&self, below: &Path, limit: u64) -> Result<Bytes> {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).context("a flag")?;
        let mut file = std::fs::File::options()
            .read(true)
            .custom_flags(no_link)
            .open(self.inbox.root().join(below))?;
        ensure!(file.metadata()?.is_file(), "it is no file");
        let mut bytes = Vec::new();
        Read::by_ref(&mut file)
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)?;
        ensure!(
            bytes.len() as u64 <= limit,
            "it has over {limit} bytes, which is the limit"
        );
        Ok(bytes.into())
    }

    /// Whether what was about to be stored is there: its worker died after that.
    fn is_stored(&self, claim: &Claim, described: Option<Identity>) -> bool {
        let Some(storing) = &claim.record.storing else {
            return false;
        };
        // It moved away what was described, or that has not changed since.
        if described.is_some() && described != storing.described {
            return false;
        }
        let there = std::fs::read(self.out.join(&storing.target));
        there.is_ok_and(|bytes| sha256(&bytes).to_string() == storing.sha256)
    }

    fn store(
        &self,
        item: &Item,
        described: Option<Identity>,
        claim: &mut Claim,
        extension: &str,
        answer: &[u8],
    ) -> Result<Step> {
        let target = result_of(item, extension);
        claim.record.storing = Some(Storing {
            target: target.clone(),
            sha256: sha256(answer).to_string(),
            described,
        });
        claim.renew()?;
        write_durable(&self.out.join(target), answer)?;
        self.put_away(item, described, DONE, Step::Stored)
    }

    fn give_up(&self, item: &Item, claim: &Claim, reason: String) -> Result<Step> {
        let told = Reason {
            reason: &reason,
            failures: claim.record.failures,
            deaths: claim.record.deaths,
            seconds_since_1970: now(),
        };
        write_durable(&self.reason_of(item), &serde_json::to_vec_pretty(&told)?)?;
        let described = self.described_identity(item);
        self.put_away(item, described, FAILED, Step::Failed(reason))
    }

    /// Where it is told why `item` could not be done.
    fn reason_of(&self, item: &Item) -> PathBuf {
        let mut name = item.below.as_os_str().to_owned();
        name.push(".reason.json");
        self.inbox.root().join(FAILED).join(name)
    }

    /// Moves the original, and the file that it describes, to a folder of the inbox; then that was `step`. The item itself goes last: while
    /// it is there, this is done again.
    fn put_away(
        &self,
        item: &Item,
        described: Option<Identity>,
        folder: &str,
        step: Step,
    ) -> Result<Step> {
        if let (Some(below), Some(identity)) = (item.described(), described)
            && !self.move_away(&below, identity, folder)?
        {
            return Ok(changed());
        }
        match self.move_away(&item.below, item.identity, folder)? {
            true => Ok(step),
            false => Ok(changed()),
        }
    }

    /// Moves a file, unless it is another than that of `identity`, which nobody has looked at yet. Whether there is nothing left to do.
    fn move_away(&self, below: &Path, identity: Identity, folder: &str) -> Result<bool> {
        let from = self.inbox.root().join(below);
        if identity_at(&from).is_none() {
            return Ok(true);
        }
        let moved = move_aside(&from, &self.inbox.root().join(folder).join(below))?;
        if identity_at(&moved) == Some(identity) {
            return Ok(true);
        }
        put_in_place(&moved, &from)?;
        Ok(false)
    }
}

/// It is another item now, which has its turn from the start.
fn changed() -> Step {
    Step::PutBack {
        pause: Duration::ZERO,
        reason: Some("it changed meanwhile".to_owned()),
    }
}

/// Of a plain file.
fn identity_at(path: &Path) -> Option<Identity> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    metadata.is_file().then(|| Identity::of(&metadata))
}

/// The path of an item's result below the folder of results: its own, with one more extension.
fn result_of(item: &Item, extension: &str) -> PathBuf {
    let described = item.is_job().then(|| item.described()).flatten();
    let mut path = described.unwrap_or(item.below.clone()).into_os_string();
    path.push(".");
    path.push(extension);
    path.into()
}

/// Doubles with each failure.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_called_after_their_files() {
        let identity = {
            let file = tempfile::NamedTempFile::new().expect("a file");
            Identity::of(&file.as_file().metadata().expect("there"))
        };
        for (below, expected) in [
            ("a/page.png", "a/page.png.txt"),
            ("page.png.job.json", "page.png.txt"),
            ("x.job.json", "x.txt"),
        ] {
            let below = below.into();
            let item = Item { below, identity };
            assert_eq!(result_of(&item, "txt"), Path::new(expected));
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let seconds = [1, 2, 3, 9, 10, 99].map(|failures| pause(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
    }
}
