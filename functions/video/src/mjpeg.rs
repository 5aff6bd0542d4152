//! JPEG pictures one behind the other -> where each lies.
//!
//! Segments are passed over by their length, and entropy-coded data up to a marker that is no restart, so that neither a preview in a
//! camera's metadata nor what looks like a marker in the data splits a picture.

use std::ops::Range;

use crate::{Error, Kind, Limits};

/// Whether a file that starts with a JPEG picture is a stream of them. A second picture that the first one's metadata tell of, such as
/// a gain map or a preview (CIPA DC-007, "MPF"), does not make it one.
pub(crate) fn is_stream(bytes: &[u8]) -> bool {
    let first = picture(bytes, 0);
    !first.extended && next_start(bytes, first.end).is_some()
}

/// Whether a file starts with a boundary or the lines of a multipart stream, and a picture soon follows.
pub(crate) fn is_multipart(bytes: &[u8]) -> bool {
    const HEAD_BYTES: usize = 1024;
    let head = bytes.starts_with(b"--") || bytes.starts_with(b"\r\n");
    head && next_start(bytes, 0).is_some_and(|at| at < HEAD_BYTES)
}

/// The pictures, each from its first marker to its last; a last one that is cut off ends with the file.
pub(crate) fn split(bytes: &[u8], limits: &Limits) -> Result<Vec<Range<usize>>, Error> {
    let mut pictures = Vec::new();
    let mut start = next_start(bytes, 0);
    while let Some(at) = start {
        let end = picture(bytes, at).end;
        pictures.push(at..end);
        limits.check_frames(pictures.len() as u64)?;
        start = next_start(bytes, end);
    }
    if pictures.is_empty() {
        return Err(Error::corrupt(Kind::Mjpeg, "no picture"));
    }
    Ok(pictures)
}

struct Picture {
    end: usize,
    /// Its metadata say that other pictures follow which belong to it.
    extended: bool,
}

/// Walks the picture that starts at `start`.
fn picture(bytes: &[u8], start: usize) -> Picture {
    let mut extended = false;
    // Behind the marker for the start.
    let mut at = start + 2;
    let end = loop {
        let Some(marker) = next_marker(bytes, &mut at) else {
            break bytes.len();
        };
        match marker {
            0xd9 => break at,
            // A picture that has no end, and the next.
            0xd8 => break at - 2,
            // Temporary and restart markers have no length.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let length = bytes.get(at..at + 2);
        let length = length.map_or(2, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let segment = bytes.get(at + 2..at + length).unwrap_or_default();
        extended |= marker == 0xe2 && segment.starts_with(b"MPF\0");
        at += length.max(2);
    };
    Picture { end, extended }
}

/// The next marker at or behind `at`, which then stands behind it. Stuffed bytes and fill bytes are passed over.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*at..)?;
        *at += rest.iter().position(|&b| b == 0xff)?;
        let rest = &bytes[*at..];
        *at += rest.iter().position(|&b| b != 0xff)?;
        let marker = bytes[*at];
        *at += 1;
        if marker != 0 {
            return Some(marker);
        }
    }
}

/// Where the next picture starts: what stands between two, such as a multipart boundary, is passed over.
fn next_start(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|&at| begins(&bytes[at..]))
}

