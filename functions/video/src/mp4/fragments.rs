//! Movie fragments -> samples (ISO/IEC 14496-12, 8.8): what browsers record and streams are cut into.

use super::atoms::{Atom, Atoms, Fields, child, need, word};
use super::corrupt;
use super::samples::Samples;
use crate::{Error, Limits};

/// What holds for a sample that says nothing itself.
#[derive(Debug, Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    bytes: u32,
}

/// Adds the samples of all fragments of `file` that belong to a track.
pub(super) fn read(
    file: &[u8],
    movie: &[u8],
    track: u32,
    limits: &Limits,
    samples: &mut Samples,
) -> Result<(), Error> {
    let Some(extends) = child(movie, b"mvex")? else {
        return Ok(());
    };
    let defaults = defaults(extends, track)?;
    let mut time = 0;
    for atom in Atoms::new(file) {
        let atom = atom?;
        if atom.name != *b"moof" {
            continue;
        }
        for part in Atoms::new(atom.body) {
            let part = part?;
            if part.name == *b"traf" {
                fragment(
                    &atom, part.body, track, defaults, &mut time, limits, samples,
                )?;
            }
        }
    }
    Ok(())
}

fn defaults(extends: &[u8], track: u32) -> Result<Defaults, Error> {
    for atom in Atoms::new(extends) {
        let atom = atom?;
        if atom.name != *b"trex" {
            continue;
        }
        let mut fields = Fields::full(atom.body)?.0;
        if fields.u32()? == track {
            fields.take(4)?;
            return Ok(Defaults {
                duration: fields.u32()?,
                bytes: fields.u32()?,
            });
        }
    }
    Ok(Defaults::default())
}

/// One track's part of a fragment. `time`: when its first sample is decoded, unless it says so itself; then the next one's.
fn fragment(
    movie_fragment: &Atom<'_>,
    body: &[u8],
    track: u32,
    mut defaults: Defaults,
    time: &mut i64,
    limits: &Limits,
    samples: &mut Samples,
) -> Result<(), Error> {
    let (mut fields, _, flags) = Fields::full(need(body, b"tfhd")?)?;
    if fields.u32()? != track {
        return Ok(());
    }
    let mut base = movie_fragment.start as u64;
    if flags & 0x1 != 0 {
        base = fields.u64()?;
    }
    if flags & 0x2 != 0 {
        fields.take(4)?;
    }
    if flags & 0x8 != 0 {
        defaults.duration = fields.u32()?;
    }
    if flags & 0x10 != 0 {
        defaults.bytes = fields.u32()?;
    }
    if let Some(start) = child(body, b"tfdt")? {
        let (mut fields, version, _) = Fields::full(start)?;
        *time = fields.long(version)? as i64;
    }
    let mut offset = base;
    for atom in Atoms::new(body) {
        let atom = atom?;
        if atom.name == *b"trun" {
            run(
                atom.body,
                base,
                &mut offset,
                defaults,
                time,
                limits,
                samples,
            )?;
        }
    }
    Ok(())
}

/// Samples that lie one behind the other.
fn run(
    body: &[u8],
    base: u64,
    offset: &mut u64,
    defaults: Defaults,
    time: &mut i64,
    limits: &Limits,
    samples: &mut Samples,
) -> Result<(), Error> {
    let (mut fields, _, flags) = Fields::full(body)?;
    let count = fields.u32()?;
    limits.check_frames(samples.places.len() as u64 + u64::from(count))?;
    if flags & 0x1 != 0 {
        let from = i64::from(fields.u32()? as i32);
        *offset = base
            .checked_add_signed(from)
            .ok_or_else(|| corrupt("a run lies before the file"))?;
    }
    if flags & 0x4 != 0 {
        fields.take(4)?;
    }
    // What each sample says itself: duration, size, flags, when it is shown.
    let said = [0x100, 0x200, 0x400, 0x800].map(|flag| flags & flag != 0);
    let entry_bytes = said.iter().filter(|said| **said).count() * 4;
    for _ in 0..count {
        let entry = fields.take(entry_bytes)?;
        let mut next = 0;
        let mut field = |said: bool| {
            said.then(|| {
                next += 1;
                word(entry, next - 1)
            })
        };
        let duration = field(said[0]).unwrap_or(defaults.duration);
        let bytes = field(said[1]).unwrap_or(defaults.bytes);
        field(said[2]);
        let shown = field(said[3]).unwrap_or(0) as i32;
        samples.push(*offset, bytes, time.saturating_add(shown.into()))?;
        *offset = offset.saturating_add(bytes.into());
        *time = time.saturating_add(duration.into());
    }
    Ok(())
}
