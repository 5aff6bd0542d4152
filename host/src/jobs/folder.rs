//! One item of an inbox -> its result stored, or its reason told; each step leaves on disk what the next worker needs if this one dies.
//!
//! ```text
//! claim -> read -> perform -> say what will be stored -> store -> post -> move the original to done/   -> drop the claim
//!                          -> say why it is given up           -> post -> move the original to failed/ -> drop the claim
//!                          -> put back, to be tried again
//!                          -> deleted or replaced meanwhile: told, or begun anew
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ephemera_jobs::{Answer, Input, Job, Reply, Report};
use hyper::body::Bytes;
use rustix::fs::OFlags;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::claim::{Claim, GivenUp, Identity, Storing, now};
use super::company::{Companies, Company, is_suspect};
use super::inbox::{DONE, FAILED, Inbox, Item, JOB, REASON, Scan};
use super::perform::{Outcome, Performer, Task, named, of_url};
use super::progress::Progress;
use super::queue::{
    DELIVERIES, LONGEST_PAUSE, MAX_JOB_BYTES, Queue, STORAGE_PAUSE, Step, Taken, pause,
};
use super::reach::{Reach, Trouble};
use crate::digest::sha256;
use crate::files::{
    below, extended, free, is_unfit, move_aside, put_in_place, remove_parts, write_durable,
};
use crate::run::MAX_INPUT_BYTES;

/// Bytes of a file's name, of all file systems that matter here.
const LONGEST_NAME: usize = 255;

/// Until an item is looked at again that another worker had, or that could not be claimed.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

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
    reach: Reach,
    policy: Policy,
    company: Companies,
    /// What this worker is called among the others.
    name: String,
    seen: Mutex<Seen>,
}

/// What this worker knows of the inbox without looking.
#[derive(Default)]
struct Seen {
    /// Items of the last look that are still to be begun.
    next: VecDeque<Item>,
    under_way: BTreeSet<PathBuf>,
    /// Items that are not to be tried before a time.
    paused: BTreeMap<PathBuf, Instant>,
}

/// What stands beside an original that could not be done.
#[derive(Debug, Serialize)]
struct Reason<'a> {
    reason: &'a str,
    failures: u32,
    deaths: u32,
    seconds_since_1970: u64,
}

/// What an item asks for.
struct Asked {
    task: Task,
    /// Its description, if it has one.
    job: Option<Job>,
}

impl Queue for Hot {
    type Item = Item;

