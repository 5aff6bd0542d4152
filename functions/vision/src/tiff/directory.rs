//! The structure of a TIFF file: a chain of directories, one a page, each a list of tagged values (TIFF 6.0, section 2;
//! BigTIFF has the same with wider numbers).

use super::corrupt;
use crate::{Error, Format};

/// Tags that are read here.
pub(super) mod tag {
    pub(in super::super) const WIDTH: u16 = 256;
    pub(in super::super) const HEIGHT: u16 = 257;
    pub(in super::super) const BITS: u16 = 258;
    pub(in super::super) const COMPRESSION: u16 = 259;
    pub(in super::super) const PHOTOMETRIC: u16 = 262;
    pub(in super::super) const FILL_ORDER: u16 = 266;
    pub(in super::super) const STRIP_OFFSETS: u16 = 273;
    pub(in super::super) const ORIENTATION: u16 = 274;
    pub(in super::super) const SAMPLES: u16 = 277;
    pub(in super::super) const ROWS_PER_STRIP: u16 = 278;
    pub(in super::super) const STRIP_BYTES: u16 = 279;
    pub(in super::super) const X_RESOLUTION: u16 = 282;
    pub(in super::super) const Y_RESOLUTION: u16 = 283;
    pub(in super::super) const PLANAR: u16 = 284;
    pub(in super::super) const T4_OPTIONS: u16 = 292;
    pub(in super::super) const RESOLUTION_UNIT: u16 = 296;
    pub(in super::super) const PREDICTOR: u16 = 317;
    pub(in super::super) const COLOUR_MAP: u16 = 320;
    pub(in super::super) const TILE_WIDTH: u16 = 322;
    pub(in super::super) const TILE_HEIGHT: u16 = 323;
    pub(in super::super) const TILE_OFFSETS: u16 = 324;
    pub(in super::super) const TILE_BYTES: u16 = 325;
    pub(in super::super) const EXTRA_SAMPLES: u16 = 338;
    pub(in super::super) const SAMPLE_FORMAT: u16 = 339;
    pub(in super::super) const JPEG_TABLES: u16 = 347;
}

/// Pages that are counted; a file that has more, or a circle, ends there.
const MAX_PAGES: u32 = 10_000;

/// Entries of a directory, which is searched again for every strip. Scanners write about twenty.
const MAX_ENTRIES: u64 = 1024;

const TRUNCATED: Error = Error::Truncated {
    format: Format::Tiff,
};

/// A page's values.
pub(super) struct Directory<'a> {
    file: File<'a>,
    /// Entry by entry.
    entries: &'a [u8],
}

#[derive(Clone, Copy)]
struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// BigTIFF: offsets and counts have 8 bytes.
    big: bool,
}

impl<'a> Directory<'a> {
    /// The directory of page `asked`, from 1.
    pub(super) fn of_page(bytes: &'a [u8], asked: u32) -> Result<Directory<'a>, Error> {
        let file = File {
            bytes,
            big_endian: bytes.starts_with(b"MM"),
            big: bytes.get(2..4).is_some_and(|v| v.contains(&43)),
        };
        let mut at = if file.big {
            file.number(8, 8)?
        } else {
            file.number(4, 4)?
        };
        let mut pages = 0;
        while at != 0 && pages < MAX_PAGES {
            let count_bytes = if file.big { 8 } else { 2 };
            let count = file.number(at, count_bytes)?;
            if count > MAX_ENTRIES {
                return Err(corrupt(&format!("directory of {count} entries")));
            }
            let length = count
                .checked_mul(file.entry_bytes() as u64)
                .ok_or(TRUNCATED)?;
            let start = at.checked_add(count_bytes as u64).ok_or(TRUNCATED)?;
            let entries = file.slice(start, length)?;
            pages += 1;
            if pages == asked {
                return Ok(Directory { file, entries });
            }
            // A chain that is cut behind a page has no more of them.
            at = file
                .number(start + length, file.offset_bytes())
                .unwrap_or(0);
        }
        if pages == 0 {
            return Err(corrupt("it has no page"));
        }
        Err(Error::Page { asked, pages })
    }

    /// Upper bytes come first in numbers of the pixels too.
    pub(super) fn big_endian(&self) -> bool {
        self.file.big_endian
    }

    /// Bytes of the file.
    pub(super) fn slice(&self, at: u64, length: u64) -> Result<&'a [u8], Error> {
        self.file.slice(at, length)
    }

