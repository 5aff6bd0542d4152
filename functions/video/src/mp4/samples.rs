//! Sample tables -> where each sample lies, and when it is shown (ISO/IEC 14496-12, 8.6 and 8.7).
//!
//! Counts are checked against what their boxes have room for before anything is made of them.

use super::atoms::{Fields, child, need, table, word};
use super::corrupt;
use crate::{Error, Limits};

/// Where a sample lies in the file; perhaps not in it at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

/// Samples in decoding order, and when each is shown, in ticks of the track.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) places: Vec<Sample>,
    pub(super) times: Vec<i64>,
}

impl Samples {
    /// Reads the tables of a box `stbl`. A movie in fragments has empty ones.
    pub(super) fn read(boxes: &[u8], limits: &Limits) -> Result<Samples, Error> {
        let sizes = sizes(boxes, limits)?;
        if sizes.is_empty() {
            return Ok(Samples::default());
        }
        Ok(Samples {
            places: places(boxes, &sizes)?,
            times: times(boxes, sizes.len())?,
        })
    }

    /// Adds a sample.
    pub(super) fn push(&mut self, offset: u64, bytes: u32, time: i64) -> Result<(), Error> {
        let offset = u32::try_from(offset).map_err(|_| corrupt("a sample lies behind 4 GiB"))?;
        self.places.push(Sample { offset, bytes });
        self.times.push(time);
        Ok(())
    }
}

/// Bytes of each sample.
fn sizes(boxes: &[u8], limits: &Limits) -> Result<Vec<u32>, Error> {
    if let Some(body) = child(boxes, b"stz2")? {
        return small_sizes(body, limits);
    }
    let (mut fields, ..) = Fields::full(need(boxes, b"stsz")?)?;
    let all = fields.u32()?;
    if all != 0 {
        let count = fields.u32()?;
        limits.check_frames(count.into())?;
        return Ok(vec![all; count as usize]);
    }
    let entries = table(&mut fields, 4)?;
    limits.check_frames(entries.len() as u64)?;
    Ok(entries.map(|entry| word(entry, 0)).collect())
}

/// The same of 4, 8 or 16 bits each.
fn small_sizes(body: &[u8], limits: &Limits) -> Result<Vec<u32>, Error> {
    let (mut fields, ..) = Fields::full(body)?;
    let bits = fields.u32()? as usize & 0xff;
    let count = fields.u32()?;
    limits.check_frames(count.into())?;
    let count = count as usize;
    if !matches!(bits, 4 | 8 | 16) {
        return Err(corrupt(format!("sample sizes of {bits} bits")));
    }
    let bytes = fields.take((count * bits).div_ceil(8))?;
    let size = |i: usize| match bits {
        4 => bytes[i / 2] >> (4 - i % 2 * 4) & 15,
        _ => bytes[i],
    };
    Ok(match bits {
        16 => bytes
            .chunks_exact(2)
            .map(|b| u32::from(u16::from_be_bytes([b[0], b[1]])))
            .collect(),
        _ => (0..count).map(|i| size(i).into()).collect(),
    })
}

/// Lays samples out in their chunks.
fn places(boxes: &[u8], sizes: &[u32]) -> Result<Vec<Sample>, Error> {
    let (mut fields, ..) = Fields::full(need(boxes, b"stsc")?)?;
    let mut runs = table(&mut fields, 12)?.peekable();
    let chunks = match child(boxes, b"stco")? {
        Some(body) => chunks(body, 4)?,
        None => chunks(need(boxes, b"co64")?, 8)?,
    };
    let mut places = Vec::with_capacity(sizes.len());
    let mut in_chunk = 0;
    for (number, offset) in (1u32..).zip(chunks) {
        while let Some(run) = runs.next_if(|run| word(run, 0) <= number) {
            in_chunk = word(run, 1) as usize;
        }
        let mut offset = offset?;
        let left = &sizes[places.len()..];
        for &bytes in &left[..left.len().min(in_chunk)] {
            places.push(Sample { offset, bytes });
            offset = offset.saturating_add(bytes);
        }
    }
    if places.len() < sizes.len() {
        return Err(corrupt(format!(
            "{} samples, but chunks for {}",
            sizes.len(),
            places.len()
        )));
    }
    Ok(places)
}

/// Where each chunk lies.
fn chunks(
    body: &[u8],
    bytes: usize,
) -> Result<impl Iterator<Item = Result<u32, Error>> + '_, Error> {
    let (mut fields, ..) = Fields::full(body)?;
    Ok(table(&mut fields, bytes)?.map(move |entry| {
        if bytes == 8 && word(entry, 0) != 0 {
            return Err(corrupt("a chunk lies behind 4 GiB"));
        }
        Ok(word(entry, bytes / 4 - 1))
    }))
}

/// When each sample is shown: decoding times, and an offset to each.
fn times(boxes: &[u8], count: usize) -> Result<Vec<i64>, Error> {
    let (mut fields, ..) = Fields::full(need(boxes, b"stts")?)?;
    let mut time = 0i64;
    let steps = values(table(&mut fields, 8)?);
    let mut times: Vec<i64> = steps
        .take(count)
        .map(|step| {
            let now = time;
            time += i64::from(step);
            now
        })
        .collect();
    if times.len() < count {
        return Err(corrupt(format!(
            "{count} samples, but times for {}",
            times.len()
        )));
    }
    if let Some(body) = child(boxes, b"ctts")? {
        let (mut fields, ..) = Fields::full(body)?;
        // Version 0 says unsigned; negative ones are written all the same.
        let offsets = values(table(&mut fields, 8)?);
        for (time, offset) in times.iter_mut().zip(offsets) {
            *time += i64::from(offset as i32);
        }
    }
    Ok(times)
}

/// A table of counts and values, unrolled. Take no more than are needed: the counts are not checked.
fn values(entries: std::slice::ChunksExact<'_, u8>) -> impl Iterator<Item = u32> + '_ {
    entries.flat_map(|entry| std::iter::repeat_n(word(entry, 1), word(entry, 0) as usize))
}
