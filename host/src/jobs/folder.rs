//! One item of an inbox -> its result stored, or its reason told; each step leaves on disk what the next worker needs if this one dies.
//!
//! ```text
//! claim -> read -> perform -> say what will be stored -> store -> move the original to done/ -> drop the claim
//!                          -> tell the reason         -> move the original to failed/        -> drop the claim
//!                          -> put back, to be tried again
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
use tokio::sync::watch;

use super::claim::{Claim, Identity, Storing, now};
use super::inbox::{DONE, FAILED, Inbox, Item, JOB};
use super::perform::{Outcome, Performer, Task};
use crate::digest::sha256;
use crate::files::{move_aside, write_durable};
use crate::run::MAX_INPUT_BYTES;

/// Bytes of a description: an inline input is at most as large as any other, in Base64.
const MAX_JOB_BYTES: u64 = MAX_INPUT_BYTES / 3 * 4 + (1 << 16);

/// Between attempts: so many seconds after the first, twice as many after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// And never more.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Until what is not the item's fault is looked at again, such as a full disk.
const STORAGE_PAUSE: Duration = Duration::from_secs(5);

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

/// What an item asks for, before it is run.
enum Asked {
    Task(Task),
    /// Never to be done.
    Refused(String),
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
        let wait = claim.record.not_before.saturating_sub(now());
        if wait > 0 {
            let pause = Duration::from_secs(wait);
            claim.put_back(pause)?;
            return Ok(Step::PutBack {
                pause,
                reason: None,
            });
        }
        match self.attempt(item, &mut claim, stop).await {
            Ok(step @ (Step::Stored | Step::Failed(_))) => {
                claim.finish()?;
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
        if self.is_stored(claim) {
            self.put_away(item, DONE)?;
            return Ok(Step::Stored);
        }
        if claim.record.deaths >= self.policy.deaths {
            let deaths = claim.record.deaths;
            return self.give_up(item, claim, format!("{deaths} workers died with it"));
        }
        let task = match self.asked(item)? {
            Asked::Task(task) => task,
            Asked::Refused(reason) => return self.give_up(item, claim, reason),
        };
        let extension = task.extension();
        let Some(outcome) = self.perform(task, claim, stop).await? else {
            return Ok(Step::PutBack {
                pause: Duration::ZERO,
                reason: None,
            });
        };
        // It was written to while it was read: what was read is not what is there.
        if self.identity(item) != Some(item.identity) {
            return Ok(Step::PutBack {
                pause: Duration::ZERO,
                reason: Some("it changed meanwhile".to_owned()),
            });
        }
        match outcome {
            Outcome::Answer(answer) => self.store(item, claim, extension, &answer),
            Outcome::Refused(reason) => self.give_up(item, claim, reason),
            Outcome::Broke(reason) => {
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
        }
    }

    /// The outcome; `None` if `stop` became true before it was there. The claim is kept alive meanwhile.
    async fn perform(
        &self,
        task: Task,
        claim: &mut Claim,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Option<Outcome>> {
        let performer = Arc::clone(&self.performer);
        // A task of its own: instances run on all processors.
        let mut running = tokio::spawn(async move { performer.perform(task).await });
        let mut renewal = tokio::time::interval(self.policy.lease / 3);
        renewal.tick().await;
        loop {
            tokio::select! {
                outcome = &mut running => {
                    return outcome.context("it broke off").map(Some);
                }
                _ = renewal.tick() => claim.renew()?,
                _ = stop.wait_for(|stop| *stop) => {
                    running.abort();
                    return Ok(None);
                }
            }
        }
    }

    fn identity(&self, item: &Item) -> Option<Identity> {
        let path = self.inbox.root().join(&item.below);
        let metadata = std::fs::symlink_metadata(path).ok()?;
        metadata.is_file().then(|| Identity::of(&metadata))
    }

    fn asked(&self, item: &Item) -> Result<Asked> {
        let limit = match item.is_job() {
            true => MAX_JOB_BYTES,
            false => MAX_INPUT_BYTES,
        };
        let bytes = match self.read(&item.below, limit) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Asked::Refused(format!("it cannot be read: {error:#}"))),
        };
        let task = match item.is_job() {
            true => self.described(item, &bytes),
            false => {
                let name = item.below.to_string_lossy();
                self.performer.plain(&name, bytes, &self.policy.options)
            }
        };
        Ok(match task {
            Ok(task) => Asked::Task(task),
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
    fn is_stored(&self, claim: &Claim) -> bool {
        let Some(storing) = &claim.record.storing else {
            return false;
        };
        let there = std::fs::read(self.out.join(&storing.target));
        there.is_ok_and(|bytes| sha256(&bytes).to_string() == storing.sha256)
    }

    fn store(
        &self,
        item: &Item,
        claim: &mut Claim,
        extension: &str,
        answer: &[u8],
    ) -> Result<Step> {
        let target = result_of(item, extension);
        claim.record.storing = Some(Storing {
            target: target.clone(),
            sha256: sha256(answer).to_string(),
        });
        claim.renew()?;
        write_durable(&self.out.join(target), answer)?;
        self.put_away(item, DONE)?;
        Ok(Step::Stored)
    }

    fn give_up(&self, item: &Item, claim: &Claim, reason: String) -> Result<Step> {
        let told = Reason {
            reason: &reason,
            failures: claim.record.failures,
            deaths: claim.record.deaths,
            seconds_since_1970: now(),
        };
        let mut name = item.below.as_os_str().to_owned();
        name.push(".reason.json");
        let path = self.inbox.root().join(FAILED).join(name);
        write_durable(&path, &serde_json::to_vec_pretty(&told)?)?;
        self.put_away(item, FAILED)?;
        Ok(Step::Failed(reason))
    }

    /// Moves the original, and the file that it describes, to a folder of the inbox. The item itself goes last: while it is there, this is
    /// done again.
    fn put_away(&self, item: &Item, folder: &str) -> Result<()> {
        let root = self.inbox.root();
        let to = root.join(folder);
        let described = item.is_job().then(|| item.described()).flatten();
        for below in described.iter().chain([&item.below]) {
            let from = root.join(below);
            if std::fs::symlink_metadata(&from).is_ok_and(|metadata| metadata.is_file()) {
                move_aside(&from, &to.join(below))?;
            }
        }
        Ok(())
    }
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
