//! What a picture may take, and what is wanted of it.

use crate::Error;

/// Bounds on pictures from outside. Each is checked against what a file's header announces, before anything is
/// allocated or decoded for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels.
    pub max_side_px: u32,
    /// Largest area in pixels. It bounds the time, as `max_decode_bytes` bounds the memory.
    pub max_pixels: u64,
    /// Largest sum of a decoder's buffers in bytes, the result included where it grows beside them.
    pub max_decode_bytes: u64,
}

impl Default for Limits {
    /// - Sides of 30,000 px: an A0 sheet at 600 dpi has 28,100.
    /// - 110 million pixels: cameras of "100 megapixels" make up to 108.
    /// - 40 MiB of buffers: with models and code (7 MiB) and a body of 10 MiB a request stays under 64 MiB. Only what is
    ///   decoded whole needs so much: lossy WebP (9 Mpx), lossless WebP, GIF, interlaced PNG, and progressive
    ///   JPEG, which is scaled down further instead of being refused (up to 80 Mpx at 4:4:4).
    fn default() -> Limits {
        Limits {
            max_side_px: 30_000,
            max_pixels: 110_000_000,
            max_decode_bytes: 40 << 20,
        }
    }
}

impl Limits {
    /// Checks a header's announcement of a size.
    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), Error> {
        if width == 0 || height == 0 {
            return Err(Error::ZeroSize { width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) > self.max_side_px || pixels > self.max_pixels {
            return Err(Error::TooLarge {
                width,
                height,
                max_side_px: self.max_side_px,
                max_pixels: self.max_pixels,
            });
        }
        Ok(())
    }

    /// Checks what a decoder's buffers would take for a picture of this size.
    pub(crate) fn check_bytes(
        &self,
        (width, height): (u32, u32),
        needed_bytes: u64,
    ) -> Result<(), Error> {
        if needed_bytes > self.max_decode_bytes {
            return Err(Error::TooHeavy {
                width,
                height,
                needed_bytes,
                limit_bytes: self.max_decode_bytes,
            });
        }
        Ok(())
    }
}

/// A rectangle of whole pixels. Both sides are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Columns to the left of it.
    pub x: u32,
    /// Rows above it.
    pub y: u32,
    /// Its columns.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

impl Region {
    /// All of a picture.
    pub fn whole((width, height): (u32, u32)) -> Region {
        Region {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// Checks that it is not empty and lies in a picture of this size.
    pub(crate) fn check(self, (width, height): (u32, u32)) -> Result<Region, Error> {
        let inside = |at: u32, side: u32, most: u32| {
            side > 0 && at.checked_add(side).is_some_and(|end| end <= most)
        };
        if inside(self.x, self.width, width) && inside(self.y, self.height, height) {
            Ok(self)
        } else {
            Err(Error::Region {
                region: self,
                width,
                height,
            })
        }
    }
}

/// What is wanted of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What it may take.
    pub limits: Limits,
    /// Longest side of the result in pixels, at least 1.
    pub max_side: usize,
    /// Longest side of a strip, which is more than twice as long as wide: it keeps the area of a picture that is just twice as
    /// long, as far as its longest side gets no longer than this. Nothing below `max_side` has an effect.
    pub max_strip_side: usize,
    /// Which page of a file that has several, from 1.
    pub page: u32,
    /// Which part of the upright picture, in its pixels; all of it if `None`.
    pub region: Option<Region>,
}

impl Options {
    /// The first page, whole, shrunk to at most `max_side` px a side, strips too, within the default limits.
    pub fn new(max_side: usize) -> Options {
        Options {
            limits: Limits::default(),
            max_side,
            max_strip_side: max_side,
            page: 1,
            region: None,
        }
    }

    /// Longest side of the result of a picture of `width` x `height` px.
    pub(crate) fn longest_side(&self, width: u32, height: u32) -> usize {
        let (longest, shortest) = (width.max(height), width.min(height).max(1));
        let area = (self.max_side as u64).saturating_pow(2) / 2;
        let side = (area.saturating_mul(longest.into()) / u64::from(shortest)).isqrt();
        (side.min(self.max_strip_side as u64) as usize)
            .max(self.max_side)
            .max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_keep_the_area_of_a_picture_twice_as_long_as_wide() {
        // (width, height, longest side of the result)
        let cases = [
            (1000, 1000, 2048),
            (4096, 2048, 2048),
            // 2048 * 2048 / 2 * 8 has the root 4096.
            (8000, 1000, 4096),
            (100, 800, 4096),
            (9000, 10, 8192),
            (1, 1, 2048),
        ];
        let options = Options {
            max_strip_side: 8192,
            ..Options::new(2048)
        };
        for (width, height, expected) in cases {
            assert_eq!(
                options.longest_side(width, height),
                expected,
                "{width} x {height}"
            );
            assert_eq!(Options::new(2048).longest_side(width, height), 2048);
        }
        assert_eq!(Options::new(0).longest_side(0, 0), 1);
    }
}
