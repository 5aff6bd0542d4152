//! Names of an archive's entries: which are pictures, and in which order.

use std::cmp::Ordering;

use crate::{Error, Kind};

/// Longest name in bytes. Names are compared many times; file systems end a name at 255, most archivers a path here.
const MAX_NAME_BYTES: usize = 1024;

/// Extensions of the picture formats that are read.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Checks the length of an entry's name.
pub(crate) fn check(name: &str, kind: Kind) -> Result<(), Error> {
    if name.len() > MAX_NAME_BYTES {
        let length = name.len();
        return Err(Error::unsupported(
            kind,
            format!("a name of {length} bytes, limit is {MAX_NAME_BYTES}"),
        ));
    }
    Ok(())
}

/// What a file's name says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// A picture's extension.
    Picture,
    /// No extension.
    Bare,
    /// Another extension, a folder, or hidden.
    Other,
}

/// Whether an entry may be a frame: a file with a picture's extension or none at all, which is not hidden and not in macOS's
/// `__MACOSX` folder.
pub(crate) fn may_be_frame(name: &str) -> bool {
    named(name) != Named::Other
}

/// Of an archive's entries leaves the frames, in the natural order of their names. Files without an extension are frames where no
/// file has a picture's, so that a `LICENSE` beside pictures is none.
pub(crate) fn keep_frames<T>(entries: &mut Vec<T>, name: impl Fn(&T) -> &str) {
    let of = |entry: &T| named(name(entry));
    let wanted = match entries.iter().any(|entry| of(entry) == Named::Picture) {
        true => Named::Picture,
        false => Named::Bare,
    };
    entries.retain(|entry| of(entry) == wanted);
    entries.sort_by(|a, b| compare(name(a), name(b)));
}

fn named(name: &str) -> Named {
    let mut parts = name.split(['/', '\\']).filter(|part| *part != ".");
    if name.ends_with(['/', '\\']) || parts.any(|part| part.starts_with('.') || part == "__MACOSX")
    {
        return Named::Other;
    }
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((_, extension)) => {
            let mut known = EXTENSIONS.iter();
            match known.any(|known| known.eq_ignore_ascii_case(extension)) {
                true => Named::Picture,
                false => Named::Other,
            }
        }
        None if file.is_empty() => Named::Other,
        None => Named::Bare,
    }
}

/// Natural order: runs of digits compare by their value, so `frame2` comes before `frame10`; the rest byte by byte.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(&x), Some(&y)) = (left.first(), right.first()) else {
            // The shorter first; equal values with another number of zeros by their bytes.
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            value(&mut left, &mut right)
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(&y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Compares two runs of digits and passes them.
fn value(left: &mut &[u8], right: &mut &[u8]) -> Ordering {
    let (x, y) = (number(left), number(right));
    x.len().cmp(&y.len()).then_with(|| x.cmp(y))
}

/// Passes a run of digits: those without the zeros before them.
fn number<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let end = bytes.iter().position(|b| !b.is_ascii_digit());
    let (digits, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    *bytes = rest;
    let zeros = digits.iter().take_while(|&&b| b == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = vec![
            "b/1.png",
            "frame10.png",
            "frame2.png",
            "frame02.png",
            "frame1.png",
            "frame.png",
            "a/9.png",
            "a/10.png",
            "",
        ];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(
            names,
            [
                "",
                "a/9.png",
                "a/10.png",
                "b/1.png",
                "frame.png",
                "frame1.png",
                "frame02.png",
                "frame2.png",
                "frame10.png",
            ]
        );
    }

    #[test]
    fn long_names_are_refused() {
        let name = "a".repeat(1024);
        assert!(check(&name, Kind::Zip).is_ok());
        let error = check(&(name + "b"), Kind::Zip).expect_err("too long");
        let message = error.to_string();
        assert!(
            message.contains("a name of 1025 bytes, limit is 1024"),
            "{message}"
        );
    }

    #[test]
    fn a_licence_beside_pictures_is_no_frame() {
        let cases: [(&[&str], &[&str]); 3] = [
            (
                &["LICENSE", "b10.png", "b9.JPG", "notes.txt"],
                &["b9.JPG", "b10.png"],
            ),
            (
                &["frame2", "frame10", "frame1"],
                &["frame1", "frame2", "frame10"],
            ),
            (&["notes.txt"], &[]),
        ];
        for (names, expected) in cases {
            let mut names = names.to_vec();
            keep_frames(&mut names, |name| name);
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn what_is_no_frame_is_passed_over() {
        for name in [
            "a.png",
            "dir/a.JPG",
            "./a.webp",
            "frame_0001",
            "a.b/frame.tiff",
        ] {
            assert!(may_be_frame(name), "{name}");
        }
        for name in [
            "",
            "dir/",
            "__MACOSX/._a.png",
            ".hidden.png",
            "dir/.DS_Store",
            "notes.txt",
            "clip.mp4",
            "x/.git/a.png",
            "Thumbs.db",
        ] {
            assert!(!may_be_frame(name), "{name}");
        }
    }
}
