//! A folder -> [`Item`]s: what lies in it, complete and to be done.
//!
//! Links are not followed, and nothing but plain files is looked at, so that nothing outside of the folder can be reached from it.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::claim::{Claim, Identity, now};
use super::progress::Progress;
use crate::digest::sha256;
use crate::files::{free_number, move_aside_from, read_at_most};
pub use names::JOB;

/// How far all workers are.
pub const PROGRESS: &str = "progress.json";

/// Where originals go, below the inbox.
pub const DONE: &str = "done";
/// And those that could not be done, each with its reason.
pub const FAILED: &str = "failed";
/// What workers tell each other.
const OWN: &str = ".ephemera";

/// Names that programs give to files that they have not finished.
const UNFINISHED: [&str; 5] = [".part", ".partial", ".tmp", ".crdownload", "~"];

/// Folders are entered this deep.
const MAX_DEPTH: usize = 16;

/// Items of one look: memory is bounded however many files there are, and the next look finds more.
const MAX_ITEMS: usize = 4096;

/// Bytes of what workers write down about themselves and about failures.
const MAX_PROGRESS_BYTES: u64 = 1 << 20;

/// What ends the name of a file in `failed/` that says why.
pub const REASON: &str = ".reason.json";

/// Bytes of a file's name, of all file systems that matter here.
const LONGEST_NAME: usize = 255;

/// What is there and what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Files to be done, those under way included.
    pub there: u64,
    /// Files that could not be done.
    pub dead: u64,
    /// What all workers did.
    pub progress: Progress,
}

/// A folder that files are dropped into.
#[derive(Debug, Clone)]
pub struct Inbox {
    root: PathBuf,
    settle: Duration,
}

/// What one look found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// What can be done now.
    pub items: Vec<Item>,
    /// Whether there is more, such as files that are still being written.
    pub more: bool,
}

/// A file to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its path below the inbox.
    pub below: PathBuf,
    /// Which content it had when it was found.
    pub identity: Identity,
}

impl Inbox {
    /// The folder `root`, which is made if it is not there. A file is complete when nothing about it has changed for `settle`.
    ///
    /// # Errors
    ///
    /// It cannot be made or written to.
    pub fn open(root: &Path, settle: Duration) -> Result<Self> {
        let opening = || format!("opening the inbox {}", root.display());
        std::fs::create_dir_all(root).with_context(opening)?;
        let root = root.canonicalize().with_context(opening)?;
        let inbox = Self { root, settle };
        for folder in [DONE.into(), FAILED.into(), Path::new(OWN).join("claims")] {
            std::fs::create_dir_all(inbox.root.join(folder)).with_context(opening)?;
        }
        Ok(inbox)
    }

