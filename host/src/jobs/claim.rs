//! Who works on an item: at most one worker, and never nobody because one died.
//!
//! A claim is a file, held by a lock that the kernel lets go when its holder dies, and in it who has it and until when. A lock that is free
//! tells that a holder on this machine is dead; of one on another machine, whose locks may not be seen here, its lease must have run out
//! as well. What a claim says of an item (attempts, what was about to be stored) is there for the next holder.

use std::fs::{File, Metadata, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What stands in a claim's file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is about. A claim of another item of the same name says nothing of this one.
    pub item: Option<Identity>,
    /// The machine of the holder, by its boot.
    pub machine: String,
    /// The holder, on that machine.
    #[serde(default)]
    pub process: u32,
    /// Until when it is the holder's even if its lock cannot be seen, in seconds since 1970 UTC.
    pub expires: u64,
    /// How long it holds without being renewed, in seconds.
    #[serde(default)]
    pub lease_s: u64,
    /// How often the item failed in a way that may pass; once it is stored or given up, how often telling of it failed.
    pub failures: u32,
    /// How often a holder died with it.
    pub deaths: u32,
    /// Not before this is it tried again, in seconds since 1970 UTC.
    pub not_before: u64,
    /// Its path below the inbox.
    #[serde(default, with = "any_path")]
    pub below: PathBuf,
    /// Which content the file had that the item describes, if it describes one.
    #[serde(default)]
    pub described: Option<Identity>,
    /// What is about to be stored, once it is known.
    pub storing: Option<Storing>,
    /// That it is given up, once it is.
    #[serde(default)]
    pub given_up: Option<GivenUp>,
    /// Why it failed last.
    pub reason: Option<String>,
}

/// A result that was about to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storing {
    /// Where, relative to the folder of results.
    #[serde(with = "any_path")]
    pub target: PathBuf,
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Their type, as the function said.
    #[serde(default)]
    pub media_type: String,
    /// How often it was tried, the last time included.
    #[serde(default)]
    pub attempts: u32,
}

/// A path as text, or as its bytes where it is none.
mod any_path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum AnyPath {
        Text(PathBuf),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => text.serialize(to),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match AnyPath::deserialize(from)? {
            AnyPath::Text(path) => path,
            AnyPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}

/// The end of an item that has no result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Why.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Which file it is, and which content: a file that is replaced or written to becomes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    bytes: u64,
    modified_ns: i128,
}

