//! Animated GIF, WebP and PNG: frames that are drawn over each other, one by one.
//!
//! A look through the file's blocks finds the size and how many frames there are; nothing is decoded for it. Then frames are drawn in
//! order up to the last that is wanted. One canvas and one frame are in memory.

mod apng;
mod gif;
mod webp;

use ephemera_vision::Rgb;

use crate::canvas::Canvas;
use crate::{Error, Kind, Limits};

/// What a look through a file finds.
#[derive(Debug)]
pub(crate) struct Animation {
    kind: Kind,
    /// Sides of the canvas in pixels.
    size: (u32, u32),
    /// Each frame's area in pixels, its own and not the canvas's.
    areas: Vec<u64>,
}

/// A decoder that draws the next frame. What is wrong with it, in words, if it cannot.
trait Frames {
    fn draw(&mut self, canvas: &mut Canvas) -> Result<(), String>;
}

/// Whether a PNG file is animated.
pub(crate) fn is_apng(bytes: &[u8]) -> bool {
    apng::is_animated(bytes)
}

/// Whether a WebP file is animated.
pub(crate) fn is_webp(bytes: &[u8]) -> bool {
    webp::is_animated(bytes)
}

impl Animation {
    /// Looks through a file.
    pub(crate) fn open(kind: Kind, bytes: &[u8], limits: &Limits) -> Result<Animation, Error> {
        let animation = match kind {
            Kind::Gif => gif::look(bytes, limits),
            Kind::WebP => webp::look(bytes, limits),
            _ => apng::look(bytes, limits),
        }?;
        limits.check_size(animation.size)?;
        if animation.areas.is_empty() {
            return Err(Error::corrupt(kind, "no frame"));
        }
        limits.check_bytes(animation.decoder_bytes())?;
        Ok(animation)
    }

    /// What drawing takes, in bytes: of the largest frame its pixels, and what was there before it or a decoder's planes; the canvas,
    /// and a copy of it as RGB. The decoder of PNG has room for a frame as large as the canvas beside them.
    fn decoder_bytes(&self) -> u64 {
        let canvas = u64::from(self.size.0) * u64::from(self.size.1);
        let canvas_bytes = match self.kind {
            Kind::Apng => 4 + 4 + 3,
            _ => 4 + 3,
        };
        let frame_bytes = self.largest().saturating_mul(8);
        frame_bytes.saturating_add(canvas * canvas_bytes)
    }

    /// Pixels of the largest frame.
    fn largest(&self) -> u64 {
        self.areas.iter().max().copied().unwrap_or(0)
    }

    pub(crate) fn frames(&self) -> usize {
        self.areas.len()
    }

    /// Draws the frames up to the last of `indices`, which ascend, and hands out those.
    pub(crate) fn sample<E: From<Error>>(
        &self,
        bytes: &[u8],
        indices: impl Iterator<Item = usize>,
        limits: &Limits,
        mut each: impl FnMut(usize, Rgb) -> Result<(), E>,
    ) -> Result<(), E> {
        let (width, height) = self.size;
        let fail = |index: usize| move |reason| Error::CorruptFrame { index, reason };
        let mut frames: Box<dyn Frames> = match self.kind {
            Kind::Gif => Box::new(gif::GifFrames::open(bytes, self.largest()).map_err(fail(0))?),
            Kind::WebP => Box::new(webp::WebPFrames::open(bytes)),
            _ => Box::new(apng::ApngFrames::open(bytes, limits).map_err(fail(0))?),
        };
        let mut canvas = Canvas::new(width as usize, height as usize);
        let (mut drawn, mut pixels) = (0, 0u64);
        for index in indices {
            while drawn <= index {
                pixels = pixels.saturating_add(self.areas[drawn]);
                limits.check_work(pixels)?;
                frames.draw(&mut canvas).map_err(fail(drawn))?;
                drawn += 1;
            }
            each(index, canvas.rgb())?;
        }
        Ok(())
    }
}
