//! Files that other processes may read or build at the same time.

mod names;
mod parts;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, openat, openat2, renameat_with};
use rustix::io::Errno;

pub(crate) use names::{LONGEST_NAME, extended, free, free_number, numbered};
pub(crate) use parts::{
    Part, random, remove_parts, remove_stale_parts, try_durable, write_durable,
};

/// Writes `bytes` to `path` so that a reader sees the old file or the new one and nothing between.
///
/// # Errors
///
/// The folder cannot be made or written to.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    let name = path.file_name().context("a file has a name")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    write_through(&folder.join(temporary), path, bytes)
}

/// The same, with a temporary file of the caller's choice on the same file system; it stays if the process dies meanwhile.
///
/// # Errors
///
/// Either cannot be written.
pub(crate) fn write_through(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(temporary, bytes)
        .and_then(|()| std::fs::rename(temporary, path))
        .inspect_err(|_| {
            // The first error is the one to report.
            let _ = std::fs::remove_file(temporary);
        })
        .with_context(|| format!("writing {}", path.display()))
}

/// Whether what a path was used for will not go better the next time: it is no path, too long, or leads through what is no folder.
pub(crate) fn is_unfit(error: &anyhow::Error) -> bool {
    let error = error.root_cause().downcast_ref::<std::io::Error>();
    error.is_some_and(|error| {
        matches!(
            error.kind(),
            ErrorKind::InvalidInput
                | ErrorKind::InvalidFilename
                | ErrorKind::IsADirectory
                | ErrorKind::NotADirectory
        )
    })
}

/// `path` below `folder`, whose folders are made. A link that leads out of `folder` is not followed.
///
/// # Errors
///
/// `InvalidInput`: a path that leads out of `folder`. Any other: its folders cannot be made.
pub(crate) fn below(folder: &Path, path: &Path) -> std::io::Result<PathBuf> {
    step_by_step(folder, path, |parent, part| {
        match std::fs::create_dir(parent.join(part)) {
            Ok(()) => sync_folder(parent),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// The same, where nothing is made.
///
/// # Errors
///
/// `InvalidInput`: a path that leads out of `folder`. Any other: its folders are not there.
pub(crate) fn there_below(folder: &Path, path: &Path) -> std::io::Result<PathBuf> {
    step_by_step(folder, path, |_, _| Ok(()))
}

/// `path` below `folder`; `make` is called for each of its folders, with that around it and its name.
fn step_by_step(
    folder: &Path,
    path: &Path,
    make: impl Fn(&Path, Component<'_>) -> std::io::Result<()>,
) -> std::io::Result<PathBuf> {
    let outside = |says: &str| std::io::Error::new(ErrorKind::InvalidInput, says);
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let name = path
        .file_name()
        .filter(|_| path.components().all(plain))
        .ok_or_else(|| outside("expected a relative path without `..`"))?;
    let root = folder.canonicalize()?;
    let mut parent = root.clone();
    for part in path.parent().into_iter().flat_map(Path::components) {
        make(&parent, part)?;
        parent = parent.join(part).canonicalize()?;
        if !parent.starts_with(&root) {
            return Err(outside("a link on its way leads out of the folder"));
        }
    }
    Ok(parent.join(name))
}

/// Makes names in `folder` last.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Moves a file to `to` unless something is there: whether it is there now.
///
/// # Errors
///
/// It is gone, or its new folder cannot be written to.
fn rename_to_free(from: &Path, to: &Path) -> std::io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // File systems that cannot say it so, such as NFS, have links for it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_to_free(from, to),
        Err(error) => Err(error.into()),
    }
}

/// The same in two steps. Who dies between them leaves both names.
fn link_to_free(from: &Path, to: &Path) -> std::io::Result<bool> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from).map(|()| true),
        // Linked before, by one who died then, or by a call that was sent twice over a network.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_same(from, to) => {
            std::fs::remove_file(from).map(|()| true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        // No links either. Who looks first may lose what comes between, and there is nothing else to be had.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::Unsupported
            ) =>
        {
            match std::fs::symlink_metadata(to) {
                Ok(_) => Ok(false),
                Err(gone) if gone.kind() == ErrorKind::NotFound => {
                    std::fs::rename(from, to).map(|()| true)
                }
                Err(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Whether two names are of one file.
fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path| std::fs::symlink_metadata(path).map(|about| (about.dev(), about.ino()));
    matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
}

/// Moves a file to a path that is free: `to`, or that with a number. Returns where it went.
///
/// # Errors
///
/// It is gone, or its new folder cannot be made or written to.
pub(crate) fn move_aside(from: &Path, to: &Path) -> Result<PathBuf> {
    move_aside_from(from, to, 0)
}

/// The same, with no smaller number than `first`.
///
/// # Errors
///
/// As [`move_aside`].
pub(crate) fn move_aside_from(from: &Path, to: &Path, first: u32) -> Result<PathBuf> {
    let moving = || format!("moving {} to {}", from.display(), to.display());
    let folder = to.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(moving)?;
    for number in first..first.saturating_add(1_000_000) {
        let target = numbered(to, number);
        if rename_to_free(from, &target).with_context(moving)? {
            sync_folder(folder).with_context(moving)?;
            return Ok(target);
        }
    }
    anyhow::bail!("a million files are called {}", to.display())
}

/// Moves a file back to `to`, unless there is one again: then it stays where it is.
///
/// # Errors
///
/// It is gone, or the folder cannot be written to.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    rename_to_free(from, to)
        .map(|_| ())
        .with_context(|| format!("moving {} to {}", from.display(), to.display()))
}

/// The bytes of a file that has at most `limit` of them. Devices and pipes say that they have none, so they are counted on the way.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_open_at_most(&File::open(path)?, limit)
}

/// The same of a file that is open, from where it is.
pub(crate) fn read_open_at_most(file: &File, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() as u64 <= limit,
        "it has over {limit} bytes, which is the limit"
    );
    Ok(bytes)
}

/// Opens a file that is no link, and neither a device nor a pipe, which would be waited for.
///
/// # Errors
///
/// `InvalidInput`: it is no plain file. Any other: it cannot be opened.
pub(crate) fn open_plain(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(std::io::Error::other)?;
    plain(options.custom_flags(flags).open(path)?)
}

/// The same for reading, of `path` below `folder` without a link on its way.
///
/// # Errors
///
/// As [`open_plain`].
pub(crate) fn open_below(folder: &Path, path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let root = openat(CWD, folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(&root, path, flags, Mode::empty(), inside) {
        Ok(file) => plain(file.into()),
        // Kernels and sandboxes that do not know it; what is asked for is below all the same unless somebody puts a link there meanwhile.
        Err(Errno::NOSYS | Errno::PERM) => {
            open_plain(&folder.join(path), File::options().read(true))
        }
        Err(error) => Err(error.into()),
    }
}

fn plain(file: File) -> std::io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "expected a plain file",
        )),
    }
}

