//! One item of an inbox -> its result stored, or its reason told; each step leaves on disk what the next worker needs if this one dies.
//!
//! ```text
//! claim -> read -> perform -> say what will be stored -> store -> post -> move the original to done/   -> drop the claim
//!                          -> say why it is given up           -> post -> move the original to failed/ -> drop the claim
//!                          -> put back, to be tried again
//!                          -> deleted or replaced meanwhile: told, or begun anew
//!
//! order.rs    items that wait -> whose turn it is
//! attempt.rs  a claimed item -> one step further
//!   said.rs     an item -> what it says, read once, and what it asks for
//!   store.rs    an answer -> a file, and whether it is there
//!   tell.rs     an end -> a report posted, a reason written, the original put away
//! ```

mod attempt;
mod order;
mod said;
mod store;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;

use super::aside::aside;
use super::claim::{Claim, Identity, now};
use super::company::Companies;
use super::inbox::{Inbox, Item, Scan};
use super::perform::Performer;
use super::progress::Progress;
use super::queue::{LONGEST_PAUSE, Queue, STORAGE_PAUSE, Step, Taken};
use super::reach::Reach;
use super::results::Results;
use crate::files::random;
use order::{Looked, Order};

/// Until an item is looked at again that another worker had, or that could not be claimed.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Looks take at most one in so many parts of a worker's time while something is to be begun.
const LOOK_SHARE: u32 = 20;

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
    results: Arc<Results>,
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
    next: Order,
    /// Not before this is it looked again, if something is still to be begun.
    look_at: Option<Instant>,
    under_way: BTreeSet<PathBuf>,
    /// Items that are not to be tried before a time.
    paused: BTreeMap<PathBuf, Instant>,
}

impl Queue for Hot {
    type Item = Item;

    async fn take(
        &self,
        most: usize,
        patience: Duration,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Taken<Item>> {
        let more = self.look().await?;
        let taken = {
            let mut seen = self.seen();
            let count = most.min(seen.next.len());
            let items: Vec<Item> = (0..count).map_while(|_| seen.next.next()).collect();
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
        let _under_way = UnderWay(&self.seen, &item.below);
        let step = self.claim_and_do(&item, stop).await;
        let pause = match &step {
            Ok(Step::Stored | Step::Failed(_)) => return step,
            Ok(Step::PutBack { pause, .. }) => *pause,
            // Whoever has it, or whatever is wrong: if it is still there, it is tried again after a while.
            Ok(Step::NotOurs) | Err(_) => LOOK_PAUSE,
        };
        let until = Instant::now() + pause;
        self.seen().paused.insert(item.below.clone(), until);
        step
    }

    async fn tell(&self, progress: &Progress) -> Result<()> {
        let (progress, inbox, name) = (progress.clone(), self.inbox.clone(), self.name.clone());
        aside(move || progress.tell(&inbox, &name)).await?
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
            results: Arc::new(Results::new(out)),
            performer,
            reach,
            policy,
            company: Companies::default(),
            name: format!("{}-{}-{:016x}", std::process::id(), now(), random()),
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    /// Looks at the folder, if what was seen the last time is begun, or that was a while ago: what has come since may be in a hurry. Whether
    /// there is more than can be seen.
    async fn look(&self) -> Result<bool> {
        {
            let seen = self.seen();
            let recent = seen.look_at.is_some_and(|at| Instant::now() < at);
            if recent && !seen.next.is_empty() {
                return Ok(false);
            }
        }
        let began = Instant::now();
        let inbox = self.inbox.clone();
        let Scan { mut items, more } = aside(move || inbox.scan()).await??;
        let known = {
            let mut seen = self.seen();
            let now = Instant::now();
            let there: BTreeSet<&PathBuf> = items.iter().map(|item| &item.below).collect();
            seen.paused
                .retain(|below, until| *until > now && there.contains(below));
            items.retain(|item| {
                !seen.under_way.contains(&item.below) && !seen.paused.contains_key(&item.below)
            });
            seen.next.known()
        };
        // Others may end meanwhile; nobody else begins any.
        let root = self.inbox.root().to_owned();
        let looked = aside(move || Looked::into(&root, items, known)).await?;
        let mut seen = self.seen();
        seen.next.wait(looked);
        let took = began.elapsed();
        seen.look_at = Some(Instant::now() + LOOK_PAUSE.max(took * LOOK_SHARE));
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

    /// Which content the item has now, if it is there.
    fn identity(&self, item: &Item) -> Option<Identity> {
        identity_at(&self.inbox.root().join(&item.below))
    }
}

/// An item that is under way, until dropped: also by a panic, or it would never have another turn.
struct UnderWay<'a>(&'a Mutex<Seen>, &'a Path);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        locked(self.0).under_way.remove(self.1);
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // What is left of a panic is looked at again.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
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