    async fn take(
        &self,
        most: usize,
        patience: Duration,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Taken<Item>> {
        let more = self.look()?;
        let taken = {
            let mut seen = self.seen();
            let count = most.min(seen.next.len());
            let items: Vec<Item> = seen.next.drain(..count).collect();
            seen.under_way
                .extend(items.iter().map(|item| item.below.clone()));
            Taken {
                items,
                waiting: (seen.next.len() + seen.paused.len()) as u64,
                // What is under way may have to be done again.
                left: more
                    || !(seen.next.is_empty()
                        && seen.paused.is_empty()
                        && seen.under_way.is_empty()),
            }
        };
        if taken.items.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
        Ok(taken)
    }

    async fn work(&self, item: Item, stop: watch::Receiver<bool>) -> Result<Step> {
        let step = self.claim_and_do(&item, stop).await;
        let mut seen = self.seen();
        seen.under_way.remove(&item.below);
        let pause = match &step {
            Ok(Step::Stored | Step::Failed(_)) => return step,
            Ok(Step::PutBack { pause, .. }) => *pause,
            // Whoever has it, or whatever is wrong: if it is still there, it is tried again after a while.
            Ok(Step::NotOurs) | Err(_) => LOOK_PAUSE,
        };
        seen.paused.insert(item.below, Instant::now() + pause);
        step
    }

    async fn tell(&self, progress: &Progress) -> Result<()> {
        progress.tell(&self.inbox, &self.name)
    }

    fn name(item: &Item) -> String {
        item.below.display().to_string()
    }
}

impl Hot {
    /// Items of `inbox`, results to `out`; URLs within `reach`.
    ///
    /// # Errors
    ///
    /// `out` cannot be made, or lies in the inbox, where results would become items.
    pub fn new(
        inbox: Inbox,
        out: &Path,
        performer: Arc<Performer>,
        reach: Reach,
        policy: Policy,
    ) -> Result<Self> {
        let opening = || format!("opening the folder of results {}", out.display());
        std::fs::create_dir_all(out).with_context(opening)?;
        let out = out.canonicalize().with_context(opening)?;
        ensure!(
            !out.starts_with(inbox.root()),
            "the folder of results must not lie in the inbox"
        );
        ensure!(
            !inbox.root().starts_with(&out),
            "the inbox must not lie in the folder of results"
        );
        inbox.sweep();
        Ok(Self {
            inbox,
            out,
            performer,
            reach,
            policy,
            company: Companies::default(),
            name: format!("{}-{}", std::process::id(), now()),
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the folder, if what was seen the last time is begun. Whether there is more than can be seen.
    fn look(&self) -> Result<bool> {
        if !self.seen().next.is_empty() {
            return Ok(false);
        }
        let Scan { mut items, more } = self.inbox.scan()?;
        let mut seen = self.seen();
        let now = Instant::now();
        let there: BTreeSet<&PathBuf> = items.iter().map(|item| &item.below).collect();
        seen.paused
            .retain(|below, until| *until > now && there.contains(below));
        items.retain(|item| {
            !seen.under_way.contains(&item.below) && !seen.paused.contains_key(&item.below)
        });
        seen.next = items.into();
        Ok(more)
    }

    /// Does `item`, unless somebody else does.
    async fn claim_and_do(&self, item: &Item, stop: watch::Receiver<bool>) -> Result<Step> {
        let claim = Claim::take(
            &self.inbox.claim_of(item),
            &item.below,
            item.identity,
            self.policy.lease,
        )?;
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
        mut stop: watch::Receiver<bool>,
    ) -> Result<Step> {
        if let Some(dead) = claim.dead {
            self.sweep(item, claim, dead);
        }
        // What is known is of another file than that which is described now. If there is none, a worker that died had moved it.
        let described = self.described_identity(item);
        if described.is_some() && described != claim.record.described {
            claim.record.described = described;
            (claim.record.storing, claim.record.given_up) = (None, None);
        }
        let stored = self.stored(claim);
        if claim.record.given_up.is_some() || stored.is_some() {
            return self.conclude(item, claim, stored).await;
        }
        if claim.record.deaths >= self.policy.deaths {
            let deaths = claim.record.deaths;
            return self
                .give_up(item, claim, format!("{deaths} workers died with it"))
                .await;
        }
        let asked = tokio::select! {
            asked = self.asked(item) => Some(asked),
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(asked) = asked else {
            return Ok(Step::PutBack {
                pause: Duration::ZERO,
                reason: None,
            });
        };
        let none = Target::Own(PathBuf::new());
        let outcome = match asked {
            Ok(asked) => {
                claim.record.failures = claim.record.failures.max(asked.attempt());
                let target = asked.target(item);
                let Some(outcome) = self.perform(asked.task, claim, stop).await? else {
                    return Ok(Step::PutBack {
                        pause: Duration::ZERO,
                        reason: None,
                    });
                };
                (target, outcome)
            }
            Err(Trouble::Never(reason)) => (none, Outcome::Refused(reason)),
            Err(Trouble::Later(reason)) => (none, Outcome::Broke(reason)),
        };
        // Who lost the claim has no more to say about it: another has done it, or will.
        claim.renew()?;
        // It was written to while it was read: what was read is not what is there.
        match self.identity(item) {
            None => return self.give_up(item, claim, GONE.to_owned()).await,
            Some(identity) if identity != item.identity => return Ok(changed()),
            Some(_) if self.described_identity(item) != described => return Ok(changed()),
            Some(_) => {}
        }
        match outcome {
            (target, Outcome::Answer { bytes, media_type }) => {
                if let Err(error) = self.store(claim, target, media_type, &bytes) {
                    if !is_unfit(&error) {
                        return Err(error);
                    }
                    claim.record.storing = None;
                    let reason = format!("its result cannot be stored: {}", error.root_cause());
                    return self.give_up(item, claim, reason).await;
                }
                self.conclude(item, claim, Some(bytes.into())).await
            }
            (_, Outcome::Refused(reason)) => self.give_up(item, claim, reason).await,
            (_, Outcome::Broke(reason)) => {
                claim.record.failures = claim.record.failures.saturating_add(1);
                claim.record.reason = Some(reason.clone());
                if claim.record.failures >= self.policy.attempts {
                    return self.give_up(item, claim, reason).await;
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

    /// Removes what a dead worker had begun to write about `item`.
    fn sweep(&self, item: &Item, claim: &Claim, dead: u32) {
        let result = claim.record.storing.as_ref();
        let result = result.map(|storing| self.out.join(&storing.target));
        let reason = with_reason(&free(&self.failed(item)));
        for path in result.into_iter().chain([reason]) {
            // Mostly there is none; and what stays does no harm.
            let _ = remove_parts(&path, dead);
        }
    }

    fn identity(&self, item: &Item) -> Option<Identity> {
        identity_at(&self.inbox.root().join(&item.below))
    }

    /// Of the file that `item` describes, if it does and that is there.
    fn described_identity(&self, item: &Item) -> Option<Identity> {
        let described = item.is_job().then(|| item.described()).flatten()?;
        let job = self.read(&item.below, MAX_JOB_BYTES);
        let job = job.ok().and_then(|text| Job::parse(&text).ok());
        // A job with an input of its own says nothing of a file that happens to be called so.
        if job.is_some_and(|job| !matches!(job.input, Input::File(_))) {
            return None;
        }
        identity_at(&self.inbox.root().join(described))
    }

    async fn asked(&self, item: &Item) -> Result<Asked, Trouble> {
        let limit = match item.is_job() {
            true => MAX_JOB_BYTES,
            false => MAX_INPUT_BYTES,
        };
        let bytes = self.read(&item.below, limit);
        let bytes = bytes.context("it cannot be read").map_err(trouble)?;
        if item.is_job() {
            return self.described(item, &bytes).await;
        }
        let name = item.below.to_string_lossy();
        let options = &self.policy.options;
        let task = self.performer.plain(&name, bytes, options);
        let task = task.map_err(trouble)?;
        Ok(Asked { task, job: None })
    }

    async fn described(&self, item: &Item, text: &[u8]) -> Result<Asked, Trouble> {
        let job = Job::parse(text).map_err(|error| trouble(error.into()))?;
        if job.deadline.is_some_and(|deadline| now() >= deadline) {
            return Err(Trouble::Never("its deadline has passed".to_owned()));
        }
        if let Some(Reply::Key(_) | Reply::List(_)) = &job.reply {
            let sentence = "reply: expected `file` or `webhook`, this queue has no keys";
            return Err(Trouble::Never(sentence.to_owned()));
        }
        let (name, input) = match &job.input {
            Input::Inline(text) => {
                let bytes = Input::decode(text).map_err(|error| trouble(error.into()))?;
                (String::new(), bytes.into())
            }
            Input::Url(url) => (named(url), self.reach.get(url).await.map_err(of_url)?),
            Input::File(path) => {
                let bytes = self.beside(item, path);
                (path.to_string_lossy().into_owned(), bytes.map_err(trouble)?)
            }
        };
        let task = self.performer.described(&job, &name, input);
        Ok(Asked {
            task: task.map_err(trouble)?,
            job: Some(job),
        })
    }

    /// The file that a job lies beside, which is the only one that it can be about.
    fn beside(&self, item: &Item, path: &Path) -> Result<Bytes> {
        let described = item.described().context("a name")?;
        let name = described.file_name().unwrap_or_default();
        ensure!(
            path.as_os_str() == name,
            "input.file: expected `{}`, the file that {JOB} is beside",
            name.display()
        );
        let bytes = self.read(&described, MAX_INPUT_BYTES);
        bytes.context("input.file cannot be read")
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

    /// What was about to be stored, if it is there: its worker died after that, or could not tell of it.
    fn stored(&self, claim: &Claim) -> Option<Vec<u8>> {
        let storing = claim.record.storing.as_ref()?;
        let bytes = std::fs::read(self.out.join(&storing.target)).ok()?;
        (sha256(&bytes).to_string() == storing.sha256).then_some(bytes)
    }

    /// Stores an answer, after having written down that it is about to.
    fn store(
        &self,
        claim: &mut Claim,
        target: Target,
        media_type: String,
        answer: &[u8],
    ) -> Result<()> {
        let mut path = below(&self.out, target.path())?;
        if let Target::Own(_) = target {
            // Of another file of that name, which was done before.
            path = free(&path);
        }
        let target = match path.file_name() {
            Some(name) => target.path().with_file_name(name),
            None => target.path().to_owned(),
        };
        claim.record.storing = Some(Storing {
            target: target.clone(),
            sha256: sha256(answer).to_string(),
            media_type,
            attempts: claim.record.failures.saturating_add(1),
        });
        // From here on they are failures to tell of it.
        claim.record.failures = 0;
        claim.renew()?;
        write_durable(&path, answer)
    }

    async fn give_up(&self, item: &Item, claim: &mut Claim, reason: String) -> Result<Step> {
        claim.record.given_up = Some(GivenUp {
            reason,
            attempts: claim.record.failures,
        });
        claim.record.failures = 0;
        claim.renew()?;
        self.conclude(item, claim, None).await
    }

    /// Tells whoever is to be told, and puts the original away. `stored`: the result, if it has one.
    async fn conclude(
        &self,
        item: &Item,
        claim: &mut Claim,
        stored: Option<Vec<u8>>,
    ) -> Result<Step> {
        match self.post_report(item, claim, stored).await {
            Ok(()) => {}
            Err(Trouble::Later(reason)) if claim.record.failures + 1 < DELIVERIES => {
                claim.record.failures += 1;
                return Ok(Step::PutBack {
                    pause: pause(claim.record.failures),
                    reason: Some(format!("reply.webhook: {reason}")),
                });
            }
            Err(Trouble::Later(reason) | Trouble::Never(reason)) => {
                let given_up = claim.record.given_up.get_or_insert_default();
                let before = match given_up.reason.as_str() {
                    "" => "its result is stored".to_owned(),
                    reason => reason.to_owned(),
                };
                given_up.reason = format!("{before}; reply.webhook: {reason}");
            }
        }
        // Posting may have taken longer than the lease.
        claim.check()?;
        let Some(given_up) = &claim.record.given_up else {
            return self.put_away(item, claim, DONE, Step::Stored);
        };
        let told = Reason {
            reason: &given_up.reason,
            failures: given_up.attempts,
            deaths: claim.record.deaths,
            seconds_since_1970: now(),
        };
        let reason = with_reason(&free(&self.failed(item)));
        write_durable(&reason, &serde_json::to_vec_pretty(&told)?)?;
        let failed = Step::Failed(given_up.reason.clone());
        self.put_away(item, claim, FAILED, failed)
    }

    /// Where `item` goes if it cannot be done, or that with a number.
    fn failed(&self, item: &Item) -> PathBuf {
        self.inbox.root().join(FAILED).join(&item.below)
    }

    /// Posts the report, if the item is a job with such a reply.
    async fn post_report(
        &self,
        item: &Item,
        claim: &Claim,
        stored: Option<Vec<u8>>,
    ) -> Result<(), Trouble> {
        if !item.is_job() {
            return Ok(());
        }
        let job = self.read(&item.below, MAX_JOB_BYTES);
        // One that cannot be read has said nothing of a reply.
        let Some(job) = job.ok().and_then(|text| Job::parse(&text).ok()) else {
            return Ok(());
        };
        let Some(Reply::Webhook(url)) = &job.reply else {
            return Ok(());
        };
        let record = &claim.record;
        let report = match (&record.given_up, &record.storing, stored) {
            (None, Some(storing), Some(bytes)) => {
                let answer = Answer::new(&storing.media_type, &bytes);
                Report::done(&job, answer, storing.attempts, now())
            }
            (Some(given_up), ..) => {
                Report::failed(&job, &given_up.reason, given_up.attempts, now())
            }
            (None, ..) => return Ok(()),
        };
        self.reach.post(url, &job.id, report.json()).await
    }

    /// Moves the original, and the file that it describes, to a folder of the inbox; then that was `step`. The item itself goes last: while
    /// it is there, this is done again.
    fn put_away(&self, item: &Item, claim: &Claim, folder: &str, step: Step) -> Result<Step> {
        if let (Some(below), Some(identity)) = (item.described(), claim.record.described)
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

/// Whether it may pass: what the file system says may, such as of a file that is yet to come, or of rights that somebody is about to give.
fn trouble(error: anyhow::Error) -> Trouble {
    let reason = format!("{error:#}");
    match error.is::<std::io::Error>() {
        true => Trouble::Later(reason),
        false => Trouble::Never(reason),
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

impl Asked {
    /// How often it was tried elsewhere.
    fn attempt(&self) -> u32 {
        self.job.as_ref().map_or(0, |job| job.attempt)
    }

    /// Where the result goes: where the job says, or beside nothing but the item's name with one more extension.
    fn target(&self, item: &Item) -> Target {
        match self.job.as_ref().and_then(|job| job.reply.as_ref()) {
            Some(Reply::File(path)) => Target::Asked(path.clone()),
            _ => Target::Own(result_of(item, self.task.extension())),
        }
    }
}

/// A path below the folder of results.
enum Target {
    /// Of the item's name. What is there is another's, and stays.
    Own(PathBuf),
    /// Of the job's choice. What is there is replaced.
    Asked(PathBuf),
}

impl Target {
    fn path(&self) -> &Path {
        let (Self::Own(path) | Self::Asked(path)) = self;
        path
    }
}

/// Where it is told why the original at this path could not be done.
fn with_reason(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut reason = match name.len() <= LONGEST_NAME - REASON.len() {
        true => name.to_owned(),
        false => sha256(name.as_encoded_bytes()).to_string().into(),
    };
    reason.push(REASON);
    path.with_file_name(reason)
}

fn result_of(item: &Item, extension: &str) -> PathBuf {
    let described = item.is_job().then(|| item.described()).flatten();
    let path = described.unwrap_or(item.below.clone());
    extended(&path, &format!(".{extension}"))
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
}
