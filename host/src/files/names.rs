//! Names of files: longer by an extension or a number, as long as names may be.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of a file's name, of all file systems that matter here.
pub(crate) const LONGEST_NAME: usize = 255;

/// `path` with `end` behind its name.
pub(crate) fn extended(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// `path`, or that with the first number for which there is nothing there.
pub(crate) fn free(path: &Path) -> PathBuf {
    numbered(path, free_number([path]))
}

/// The first number for which there is nothing at any of `paths`; 0 for the paths as they are.
pub(crate) fn free_number<'p>(paths: impl IntoIterator<Item = &'p Path> + Clone) -> u32 {
    let is_free = |number: &u32| {
        let mut paths = paths.clone().into_iter();
        paths.all(|path| std::fs::symlink_metadata(numbered(path, *number)).is_err())
    };
    (0..u32::MAX).find(is_free).unwrap_or(0)
}

/// `page.png`, `page.1.png`, `page.2.png`. Of a name that would become too long the number stands behind less of it.
pub(crate) fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let end = |extension: &OsStr| {
        let mut end = OsString::from(format!(".{number}"));
        end.push(if extension.is_empty() { "" } else { "." });
        end.push(extension);
        end
    };
    let mut stem = path.file_stem().unwrap_or_default();
    let mut end_of_name = end(path.extension().unwrap_or_default());
    if end_of_name.len() >= LONGEST_NAME {
        stem = path.file_name().unwrap_or_default();
        end_of_name = end(OsStr::new(""));
    }
    let mut name = begin_of(stem, LONGEST_NAME - end_of_name.len()).to_owned();
    name.push(end_of_name);
    path.with_file_name(name)
}

/// The first bytes of `name`, at most so many; no character is cut.
fn begin_of(name: &OsStr, most: usize) -> &OsStr {
    let bytes = name.as_bytes();
    let goes_on = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let most = most.min(bytes.len());
    let end = (0..=most).rev().find(|at| !goes_on(at)).unwrap_or(most);
    OsStr::from_bytes(&bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn together_they_have_one_number() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let (job, page) = (path("a.png.job.json"), path("a.png"));
        let number = || free_number([job.as_path(), page.as_path()]);
        assert_eq!(number(), 0);
        for (taken, expected) in [("a.png", 1), ("a.png.job.1.json", 2), ("a.3.png", 2)] {
            std::fs::write(path(taken), "x").expect("written");
            assert_eq!(number(), expected, "{taken}");
        }
    }

    #[test]
    fn a_long_name_has_room_for_a_number() {
        let long = |name: &str, count: usize| name.repeat(count);
        for (name, expected) in [
            ("a.png".to_owned(), "a.12.png".to_owned()),
            ("a".to_owned(), "a.12".to_owned()),
            (long("x", 251) + ".png", long("x", 248) + ".12.png"),
            // Characters of two bytes, of which one would be cut.
            (long("é", 125) + ".tiff", long("é", 123) + ".12.tiff"),
            (long("x", 255), long("x", 252) + ".12"),
            (
                "a.".to_owned() + &long("x", 253),
                "a.".to_owned() + &long("x", 250) + ".12",
            ),
        ] {
            let path = numbered(&Path::new("b").join(&name), 12);
            assert_eq!(path, Path::new("b").join(&expected), "{name}");
        }
    }
}
