//! Files written under another name until they are whole and on the disk, and what is left of those whose writer died.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::sync_folder;
use crate::digest::sha256;

/// Bytes of a name that room is left behind: names have at most 255.
const LONG_NAME: usize = 200;

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, and so does who looks after a crash: it is on the disk when
/// this returns.
///
/// # Errors
///
/// The folder cannot be made or written to, or the disk is full.
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    let writing = || format!("writing {}", path.display());
    std::fs::create_dir_all(folder).with_context(writing)?;
    let temporary = part_of(path)?;
    let written = part(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            // Its lock goes when it has its name.
            std::fs::rename(&temporary, path)
        })
        .and_then(|()| sync_folder(folder));
    written
        .inspect_err(|_| {
            // The first error is the one to report.
            let _ = std::fs::remove_file(&temporary);
        })
        .with_context(writing)
}

/// Whether `bytes` bytes could be written to `path`: they are, to another file, which is removed.
///
/// # Errors
///
/// They could not.
pub(crate) fn try_durable(path: &Path, bytes: usize) -> Result<()> {
    let trying = || format!("trying to write {}", path.display());
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(trying)?;
    let temporary = part_of(path)?;
    let written = part(&temporary).and_then(|mut file| {
        std::io::copy(&mut Noise::default().take(bytes as u64), &mut file)?;
        file.sync_all()
    });
    // What could not be written is the error to report.
    let removed = std::fs::remove_file(&temporary);
    written.and(removed).with_context(trying)
}

/// Bytes that no file system makes smaller (xorshift64, Marsaglia 2003).
struct Noise(u64);

impl Default for Noise {
    fn default() -> Self {
        // Any seed but zero.
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for piece in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
        }
        Ok(buffer.len())
    }
}

/// A file that is written to by us alone, and locked so that others know that we live.
fn part(path: &Path) -> std::io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    // Where there are no locks, nobody removes it.
    let _ = file.try_lock();
    Ok(file)
}

/// What [`write_durable`] writes to before `path` has its name: another file each time, since several may write one path at once. The first
/// process of each container has the same number, so that the other one is random (by the keys of the standard library's hash tables).
fn part_of(path: &Path) -> Result<PathBuf> {
    let number = RandomState::new().build_hasher().finish();
    let mut name = begin_of_parts(path, std::process::id())?;
    name.push(format!("{number}.part"));
    Ok(path.with_file_name(name))
}

fn begin_of_parts(path: &Path, process: u32) -> Result<OsString> {
    let mut begin = begin_of_all_parts(path)?;
    begin.push(format!("{process}."));
    Ok(begin)
}

fn begin_of_all_parts(path: &Path) -> Result<OsString> {
    let name = path.file_name().context("a file has a name")?;
    let mut begin = OsString::from(".");
    match name.len() <= LONG_NAME {
        true => begin.push(name),
        // With what is added it would be longer than names may be.
        false => begin.push(sha256(name.as_encoded_bytes()).to_string()),
    }
    begin.push(".");
    Ok(begin)
}

/// Removes what a process that died had begun to write to `path`, and nobody holds: another may have its number.
///
/// # Errors
///
/// The folder cannot be listed, or a file not be removed.
pub(crate) fn remove_parts(path: &Path, process: u32) -> Result<()> {
    let begin = begin_of_parts(path, process)?;
    let folder = path.parent().context("a file has a folder")?;
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(begin.as_encoded_bytes()) && name.ends_with(b".part") {
            let name = std::ffi::OsStr::from_bytes(name);
            remove_unheld(&folder.join(name), Duration::ZERO)?;
        }
    }
    Ok(())
}

/// Removes what anybody had begun to write to `path`, `age` ago or longer, and does not hold any more.
///
/// # Errors
///
/// The folder cannot be listed, or a file not be removed.
pub(crate) fn remove_stale_parts(path: &Path, age: Duration) -> Result<()> {
    let begin = begin_of_all_parts(path)?;
    let folder = path.parent().context("a file has a folder")?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_part(name.as_encoded_bytes(), begin.as_encoded_bytes()) {
            continue;
        }
        remove_unheld(&entry.path(), age)?;
    }
    Ok(())
}

/// Removes a part that was written to `age` ago or longer, and whose lock can be had, so that it is known that nobody has it.
fn remove_unheld(path: &Path, age: Duration) -> Result<()> {
    // NFS gives such a lock only to who may write.
    let file = File::options().read(true).write(true).open(path)?;
    let written = file.metadata()?.modified()?;
    // A clock that is behind that of the file's machine makes it young.
    let old = age.is_zero() || written.elapsed().is_ok_and(|passed| passed >= age);
    if old && file.try_lock().is_ok() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Whether `name` is `begin`, a process, a dot, a number and `.part`.
fn is_part(name: &[u8], begin: &[u8]) -> bool {
    let numbers = name.strip_prefix(begin);
    let numbers = numbers.and_then(|rest| rest.strip_suffix(b".part"));
    let mut numbers = numbers
        .into_iter()
        .flat_map(|n| n.split(|&byte| byte == b'.'));
    let mut number = || {
        let digits = numbers.next().unwrap_or_default();
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    number() && number() && numbers.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn only_parts_of_the_dead_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        let (ours, again) = (part_of(&path), part_of(&path));
        let ours = ours.expect("it has a name");
        assert_ne!(ours, again.expect("it has a name"));
        for name in [
            ".a.txt.7.0.part",
            ".a.txt.7.12.part",
            ".a.txt.77.0.part",
            "a.txt",
        ] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        std::fs::write(&ours, "x").expect("written");
        // Of a living process in another container.
        let held = part(&folder.path().join(".a.txt.7.13.part")).expect("made");
        remove_parts(&path, 7).expect("removed");
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 4, "another's, ours, one that is held and the file");
        drop(held);
        remove_parts(&path, 7).expect("removed");
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 3, "nobody holds it any more");
        assert!(path.exists() && ours.exists());
        assert!(part(&ours).is_err(), "nobody writes to another's");
    }

    #[test]
    fn only_stale_parts_that_nobody_holds_are_removed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        let make = |name: &str, age_s| {
            let file = File::create(folder.path().join(name)).expect("made");
            let when = SystemTime::now() - Duration::from_secs(age_s);
            file.set_modified(when).expect("it is ours");
            file
        };
        for (name, age_s) in [
            (".a.txt.7.0.part", 100),
            (".a.txt.8.1.part", 1),
            (".a.txt.b.7.0.part", 100),
            (".a.txt.7.part", 100),
            (".ab.txt.7.0.part", 100),
            ("a.txt", 100),
        ] {
            drop(make(name, age_s));
        }
        let held = make(".a.txt.9.0.part", 100);
        held.lock().expect("nobody else has it");
        remove_stale_parts(&path, Duration::from_secs(50)).expect("removed");
        let there = |name: &str| folder.path().join(name).exists();
        assert!(!there(".a.txt.7.0.part"), "left by the dead");
        assert!(there(".a.txt.8.1.part"), "young");
        assert!(there(".a.txt.9.0.part"), "somebody writes it");
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 6, "others' names");
    }

    #[test]
    fn what_could_be_written_is_tried_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("inner/a.txt");
        try_durable(&path, 100_001).expect("there is room");
        let inner = std::fs::read_dir(folder.path().join("inner"));
        assert_eq!(inner.expect("it was made").count(), 0);
        std::fs::write(&path, "x").expect("written");
        assert!(try_durable(&path.join("b"), 1).is_err(), "below a file");
    }
}