/// Whether these bytes begin a picture: its first marker, then a segment that may stand there and ends at another marker or with what
/// there is. Else the bytes of a clip behind a photo would now and then be one.
fn begins(bytes: &[u8]) -> bool {
    if !bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return false;
    }
    let fill = bytes[2..].iter().take_while(|&&b| b == 0xff).count();
    let Some(&[marker, high, low]) = bytes.get(2 + fill..2 + fill + 3) else {
        return false;
    };
    // Tables and frame headers, what precedes them, application data and comments (ITU-T T.81, B.1).
    if !matches!(marker, 0xc0..=0xcf | 0xdb..=0xef | 0xfe) {
        return false;
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let next = bytes.get(2 + fill + 1 + length..);
    length >= 2 && next.is_none_or(|next| next.first().is_none_or(|&b| b == 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture with a preview in its metadata, `scan` as data, and an end.
    fn jpeg(marker: u8, body: &[u8], scan: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16 + 2).to_be_bytes();
        let segments = [&[0xff, 0xd8, 0xff, marker], &length[..], body];
        [
            &segments.concat()[..],
            &[0xff, 0xda, 0, 2],
            scan,
            &[0xff, 0xd9],
        ]
        .concat()
    }

    #[test]
    fn pictures_part_where_they_end() {
        let preview = jpeg(0xe0, b"", b"");
        // A stuffed byte, a restart, fill bytes.
        let first = jpeg(0xe1, &preview, &[1, 0xff, 0, 0xd8, 0xff, 0xd0, 0xff, 0xff]);
        let second = jpeg(0xe0, b"x", b"");
        let cut = &second[..second.len() - 2];
        let limits = Limits::default();
        let cases = [
            (first.clone(), vec![(0, first.len())]),
            (
                [&first[..], &second].concat(),
                vec![(0, first.len()), (first.len(), first.len() + second.len())],
            ),
            // Something between, and a last picture that is cut off.
            (
                [&second[..], b"\r\n--next\r\n\r\n", cut].concat(),
                vec![
                    (0, second.len()),
                    (second.len() + 12, second.len() * 2 + 10),
                ],
            ),
            // A first one without an end.
            (
                [cut, &second].concat(),
                vec![(0, cut.len()), (cut.len(), cut.len() + second.len())],
            ),
        ];
        for (bytes, expected) in cases {
            let pictures = split(&bytes, &limits).expect("pictures");
            let places: Vec<(usize, usize)> = pictures.iter().map(|p| (p.start, p.end)).collect();
            assert_eq!(places, expected);
            assert_eq!(is_stream(&bytes), expected.len() > 1);
        }
    }

    #[test]
    fn a_saved_multipart_stream_is_read_from_its_first_picture() {
        let picture = jpeg(0xe0, b"x", b"");
        let limits = Limits::default();
        for (head, expected) in [
            (b"--part\r\n\r\n".to_vec(), true),
            (b"\r\n".to_vec(), true),
            (b"x\r\n".to_vec(), false),
            ([&b"--part\r\n"[..], &[b' '; 1015], b"\r\n"].concat(), false),
        ] {
            let bytes = [&head[..], &picture, b"\r\n--part\r\n\r\n", &picture].concat();
            assert_eq!(is_multipart(&bytes), expected);
            let pictures = split(&bytes, &limits).expect("pictures");
            assert_eq!(pictures[0], head.len()..head.len() + picture.len());
            assert_eq!(pictures.len(), 2);
        }
        assert!(!is_multipart(b"-- a text\r\n"));
    }

    #[test]
    fn what_looks_like_a_picture_behind_a_photo_is_none() {
        let photo = jpeg(0xe0, b"x", b"");
        // No marker that may stand there, a length that none has, no marker behind the segment; and cut off too early to know.
        for trailer in [
            &[0xff, 0xd8, 0xff, 0x01, 0, 4, 0, 0, 0xff][..],
            &[0xff, 0xd8, 0xff, 0xd0, 0, 4, 0, 0, 0xff],
            &[0xff, 0xd8, 0xff, 0xe0, 0, 1, 0xff],
            &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0x12],
            &[0xff, 0xd8, 0xff],
        ] {
            let bytes = [&photo[..], b"ftypmp42", trailer].concat();
            assert!(!is_stream(&bytes), "{trailer:02x?}");
        }
        let bytes = [&photo[..], b"ftypmp42", &photo].concat();
        assert!(is_stream(&bytes));
    }

    #[test]
    fn a_gain_map_is_no_frame() {
        let photo = jpeg(0xe2, b"MPF\0II*\0", b"");
        assert!(!is_stream(&[photo.clone(), photo].concat()));
    }

    #[test]
    fn too_many_are_refused() {
        let limits = Limits {
            max_frames: 3,
            ..Limits::default()
        };
        let bytes = jpeg(0xe0, b"", b"").repeat(4);
        assert!(matches!(
            split(&bytes, &limits),
            Err(Error::TooManyFrames { count: 4, limit: 3 })
        ));
    }
}
