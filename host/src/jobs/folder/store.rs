//! An answer -> a file in the folder of results, said in the claim before it is written; and whether it is there.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ephemera_jobs::{Job, Reply};

use super::Hot;
use crate::digest::sha256;
use crate::files::{extended, free, remove_parts};
use crate::jobs::claim::{Claim, Storing};
use crate::jobs::inbox::{FAILED, Item};

/// The extension of a result whose room is tried.
const ROOM: &str = "room";

/// A path below the folder of results.
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
}

impl Hot {
    /// What was about to be stored, if it is there: its worker died after that, or could not tell of it.
    pub(super) fn stored(&self, claim: &Claim) -> Option<Vec<u8>> {
        let storing = claim.record.storing.as_ref()?;
        let bytes = std::fs::read(self.results.root().join(&storing.target)).ok()?;
        (sha256(&bytes).to_string() == storing.sha256).then_some(bytes)
    }

    /// Stores an answer, after having written down that it is about to.
    pub(super) fn store(
        &self,
        claim: &mut Claim,
        target: Target,
        media_type: String,
        answer: &[u8],
    ) -> Result<()> {
        let asked = target.path();
        self.results.write(asked, answer, |path| {
            let path = match target {
                // Of another file of that name, which was done before.
                Target::Own(_) => free(&path),
                Target::Asked(_) => path,
            };
            let target = match path.file_name() {
                Some(name) => asked.with_file_name(name),
                None => asked.to_owned(),
            };
            claim.record.storing = Some(Storing {
                target,
                sha256: sha256(answer).to_string(),
                media_type,
                attempts: claim.record.failures.saturating_add(1),
            });
            // From here on they are failures to tell of it.
            claim.record.failures = 0;
            claim.renew()?;
            Ok(path)
        })
    }

    /// That the result of `item` can be written, where it is known that one could not be.
    ///
    /// # Errors
    ///
    /// It cannot be.
    pub(super) fn check_room(&self, item: &Item, job: Option<&Job>) -> Result<()> {
        self.results.check(Target::of(item, job, ROOM).path())
    }

    /// Removes what a dead worker had begun to write about `item`.
    pub(super) fn sweep(&self, item: &Item, claim: &Claim, dead: u32) {
        let result = claim.record.storing.as_ref();
        let result = result.map(|storing| storing.target.clone());
        // Or whether there is room for it was tried.
        let results = [Some(result_of(item, ROOM)), result];
        let results = results.into_iter().flatten();
        let results = results.map(|path| self.results.root().join(path));
        let reason = self.reason_of(item, self.number(item, claim, FAILED));
        for path in results.chain([reason]) {
            // Mostly there is none; and what stays does no harm.
            let _ = remove_parts(&path, dead);
        }
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
