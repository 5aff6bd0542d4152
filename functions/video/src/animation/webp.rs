//! Animated WebP (RFC 9649, 2.7): chunks to frames. Each frame is handed to the crate `image-webp` as a file of its own, so that only
//! its still decoder is used: its compositing does not clear what a frame disposes of.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{Animation, Frames};
use crate::canvas::{Area, Blend, Canvas, Dispose};
use crate::{Error, Kind, Limits};

/// Flags of the extended header.
const ANIMATED: u8 = 0x02;
const HAS_ALPHA: u8 = 0x10;

/// Whether the extended header says so.
pub(super) fn is_animated(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & ANIMATED != 0)
}

pub(super) fn look(bytes: &[u8], limits: &Limits) -> Result<Animation, Error> {
    let size = bytes.get(24..30);
    let size = size.ok_or_else(|| Error::corrupt(Kind::WebP, "file is truncated"))?;
    let mut areas = Vec::new();
    for chunk in (Chunks { bytes, at: 12 }).filter(|chunk| chunk.name == *b"ANMF") {
        // A frame that is cut off before its size has none that could be drawn.
        let area = chunk.body.get(6..12).map_or(0, |sides| {
            u64::from(number(&sides[..3]) + 1) * u64::from(number(&sides[3..]) + 1)
        });
        areas.push(area);
        limits.check_frames(areas.len() as u64)?;
    }
    Ok(Animation {
        kind: Kind::WebP,
        size: (number(&size[..3]) + 1, number(&size[3..]) + 1),
        areas,
    })
}

/// The frames' chunks, in the file's order.
pub(super) struct WebPFrames<'a> {
    chunks: Chunks<'a>,
}

impl WebPFrames<'_> {
    pub(super) fn open(bytes: &[u8]) -> WebPFrames<'_> {
        WebPFrames {
            chunks: Chunks { bytes, at: 12 },
        }
    }
}

impl Frames for WebPFrames<'_> {
    fn draw(&mut self, canvas: &mut Canvas) -> Result<(), String> {
        let chunk = self.chunks.find(|chunk| chunk.name == *b"ANMF");
        let body = chunk.ok_or("it is missing")?.body;
        let (header, data) = body.split_at_checked(16).ok_or("it is truncated")?;
        let three = |at: usize| number(&header[at..at + 3]);
        let (width, height) = (three(6) + 1, three(9) + 1);
        let area = Area {
            x: three(0) as usize * 2,
            y: three(3) as usize * 2,
            width: width as usize,
            height: height as usize,
        };
        let pixels = still(data, width, height)?;
        let blend = if header[15] & 2 == 0 {
            Blend::Over
        } else {
            Blend::Replace
        };
        let dispose = if header[15] & 1 == 0 {
            Dispose::Keep
        } else {
            Dispose::Clear
        };
        canvas.draw(area, &pixels, blend, dispose);
        Ok(())
    }
}

/// Decodes a frame's chunks to RGBA.
fn still(data: &[u8], width: u32, height: u32) -> Result<Vec<u8>, String> {
    let mut alpha = None;
    let mut picture = None;
    for chunk in (Chunks { bytes: data, at: 0 }) {
        match &chunk.name {
            b"ALPH" => alpha = Some(chunk),
            b"VP8 " | b"VP8L" => picture = Some(chunk),
            _ => {}
        }
    }
    let picture = picture.ok_or("it has no picture")?;
    // A decoder allocates for the size that the picture has itself.
    if sides(&picture) != Some((width, height)) {
        return Err("its picture has another size".to_owned());
    }
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    if let Some(alpha) = alpha.filter(|_| picture.name == *b"VP8 ") {
        let side = |side: u32| (side - 1).to_le_bytes();
        let flags = [HAS_ALPHA, 0, 0, 0];
        append(
            &mut file,
            b"VP8X",
            &[&flags[..], &side(width)[..3], &side(height)[..3]].concat(),
        );
        append(&mut file, b"ALPH", alpha.body);
    }
    append(&mut file, &picture.name, picture.body);
    let length = (file.len() as u32 - 8).to_le_bytes();
    file[4..8].copy_from_slice(&length);
    let fail = |e: image_webp::DecodingError| e.to_string();
    let mut decoder = WebPDecoder::new(Cursor::new(&file[..])).map_err(fail)?;
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or("it is too large")?];
    decoder.read_image(&mut pixels).map_err(fail)?;
    if !decoder.has_alpha() {
        let opaque = pixels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]);
        pixels = opaque.collect();
    }
    Ok(pixels)
}

fn append(file: &mut Vec<u8>, name: &[u8; 4], body: &[u8]) {
    file.extend_from_slice(name);
    file.extend_from_slice(&(body.len() as u32).to_le_bytes());
    file.extend_from_slice(body);
    if body.len() % 2 == 1 {
        file.push(0);
    }
}

/// The size in a picture's own header: a key frame of VP8 (RFC 6386, 9.1) or VP8L (RFC 9649, 3.4).
fn sides(picture: &Chunk<'_>) -> Option<(u32, u32)> {
    if picture.name == *b"VP8L" {
        let bits = number(picture.body.get(1..5)?);
        return Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
    }
    let side = |at: usize| Some(number(picture.body.get(at..at + 2)?) & 0x3fff);
    Some((side(6)?, side(8)?))
}

/// Little-endian bytes, up to four.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u32::from(b))
}

struct Chunk<'a> {
    name: [u8; 4],
    body: &'a [u8],
}

/// RIFF chunks from a place on; a last one that is cut off has what there is of it.
struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let header = self.bytes.get(self.at..self.at + 8)?;
        let length = number(&header[4..]) as usize;
        let start = self.at + 8;
        let end = start.saturating_add(length).min(self.bytes.len());
        // Filled up to an even length.
        self.at = end + (end - start) % 2;
        Some(Chunk {
            name: [header[0], header[1], header[2], header[3]],
            body: &self.bytes[start..end],
        })
    }
}
