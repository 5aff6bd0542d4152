//! Files written under another name until they are whole and on the disk, and what is left of those whose writer died.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{open_plain, rename_to_free, sync_folder};
use crate::digest::sha256;

/// Bytes of a name that room is left behind: names have at most 255.
const LONG_NAME: usize = 200;

/// A file that is whole and on the disk, under another name than it is to have; removed if it does not get that.
#[derive(Debug)]
pub(crate) struct Part {
    /// Locked, so that others know that we live.
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Part {
    /// Writes `bytes` to what is to be `path`.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written to, or the disk is full.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<Self> {
        let folder = path.parent().context("a file has a folder")?;
        let writing = || writing(path);
        std::fs::create_dir_all(folder).with_context(writing)?;
        let temporary = part_of(path)?;
        let mut part = Self {
            file: part(&temporary).with_context(writing)?,
            temporary,
            path: path.to_owned(),
        };
        let written = part.file.write_all(bytes);
        let written = written.and_then(|()| part.file.sync_all());
        written.with_context(writing).map(|()| part)
    }

    /// Gives it its name, which then lasts. What was there before is gone.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to, or something else than a file is there.
    pub(crate) fn replace(self) -> Result<()> {
        let named = std::fs::rename(&self.temporary, &self.path);
        let named = named.and_then(|()| self.sync_folder());
        named.with_context(|| writing(&self.path))
    }

    /// Gives it its name unless there is something of that name: whether it has it now.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to.
    pub(crate) fn place(self) -> Result<bool> {
        let placed = rename_to_free(&self.temporary, &self.path);
        let placed = placed.and_then(|placed| self.sync_folder().map(|()| placed));
        placed.with_context(|| writing(&self.path))
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        self.path.parent().map_or(Ok(()), sync_folder)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Mostly it has another name by now.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn writing(path: &Path) -> String {
    format!("writing {}", path.display())
}

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, and so does who looks after a crash: it is on the disk when
/// this returns.
///
/// # Errors
///
/// As [`Part::write`] and [`Part::replace`].
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> Result<()> {
    Part::write(path, bytes)?.replace()
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

/// What [`write_durable`] writes to before `path` has its name: another file each time, since several may write one path at once.
fn part_of(path: &Path) -> Result<PathBuf> {
    let number = random();
    let mut name = begin_of_parts(path)?;
    name.push(format!("{}.{number}.part", std::process::id()));
    Ok(path.with_file_name(name))
}

/// What tells processes apart that have the same number, as the first ones of containers have: by the keys of the standard library's hash
/// tables.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn begin_of_parts(path: &Path) -> Result<OsString> {
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
/// The folder cannot be listed.
pub(crate) fn remove_parts(path: &Path, process: u32) -> Result<()> {
    let process = process.to_string();
    remove(path, Duration::ZERO, |of| of == process.as_bytes())
}

/// Removes what anybody had begun to write to `path`, `age` ago or longer, and does not hold any more.
///
/// # Errors
///
/// The folder cannot be listed.
pub(crate) fn remove_stale_parts(path: &Path, age: Duration) -> Result<()> {
    remove(path, age, |_| true)
}

/// Removes parts of `path` that are as old and that nobody holds, of the processes that are `wanted`.
fn remove(path: &Path, age: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<()> {
    let begin = begin_of_parts(path)?;
    let folder = path.parent().context("a file has a folder")?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = process_of(name.as_encoded_bytes(), begin.as_encoded_bytes());
        if process.is_some_and(&wanted) {
            // One that cannot be removed is no reason to leave the others.
            let _ = remove_unheld(&entry.path(), age);
        }
    }
    Ok(())
}

/// Removes a part that was written to `age` ago or longer, and whose lock can be had, so that it is known that nobody has it. A link or a pipe
/// of such a name is none.
fn remove_unheld(path: &Path, age: Duration) -> Result<()> {
    // NFS gives such a lock only to who may write.
    let file = open_plain(path, File::options().read(true).write(true))?;
    let written = file.metadata()?.modified()?;
    // A clock that is behind that of the file's machine makes it young.
    let old = age.is_zero() || written.elapsed().is_ok_and(|passed| passed >= age);
    if old && file.try_lock().is_ok() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The process in `name`, if that is `begin`, a process, a dot, a number and `.part`.
fn process_of<'n>(name: &'n [u8], begin: &[u8]) -> Option<&'n [u8]> {
    let numbers = name.strip_prefix(begin)?.strip_suffix(b".part")?;
    let mut numbers = numbers.split(|&byte| byte == b'.');
    let is_number = |digits: &&[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let process = numbers.next().filter(is_number)?;
    numbers.next().filter(is_number)?;
    numbers.next().is_none().then_some(process)
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
        // What is called so and is no part, or leads to something else.
        std::fs::write(folder.path().join(".a.txt.7.x.part"), "x").expect("written");
        std::os::unix::fs::symlink("a.txt", folder.path().join(".a.txt.7.3.part")).expect("linked");
        // Of a living process in another container.
        let held = part(&folder.path().join(".a.txt.7.13.part")).expect("made");
        remove_parts(&path, 7).expect("removed");
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 6, "others', ours, one that is held and the file");
        drop(held);
        remove_parts(&path, 7).expect("removed");
        let left = std::fs::read_dir(folder.path()).expect("there").count();
        assert_eq!(left, 5, "nobody holds it any more");
        assert!(path.exists() && ours.exists());
        assert!(part(&ours).is_err(), "nobody writes to another's");
    }

    #[test]
    fn a_part_gets_its_name_or_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("inner/a.txt");
        let names = || std::fs::read_dir(folder.path().join("inner")).map_or(0, Iterator::count);
        drop(Part::write(&path, b"dropped").expect("written"));
        assert_eq!(names(), 0);
        let (first, second) = (Part::write(&path, b"first"), Part::write(&path, b"second"));
        assert_eq!(names(), 2);
        assert!(first.expect("written").place().expect("there is room"));
        assert!(!second.expect("written").place().expect("it was looked"));
        assert_eq!(std::fs::read(&path).expect("there"), b"first");
        let third = Part::write(&path, b"third").expect("written");
        third.replace().expect("a file is replaced");
        assert_eq!(std::fs::read(&path).expect("there"), b"third");
        assert_eq!(names(), 1);
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