impl Identity {
    /// By what the file system says of it.
    pub fn of(metadata: &Metadata) -> Self {
        let seconds = i128::from(metadata.mtime()) * 1_000_000_000;
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: seconds + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// The right to work on an item, until dropped.
#[derive(Debug)]
pub struct Claim {
    file: File,
    path: PathBuf,
    lease: Duration,
    /// What we wrote last.
    written: Vec<u8>,
    /// Who died with it before us, if somebody did.
    pub dead: Option<u32>,
    /// What is known of the item.
    pub record: Record,
}

/// Seconds since 1970 UTC.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// This boot of this machine.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map_or_else(|_| "unknown".to_owned(), |boot| boot.trim().to_owned())
}

impl Claim {
    /// Takes the claim at `path` on `item`, which is `below` the inbox; `None` while somebody else has it.
    ///
    /// # Errors
    ///
    /// The file cannot be made, locked, read or written.
    pub fn take(
        path: &Path,
        below: &Path,
        item: Identity,
        lease: Duration,
    ) -> Result<Option<Self>> {
        let taking = || format!("claiming by {}", path.display());
        let file = open(path).with_context(taking)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).with_context(taking),
        }
        let mut claim = Self {
            file,
            path: path.to_owned(),
            lease,
            written: Vec::new(),
            dead: None,
            record: Record::default(),
        };
        // Who had it may have finished and removed the file between our opening and our locking.
        if !claim.is_current() {
            return Ok(None);
        }
        let text = claim.read().with_context(taking)?;
        let machine = machine();
        if let Some(record) = parse(&text) {
            if record.machine != machine && claim.holds(&record).with_context(taking)? {
                return Ok(None);
            }
            if record.item == Some(item) {
                claim.record = record;
            }
        }
        // Expired: it was let go in good order.
        if claim.record.expires > 0 {
            claim.record.deaths += 1;
            claim.dead = Some(claim.record.process);
        }
        claim.record.item = Some(item);
        claim.record.below = below.to_owned();
        claim.record.machine = machine;
        claim.record.process = std::process::id();
        claim.begin_lease().with_context(taking)?;
        Ok(Some(claim))
    }

    /// Whether the lease of a holder on another machine has not run out.
    fn holds(&self, record: &Record) -> std::io::Result<bool> {
        // Its clock may be days ahead; that of the file system says when it wrote last. Of either the earlier end counts.
        let written = self.file.metadata()?.mtime();
        let written = u64::try_from(written).unwrap_or(0);
        let lease_s = match record.lease_s {
            0 => self.lease.as_secs(),
            lease_s => lease_s,
        };
        let now = now();
        Ok(record.expires > now && written.saturating_add(lease_s) >= now)
    }

    /// Whether the file that is locked is still the one at its path.
    fn is_current(&self) -> bool {
        let ours = self.file.metadata().map(|m| (m.dev(), m.ino()));
        let there = std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
        matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
    }

    /// Begins the lease anew, with what the record says now.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or the claim is no longer ours: its file is gone, or somebody took it over when the lease had run out.
    pub fn renew(&mut self) -> Result<()> {
        self.check()?;
        self.begin_lease()
    }

    /// That it is still ours, and not by a lease that has run out.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn check(&mut self) -> Result<()> {
        ensure!(self.is_current(), "the claim is lost: its file is gone");
        let there = self.read().context("reading a claim")?;
        ensure!(
            there == self.written,
            "the claim is lost: another worker has it"
        );
        Ok(())
    }

    /// Keeps it, but as if it were put back: who dies while it waits for its turn did not die of it.
    ///
    /// # Errors
    ///
    /// As [`Claim::renew`].
    pub fn rest(&mut self) -> Result<()> {
        self.check()?;
        self.record.expires = 0;
        self.write()
    }

    fn begin_lease(&mut self) -> Result<()> {
        self.record.lease_s = self.lease.as_secs().max(1);
        self.record.expires = now() + self.record.lease_s;
        self.write()
    }

    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut text)?;
        Ok(text)
    }

    fn write(&mut self) -> Result<()> {
        // A line, so that what is left behind it of a longer one says nothing if we die before it is cut off.
        let mut text = serde_json::to_vec(&self.record)?;
        text.push(b'\n');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&text)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_data().context("writing a claim")?;
        self.written = text;
        Ok(())
    }

    /// Lets go of an item that stays: it is to be tried again after `pause`, and its record is kept.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or the claim is no longer ours.
    pub fn put_back(mut self, pause: Duration) -> Result<()> {
        self.record.not_before = now() + pause.as_secs();
        self.rest()
    }

    /// Removes the claim in the file `path` if nobody has it and its item is gone from the inbox `root`: its holder died when it was done.
    ///
    /// # Errors
    ///
    /// The file cannot be locked, read or removed.
    pub fn remove_if_left(path: &Path, root: &Path) -> Result<()> {
        let mut file = File::options().read(true).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let left = match parse(&text) {
            Some(record) => {
                let there = std::fs::symlink_metadata(root.join(&record.below));
                there.is_err() && record.machine == machine()
            }
            // It died before it had written anything.
            None => true,
        };
        if left {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Lets go of an item that is done.
    ///
    /// # Errors
    ///
    /// The file cannot be removed, or the claim is no longer ours.
    pub fn finish(mut self) -> Result<()> {
        self.check()?;
        // Removed while it is locked: who opens it now finds that it is not the one at its path.
        std::fs::remove_file(&self.path).context("removing a claim")
    }
}

/// The file of a claim, made if it is not there. Its folder may have been removed by somebody who did not know it.
fn open(path: &Path) -> std::io::Result<File> {
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
    };
    match (open(), path.parent()) {
        (Err(error), Some(folder)) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// What a claim's file says: its first line. One that was cut short by a crash says nothing; its holder is dead.
fn parse(text: &[u8]) -> Option<Record> {
    let line = text.split(|&byte| byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    fn item(inode: u64) -> Identity {
        Identity {
            inode,
            bytes: 2,
            modified_ns: 3,
        }
    }

    #[test]
    fn one_has_it_and_the_next_knows_what_happened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let take = || {
            Claim::take(&path, Path::new("b"), item(1), LEASE)
                .expect("a folder that can be written to")
        };
        let mut first = take().expect("nobody has it");
        assert!(take().is_none(), "somebody has it");
        first.record.reason = Some("because".to_owned());
        first.renew().expect("written");
        // As if it had died: the kernel lets go, and nobody puts anything back.
        drop(first);
        let mut second = take().expect("its holder is dead");
        assert_eq!(second.record.deaths, 1);
        assert_eq!(second.record.reason.as_deref(), Some("because"));
        second.record.failures = 1;
        second.put_back(Duration::from_secs(100)).expect("written");
        let third = take().expect("it was put back");
        assert_eq!((third.record.deaths, third.record.failures), (1, 1));
        assert!(third.record.not_before > now() + 90);
        third.finish().expect("removed");
        assert!(!path.exists());
        assert_eq!(take().expect("as new").record.deaths, 0);
    }

    #[test]
    fn names_need_not_be_text() {
        use std::os::unix::ffi::OsStringExt;
        for name in [b"caf\xc3\xa9".to_vec(), b"caf\xe9".to_vec()] {
            let record = Record {
                below: std::ffi::OsString::from_vec(name).into(),
                ..Record::default()
            };
            let text = serde_json::to_vec(&record).expect("JSON");
            assert_eq!(
                serde_json::from_slice::<Record>(&text).expect("ours"),
                record
            );
        }
    }

    #[test]
    fn another_machines_lease_holds_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        for (expires, taken) in [(now() + 60, false), (now() - 1, true)] {
            let record = Record {
                item: Some(item(1)),
                machine: "another".to_owned(),
                expires,
                ..Record::default()
            };
            std::fs::write(&path, serde_json::to_vec(&record).expect("JSON")).expect("written");
            let claim = Claim::take(&path, Path::new("b"), item(1), LEASE).expect("readable");
            assert_eq!(claim.is_some(), taken, "{expires}");
        }
        std::fs::write(&path, "{\"machi").expect("written");
        assert!(
            Claim::take(&path, Path::new("b"), item(1), LEASE)
                .expect("readable")
                .is_some(),
            "cut short"
        );
    }

    #[test]
    fn a_clock_that_is_days_ahead_holds_nothing_for_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let record = Record {
            machine: "another".to_owned(),
            expires: now() + 1_000_000,
            lease_s: 60,
            ..Record::default()
        };
        for (written_s_ago, taken) in [(0, false), (30, false), (100, true)] {
            std::fs::write(&path, serde_json::to_vec(&record).expect("JSON")).expect("written");
            let file = File::options().write(true).open(&path).expect("there");
            let when = SystemTime::now() - Duration::from_secs(written_s_ago);
            file.set_modified(when).expect("it is ours");
            let claim = Claim::take(&path, Path::new("b"), item(1), LEASE).expect("readable");
            assert_eq!(claim.is_some(), taken, "{written_s_ago}");
        }
    }

    #[test]
    fn what_is_lost_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("claims/a");
        let take =
            || Claim::take(&path, Path::new("b"), item(1), LEASE).expect("its folder is made");
        let said = |result: Result<()>| result.expect_err("it is lost").to_string();
        let mut first = take().expect("nobody has it");
        std::fs::remove_dir_all(folder.path().join("claims")).expect("removed");
        let mut second = take().expect("nothing says that somebody has it");
        assert!(said(first.renew()).contains("its file is gone"));
        assert!(said(first.put_back(Duration::ZERO)).contains("its file is gone"));
        second.renew().expect("it is ours");

        let other = Record {
            machine: "another".to_owned(),
            ..second.record.clone()
        };
        std::fs::write(&path, serde_json::to_vec(&other).expect("JSON")).expect("written");
        assert!(said(second.renew()).contains("another worker has it"));
        assert!(said(second.finish()).contains("another worker has it"));
        assert!(path.exists());
    }

    #[test]
    fn what_is_left_behind_a_shorter_line_says_nothing() {
        let record = Record {
            deaths: 3,
            ..Record::default()
        };
        let mut text = serde_json::to_vec(&record).expect("JSON");
        text.extend_from_slice(b"\n,\"deaths\":5}\n");
        assert_eq!(parse(&text), Some(record));
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn another_file_of_the_same_name_starts_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        for (inode, failures) in [(1, 0), (1, 1), (2, 0)] {
            let claim = Claim::take(&path, Path::new("b"), item(inode), LEASE).expect("readable");
            let mut claim = claim.expect("nobody has it");
            assert_eq!(claim.record.failures, failures, "{inode}");
            claim.record.failures += 1;
            claim.put_back(Duration::ZERO).expect("written");
        }
    }

    #[test]
    fn many_at_once_take_it_one_after_the_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let holders = std::sync::atomic::AtomicU32::new(0);
        let taken = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    use std::sync::atomic::Ordering::SeqCst;
                    for _ in 0..200 {
                        let Some(claim) =
                            Claim::take(&path, Path::new("b"), item(1), LEASE).expect("readable")
                        else {
                            continue;
                        };
                        assert_eq!(holders.fetch_add(1, SeqCst), 0, "alone");
                        taken.fetch_add(1, SeqCst);
                        holders.fetch_sub(1, SeqCst);
                        claim.finish().expect("removed");
                    }
                });
            }
        });
        assert!(taken.into_inner() > 0);
    }
}
