//! What could not be done -> told, once more, or away; and what is there and was done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{DONE, FAILED, Inbox, PROGRESS, names};
use crate::digest::sha256;
use crate::files::{LONGEST_NAME, free_number, move_aside_from, read_at_most};
use crate::jobs::progress::Progress;

/// Bytes of what workers write down about themselves and about failures.
const MAX_PROGRESS_BYTES: u64 = 1 << 20;

/// What ends the name of a file in `failed/` that says why.
pub const REASON: &str = ".reason.json";

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

impl Inbox {
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
        let folder = self.root.join(FAILED);
        let told = self.dead()?.into_iter().map(|item| {
            let name = item.to_string_lossy().into_owned();
            (name, reason_at(&folder.join(&item)))
        });
        Ok(told.collect())
    }

    /// Their paths below `failed/`, which need not be text.
    fn dead(&self) -> Result<Vec<PathBuf>> {
        let folder = self.root.join(FAILED);
        let paths = below(&folder)?.into_iter();
        let names = paths.filter_map(|path| Some(path.strip_prefix(&folder).ok()?.to_owned()));
        Ok(names.filter(|name| !is_reason(name)).collect())
    }

    /// Puts originals that could not be done back into the inbox, all of them or the one of this name, a job with the file that it describes.
    /// Returns how many files.
    ///
    /// # Errors
    ///
    /// A file cannot be moved.
    pub fn retry(&self, name: Option<&str>) -> Result<u64> {
        let dead = self.dead()?;
        let described = |item: &Path| Some(names::described(item)?.file);
        let told: BTreeSet<PathBuf> = dead.iter().filter_map(|item| described(item)).collect();
        let mut count = 0;
        for item in &dead {
            let wanted = match name {
                Some(name) => name == item.to_string_lossy(),
                // It has its turn with the job that is about it.
                None => !told.contains(item),
            };
            if wanted {
                count += self.put_back(item, described(item))?;
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
                count += u64::from(!is_reason(&path));
            }
        }
        Ok(count)
    }
}

/// Where it is told why the original at this path, in `failed/`, could not be done.
pub(in crate::jobs) fn with_reason(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let mut reason = match name.len() <= LONGEST_NAME - REASON.len() {
        true => name.to_owned(),
        false => sha256(name.as_encoded_bytes()).to_string().into(),
    };
    reason.push(REASON);
    path.with_file_name(reason)
}

/// What is told of the original at this path, in `failed/`; nothing if nothing is.
pub(in crate::jobs) fn reason_at(path: &Path) -> String {
    let reason = read_at_most(&with_reason(path), MAX_PROGRESS_BYTES);
    let reason = reason.ok().and_then(|text| {
        let told: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(told.get("reason")?.as_str()?.to_owned())
    });
    reason.unwrap_or_default()
}

fn is_reason(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().ends_with(REASON.as_bytes())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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

    #[test]
    fn a_name_that_is_no_text_is_tried_again_too() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(folder.path(), Duration::ZERO).expect("made");
        let name = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9.png"));
        for name in [name, Path::new("z.png")] {
            let path = inbox.root().join(FAILED).join(name);
            std::fs::write(path, "x").expect("written");
        }
        assert_eq!(inbox.retry(None).expect("moved"), 2);
        assert!(inbox.root().join(name).exists());
    }
}
