//! A sequence parameter set -> what a picture takes and how it is to be shown (ITU-T H.264, 7.3.2.1 and annex E).
//!
//! The decoder reads its own; it hides colours, and a crop at the left and the top.

use super::bits::Bits;
use super::{Colour, corrupt, unsupported};
use crate::Error;

/// What of a parameter set matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sps {
    /// Sides as coded, in pixels: multiples of 16.
    pub(super) coded: (u32, u32),
    /// Pixels that are cut off: left, right, top, bottom.
    pub(super) crop: [u32; 4],
    /// Pictures that others may refer to, at most 16.
    pub(super) references: u32,
    /// Pictures may refer to later ones.
    pub(super) bidirectional: bool,
    /// What it says of colours; a matrix that it does not name is 2.
    pub(super) colour: Option<Colour>,
}

/// Profiles with the longer header (7.3.2.1.1).
const LONG: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
const BASELINE: u32 = 66;
const EXTENDED: u32 = 88;

/// A parameter set with all its tables is far shorter.
const MOST_BYTES: usize = 4096;

impl Sps {
    /// Reads a NAL unit.
    pub(super) fn read(unit: &[u8]) -> Result<Sps, Error> {
        let mut bits = Bits::of(unit, MOST_BYTES);
        let header = header(&mut bits).ok_or_else(|| corrupt("parameter set is truncated"))??;
        // Nothing behind the size is needed to decode.
        let colour = header.shown.then(|| colour(&mut bits)).flatten().flatten();
        Ok(Sps {
            colour,
            ..header.sps
        })
    }

    /// Sides of what is shown, in pixels.
    pub(super) fn shown(&self) -> (u32, u32) {
        let [left, right, top, bottom] = self.crop;
        (self.coded.0 - left - right, self.coded.1 - top - bottom)
    }

    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.coded.0) * u64::from(self.coded.1)
    }
}

struct Header {
    sps: Sps,
    /// How it is shown follows.
    shown: bool,
}

/// Up to how it is shown. `None` at the end of the bits.
fn header(bits: &mut Bits) -> Option<Result<Header, Error>> {
    let refuse = |reason: &str| Some(Err(unsupported(reason)));
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.unsigned()?;
    if profile == EXTENDED {
        return refuse("H.264's extended profile");
    }
    if LONG.contains(&profile) {
        match bits.unsigned()? {
            1 => {}
            0 => return refuse("grey H.264, only 4:2:0 is read"),
            2 => return refuse("H.264 with chroma at 4:2:2, only 4:2:0 is read"),
            _ => return refuse("H.264 with chroma at 4:4:4, only 4:2:0 is read"),
        }
        let depths = (bits.unsigned()?, bits.unsigned()?);
        if depths != (0, 0) {
            return refuse("H.264 of more than 8 bits a sample");
        }
        bits.bit()?;
        if bits.bit()? {
            scaling_lists(bits)?;
        }
    }
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            if profile != BASELINE {
                return refuse("H.264 with picture order counts of type 1");
            }
            bits.bit()?;
            bits.signed()?;
            bits.signed()?;
            for _ in 0..bits.unsigned()? {
                bits.signed()?;
            }
        }
        _ => {}
    }
    let references = bits.unsigned()?;
    if references > 16 {
        return Some(Err(corrupt(format!("{references} reference pictures"))));
    }
    bits.bit()?;
    let macroblocks = (bits.unsigned()?, bits.unsigned()?);
    let frames_only = bits.bit()?;
    if !frames_only && bits.bit()? {
        return refuse("interlaced H.264");
    }
    bits.bit()?;
    // A mapped unit is two rows of macroblocks where fields are allowed.
    let fields = if frames_only { 1 } else { 2 };
    let side = |count: u32, times: u32| count.checked_add(1)?.checked_mul(16 * times);
    let coded = side(macroblocks.0, 1).zip(side(macroblocks.1, fields));
    let Some(coded) = coded else {
        return Some(Err(corrupt("a frame of impossible size")));
    };
    let mut crop = [0u32; 4];
    if bits.bit()? {
        for (i, edge) in crop.iter_mut().enumerate() {
            let unit = if i < 2 { 2 } else { 2 * fields };
            *edge = bits.unsigned()?.saturating_mul(unit);
        }
    }
    let cut = |a: u32, b: u32, side: u32| u64::from(a) + u64::from(b) >= side.into();
    if cut(crop[0], crop[1], coded.0) || cut(crop[2], crop[3], coded.1) {
        return Some(Err(corrupt("a frame that is cropped to nothing")));
    }
    Some(Ok(Header {
        sps: Sps {
            coded,
            crop,
            references,
            bidirectional: profile != BASELINE,
            colour: None,
        },
        shown: bits.bit()?,
    }))
}

/// Passes the scaling lists (7.3.2.1.1.1) of 4:2:0.
fn scaling_lists(bits: &mut Bits) -> Option<()> {
    for list in 0..8 {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.wrapping_add(bits.signed()?) & 255;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// The colours that the usability information names, if it does.
fn colour(bits: &mut Bits) -> Option<Option<Colour>> {
    const EXTENDED_RATIO: u32 = 255;
    if bits.bit()? && bits.take(8)? == EXTENDED_RATIO {
        bits.take(32)?;
    }
    // Overscan.
    if bits.bit()? {
        bits.bit()?;
    }
    if !bits.bit()? {
        return Some(None);
    }
    bits.take(3)?;
    let full_range = bits.bit()?;
    let mut matrix = Colour::UNSPECIFIED;
    if bits.bit()? {
        bits.take(16)?;
        matrix = bits.take(8)? as u8;
    }
    Some(Some(Colour { matrix, full_range }))
}
