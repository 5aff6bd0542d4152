//! Names of an archive's entries: which are pictures, and in which order.

use std::cmp::Ordering;

/// Extensions of the picture formats that are read.
const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Whether an entry is a frame: a file with a picture's extension or none at all, which is not hidden and not in macOS's
/// `__MACOSX` folder.
pub(crate) fn is_frame(name: &str) -> bool {
    let mut parts = name.split(['/', '\\']).filter(|part| *part != ".");
    if name.ends_with(['/', '\\']) || parts.any(|part| part.starts_with('.') || part == "__MACOSX")
    {
        return false;
    }
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    match file.rsplit_once('.') {
        Some((_, extension)) => EXTENSIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(extension)),
        None => !file.is_empty(),
    }
}

/// Natural order: runs of digits compare by their value, so `frame2` comes before `frame10`; the rest byte by byte.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
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
    let run = |bytes: &mut &[u8]| -> Vec<u8> {
        let end = bytes.iter().position(|b| !b.is_ascii_digit());
        let (digits, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        *bytes = rest;
        let zeros = digits.iter().take_while(|&&b| b == b'0').count();
        digits[zeros..].to_vec()
    };
    let (x, y) = (run(left), run(right));
    x.len().cmp(&y.len()).then_with(|| x.cmp(&y))
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
    fn what_is_no_frame_is_passed_over() {
        for name in [
            "a.png",
            "dir/a.JPG",
            "./a.webp",
            "frame_0001",
            "a.b/frame.tiff",
        ] {
            assert!(is_frame(name), "{name}");
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
            assert!(!is_frame(name), "{name}");
        }
    }
}
