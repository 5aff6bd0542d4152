//! A ZIP archive -> its pictures, unpacked one at a time (PKWARE's APPNOTE 6.3).
//!
//! The central directory alone says what there is. Every number is checked against the file and the limits before it is used, no two
//! entries may share bytes, and unpacking stops at the size that was announced: what an archive can make of memory is one entry's
//! limit.

use std::io::Read;
use std::ops::Range;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::{Error, Kind, Limits, names};

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where its packed bytes lie.
    packed: Range<usize>,
    /// Packed by Deflate, else as it is.
    deflated: bool,
    /// Its length unpacked.
    bytes: u64,
    crc: u32,
}

/// The frames, in the natural order of their names.
pub(crate) fn frames(bytes: &[u8], limits: &Limits) -> Result<Vec<Entry>, Error> {
    let directory = Directory::find(bytes)?;
    limits.check_frames(directory.entries)?;
    let mut at = directory.range.start;
    let mut frames: Vec<(Record, Range<usize>)> = Vec::new();
    // All entries, so that a hidden one cannot share bytes with a frame either.
    let mut taken: Vec<Range<usize>> = Vec::new();
    for _ in 0..directory.entries {
        let record = Record::read(bytes, &mut at, directory.range.end)?;
        let packed = record.packed(bytes, directory.range.start)?;
        names::check(&record.name, Kind::Zip)?;
        taken.push(record.local..packed.end);
        if names::may_be_frame(&record.name) {
            frames.push((record, packed));
        }
    }
    taken.sort_by_key(|range| range.start);
    if taken.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err(corrupt("entries share bytes"));
    }
    names::keep_frames(&mut frames, |(record, _)| &record.name);
    if frames.is_empty() {
        return Err(Error::Empty("the zip archive holds no pictures"));
    }
    let entries = frames.into_iter();
    entries
        .map(|(record, packed)| record.entry(packed))
        .collect()
}

impl Entry {
    /// The file, unpacked; its bytes are checked against their sum. `index`: which frame it is.
    pub(crate) fn unpack(
        &self,
        archive: &[u8],
        index: usize,
        limits: &Limits,
    ) -> Result<Vec<u8>, Error> {
        let fail = |reason: &str| Error::CorruptFrame {
            index,
            reason: reason.to_owned(),
        };
        if self.bytes > limits.max_entry_bytes {
            return Err(Error::EntryTooLarge {
                index,
                bytes: self.bytes,
                limit_bytes: limits.max_entry_bytes,
            });
        }
        let packed = &archive[self.packed.clone()];
        let mut file = Vec::with_capacity(self.bytes as usize);
        if self.deflated {
            // A byte more than announced shows that there is more.
            DeflateDecoder::new(packed)
                .take(self.bytes + 1)
                .read_to_end(&mut file)
                .map_err(|_| fail("its packed data are broken"))?;
        } else {
            // Both lengths are the same, or the directory was refused.
            file.extend_from_slice(packed);
        }
        if file.len() as u64 != self.bytes {
            return Err(fail("it does not unpack to its announced length"));
        }
        let mut crc = Crc::new();
        crc.update(&file);
        if crc.sum() != self.crc {
            return Err(fail("its check sum is another"));
        }
        Ok(file)
    }
}

/// What a field says that is too small for its value: the real one is in a ZIP64 record.
const IN_ZIP64: u32 = u32::MAX;

/// Where the central directory lies.
struct Directory {
    entries: u64,
    range: Range<usize>,
}

impl Directory {
    /// Looks for its end from the end of the file, where a comment of up to 65,535 bytes may stand. That comment may look like an end
    /// itself, but not like one whose own comment ends with the file as well.
    fn find(bytes: &[u8]) -> Result<Directory, Error> {
        const END_BYTES: usize = 22;
        let last = bytes
            .len()
            .checked_sub(END_BYTES)
            .ok_or_else(|| corrupt("archive is truncated"))?;
        let first = last.saturating_sub(usize::from(u16::MAX));
        let comment_end = |at: usize| {
            let length = [bytes[at + END_BYTES - 2], bytes[at + END_BYTES - 1]];
            at + END_BYTES + usize::from(u16::from_le_bytes(length))
        };
        let at = (first..=last)
            .rev()
            .find(|&at| bytes[at..].starts_with(b"PK\x05\x06") && comment_end(at) == bytes.len())
            .ok_or_else(|| corrupt("central directory is missing"))?;
        let mut fields = Fields::new(bytes, at + 4);
        let disks = [fields.u16()?, fields.u16()?];
        let entries = [fields.u16()?, fields.u16()?];
        let (length, start) = (fields.u32()?, fields.u32()?);
        if start == IN_ZIP64 || length == IN_ZIP64 || entries[1] == u16::MAX {
            return Directory::find_long(bytes, at);
        }
        if disks != [0, 0] || entries[0] != entries[1] {
            return Err(unsupported("archive in several volumes"));
        }
        Directory::checked(u64::from(entries[1]), start.into(), length.into(), at)
    }

