//! MP4 and MOV -> where the samples of an H.264 track lie, and which of them are shown, in order.
//!
//! Only what that takes is read. Boxes are found level by level, so nothing is nested deeper than this code is.

mod atoms;
mod edits;
mod fragments;
mod matrix;
mod samples;
mod track;

pub(crate) use samples::Sample;

use atoms::{Atoms, Fields, need};
use matrix::Matrix;
use samples::Samples;

use crate::avc::{Stream, Turn};
use crate::{Error, Kind, Limits};

/// A clip's video track.
#[derive(Debug)]
pub(crate) struct Movie {
    /// In decoding order.
    pub(crate) samples: Vec<Sample>,
    /// Numbers of samples, in presentation order. Not empty.
    pub(crate) order: Vec<u32>,
    pub(crate) turn: Turn,
    pub(crate) stream: Stream,
}

impl Movie {
    /// Reads the boxes of a file.
    pub(crate) fn open(file: &[u8], limits: &Limits) -> Result<Movie, Error> {
        let movie = movie(file)?;
        let track = track::choose(movie)?;
        let mut samples = Samples::read(track.sample_table, limits)?;
        fragments::read(file, movie, track.id, limits, &mut samples)?;
        let (timescale, matrix) = header(need(movie, b"mvhd")?)?;
        let scale = (track.timescale, timescale);
        let order = edits::order(&samples.times, &track.edits, scale, limits)?;
        if order.is_empty() {
            return Err(corrupt("its video track shows no frame"));
        }
        disjoint(&samples.places, file.len())?;
        let coding = track.coding;
        let stream = Stream::new(
            coding.length_bytes,
            &coding.parameter_sets,
            first(&samples.places, file),
            coding.colour,
            limits,
        )?;
        Ok(Movie {
            samples: samples.places,
            order,
            turn: track.matrix.then(matrix).turn(),
            stream,
        })
    }
}

/// The movie's box.
fn movie(file: &[u8]) -> Result<&[u8], Error> {
    let mut brand: &[u8] = b"";
    for atom in Atoms::new(file) {
        let atom = atom?;
        match &atom.name {
            b"moov" => return Ok(atom.body),
            b"ftyp" => brand = atom.body.get(..4).unwrap_or_default(),
            _ => {}
        }
    }
    // Pictures come in the same boxes.
    if matches!(
        brand,
        b"heic" | b"heix" | b"mif1" | b"msf1" | b"avif" | b"avis"
    ) {
        return Err(unsupported("a HEIF or AVIF picture"));
    }
    Err(corrupt(
        "box moov is missing; a recording that was broken off has none",
    ))
}

/// Ticks of a second in the movie, and its matrix (8.2.2), which turns what each track's own has turned.
fn header(bytes: &[u8]) -> Result<(u32, Matrix), Error> {
    let (mut fields, version, _) = Fields::full(bytes)?;
    fields.take(if version == 0 { 8 } else { 16 })?;
    let timescale = fields.u32()?;
    fields.take(if version == 0 { 4 } else { 8 })?;
    // Rate, volume, reserved.
    fields.take(16)?;
    Ok((timescale, Matrix::read(&mut fields)?))
}

/// The first sample; nothing if it does not lie in the file.
fn first<'a>(samples: &[Sample], file: &'a [u8]) -> &'a [u8] {
    let range = samples.first().map(|sample| {
        let start = sample.offset as usize;
        start..start.saturating_add(sample.bytes as usize)
    });
    range.and_then(|range| file.get(range)).unwrap_or_default()
}

/// Samples that share bytes could make a short file take for ever.
fn disjoint(samples: &[Sample], file_bytes: usize) -> Result<(), Error> {
    let inside =
        |sample: &&Sample| u64::from(sample.offset) + u64::from(sample.bytes) <= file_bytes as u64;
    let bytes: u64 = samples
        .iter()
        .filter(inside)
        .map(|sample| u64::from(sample.bytes))
        .sum();
    if bytes > file_bytes as u64 {
        return Err(corrupt("its samples share bytes"));
    }
    Ok(())
}

fn corrupt(reason: impl Into<String>) -> Error {
    Error::corrupt(Kind::Mp4, reason)
}

fn unsupported(reason: impl Into<String>) -> Error {
    Error::unsupported(Kind::Mp4, reason)
}