    /// The inbox `root`, which some worker made before.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn existing(root: &Path) -> Result<Self> {
        let own = root.join(OWN);
        ensure!(own.is_dir(), "{} is no inbox", root.display());
        let root = root.canonicalize().context("finding the inbox")?;
        let settle = Duration::ZERO;
        Ok(Self { root, settle })
    }

    /// What is there and what was done.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed.
    pub fn overview(&self) -> Result<Overview> {
        let progress = read_at_most(&self.root.join(PROGRESS), MAX_PROGRESS_BYTES);
        let progress = progress
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Overview {
            there: self.scan()?.items.len() as u64,
            dead: self.failed()?.len() as u64,
            progress: progress.unwrap_or_default(),
        })
    }

    /// Originals that could not be done, by name below `failed/`, and why.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed.
    pub fn failed(&self) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        let folder = self.root.join(FAILED);
        for path in below(&folder)? {
            let name = path.strip_prefix(&folder).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            if !name.ends_with(REASON) {
                let reason = read_at_most(&with_reason(&path), MAX_PROGRESS_BYTES);
                let reason = reason.ok().and_then(|text| {
                    let told: serde_json::Value = serde_json::from_slice(&text).ok()?;
                    Some(told.get("reason")?.as_str()?.to_owned())
                });
                found.insert(name, reason.unwrap_or_default());
            }
        }
        Ok(found)
    }

    /// Puts originals that could not be done back into the inbox, all of them or the one of this name, a job with the file that it describes.
    /// Returns how many files.
    ///
    /// # Errors
    ///
    /// A file cannot be moved.
    pub fn retry(&self, name: Option<&str>) -> Result<u64> {
        let failed = self.failed()?;
        let described = |name: &str| Some(names::described(Path::new(name))?.file);
        let told: BTreeSet<PathBuf> = failed.keys().filter_map(|name| described(name)).collect();
        let mut count = 0;
        for item in failed.keys() {
            let wanted = match name {
                Some(name) => name == item,
                // It has its turn with the job that is about it.
                None => !told.contains(Path::new(item)),
            };
            if wanted {
                count += self.put_back(Path::new(item), described(item))?;
            }
        }
        Ok(count)
    }

    /// Puts a file of `failed/` back, and the one that it describes if that is there. The description first: a file without one means
    /// something else.
    fn put_back(&self, item: &Path, described: Option<PathBuf>) -> Result<u64> {
        let folder = self.root.join(FAILED);
        let described = described.filter(|below| folder.join(below).is_file());
        let files: Vec<&Path> = [item].into_iter().chain(described.as_deref()).collect();
        let targets: Vec<PathBuf> = files.iter().map(|below| self.root.join(below)).collect();
        let number = free_number(targets.iter().map(PathBuf::as_path));
        for (below, target) in files.iter().zip(&targets) {
            move_aside_from(&folder.join(below), target, number)?;
        }
        // One without a reason was described by another file.
        let _ = std::fs::remove_file(with_reason(&folder.join(item)));
        Ok(files.len() as u64)
    }

    /// Deletes originals that could not be done (`dead`) and that were (`finished`). Returns how many.
    ///
    /// # Errors
    ///
    /// A file cannot be deleted.
    pub fn purge(&self, dead: bool, finished: bool) -> Result<u64> {
        let mut count = 0;
        for (folder, wanted) in [(FAILED, dead), (DONE, finished)] {
            if !wanted {
                continue;
            }
            for path in below(&self.root.join(folder))? {
                std::fs::remove_file(&path).context("deleting")?;
                count += u64::from(!path.to_string_lossy().ends_with(REASON));
            }
        }
        Ok(count)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of the claim on `item`.
    pub fn claim_of(&self, item: &Item) -> PathBuf {
        let name = crate::digest::sha256(item.below.as_os_str().as_encoded_bytes());
        self.claims().join(name.to_string())
    }

    fn claims(&self) -> PathBuf {
        self.root.join(OWN).join("claims")
    }

    /// Removes claims whose holders died when their items were done.
    pub fn sweep(&self) {
        let claims = std::fs::read_dir(self.claims());
        for entry in claims.into_iter().flatten().flatten() {
            // What stays does no harm; another worker may be ahead of us.
            let _ = Claim::remove_if_left(&entry.path(), &self.root);
        }
    }

    /// Where workers say how far they are.
    pub fn workers(&self) -> PathBuf {
        self.root.join(OWN).join("workers")
    }

    /// The items, oldest names first; at most some thousands.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed. A folder below it that cannot be is told in the log, and the others go on.
    pub fn scan(&self) -> Result<Scan> {
        let mut scan = Scan::default();
        self.list(&self.root, MAX_DEPTH, &mut scan)
            .with_context(|| format!("listing {}", self.root.display()))?;
        scan.items.sort_by(|a, b| a.below.cmp(&b.below));
        Ok(scan)
    }

    fn list(&self, folder: &Path, depth: usize, scan: &mut Scan) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            if scan.items.len() >= MAX_ITEMS {
                scan.more = true;
                return Ok(());
            }
            let entry = entry?;
            let path = entry.path();
            // Of the link itself, not of what it leads to. It may be gone already: another worker moved it.
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || self.is_ours(&path) {
                continue;
            }
            if metadata.is_dir() && depth > 0 {
                if let Err(error) = self.list(&path, depth - 1, scan) {
                    tracing::warn!("listing {}: {error}", path.display());
                }
            } else if metadata.is_file() && !UNFINISHED.iter().any(|end| name.ends_with(end)) {
                // One that another describes has its turn with that, or after it.
                if !self.is_complete(&metadata) || has_job(&path) {
                    scan.more = true;
                    continue;
                }
                let below = path.strip_prefix(&self.root).unwrap_or(&path);
                scan.items.push(Item {
                    below: below.to_owned(),
                    identity: Identity::of(&metadata),
                });
            }
        }
        Ok(())
    }

    fn is_ours(&self, path: &Path) -> bool {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        [DONE, FAILED, PROGRESS]
            .iter()
            .any(|own| below == Path::new(own))
    }

    /// By the time of its last change, which nobody can set, unlike that of its last modification.
    fn is_complete(&self, metadata: &Metadata) -> bool {
        let changed = u64::try_from(metadata.ctime()).unwrap_or(0);
        now().saturating_sub(changed) >= self.settle.as_secs()
    }
}

