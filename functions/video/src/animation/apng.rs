//! Animated PNG (ISO/IEC 15948:2023, 11.3.8): chunks to frames, decoded by the crate `png`.

use std::io::Cursor;

use png::{BlendOp, ColorType, Decoder, DisposeOp, Reader, Transformations};

use super::{Animation, Frames};
use crate::canvas::{Area, Blend, Canvas, Dispose};
use crate::{Error, Kind, Limits};

/// Whether a control chunk stands before the pixels.
pub(super) fn is_animated(bytes: &[u8]) -> bool {
    let mut head = Chunks { bytes, at: 8 }.take_while(|chunk| chunk.name != b"IDAT");
    head.any(|chunk| chunk.name == b"acTL")
}

/// Counts the frames that are there, up to as many as are announced.
pub(super) fn look(bytes: &[u8], limits: &Limits) -> Result<Animation, Error> {
    let corrupt = |reason: &str| Error::corrupt(Kind::Apng, reason);
    let mut size = None;
    let mut announced = None;
    let mut areas = Vec::new();
    for chunk in (Chunks { bytes, at: 8 }) {
        let field = |at: usize| {
            let bytes = chunk.body.get(at..at + 4)?;
            Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        match chunk.name {
            b"IHDR" => {
                size = field(0).zip(field(4));
                if chunk.body.get(12) != Some(&0) {
                    return Err(Error::unsupported(Kind::Apng, "interlaced frames"));
                }
            }
            b"acTL" => announced = field(0),
            b"fcTL" => {
                let (width, height) = (field(4).unwrap_or(0), field(8).unwrap_or(0));
                areas.push(u64::from(width) * u64::from(height));
                limits.check_frames(areas.len() as u64)?;
            }
            _ => {}
        }
    }
    areas.truncate(announced.unwrap_or(0) as usize);
    Ok(Animation {
        kind: Kind::Apng,
        size: size.ok_or_else(|| corrupt("header chunk is missing"))?,
        areas,
    })
}

pub(super) struct ApngFrames<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    /// As the decoder writes it: large enough for the canvas.
    decoded: Vec<u8>,
    /// RGBA.
    pixels: Vec<u8>,
}

impl ApngFrames<'_> {
    pub(super) fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<ApngFrames<'a>, String> {
        let limits = png::Limits {
            bytes: limits.max_decode_bytes as usize,
        };
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        // Palettes to colours, transparent colours to alpha, all samples to 8 bits.
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let reader = decoder.read_info().map_err(|e| e.to_string())?;
        let bytes = reader.output_buffer_size().ok_or("it is too large")?;
        let mut frames = ApngFrames {
            reader,
            decoded: vec![0; bytes],
            pixels: Vec::new(),
        };
        // A picture before the first control chunk is for those who know no animation.
        if frames.reader.info().frame_control().is_none() {
            frames.decode()?;
        }
        Ok(frames)
    }

    fn decode(&mut self) -> Result<png::OutputInfo, String> {
        let decoded = self.reader.next_frame(&mut self.decoded);
        decoded.map_err(|e| e.to_string())
    }
}

impl Frames for ApngFrames<'_> {
    fn draw(&mut self, canvas: &mut Canvas) -> Result<(), String> {
        let output = self.decode()?;
        let control = self.reader.info().frame_control();
        let control = *control.ok_or("its control chunk is missing")?;
        let area = Area {
            x: control.x_offset as usize,
            y: control.y_offset as usize,
            width: output.width as usize,
            height: output.height as usize,
        };
        let channels = output.color_type.samples();
        let decoded = &self.decoded[..area.width * area.height * channels];
        self.pixels.clear();
        let pixels = decoded
            .chunks_exact(channels)
            .map(|p| match output.color_type {
                ColorType::Grayscale => [p[0], p[0], p[0], 255],
                ColorType::GrayscaleAlpha => [p[0], p[0], p[0], p[1]],
                ColorType::Rgb => [p[0], p[1], p[2], 255],
                // Palettes are expanded.
                _ => [p[0], p[1], p[2], p[3]],
            });
        self.pixels.extend(pixels.flatten());
        let blend = match control.blend_op {
            BlendOp::Source => Blend::Replace,
            BlendOp::Over => Blend::Over,
        };
        let dispose = match control.dispose_op {
            DisposeOp::None => Dispose::Keep,
            DisposeOp::Background => Dispose::Clear,
            DisposeOp::Previous => Dispose::Restore,
        };
        canvas.draw(area, &self.pixels, blend, dispose);
        Ok(())
    }
}

struct Chunk<'a> {
    name: &'a [u8],
    body: &'a [u8],
}

/// PNG chunks from a place on; a last one that is cut off has what there is of it.
struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let (length, name) = self.bytes.get(self.at..self.at + 8)?.split_at(4);
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let start = self.at + 8;
        let end = start.saturating_add(length as usize).min(self.bytes.len());
        // The check sum behind it.
        self.at = end.saturating_add(4);
        Some(Chunk {
            name,
            body: &self.bytes[start..end],
        })
    }
}
