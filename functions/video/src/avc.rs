//! H.264 (ITU-T H.264, ISO/IEC 14496-10): what its headers say, what has to be decoded, and frames to RGB.
//!
//! ```text
//! sps.rs      parameter set       -> size, crop, colours
//! units.rs    sample              -> its units, whether decoding can begin there
//! plan.rs     wanted frames       -> runs of samples, their cost
//! decode.rs   runs                -> planes, in presentation order
//! colour.rs   planes              -> RGB, cut and turned
//! ```

mod bits;
mod colour;
mod decode;
mod plan;
mod sps;
mod units;

pub(crate) use colour::{Colour, Turn};
pub(crate) use decode::sample;

use crate::{Error, Kind, Limits};
use sps::Sps;
use units::{PICTURE_PARAMETERS, SEQUENCE_PARAMETERS, Units, unit_type};

/// What holds for all samples of a track.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Bytes of the length before each unit.
    length_bytes: usize,
    /// Parameter sets as the decoder takes them, each behind a start code.
    parameter_sets: Vec<u8>,
    sps: Sps,
    colour: Colour,
}

impl Stream {
    /// Checks the size against the limits. `sets`: units from the container, `first`: the first sample, which may have them instead;
    /// `colour`: what the container says, which counts where the stream says nothing.
    pub(crate) fn new(
        length_bytes: usize,
        sets: &[&[u8]],
        first: &[u8],
        colour: Option<Colour>,
        limits: &Limits,
    ) -> Result<Stream, Error> {
        let inside = Units {
            bytes: first,
            length_bytes,
        };
        let all = sets.iter().copied().chain(inside);
        let sets =
            all.filter(|unit| matches!(unit_type(unit), SEQUENCE_PARAMETERS | PICTURE_PARAMETERS));
        let mut sps = None;
        let mut parameter_sets = Vec::new();
        for unit in sets {
            if unit_type(unit) == SEQUENCE_PARAMETERS {
                let read = Sps::read(unit)?;
                match &sps {
                    None => sps = Some(read),
                    Some(first) => check_same(first, &read)?,
                }
            }
            parameter_sets.extend_from_slice(&[0, 0, 0, 1]);
            parameter_sets.extend_from_slice(unit);
        }
        let sps: Sps = sps.ok_or_else(|| corrupt("parameter set is missing"))?;
        limits.check_size(sps.coded)?;
        let unspecified = Colour {
            matrix: Colour::UNSPECIFIED,
            full_range: false,
        };
        let mut used = sps.colour.or(colour).unwrap_or(unspecified);
        if used.matrix == Colour::UNSPECIFIED {
            used.matrix = colour.map_or(Colour::UNSPECIFIED, |colour| colour.matrix);
        }
        let stream = Stream {
            length_bytes,
            parameter_sets,
            sps,
            colour: used,
        };
        limits.check_bytes(stream.decoder_bytes())?;
        Ok(stream)
    }

    /// What the decoder holds, in bytes: reference pictures, the one at hand, and buffers it keeps for the next. With a margin around
    /// each, and with vectors for each block of 4 x 4 where pictures may be bidirectional.
    fn decoder_bytes(&self) -> u64 {
        let (width, height) = self.sps.coded;
        let planes = u64::from(width + 32) * u64::from(height + 32) * 3 / 2;
        let vectors = if self.sps.bidirectional {
            self.sps.pixels() / 16 * 10
        } else {
            0
        };
        (u64::from(self.sps.references) + BESIDE) * (planes + vectors)
    }

    /// Checks that a later parameter set asks for no other buffers.
    fn check_same(&self, later: &Sps) -> Result<(), Error> {
        check_same(&self.sps, later)
    }
}

/// Pictures that the decoder holds beside its references.
const BESIDE: u64 = 3;

fn check_same(first: &Sps, later: &Sps) -> Result<(), Error> {
    if (later.coded, later.references) != (first.coded, first.references) {
        return Err(unsupported("its frames change their size on the way"));
    }
    Ok(())
}

fn corrupt(reason: impl Into<String>) -> Error {
    Error::corrupt(Kind::Mp4, reason)
}

fn unsupported(reason: impl Into<String>) -> Error {
    Error::unsupported(Kind::Mp4, reason)
}
