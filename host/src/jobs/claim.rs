//! Who works on an item: at most one worker, and never nobody because one died.
//!
//! A claim is a file, held by a lock that the kernel lets go when its holder dies, and in it who has it and until when. A lock that is free
//! tells that a holder on this machine is dead; of one on another machine, whose locks may not be seen here, its lease must have run out
//! as well. What a claim says of an item (attempts, what was about to be stored) is there for the next holder.

mod record;

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use record::parse;
pub use record::{GivenUp, Identity, PutAway, Record, Storing};

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
        if let Err(error) = claim.begin_lease() {
            // It may be there all the same, and who finds it must not take us for dead. Its lock goes in any case.
            claim.record.expires = 0;
            let _ = claim.write();
            return Err(error).with_context(taking);
        }
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
        // Whether it lasts or not, it is what is there.
        self.written = text;
        self.file.sync_data().context("writing a claim")
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

#[cfg(test)]
mod tests;
