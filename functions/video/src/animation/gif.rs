//! GIF 89a: blocks to frames. LZW is the crate `gif`'s.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod};

use super::{Animation, Frames};
use crate::canvas::{Area, Blend, Canvas, Dispose};
use crate::{Error, Kind, Limits};

/// Walks the blocks. A file that is cut off has the frames that have begun.
pub(super) fn look(bytes: &[u8], limits: &Limits) -> Result<Animation, Error> {
    let header = bytes.get(..13);
    let header = header.ok_or_else(|| Error::corrupt(Kind::Gif, "file is truncated"))?;
    let side = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let mut areas = Vec::new();
    let mut at = 13 + table_bytes(header[10]);
    // Extension, image, or the end.
    while let Some(&block) = bytes.get(at) {
        match block {
            0x21 => at = behind(bytes, at + 2),
            0x2c => {
                let Some(image) = bytes.get(at + 1..at + 10) else {
                    break;
                };
                let side = |at: usize| u64::from(u16::from_le_bytes([image[at], image[at + 1]]));
                areas.push(side(4) * side(6));
                limits.check_frames(areas.len() as u64)?;
                // The descriptor, a table, the code size, then the data.
                at = behind(bytes, at + 11 + table_bytes(image[8]));
            }
            _ => break,
        }
    }
    Ok(Animation {
        kind: Kind::Gif,
        size: (side(6), side(8)),
        areas,
    })
}

/// Bytes of a colour table that these flags announce.
fn table_bytes(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        return 0;
    }
    3 << ((flags & 7) + 1)
}

/// Where a chain of sub-blocks that starts at `at` ends.
fn behind(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&length) = bytes.get(at) {
        at += 1 + usize::from(length);
        if length == 0 {
            return at;
        }
    }
    bytes.len()
}

pub(super) struct GifFrames<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
    /// Of the largest frame that the look through the file found.
    largest: u64,
    pixels: Vec<u8>,
}

impl GifFrames<'_> {
    pub(super) fn open(bytes: &[u8], largest: u64) -> Result<GifFrames<'_>, String> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let decoder = options.read_info(Cursor::new(bytes));
        Ok(GifFrames {
            decoder: decoder.map_err(|e| e.to_string())?,
            largest,
            pixels: Vec::new(),
        })
    }
}

impl Frames for GifFrames<'_> {
    fn draw(&mut self, canvas: &mut Canvas) -> Result<(), String> {
        let frame = self.decoder.next_frame_info().map_err(|e| e.to_string())?;
        let frame = frame.ok_or("it is missing")?;
        let dispose = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Dispose::Keep,
            DisposalMethod::Background => Dispose::Clear,
            DisposalMethod::Previous => Dispose::Restore,
        };
        let area = Area {
            x: frame.left.into(),
            y: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
        };
        if area.width == 0 || area.height == 0 {
            return Err("it has no pixels".to_owned());
        }
        // The decoder may take damage for a frame that the look did not.
        if (area.width * area.height) as u64 > self.largest {
            return Err("it is larger than its blocks announce".to_owned());
        }
        self.pixels.clear();
        self.pixels.resize(area.width * area.height * 4, 0);
        self.decoder
            .read_into_buffer(&mut self.pixels)
            .map_err(|e| e.to_string())?;
        canvas.draw(area, &self.pixels, Blend::Over, dispose);
        Ok(())
    }
}