/// Whether another file says what to do with this one.
fn has_job(path: &Path) -> bool {
    names::descriptions(path).iter().any(|job| job.is_file())
}

/// Where it is told why the original at this path, in `failed/`, could not be done.
pub(super) fn with_reason(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut reason = match name.len() <= LONGEST_NAME - REASON.len() {
        true => name.to_owned(),
        false => sha256(name.as_encoded_bytes()).to_string().into(),
    };
    reason.push(REASON);
    path.with_file_name(reason)
}

/// All plain files below `folder`.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let listing = || format!("listing {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let kind = entry.file_type().with_context(listing)?;
            match () {
                () if kind.is_dir() => folders.push(entry.path()),
                () if kind.is_file() => found.push(entry.path()),
                () => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Item {
    /// Whether it describes a job.
    pub fn is_job(&self) -> bool {
        names::is_job(&self.below)
    }

    /// The path below the inbox of the file that a job is about.
    pub fn described(&self) -> Option<PathBuf> {
        Some(names::described(&self.below)?.file)
    }

    /// Whether a job calls the file that it is about so: by its name, or by that before both got the same number.
    pub fn may_call_it(&self, called: &Path) -> bool {
        names::described(&self.below).is_some_and(|described| {
            described.file.file_name() == Some(called.as_os_str())
                || Path::new(&described.called) == called
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_complete_and_not_ours_is_an_item() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(folder.path(), Duration::ZERO).expect("made");
        let write = |name: &str| {
            let path = inbox.root().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "x").expect("written");
        };
        for name in [
            "b.png",
            "a/c.png",
            "a/c.png.job.json",
            "d.job.json",
            ".hidden",
            "e.png.part",
            "f~",
            "done/g.png",
            "failed/h.png",
            "progress.json",
            ".ephemera/i",
        ] {
            write(name);
        }
        std::os::unix::fs::symlink("/etc/passwd", inbox.root().join("j.png")).expect("linked");
        std::os::unix::fs::symlink("/etc", inbox.root().join("k")).expect("linked");
        let items = inbox.scan().expect("listed").items;
        let names: Vec<_> = items.iter().map(|item| item.below.to_str()).collect();
        assert_eq!(
            names,
            [Some("a/c.png.job.json"), Some("b.png"), Some("d.job.json")]
        );
        let jobs: Vec<_> = items.iter().map(Item::is_job).collect();
        assert_eq!(jobs, [true, false, true]);
        assert_eq!(items[0].described(), Some("a/c.png".into()));

        let patient = Inbox::open(folder.path(), Duration::from_secs(60)).expect("there");
        let scan = patient.scan().expect("listed");
        assert_eq!((scan.items, scan.more), (vec![], true), "all is too new");
    }

    #[test]
    fn what_is_tried_again_means_what_it_meant() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(folder.path(), Duration::ZERO).expect("made");
        let write = |name: &str| std::fs::write(inbox.root().join(name), "x").expect("written");
        for name in [
            "a.png",
            "a.png.job.json",
            "a.png.job.json.reason.json",
            "a.1.png",
            "a.png.job.1.json",
            "a.png.job.1.json.reason.json",
            "b.png",
            "b.png.reason.json",
        ] {
            write(&format!("{FAILED}/{name}"));
        }
        // Somebody has dropped in another picture of the first one's name.
        write("a.png");
        assert_eq!(inbox.retry(None).expect("moved"), 5);
        let items = inbox.scan().expect("listed").items;
        let items: Vec<_> = items
            .iter()
            .map(|item| (item.below.to_str().expect("text"), item.described()))
            .collect();
        let job = |name, about: &str| (name, Some(about.into()));
        assert_eq!(
            items,
            [
                ("a.png", None),
                job("a.png.job.1.json", "a.1.png"),
                job("a.png.job.2.json", "a.2.png"),
                ("b.png", None)
            ]
        );
        assert_eq!(below(&inbox.root().join(FAILED)).expect("listed").len(), 0);
    }
}
