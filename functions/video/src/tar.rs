//! A TAR archive -> where its pictures lie. They are not packed, so a frame is read in place.

use std::io::Cursor;
use std::ops::Range;

use crate::{Error, Kind, Limits, names};

/// The frames, in the natural order of their names.
pub(crate) fn frames(bytes: &[u8], limits: &Limits) -> Result<Vec<Range<usize>>, Error> {
    let fail = |e: std::io::Error| Error::corrupt(Kind::Tar, e.to_string());
    let mut archive = ::tar::Archive::new(Cursor::new(bytes));
    let mut frames: Vec<(String, Range<usize>)> = Vec::new();
    for (count, entry) in archive.entries().map_err(fail)?.enumerate() {
        limits.check_frames(count as u64 + 1)?;
        let entry = entry.map_err(fail)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        names::check(&name, Kind::Tar)?;
        if !entry.header().entry_type().is_file() || !names::may_be_frame(&name) {
            continue;
        }
        let start = entry.raw_file_position();
        let end = start.checked_add(entry.size());
        let end = end.filter(|&end| end <= bytes.len() as u64);
        let end = end.ok_or_else(|| Error::corrupt(Kind::Tar, "archive ends inside a file"))?;
        frames.push((name, start as usize..end as usize));
    }
    names::keep_frames(&mut frames, |(name, _)| name);
    if frames.is_empty() {
        return Err(Error::Empty("the tar archive holds no pictures"));
    }
    Ok(frames.into_iter().map(|(_, range)| range).collect())
}
