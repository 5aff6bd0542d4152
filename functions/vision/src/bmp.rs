//! An uncompressed BMP file -> its rows, in place: they are where the header says, from the bottom up as a rule.
//!
//! Other variants (run lengths, bit fields, alpha) are left to the crate `image`, which decodes whole.

use crate::limits::Limits;
use crate::rows::Rows;
use crate::{Error, Format};

const TRUNCATED: Error = Error::Truncated {
    format: Format::Bmp,
};

/// The rows, if this is a variant that is read here.
pub(crate) fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<BmpRows<'a>>, Error> {
    let number = |at: usize, width: usize| {
        let bytes = bytes.get(at..at + width).ok_or(TRUNCATED)?;
        let join = |value: u32, &byte: &u8| value << 8 | u32::from(byte);
        Ok::<u32, Error>(bytes.iter().rev().fold(0, join))
    };
    let header_bytes = number(14, 4)?;
    // BITMAPINFOHEADER and what came after it begin alike.
    if !(40..=124).contains(&header_bytes) {
        return Ok(None);
    }
    let (width, height) = (number(18, 4)?, number(22, 4)? as i32);
    let (bits, compression) = (number(28, 2)?, number(30, 4)?);
    if !matches!((bits, compression), (1 | 4 | 8 | 24, 0)) || width > i32::MAX as u32 {
        return Ok(None);
    }
    let upwards = height > 0;
    let height = height.unsigned_abs();
    limits.check_size(width, height)?;
    let mut palette = Vec::new();
    if bits <= 8 {
        let most = 1 << bits;
        let used = match number(46, 4)? {
            0 => most,
            used => used.min(most),
        };
        let at = 14 + header_bytes as usize;
        let colours = bytes.get(at..at + used as usize * 4).ok_or(TRUNCATED)?;
        // Blue first, and a byte to fill up.
        palette = colours
            .chunks_exact(4)
            .map(|c| [c[2], c[1], c[0]])
            .collect();
        // An index without a colour is black.
        palette.resize(1 << bits, [0; 3]);
    }
    // Rows are filled up to four bytes.
    let stride = (width as usize * bits as usize).div_ceil(32) * 4;
    let start = number(10, 4)? as usize;
    let end = stride
        .checked_mul(height as usize)
        .and_then(|length| length.checked_add(start));
    let pixels = end.and_then(|end| bytes.get(start..end)).ok_or(TRUNCATED)?;
    Ok(Some(BmpRows {
        grey: !palette.is_empty() && palette.iter().all(|c| c[0] == c[1] && c[1] == c[2]),
        width: width as usize,
        height: height as usize,
        bits: bits as usize,
        upwards,
        palette,
        stride,
        pixels,
        row: 0,
    }))
}

pub(crate) struct BmpRows<'a> {
    width: usize,
    height: usize,
    /// Of a pixel: an index into the palette, or blue, green, red.
    bits: usize,
    /// The lowest row comes first.
    upwards: bool,
    palette: Vec<[u8; 3]>,
    /// All colours are grey.
    grey: bool,
    /// Bytes of a row.
    stride: usize,
    pixels: &'a [u8],
    /// The next row.
    row: usize,
}

impl Rows for BmpRows<'_> {
    fn width(&self) -> usize {
        self.width
    }

    fn height(&self) -> usize {
        self.height
    }

    fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }

    fn next_row(&mut self, row: &mut [u8]) -> Result<(), Error> {
        let at = if self.upwards {
            self.height - 1 - self.row
        } else {
            self.row
        };
        self.row += 1;
        let pixels = &self.pixels[at * self.stride..][..self.stride];
        if self.bits == 24 {
            for (out, pixel) in row.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
                out.copy_from_slice(&[pixel[2], pixel[1], pixel[0]]);
            }
            return Ok(());
        }
        let bits = self.bits;
        let channels = self.channels();
        for (x, out) in row.chunks_exact_mut(channels).enumerate() {
            let below = 8 - bits - x * bits % 8;
            let index = usize::from(pixels[x * bits / 8] >> below) & ((1 << bits) - 1);
            out.copy_from_slice(&self.palette[index][..channels]);
        }
        Ok(())
    }
}
