//! A movie's boxes -> its first enabled video track: how its samples are packed, turned and shown.

use super::atoms::{Atoms, Fields, child, need, table, text, word};
use super::matrix::Matrix;
use super::{corrupt, unsupported};
use crate::Error;
use crate::avc::Colour;

/// A video track of H.264.
pub(super) struct Track<'a> {
    pub(super) id: u32,
    /// Ticks of a second in the track.
    pub(super) timescale: u32,
    pub(super) matrix: Matrix,
    /// What is shown, in order; nothing if all is.
    pub(super) edits: Vec<Edit>,
    /// Where samples lie.
    pub(super) sample_table: &'a [u8],
    pub(super) coding: Coding<'a>,
}

/// A part of the track that is shown.
pub(super) struct Edit {
    /// Ticks of the movie; 0 is up to the end.
    pub(super) duration: u64,
    /// Ticks of the track; negative for a pause.
    pub(super) start: i64,
}

/// How samples are packed (ISO/IEC 14496-15, 5.3.3.1).
pub(super) struct Coding<'a> {
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub(super) length_bytes: usize,
    /// NAL units: sequence and picture parameter sets.
    pub(super) parameter_sets: Vec<&'a [u8]>,
    pub(super) colour: Option<Colour>,
}

/// Finds the track in a movie's box.
pub(super) fn choose(movie: &[u8]) -> Result<Track<'_>, Error> {
    let mut chosen: Option<(bool, &[u8], &[u8])> = None;
    let mut kinds = Vec::new();
    for atom in Atoms::new(movie) {
        let atom = atom?;
        if atom.name != *b"trak" {
            continue;
        }
        let media = need(atom.body, b"mdia")?;
        let mut handler = Fields::new(need(media, b"hdlr")?);
        handler.take(8)?;
        let kind = handler.name()?;
        if kind != *b"vide" {
            kinds.push(text(kind));
            continue;
        }
        let enabled = Fields::full(need(atom.body, b"tkhd")?)?.2 & 1 != 0;
        match &chosen {
            None => chosen = Some((enabled, atom.body, media)),
            Some((false, ..)) if enabled => chosen = Some((enabled, atom.body, media)),
            _ => {}
        }
    }
    let Some((_, track, media)) = chosen else {
        return Err(unsupported(match kinds.is_empty() {
            true => "it has no video track".to_owned(),
            false => format!("it has no video track, only {}", kinds.join(", ")),
        }));
    };
    read(track, media)
}

fn read<'a>(track: &'a [u8], media: &'a [u8]) -> Result<Track<'a>, Error> {
    let (id, matrix) = header(need(track, b"tkhd")?)?;
    let (mut fields, version, _) = Fields::full(need(media, b"mdhd")?)?;
    fields.take(if version == 0 { 8 } else { 16 })?;
    let timescale = fields.u32()?;
    if timescale == 0 {
        return Err(corrupt("a second has no ticks"));
    }
    let edits = match child(track, b"edts")? {
        Some(list) => edits(need(list, b"elst")?)?,
        None => Vec::new(),
    };
    let sample_table = need(need(media, b"minf")?, b"stbl")?;
    Ok(Track {
        id,
        timescale,
        matrix,
        edits,
        sample_table,
        coding: coding(need(sample_table, b"stsd")?)?,
    })
}

/// The track's number, and its matrix (8.3.2).
fn header(bytes: &[u8]) -> Result<(u32, Matrix), Error> {
    let (mut fields, version, _) = Fields::full(bytes)?;
    fields.take(if version == 0 { 8 } else { 16 })?;
    let id = fields.u32()?;
    fields.take(if version == 0 { 8 } else { 12 })?;
    // Reserved, layer, group, volume, reserved.
    fields.take(16)?;
    Ok((id, Matrix::read(&mut fields)?))
}

fn edits(bytes: &[u8]) -> Result<Vec<Edit>, Error> {
    let (mut fields, version, _) = Fields::full(bytes)?;
    let entries = table(&mut fields, if version == 0 { 12 } else { 20 })?;
    let long = |entry: &[u8], index: usize| {
        u64::from(word(entry, index)) << 32 | u64::from(word(entry, index + 1))
    };
    Ok(entries
        .map(|entry| match version {
            0 => Edit {
                duration: word(entry, 0).into(),
                start: (word(entry, 1) as i32).into(),
            },
            _ => Edit {
                duration: long(entry, 0),
                start: long(entry, 2) as i64,
            },
        })
        .collect())
}

/// The sample description: an entry for H.264, with its configuration.
fn coding(bytes: &[u8]) -> Result<Coding<'_>, Error> {
    let (mut fields, ..) = Fields::full(bytes)?;
    let count = fields.u32()?;
    let entry = Atoms::new(fields.rest()).next();
    let entry = entry.ok_or_else(|| corrupt("no sample description"))??;
    match &entry.name {
        b"avc1" | b"avc3" => {}
        name => return Err(unsupported(codec(*name))),
    }
    if count > 1 {
        return Err(unsupported("its coding changes on the way"));
    }
    // Fields of a visual entry (8.5.2, 12.1.3) before the boxes in it.
    const ENTRY_BYTES: usize = 78;
    let boxes = entry.body.get(ENTRY_BYTES..);
    let boxes = boxes.ok_or_else(|| corrupt("sample description is too short"))?;
    let mut fields = Fields::new(need(boxes, b"avcC")?);
    fields.take(4)?;
    let length_bytes = usize::from(fields.u8()? & 3) + 1;
    if length_bytes == 3 {
        return Err(corrupt("lengths of three bytes"));
    }
    let mut parameter_sets = Vec::new();
    for mask in [0x1f, 0xff] {
        for _ in 0..fields.u8()? & mask {
            let length = fields.u16()?;
            parameter_sets.push(fields.take(length.into())?);
        }
    }
    Ok(Coding {
        length_bytes,
        parameter_sets,
        colour: colour(boxes)?,
    })
}

/// The box `colr` (12.1.5), where it says what video headers say.
fn colour(boxes: &[u8]) -> Result<Option<Colour>, Error> {
    let Some(body) = child(boxes, b"colr")? else {
        return Ok(None);
    };
    let mut fields = Fields::new(body);
    let name = fields.name()?;
    if !matches!(&name, b"nclx" | b"nclc") {
        return Ok(None);
    }
    fields.take(4)?;
    let matrix = fields.u16()? as u8;
    Ok(Some(Colour {
        matrix,
        full_range: name == *b"nclx" && fields.u8()? & 0x80 != 0,
    }))
}

/// A codec in words.
fn codec(name: [u8; 4]) -> String {
    let known = match &name {
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "HEVC",
        b"av01" => "AV1",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"mp4v" => "MPEG-4 Visual",
        b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" => "ProRes",
        b"encv" => "encrypted",
        _ => return format!("video coded as {}, only H.264 is read", text(name)),
    };
    format!("{known} video, only H.264 is read")
}
