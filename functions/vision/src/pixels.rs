//! The one pixel layout that leaves this crate, and the way into it from what decoders deliver.

use image::ColorType;

/// A picture: `data` is `[height, width, 3] u8`, RGB, top row first. Both sides are at least 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub data: Vec<u8>,
}

impl Rgb {
    /// Wraps pixels. `None` unless both sides are at least 1 and `data` holds exactly `width * height * 3` bytes.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Option<Rgb> {
        let expected = width.checked_mul(height)?.checked_mul(3)?;
        (expected > 0 && data.len() == expected).then_some(Rgb {
            width,
            height,
            data,
        })
    }

    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Rgb {
        assert!(width > 0 && height > 0, "a picture has pixels");
        Rgb {
            width,
            height,
            data: colour.repeat(width * height),
        }
    }

    /// Row `y` from the top, `[width, 3]`.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..][..self.width * 3]
    }

    /// The pixel in column `x` of row `y`.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

impl std::fmt::Debug for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb({} x {})", self.width, self.height)
    }
}

/// What a decoder delivered: `[height, width, channels]`, samples of 8 bits or of 16 in native byte order.
pub(crate) struct Decoded {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) colour: ColorType,
    pub(crate) data: Vec<u8>,
}

impl Decoded {
    /// Bytes of one pixel, or `None` for a sample type that no page uses (floating point).
    pub(crate) fn supports(colour: ColorType) -> bool {
        use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
        matches!(
            colour,
            L8 | La8 | Rgb8 | Rgba8 | L16 | La16 | Rgb16 | Rgba16
        )
    }

    /// What shows through transparent pixels: white paper, or black where the visible pixels are themselves nearly
    /// white (mean luma weighted by alpha at least [`LIGHT_INK`]), as white text on a transparent ground would vanish.
    pub(crate) fn background(&self) -> u8 {
        if !self.colour.has_alpha() {
            return 255;
        }
        let (mut weighted, mut weight) = (0u64, 0u64);
        for y in 0..self.height {
            self.each_pixel(y, |[r, g, b, a]| {
                // BT.601 luma in 1/256.
                let luma = (77 * u64::from(r) + 150 * u64::from(g) + 29 * u64::from(b)) >> 8;
                weighted += luma * u64::from(a);
                weight += u64::from(a);
            });
        }
        if weight > 0 && weighted >= LIGHT_INK * weight {
            0
        } else {
            255
        }
    }

    /// Writes row `y` as RGB over `background`. `row`: `[width, 3]`.
    pub(crate) fn rgb_row(&self, y: usize, background: u8, row: &mut [u8]) {
        match self.colour {
            ColorType::Rgb8 => {
                row.copy_from_slice(&self.data[y * self.width * 3..][..self.width * 3])
            }
            ColorType::L8 => {
                let source = &self.data[y * self.width..][..self.width];
                for (pixel, &v) in row.chunks_exact_mut(3).zip(source) {
                    pixel.fill(v);
                }
            }
            _ => {
                let mut pixels = row.chunks_exact_mut(3);
                let over = |v: u8, a: u8| {
                    let (v, a, ground) = (u32::from(v), u32::from(a), u32::from(background));
                    ((v * a + ground * (255 - a) + 127) / 255) as u8
                };
                self.each_pixel(y, |[r, g, b, a]| {
                    if let Some(pixel) = pixels.next() {
                        pixel.copy_from_slice(&[over(r, a), over(g, a), over(b, a)]);
                    }
                });
            }
        }
    }

    /// Calls `f` with each pixel of row `y` as RGBA, 8 bits a sample, left to right.
    fn each_pixel(&self, y: usize, mut f: impl FnMut([u8; 4])) {
        let bytes = usize::from(self.colour.bytes_per_pixel());
        let channels = usize::from(self.colour.channel_count());
        let wide = bytes == 2 * channels;
        let row = &self.data[y * self.width * bytes..][..self.width * bytes];
        for pixel in row.chunks_exact(bytes) {
            let sample = |c: usize| {
                if wide {
                    let v = u32::from(u16::from_ne_bytes([pixel[2 * c], pixel[2 * c + 1]]));
                    ((v * 255 + 32_767) / 65_535) as u8
                } else {
                    pixel[c]
                }
            };
            f(match channels {
                1 => [sample(0), sample(0), sample(0), 255],
                2 => [sample(0), sample(0), sample(0), sample(1)],
                3 => [sample(0), sample(1), sample(2), 255],
                _ => [sample(0), sample(1), sample(2), sample(3)],
            });
        }
    }
}

/// Mean luma from which ink counts as light. Three quarters: dark text on a light, partly transparent page stays below
/// only when the page itself is the transparent part, which is when white is right.
const LIGHT_INK: u64 = 192;

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(colour: ColorType, data: &[u8], background: u8) -> Vec<u8> {
        let width = data.len() / usize::from(colour.bytes_per_pixel());
        let decoded = Decoded {
            width,
            height: 1,
            colour,
            data: data.to_vec(),
        };
        let mut row = vec![7; width * 3];
        decoded.rgb_row(0, background, &mut row);
        row
    }

    fn wide(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|v| v.to_ne_bytes()).collect()
    }

    #[test]
    fn every_layout_becomes_rgb() {
        assert_eq!(rgb(ColorType::L8, &[0, 200], 255), [0, 0, 0, 200, 200, 200]);
        assert_eq!(
            rgb(ColorType::Rgb8, &[1, 2, 3, 4, 5, 6], 255),
            [1, 2, 3, 4, 5, 6]
        );
        // 128/255 of 100 over white: (100 * 128 + 255 * 127 + 127) / 255 = 177.
        assert_eq!(
            rgb(ColorType::La8, &[100, 128, 9, 0], 255),
            [177, 177, 177, 255, 255, 255]
        );
        assert_eq!(
            rgb(ColorType::Rgba8, &[10, 20, 30, 255, 10, 20, 30, 0], 0),
            [10, 20, 30, 0, 0, 0]
        );
        // 257 * v is exactly v; 128 lies half-way below 1.
        assert_eq!(
            rgb(ColorType::L16, &wide(&[257 * 9, 65_535, 128]), 255),
            [9, 9, 9, 255, 255, 255, 0, 0, 0]
        );
        assert_eq!(
            rgb(ColorType::Rgba16, &wide(&[257, 514, 771, 65_535]), 255),
            [1, 2, 3]
        );
    }

    #[test]
    fn white_text_on_nothing_gets_a_black_ground() {
        let ground = |data: &[u8]| {
            Decoded {
                width: data.len() / 2,
                height: 1,
                colour: ColorType::La8,
                data: data.to_vec(),
            }
            .background()
        };
        assert_eq!(ground(&[255, 255, 0, 0, 0, 0]), 0);
        assert_eq!(ground(&[0, 255, 255, 0, 255, 0]), 255);
        // Nothing visible at all: paper.
        assert_eq!(ground(&[0, 0]), 255);
    }

    #[test]
    fn length_must_match_the_sides() {
        assert!(Rgb::new(2, 1, vec![0; 6]).is_some());
        assert!(Rgb::new(2, 1, vec![0; 5]).is_none());
        assert!(Rgb::new(0, 1, vec![]).is_none());
        assert!(Rgb::new(usize::MAX, 2, vec![]).is_none());
    }
}
