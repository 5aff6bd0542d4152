//! Boxes of an ISO base media file (ISO/IEC 14496-12, 4.2), and numbers in them.

use super::corrupt;
use crate::Error;

/// A box.
#[derive(Clone, Copy)]
pub(super) struct Atom<'a> {
    pub(super) name: [u8; 4],
    pub(super) body: &'a [u8],
    /// Where the box itself starts in what was walked.
    pub(super) start: usize,
}

/// The boxes that lie one behind the other in `bytes`.
pub(super) struct Atoms<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Atoms<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Atoms<'a> {
        Atoms { bytes, at: 0 }
    }

    fn read(&mut self) -> Result<Atom<'a>, Error> {
        let start = self.at;
        let mut fields = Fields::new(&self.bytes[start..]);
        // What is wrong ends the walk.
        self.at = self.bytes.len();
        let size = fields.u32()?;
        let name = fields.name()?;
        let left = self.bytes.len() - start;
        let size = match size {
            // Up to the end of what is around it.
            0 => left as u64,
            1 => fields.u64()?,
            size => size.into(),
        };
        let header = fields.at;
        if size < header as u64 {
            return Err(corrupt(format!(
                "box {} of {size} bytes is shorter than its header",
                text(name)
            )));
        }
        // Of media data that are cut off, what is there may still be whole frames.
        if size > left as u64 && !matches!(&name, b"mdat" | b"free" | b"skip") {
            return Err(corrupt(format!(
                "box {} of {size} bytes ends behind the {left} that are left",
                text(name)
            )));
        }
        let size = size.min(left as u64) as usize;
        self.at = start + size;
        Ok(Atom {
            name,
            body: &self.bytes[start + header..start + size],
            start,
        })
    }
}

impl<'a> Iterator for Atoms<'a> {
    type Item = Result<Atom<'a>, Error>;

    fn next(&mut self) -> Option<Result<Atom<'a>, Error>> {
        // QuickTime ends some lists with four zeros.
        (self.bytes.len() - self.at >= 8).then(|| self.read())
    }
}

/// The body of the first box of this name, if there is one.
pub(super) fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Result<Option<&'a [u8]>, Error> {
    for atom in Atoms::new(bytes) {
        let atom = atom?;
        if atom.name == *name {
            return Ok(Some(atom.body));
        }
    }
    Ok(None)
}

/// The same, where it must be there.
pub(super) fn need<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Result<&'a [u8], Error> {
    child(bytes, name)?.ok_or_else(|| corrupt(format!("box {} is missing", text(*name))))
}

/// A name as it may be shown.
pub(super) fn text(name: [u8; 4]) -> String {
    name.escape_ascii().to_string()
}

/// Big-endian numbers, one behind the other.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0 }
    }

    /// Those of a box that starts with a version and flags.
    pub(super) fn full(bytes: &'a [u8]) -> Result<(Fields<'a>, u8, u32), Error> {
        let mut fields = Fields::new(bytes);
        let word = fields.u32()?;
        Ok((fields, (word >> 24) as u8, word & 0xff_ffff))
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| corrupt("a box ends inside its fields"))?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn number(&mut self, count: usize) -> Result<u64, Error> {
        let bytes = self.take(count)?;
        Ok(bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    pub(super) fn name(&mut self) -> Result<[u8; 4], Error> {
        Ok(self.u32()?.to_be_bytes())
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.number(1)? as u8)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(self.number(4)? as u32)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        self.number(8)
    }

    /// 32 bits in a box of version 0, 64 in one of version 1.
    pub(super) fn long(&mut self, version: u8) -> Result<u64, Error> {
        self.number(if version == 0 { 4 } else { 8 })
    }
}

/// The entries of a table: a count, then so many of `bytes` each, which the box must have room for.
pub(super) fn table<'a>(
    fields: &mut Fields<'a>,
    entry_bytes: usize,
) -> Result<std::slice::ChunksExact<'a, u8>, Error> {
    let count = fields.u32()? as usize;
    let rest = fields.rest();
    let room = rest.len() / entry_bytes;
    if count > room {
        return Err(corrupt(format!(
            "a table announces {count} entries and has room for {room}"
        )));
    }
    Ok(rest[..count * entry_bytes].chunks_exact(entry_bytes))
}

/// The `index`th 32-bit number of a table's entry.
pub(super) fn word(entry: &[u8], index: usize) -> u32 {
    let bytes = &entry[index * 4..][..4];
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