    /// The same from ZIP64's records, which stand before the end at `at`.
    fn find_long(bytes: &[u8], at: usize) -> Result<Directory, Error> {
        const LOCATOR_BYTES: usize = 20;
        let locator = at.checked_sub(LOCATOR_BYTES);
        let locator = locator.filter(|&l| bytes[l..].starts_with(b"PK\x06\x07"));
        let locator = locator.ok_or_else(|| corrupt("zip64 locator is missing"))?;
        let record = Fields::new(bytes, locator + 8).u64()?;
        let record = usize::try_from(record).ok();
        let record =
            record.filter(|&r| bytes.get(r..).is_some_and(|b| b.starts_with(b"PK\x06\x06")));
        let record = record.ok_or_else(|| corrupt("zip64 directory is missing"))?;
        let mut fields = Fields::new(bytes, record + 32);
        let (entries, length, start) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Directory::checked(entries, start, length, record)
    }

    fn checked(entries: u64, start: u64, length: u64, before: usize) -> Result<Directory, Error> {
        let end = start.checked_add(length);
        match end {
            Some(end) if end <= before as u64 => Ok(Directory {
                entries,
                range: start as usize..end as usize,
            }),
            _ => Err(corrupt("central directory does not lie in the file")),
        }
    }
}

/// A record of the central directory.
struct Record {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed_bytes: u64,
    bytes: u64,
    /// Where its local header starts.
    local: usize,
}

impl Record {
    fn read(bytes: &[u8], at: &mut usize, end: usize) -> Result<Record, Error> {
        let directory = bytes.get(..end).unwrap_or(bytes);
        let mut fields = Fields::new(directory, *at);
        if fields.take(4)? != b"PK\x01\x02" {
            return Err(corrupt("central directory has another record"));
        }
        fields.take(4)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.take(4)?;
        let crc = fields.u32()?;
        let mut long = [fields.u32()?, fields.u32()?, 0].map(u64::from);
        let lengths = [fields.u16()?, fields.u16()?, fields.u16()?].map(usize::from);
        fields.take(8)?;
        long[2] = fields.u32()?.into();
        let name = String::from_utf8_lossy(fields.take(lengths[0])?).into_owned();
        let extra = fields.take(lengths[1])?;
        fields.take(lengths[2])?;
        *at = fields.at;
        // Unpacked length, packed length, local header: in this order those that did not fit (4.5.3).
        long.swap(0, 1);
        if long.contains(&IN_ZIP64.into()) {
            let mut wide = zip64(extra)?;
            for value in long.iter_mut().filter(|v| **v == IN_ZIP64.into()) {
                *value = wide.u64()?;
            }
        }
        let [unpacked_bytes, packed_bytes, local] = long;
        Ok(Record {
            name,
            flags,
            method,
            crc,
            packed_bytes,
            bytes: unpacked_bytes,
            local: usize::try_from(local).map_err(|_| corrupt("entry lies outside the file"))?,
        })
    }

    /// Where its packed bytes lie: behind the local header, whose name and extra field have lengths of their own.
    fn packed(&self, bytes: &[u8], directory: usize) -> Result<Range<usize>, Error> {
        let mut fields = Fields::new(bytes, self.local);
        if fields.take(4)? != b"PK\x03\x04" {
            return Err(corrupt("entry has no local header"));
        }
        fields.take(22)?;
        let lengths = [fields.u16()?, fields.u16()?].map(usize::from);
        let start = fields.at + lengths[0] + lengths[1];
        let end = (start as u64).checked_add(self.packed_bytes);
        match end {
            Some(end) if end <= directory as u64 => Ok(start..end as usize),
            _ => Err(corrupt("entry does not lie before the central directory")),
        }
    }

    fn entry(self, packed: Range<usize>) -> Result<Entry, Error> {
        const ENCRYPTED: u16 = 1;
        if self.flags & ENCRYPTED != 0 {
            return Err(unsupported("encrypted entries"));
        }
        let deflated = match self.method {
            0 if self.bytes != packed.len() as u64 => {
                return Err(corrupt("stored entry with two lengths"));
            }
            0 => false,
            8 => true,
            other => return Err(unsupported(&format!("compression method {other}"))),
        };
        Ok(Entry {
            packed,
            deflated,
            bytes: self.bytes,
            crc: self.crc,
        })
    }
}

/// The ZIP64 field among the extra ones.
fn zip64(extra: &[u8]) -> Result<Fields<'_>, Error> {
    let mut fields = Fields::new(extra, 0);
    loop {
        let (tag, length) = (fields.u16()?, fields.u16()?);
        let body = fields.take(length.into())?;
        if tag == 1 {
            return Ok(Fields::new(body, 0));
        }
    }
}

/// Little-endian numbers from a place on.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Fields<'a> {
        Fields { bytes, at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| corrupt("archive is truncated"))?;
        self.at += count;
        Ok(taken)
    }

    fn number(&mut self, count: usize) -> Result<u64, Error> {
        let bytes = self.take(count)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn u16(&mut self) -> Result<u16, Error> {
        Ok(self.number(2)? as u16)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(self.number(4)? as u32)
    }

    fn u64(&mut self) -> Result<u64, Error> {
        self.number(8)
    }
}

fn corrupt(reason: &str) -> Error {
    Error::corrupt(Kind::Zip, reason)
}

fn unsupported(reason: &str) -> Error {
    Error::unsupported(Kind::Zip, reason)
}
