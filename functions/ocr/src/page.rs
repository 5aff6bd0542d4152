//! Bytes of an image -> [`Page`]: upright pixels of bounded size, and the way back to the original's pixels.

use ephemera_vision::{Options, Point, Quad, Region, Rgb, decode};

use crate::Error;

/// Longest side of the picture that is read. It is also what the contract's clients shrink to themselves.
pub const MAX_PAGE_SIDE_PX: usize = 2048;

/// A strip, more than twice as long as wide, may be this many times as long as a page: a receipt, or a long line that was cut
/// out, would be illegible as small as a page is. It has no more pixels than a page.
pub const MAX_STRIP_RATIO: usize = 4;

/// A page to be read.
#[derive(Debug)]
pub struct Page {
    /// What is read, at most [`MAX_PAGE_SIDE_PX`] a side, or as a strip [`MAX_STRIP_RATIO`] times that: the region.
    pub pixels: Rgb,
    /// Width of the upright original, in its pixels.
    pub width: u32,
    /// Height of the upright original, in its pixels.
    pub height: u32,
    /// The part of the upright original that is read, in its pixels.
    pub region: Region,
    /// Which page of its file it is, from 1.
    pub number: u32,
}

/// Integer bounds in the original's pixels: left, top, right, bottom; right and bottom exclusive.
pub type Bounds = [u32; 4];

impl Page {
    /// Decodes and shrinks what `options` ask for. Whoever does not need the bytes any more drops them before the page
    /// is read.
    ///
    /// # Errors
    /// [`Error::Image`].
    pub fn open(image: &[u8], options: &Options) -> Result<Page, Error> {
        let picture = decode(image, options)?;
        Ok(Page {
            pixels: picture.rgb,
            width: picture.original_width,
            height: picture.original_height,
            region: picture.region,
            number: options.page,
        })
    }

    /// A page of which all is read.
    pub fn whole(pixels: Rgb, width: u32, height: u32) -> Page {
        Page {
            pixels,
            width,
            height,
            region: Region::whole((width, height)),
            number: 1,
        }
    }

    /// Corners in the original's pixels, rounded, inside the page.
    pub fn corners(&self, quad: &Quad) -> [[u32; 2]; 4] {
        let Region {
            x: left,
            y: top,
            width,
            height,
        } = self.region;
        quad.map(|Point { x, y }| {
            [
                left + to_original(x, self.pixels.width, width),
                top + to_original(y, self.pixels.height, height),
            ]
        })
    }

    /// Corners in the original's pixels, x and y, not rounded, inside the page.
    pub fn points(&self, quad: &Quad) -> [[f64; 2]; 4] {
        let scaled = |at: f32, side: usize, first: u32, original: u32| {
            let original = f64::from(original);
            let at = f64::from(at) * original / side as f64;
            // Not `clamp`, which lets NaN through.
            f64::from(first) + at.max(0.0).min(original)
        };
        let region = self.region;
        quad.map(|Point { x, y }| {
            [
                scaled(x, self.pixels.width, region.x, region.width),
                scaled(y, self.pixels.height, region.y, region.height),
            ]
        })
    }

    /// The smallest upright rectangle around a quad, in the original's pixels.
    pub fn bounds(&self, quad: &Quad) -> Bounds {
        let corners = self.corners(quad);
        let xs = corners.map(|[x, _]| x);
        let ys = corners.map(|[_, y]| y);
        let least = |v: [u32; 4]| v.into_iter().fold(u32::MAX, u32::min);
        let most = |v: [u32; 4]| v.into_iter().fold(0, u32::max);
        [least(xs), least(ys), most(xs), most(ys)]
    }
}

/// Casts saturate, so that anything outside the region ends on its edge.
fn to_original(at: f32, side: usize, original: u32) -> u32 {
    let scaled = f64::from(at) * f64::from(original) / side as f64;
    (scaled.round() as u32).min(original)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_come_back_in_the_originals_pixels() {
        let mut page = Page::whole(Rgb::filled(100, 50, [0; 3]), 300, 150);
        let at = |x: f32, y: f32| Point { x, y };
        // A tilted quad that reaches over the left and lower edges.
        let quad = [
            at(-3.0, 10.0),
            at(20.5, 8.0),
            at(21.0, 55.0),
            at(-2.0, 56.0),
        ];
        assert_eq!(
            page.corners(&quad),
            [[0, 30], [62, 24], [63, 150], [0, 150]]
        );
        assert_eq!(page.bounds(&quad), [0, 24, 63, 150]);
        assert_eq!(
            page.points(&quad),
            [[0.0, 30.0], [61.5, 24.0], [63.0, 150.0], [0.0, 150.0]]
        );
        assert_eq!(
            page.points(&[at(f32::NAN, f32::INFINITY); 4]),
            [[0.0, 150.0]; 4]
        );
        // The same pixels as a part of a larger page.
        (page.width, page.height) = (1000, 800);
        (page.region.x, page.region.y) = (500, 600);
        assert_eq!(page.bounds(&quad), [500, 624, 563, 750]);
    }
}
