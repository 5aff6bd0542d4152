//! A folder -> [`Item`]s: what lies in it, complete and to be done.
//!
//! ```text
//! names.rs  which file describes which
//! admin.rs  what could not be done, once more, and away with what nobody needs
//! ```
//!
//! Links are not followed, and nothing but plain files is looked at, so that nothing outside of the folder can be reached from it.

mod admin;
mod names;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::claim::{Claim, Identity, now};
use crate::files::{open_below, read_open_at_most};
pub use admin::{Overview, REASON};
pub(super) use admin::{reason_at, with_reason};
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

    /// The bytes of a plain file, `below` it, that has at most `limit` of them. A link or a pipe that took its place since it was found is neither
    /// followed nor waited for.
    ///
    /// # Errors
    ///
    /// It is none, cannot be read, or has more.
    pub(super) fn read(&self, below: &Path, limit: u64) -> Result<Vec<u8>> {
        read_open_at_most(&open_below(&self.root, below)?, limit)
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

/// Whether another file says what to do with this one. A link says nothing: it has no turn.
fn has_job(path: &Path) -> bool {
    let is_plain = |job: &PathBuf| std::fs::symlink_metadata(job).is_ok_and(|job| job.is_file());
    names::descriptions(path).iter().any(is_plain)
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
        // What has no turn itself keeps nobody waiting.
        let description = inbox.root().join("b.png.job.json");
        std::os::unix::fs::symlink("/etc/passwd", description).expect("linked");
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
    fn what_is_read_is_a_plain_file_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(&folder.path().join("in"), Duration::ZERO).expect("made");
        let at = |name: &str| inbox.root().join(name);
        std::fs::create_dir(folder.path().join("other")).expect("made");
        std::fs::write(folder.path().join("other/a"), "x").expect("written");
        std::fs::create_dir(at("sub")).expect("made");
        std::fs::write(at("sub/a"), "plain").expect("written");
        std::os::unix::fs::symlink("sub/a", at("link")).expect("linked");
        std::os::unix::fs::symlink("../other", at("out")).expect("linked");
        // Opened without further words, it would be waited for.
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), kind, mode, 0).expect("made");
        let read = |name: &str| inbox.read(Path::new(name), 5).ok();
        assert_eq!(read("sub/a").as_deref(), Some(&b"plain"[..]));
        for name in ["link", "out/a", "../other/a", "pipe", "sub", "nothing"] {
            assert_eq!(read(name), None, "{name}");
        }
        assert!(inbox.read(Path::new("sub/a"), 4).is_err(), "too long");
    }
}
