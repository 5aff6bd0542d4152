//! Pictures as a sequence of rows, from the top: what every decoder here delivers, so that none has to be held whole.

use crate::Error;

/// A picture that is decoded as its rows are asked for.
pub(crate) trait Rows {
    /// Pixels in a row, at least 1.
    fn width(&self) -> usize;

    /// Rows, at least 1.
    fn height(&self) -> usize;

    /// 1: grey; 3: RGB; 4: RGBA, not multiplied. Samples are of 8 bits.
    fn channels(&self) -> usize;

    /// Writes the next row, `[width, channels]`. Not called more than `height` times.
    fn next_row(&mut self, row: &mut [u8]) -> Result<(), Error>;
}

/// Bytes in rows, one after the other: where a decoder's result comes from, or what is left of a buffer.
pub(crate) struct Whole {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    /// `[height, width, channels]`.
    pub(crate) data: Vec<u8>,
    /// The next row.
    pub(crate) row: usize,
}

impl Rows for Whole {
    fn width(&self) -> usize {
        self.width
    }

    fn height(&self) -> usize {
        self.height
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn next_row(&mut self, row: &mut [u8]) -> Result<(), Error> {
        let bytes = self.width * self.channels;
        row.copy_from_slice(&self.data[self.row * bytes..][..bytes]);
        self.row += 1;
        Ok(())
    }
}

/// 16 bits to 8, rounded.
pub(crate) fn narrow(sample: u16) -> u8 {
    ((u32::from(sample) * 255 + 32_767) / 65_535) as u8
}

/// What shows through transparent pixels: white paper, or black where the visible pixels are themselves nearly
/// white (mean luma weighted by alpha at least [`LIGHT_INK`]), as white text on a transparent ground would vanish.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    weighted: u64,
    weight: u64,
}

/// Mean luma from which ink counts as light. Three quarters: dark text on a light, partly transparent page stays below
/// only when the page itself is the transparent part, which is when white is right.
const LIGHT_INK: u64 = 192;

impl Ground {
    /// Looks at a row of RGBA.
    pub(crate) fn look(&mut self, row: &[u8]) {
        for pixel in row.chunks_exact(4) {
            let [r, g, b, a] = [0, 1, 2, 3].map(|i| u64::from(pixel[i]));
            // BT.601 luma in 1/256.
            let luma = (77 * r + 150 * g + 29 * b) >> 8;
            self.weighted += luma * a;
            self.weight += a;
        }
    }

    /// The colour, after all rows.
    pub(crate) fn colour(&self) -> u8 {
        if self.weight > 0 && self.weighted >= LIGHT_INK * self.weight {
            0
        } else {
            255
        }
    }
}

/// Lays a row of RGBA over a ground: `[width, 4]` to `[width, 3]`.
pub(crate) fn lay_over(ground: u8, rgba: &[u8], rgb: &mut [u8]) {
    for (out, pixel) in rgb.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        let a = u32::from(pixel[3]);
        for (out, &v) in out.iter_mut().zip(pixel) {
            *out = ((u32::from(v) * a + u32::from(ground) * (255 - a) + 127) / 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_pixels_show_the_ground() {
        let mut row = [7; 6];
        // 128/255 of 100 over white: (100 * 128 + 255 * 127 + 127) / 255 = 177.
        lay_over(255, &[100, 100, 100, 128, 9, 9, 9, 0], &mut row);
        assert_eq!(row, [177, 177, 177, 255, 255, 255]);
        lay_over(0, &[10, 20, 30, 255, 10, 20, 30, 0], &mut row);
        assert_eq!(row, [10, 20, 30, 0, 0, 0]);
    }

    #[test]
    fn white_text_on_nothing_gets_a_black_ground() {
        let ground = |row: &[u8]| {
            let mut ground = Ground::default();
            ground.look(row);
            ground.colour()
        };
        assert_eq!(ground(&[255, 255, 255, 255, 0, 0, 0, 0]), 0);
        assert_eq!(ground(&[0, 0, 0, 255, 255, 255, 255, 0]), 255);
        // Nothing visible at all: paper.
        assert_eq!(ground(&[0, 0, 0, 0]), 255);
    }

    #[test]
    fn sixteen_bits_round_to_eight() {
        // 257 * v is exactly v; 128 lies half-way below 1.
        assert_eq!([257 * 9, 65_535, 128, 129].map(narrow), [9, 255, 0, 1]);
    }
}
