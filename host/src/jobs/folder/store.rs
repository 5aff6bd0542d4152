//! An answer -> a file in the folder of results, said in the claim before it is written; and whether it is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use ephemera_jobs::{Job, Reply};
use hyper::body::Bytes;

use super::Hot;
use crate::digest::sha256;
use crate::files::{Part, extended, free, remove_parts};
use crate::jobs::claim::{Claim, Storing};
use crate::jobs::inbox::{FAILED, Item};
use crate::jobs::results::Results;

/// The extension of a result whose room is tried.
const ROOM: &str = "room";

/// A path below the folder of results.
#[derive(Clone)]
pub(super) enum Target {
    /// Of the item's name. What is there is another's, and stays.
    Own(PathBuf),
    /// Of the job's choice. What is there is replaced.
    Asked(PathBuf),
}

impl Target {
    /// Where the result of `item` goes: where its job says, or beside nothing but the item's name with one more extension.
    pub(super) fn of(item: &Item, job: Option<&Job>, extension: &str) -> Self {
        match job.and_then(|job| job.reply.as_ref()) {
            Some(Reply::File(path)) => Self::Asked(path.clone()),
            _ => Self::Own(result_of(item, extension)),
        }
    }

    /// Below the folder of results.
    fn path(&self) -> &Path {
        let (Self::Own(path) | Self::Asked(path)) = self;
        path
    }

    /// Where it may go now.
    fn find(&self, results: &Results) -> Result<PathBuf> {
        let found = results.find(self.path())?;
        Ok(match self {
            Self::Own(_) => free(&found),
            Self::Asked(_) => found,
        })
    }

    /// Gives a result its name, unless that became another's meanwhile: whether it has it now.
    fn name(&self, results: &Results, part: Part) -> Result<bool> {
        match self {
            Self::Own(path) => results.place(path, part),
            Self::Asked(path) => results.replace(path, part).map(|()| true),
        }
    }
}

impl Hot {
    /// What was about to be stored, if it is there: its worker died after that, or could not tell of it.
    ///
    /// # Errors
    ///
    /// The claim is lost.
    pub(super) async fn stored(&self, claim: &mut Claim) -> Result<Option<Vec<u8>>> {
        let Some(storing) = claim.record.storing.clone() else {
            return Ok(None);
        };
        let results = Arc::clone(&self.results);
        let stored = move || {
            let bytes = results.read(&storing.target, storing.bytes)?;
            (sha256(&bytes).to_string() == storing.sha256).then_some(bytes)
        };
        self.through(claim, stored).await
    }

    /// Stores an answer, after having written down that it is about to.
    pub(super) async fn store(
        &self,
        claim: &mut Claim,
        target: Target,
        media_type: &str,
        answer: &Bytes,
    ) -> Result<()> {
        let sha256 = sha256(answer).to_string();
        let attempts = claim.record.failures.saturating_add(1);
        loop {
            let (results, wanted) = (Arc::clone(&self.results), target.clone());
            let found = self.through(claim, move || wanted.find(&results)).await??;
            let asked = target.path().to_owned();
            claim.record.storing = Some(Storing {
                target: match found.file_name() {
                    Some(name) => asked.with_file_name(name),
                    None => asked.clone(),
                },
                sha256: sha256.clone(),
                bytes: answer.len() as u64,
                media_type: media_type.to_owned(),
                attempts,
            });
            // From here on they are failures to tell of it.
            claim.record.failures = 0;
            claim.renew()?;
            let (results, bytes) = (Arc::clone(&self.results), answer.clone());
            let write = move || results.write(&asked, &found, &bytes);
            let part = self.through(claim, write).await??;
            // That took its time: who lost the claim meanwhile gives nothing a name.
            claim.check()?;
            let (results, wanted) = (Arc::clone(&self.results), target.clone());
            let name = move || wanted.name(&results, part);
            if self.through(claim, name).await?? {
                return Ok(());
            }
        }
    }

    /// That the result of `item` can be written, where it is known that one could not be.
    ///
    /// # Errors
    ///
    /// It cannot be.
    pub(super) async fn check_room(
        &self,
        item: &Item,
        job: Option<&Job>,
        claim: &mut Claim,
    ) -> Result<()> {
        let results = Arc::clone(&self.results);
        let target = Target::of(item, job, ROOM);
        self.through(claim, move || results.check(target.path()))
            .await?
    }

    /// Removes what a dead worker had begun to write about `item`.
    ///
    /// # Errors
    ///
    /// The claim is lost.
    pub(super) async fn sweep(
        &self,
        item: &Item,
        job: Option<&Job>,
        claim: &mut Claim,
        dead: u32,
    ) -> Result<()> {
        let result = claim.record.storing.as_ref();
        let result = result.map(|storing| storing.target.clone());
        // Or whether there is room for it was tried.
        let tried = Target::of(item, job, ROOM).path().to_owned();
        let reason = self.reason_of(item, self.number(item, claim, FAILED));
        let results = Arc::clone(&self.results);
        let sweep = move || {
            for path in [Some(tried), result].into_iter().flatten() {
                results.sweep(&path, dead);
            }
            // Mostly there is none; and what stays does no harm.
            let _ = remove_parts(&reason, dead);
        };
        self.through(claim, sweep).await
    }
}

fn result_of(item: &Item, extension: &str) -> PathBuf {
    let described = item.is_job().then(|| item.described()).flatten();
    let path = described.unwrap_or(item.below.clone());
    extended(&path, &format!(".{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::claim::Identity;

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