    /// Bytes of the file from here on.
    pub(super) fn rest(&self, at: u64) -> Result<&'a [u8], Error> {
        let at = usize::try_from(at).map_err(|_| TRUNCATED)?;
        self.file.bytes.get(at..).ok_or(TRUNCATED)
    }

    /// A tag's value as bytes, and the width of its numbers.
    fn raw(&self, tag: u16) -> Result<Option<(&'a [u8], usize)>, Error> {
        let File { big, .. } = self.file;
        for entry in self.entries.chunks_exact(self.file.entry_bytes()) {
            if self.file.read(&entry[..2]) != u64::from(tag) {
                continue;
            }
            let width = match self.file.read(&entry[2..4]) {
                1 | 2 | 6 | 7 => 1,
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 | 16 | 17 | 18 => 8,
                other => return Err(corrupt(&format!("tag {tag} has values of type {other}"))),
            };
            let (count, value) = entry[4..].split_at(if big { 8 } else { 4 });
            let length = self
                .file
                .read(count)
                .checked_mul(width as u64)
                .ok_or(TRUNCATED)?;
            let bytes = if length <= value.len() as u64 {
                &value[..length as usize]
            } else {
                self.file.slice(self.file.read(value), length)?
            };
            return Ok(Some((bytes, width)));
        }
        Ok(None)
    }

    /// A tag's bytes.
    pub(super) fn bytes(&self, tag: u16) -> Result<&'a [u8], Error> {
        Ok(self.raw(tag)?.map_or(&[], |(bytes, _)| bytes))
    }

    /// How many numbers a tag has.
    pub(super) fn count(&self, tag: u16) -> Result<usize, Error> {
        Ok(self
            .raw(tag)?
            .map_or(0, |(bytes, width)| bytes.len() / width))
    }

    /// Number `index` of a tag.
    pub(super) fn at(&self, tag: u16, index: usize) -> Result<Option<u64>, Error> {
        Ok(self.raw(tag)?.and_then(|(bytes, width)| {
            let value = bytes.chunks_exact(width).nth(index)?;
            Some(self.file.read(value))
        }))
    }

    /// The only or first number of a tag, or what it is where it is not given.
    pub(super) fn number(&self, tag: u16, absent: u64) -> Result<u64, Error> {
        Ok(self.at(tag, 0)?.unwrap_or(absent))
    }

    /// A tag's ratio of two 32-bit numbers, the numerator first.
    pub(super) fn ratio(&self, tag: u16) -> Option<f64> {
        let pair = self.raw(tag).ok()??.0.get(..8)?;
        let (numerator, denominator) = pair.split_at(4);
        Some(self.file.read(numerator) as f64 / self.file.read(denominator) as f64)
    }

    /// A number that must be there and fit 32 bits.
    pub(super) fn side(&self, tag: u16) -> Result<u32, Error> {
        let value = self.at(tag, 0)?;
        let value = value.ok_or_else(|| corrupt(&format!("tag {tag} is missing")))?;
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

impl<'a> File<'a> {
    fn entry_bytes(&self) -> usize {
        if self.big { 20 } else { 12 }
    }

    fn offset_bytes(&self) -> usize {
        if self.big { 8 } else { 4 }
    }

    fn slice(&self, at: u64, length: u64) -> Result<&'a [u8], Error> {
        let end = at.checked_add(length).ok_or(TRUNCATED)?;
        let range = usize::try_from(at).ok().zip(usize::try_from(end).ok());
        let (at, end) = range.ok_or(TRUNCATED)?;
        self.bytes.get(at..end).ok_or(TRUNCATED)
    }

    fn number(&self, at: u64, width: usize) -> Result<u64, Error> {
        Ok(self.read(self.slice(at, width as u64)?))
    }

    /// A number of up to 8 bytes.
    fn read(&self, bytes: &[u8]) -> u64 {
        let join = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
        if self.big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        }
    }
}
