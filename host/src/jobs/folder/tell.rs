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
type Numbered<'a> = (&'a str, u32);

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
        let posted = match job.and_then(|job| Some((job, webhook(job)?))) {
            Some((job, url)) => {
                let report = report(job, claim, stored);
                let posting = self.post(url, &job.id, report);
                let posting = self.performer.work().time("", Phase::Post, posting);
                self.keeping(claim, stop, posting).await?
            }
            None => Some(Ok(())),
        };
        // Whoever gets it twice is told so by its id.
        let Some(posted) = posted else {
            return Ok(unbegun());
        };
        match posted {
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
        let folder = match claim.record.given_up {
            None => DONE,
            Some(_) => FAILED,
        };
        let number = self.settled_number(item, claim, folder)?;
        let Some(given_up) = &claim.record.given_up else {
            return self.put_away(item, claim, (folder, number), Step::Stored);
        };
        let told = Reason {
            reason: &given_up.reason,
            failures: given_up.attempts,
            deaths: claim.record.deaths,
            seconds_since_1970: now(),
        };
        let reason = self.reason_of(item, number);
        write_durable(&reason, &serde_json::to_vec_pretty(&told)?)?;
        let failed = Step::Failed(given_up.reason.clone());
        self.put_away(item, claim, (folder, number), failed)
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

    /// Moves the original, and the file that it describes, to a folder of the inbox; then that was `step`. The item itself goes last: while
    /// it is there, this is done again.
    fn put_away(&self, item: &Item, claim: &Claim, to: Numbered<'_>, step: Step) -> Result<Step> {
        if let (Some(below), Some(identity)) = (item.described(), claim.record.described)
            && !self.move_away(&below, identity, to)?
        {
            return Ok(changed());
        }
        match self.move_away(&item.below, item.identity, to)? {
            true => Ok(step),
            false => Ok(changed()),
        }
    }

    /// Moves a file, unless it is another than that of `identity`, which nobody has looked at yet. Whether there is nothing left to do.
    fn move_away(&self, below: &Path, identity: Identity, to: Numbered<'_>) -> Result<bool> {
        let from = self.inbox.root().join(below);
        if identity_at(&from).is_none() {
            return Ok(true);
        }
        let (folder, number) = to;
        let to = self.inbox.root().join(folder).join(below);
        let moved = move_aside_from(&from, &to, number)?;
        if identity_at(&moved) == Some(identity) {
            return Ok(true);
        }
        put_in_place(&moved, &from)?;
        Ok(false)
    }
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