/// Holds the right to build into `folder` until dropped, even by the death of the process.
///
/// Calls `waiting` if another process has it now, and waits.
///
/// # Errors
///
/// The folder cannot be made or the lock file not opened.
pub(crate) fn lock(folder: &Path, waiting: impl FnOnce()) -> Result<File> {
    let path: PathBuf = folder.join(".lock");
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("locking {}", path.display()));
        }
    }
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("inner/file");
        write_atomic(&path, b"one").expect("the folder is made");
        write_atomic(&path, b"two").expect("the file is replaced");
        assert_eq!(std::fs::read(&path).expect("it exists"), b"two");
        let inner = std::fs::read_dir(folder.path().join("inner"));
        assert_eq!(inner.expect("it exists").count(), 1);
    }

    #[test]
    fn where_names_cannot_be_given_at_once_links_are_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), name).expect("written");
        }
        assert!(!link_to_free(&path("a"), &path("b")).expect("looked"));
        assert_eq!(std::fs::read(path("b")).expect("there"), b"b");
        assert!(link_to_free(&path("a"), &path("c")).expect("linked"));
        assert_eq!(std::fs::read(path("c")).expect("there"), b"a");
        assert!(!path("a").exists());
        // Linked before, and not removed.
        std::fs::hard_link(path("c"), path("a")).expect("linked");
        assert!(link_to_free(&path("a"), &path("c")).expect("known"));
        assert!(!path("a").exists() && path("c").exists());
    }

    #[test]
    fn nothing_is_moved_over_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for expected in ["done/a.png", "done/a.1.png", "done/a.2.png"] {
            write_durable(&path("a.png"), expected.as_bytes()).expect("written");
            let to = move_aside(&path("a.png"), &path("done/a.png")).expect("moved");
            assert_eq!(to, path(expected));
            assert_eq!(std::fs::read(to).expect("there"), expected.as_bytes());
        }
        assert!(
            move_aside(&path("a.png"), &path("done/a.png")).is_err(),
            "gone"
        );
    }

    #[test]
    fn nothing_leads_out_of_a_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().canonicalize().expect("there");
        std::os::unix::fs::symlink("/tmp", root.join("out")).expect("linked");
        std::os::unix::fs::symlink("inner", root.join("in")).expect("linked");
        std::fs::create_dir(root.join("inner")).expect("made");
        std::fs::write(root.join("file"), "x").expect("written");
        for (path, expected) in [
            ("a/b/c", Ok(root.join("a/b/c"))),
            ("c", Ok(root.join("c"))),
            ("in/c", Ok(root.join("inner/c"))),
            ("out/c", Err(ErrorKind::InvalidInput)),
            ("../c", Err(ErrorKind::InvalidInput)),
            ("/c", Err(ErrorKind::InvalidInput)),
            ("", Err(ErrorKind::InvalidInput)),
            ("file/c", Err(ErrorKind::NotADirectory)),
        ] {
            let found = below(&root, Path::new(path));
            let found = found.map_err(|error| error.kind());
            // What is no folder is found out by whoever writes there.
            match expected {
                Err(ErrorKind::NotADirectory) => assert!(found.is_ok() || found == expected),
                expected => assert_eq!(found, expected, "{path}"),
            }
        }
    }

    #[test]
    fn a_second_builder_waits_for_the_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = lock(folder.path(), || panic!("nobody else has it")).expect("free");
        let (waits, waited) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock(folder.path(), || waits.send(()).expect("heard")));
            waited.recv().expect("the second waits");
            drop(first);
            second.join().expect("no panic").expect("it gets the lock");
        });
    }
}
