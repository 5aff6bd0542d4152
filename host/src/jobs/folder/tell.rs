//! An end -> whoever is to be told of it, and the original where originals go.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ephemera_jobs::{Answer, Job, Reply, Report};
use serde::Serialize;
use tokio::sync::watch;

use super::attempt::unbegun;
use super::{Hot, changed, identity_at};
use crate::files::{free_number, move_aside_from, numbered, put_in_place, write_durable};
use crate::jobs::claim::{Claim, GivenUp, Identity, PutAway, Record, now};
use crate::jobs::inbox::{DONE, FAILED, Item, with_reason};
use crate::jobs::queue::{DELIVERIES, Step, pause};
use crate::jobs::reach::Trouble;
use crate::metrics::work::Phase;

/// A folder of the inbox, and the number that names get in it at least.
type Numbered = (&'static str, u32);

/// What stands beside an original that could not be done.
#[derive(Debug, Serialize)]
struct Reason<'a> {
    reason: &'a str,
    failures: u32,
    deaths: u32,
    seconds_since_1970: u64,
}

impl Hot {
    pub(super) async fn give_up(
        &self,
        item: &Item,
        job: Option<&Job>,
        claim: &mut Claim,
        reason: String,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Step> {
        claim.record.given_up = Some(GivenUp {
            reason,
            attempts: claim.record.failures,
        });
        claim.record.failures = 0;
        claim.renew()?;
        self.conclude(item, job, claim, None, stop).await
    }

    /// Tells whoever is to be told, and puts the original away. `stored`: the result, if it has one.
    pub(super) async fn conclude(
        &self,
        item: &Item,
        job: Option<&Job>,
        claim: &mut Claim,
        stored: Option<Vec<u8>>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Step> {
        if let Some(job) = job
            && let Some(url) = webhook(job)
            && !claim.record.told
        {
            let report = report(job, claim, stored);
            let posting = self.post(url, &job.id, report);
            let posting = self.performer.work().time("", Phase::Post, posting);
            // Whoever gets it twice is told so by its id.
            let Some(posted) = self.keeping(claim, stop, posting).await? else {
                return Ok(unbegun());
            };
            if let Some(later) = posted_or_later(&mut claim.record, posted) {
                return Ok(later);
            }
            // Moving the original may have to be tried again, for as long as its disk is full.
            claim.renew()?;
        }
        let folder = match claim.record.given_up {
            None => DONE,
            Some(_) => FAILED,
        };
        let number = self.settled_number(item, claim, folder)?;
        let step = match &claim.record.given_up {
            None => Step::Stored,
            Some(given_up) => Step::Failed(given_up.reason.clone()),
        };
        if let Some(given_up) = &claim.record.given_up {
            let reason = Reason {
                reason: &given_up.reason,
                failures: given_up.attempts,
                deaths: claim.record.deaths,
                seconds_since_1970: now(),
            };
            let reason = serde_json::to_vec_pretty(&reason)?;
            let path = self.reason_of(item, number);
            self.through(claim, move || write_durable(&path, &reason))
                .await??;
        }
        match self.put_away(item, claim, (folder, number)).await? {
            true => Ok(step),
            false => Ok(changed()),
        }
    }

    /// The number that `item` gets in `folder`. Where two files go there, it is written down before the first is moved: whoever comes after us
    /// gives it to the other.
    ///
    /// # Errors
    ///
    /// As [`Claim::renew`].
    fn settled_number(&self, item: &Item, claim: &mut Claim, folder: &str) -> Result<u32> {
        let number = self.number(item, claim, folder);
        if claim.record.described.is_none() {
            claim.check()?;
            return Ok(number);
        }
        claim.record.put_away = Some(PutAway {
            folder: folder.to_owned(),
            number,
        });
        claim.renew()?;
        Ok(number)
    }

    /// As it is now.
    pub(super) fn number(&self, item: &Item, claim: &Claim, folder: &str) -> u32 {
        number_in(self.inbox.root(), item, &claim.record, folder)
    }

    /// Where it is told why `item` could not be done, which has this number among those.
    pub(super) fn reason_of(&self, item: &Item, number: u32) -> PathBuf {
        let failed = self.inbox.root().join(FAILED).join(&item.below);
        with_reason(&numbered(&failed, number))
    }

    async fn post(&self, url: &str, id: &str, report: Option<Report>) -> Result<(), Trouble> {
        match report {
            Some(report) => self.reach.post(url, id, report.json()).await,
            None => Ok(()),
        }
    }

    /// Moves the original, and the file that it describes, to a folder of the inbox. The item itself goes last: while it is there, this is
    /// done again. Whether there is nothing left to do.
    async fn put_away(
        &self,
        item: &Item,
        claim: &mut Claim,
        (folder, number): Numbered,
    ) -> Result<bool> {
        let described = item.described().zip(claim.record.described);
        let files = described
            .into_iter()
            .chain([(item.below.clone(), item.identity)]);
        let files: Vec<(PathBuf, Identity)> = files.collect();
        let root = self.inbox.root().to_owned();
        let put_away = move || {
            for (below, identity) in files {
                let to = root.join(folder).join(&below);
                if !move_away(&root.join(below), identity, &to, number)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        self.through(claim, put_away).await?
    }
}

/// Moves a file to `to`, with that number at least, unless it is another than that of `identity`, which nobody has looked at yet. Whether there
/// is nothing left to do.
fn move_away(from: &Path, identity: Identity, to: &Path, number: u32) -> Result<bool> {
    match identity_at(from) {
        None => return Ok(true),
        Some(there) if there != identity => return Ok(false),
        Some(_) => {}
    }
    let moved = move_aside_from(from, to, number)?;
    if identity_at(&moved) == Some(identity) {
        return Ok(true);
    }
    // It was replaced between the look and the move.
    put_in_place(&moved, from)?;
    Ok(false)
}

/// What is known once a report was posted, or is given up; or that it is to be posted later.
fn posted_or_later(record: &mut Record, posted: Result<(), Trouble>) -> Option<Step> {
    match posted {
        Ok(()) => {}
        Err(Trouble::Later(reason)) if record.failures.saturating_add(1) < DELIVERIES => {
            record.failures += 1;
            return Some(Step::PutBack {
                pause: pause(record.failures),
                reason: Some(format!("reply.webhook: {reason}")),
            });
        }
        Err(Trouble::Later(reason) | Trouble::Never(reason)) => {
            let given_up = record.given_up.get_or_insert_default();
            let before = match given_up.reason.as_str() {
                "" => "its result is stored".to_owned(),
                reason => reason.to_owned(),
            };
            given_up.reason = format!("{before}; reply.webhook: {reason}");
        }
    }
    record.told = true;
    None
}

/// The first number with which both the original and the file that it describes are free in `folder` of the inbox `root`: with the same one
/// they find each other when they are tried again. If a worker that died had moved the file before, the one that it got.
fn number_in(root: &Path, item: &Item, record: &Record, folder: &str) -> u32 {
    let to = root.join(folder);
    let described = record.described.and(item.described());
    let is_there = |below: &PathBuf| std::fs::symlink_metadata(root.join(below)).is_ok();
    let has_moved = described.as_ref().is_some_and(|below| !is_there(below));
    if let Some(put_away) = &record.put_away
        && has_moved
        && put_away.folder == folder
    {
        return put_away.number;
    }
    let described = described.filter(is_there);
    let paths = described.into_iter().chain([item.below.clone()]);
    let paths: Vec<PathBuf> = paths.map(|below| to.join(below)).collect();
    free_number(paths.iter().map(PathBuf::as_path))
}

/// Where the report of a job is to be posted.
fn webhook(job: &Job) -> Option<&str> {
    match &job.reply {
        Some(Reply::Webhook(url)) => Some(url),
        Some(Reply::File(_) | Reply::Key(_) | Reply::List(_)) | None => None,
    }
}

/// What is to be told of a job that has come to an end.
fn report(job: &Job, claim: &Claim, stored: Option<Vec<u8>>) -> Option<Report> {
    let record = &claim.record;
    match (&record.given_up, &record.storing, stored) {
        (None, Some(storing), Some(bytes)) => {
            let answer = Answer::new(&storing.media_type, &bytes);
            Some(Report::done(job, answer, storing.attempts, now()))
        }
        (Some(given_up), ..) => {
            let reason = &given_up.reason;
            Some(Report::failed(job, reason, given_up.attempts, now()))
        }
        (None, ..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_follows_its_file_that_was_moved_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let write = |name: &str| std::fs::write(root.join(name), "x").expect("written");
        std::fs::create_dir(root.join(DONE)).expect("made");
        for name in ["done/a.png", "a.png", "a.png.job.json"] {
            write(name);
        }
        let identity = |name: &str| identity_at(&root.join(name)).expect("it is there");
        let item = Item {
            below: "a.png.job.json".into(),
            identity: identity("a.png.job.json"),
        };
        let mut record = Record {
            described: Some(identity("a.png")),
            ..Record::default()
        };
        let number = number_in(root, &item, &record, DONE);
        assert_eq!(number, 1, "another file of that name is there");
        let put_away = |number| PutAway {
            folder: DONE.to_owned(),
            number,
        };
        record.put_away = Some(put_away(number));
        // Here the worker dies.
        move_aside_from(&root.join("a.png"), &root.join("done/a.png"), number).expect("moved");
        assert_eq!(number_in(root, &item, &record, DONE), 1, "as its file");
        assert_eq!(number_in(root, &item, &record, FAILED), 0, "elsewhere");
        // It died before that, and the number is taken meanwhile.
        write("a.png");
        assert_eq!(number_in(root, &item, &record, DONE), 2);
        record.put_away = Some(put_away(7));
        assert_eq!(number_in(root, &item, &record, DONE), 2);
    }
}
