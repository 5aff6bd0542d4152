//! A PNG file -> its rows.
//!
//! A row at a time; only interlaced pictures, whose rows come in passes, are decoded whole.

use std::io::{Cursor, ErrorKind};

use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

use crate::decode::Announced;
use crate::limits::Limits;
use crate::rows::{Rows, Whole, narrow};
use crate::{Error, Format};

/// Reads the header chunk, and the orientation, which may stand before the pixels or behind them.
pub(crate) fn announced(bytes: &[u8], limits: &Limits) -> Result<Announced, Error> {
    let size = size(bytes)?;
    limits.check_size(size.0, size.1)?;
    // What stands before the pixels must be sound.
    reader(bytes, limits)?;
    let exif = chunks(bytes).find(|(kind, _)| *kind == b"eXIf");
    let turned = exif.and_then(|(_, exif)| Orientation::from_exif_chunk(exif));
    Ok(Announced {
        size,
        orientation: turned.unwrap_or(Orientation::NoTransforms),
    })
}

/// Starts decoding. `result_bytes`: what grows beside a picture that is decoded whole.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    result_bytes: u64,
) -> Result<Box<dyn Rows + 'a>, Error> {
    let mut reader = reader(bytes, limits)?;
    let info = reader.info();
    let (width, height) = (info.width, info.height);
    let interlaced = info.interlaced;
    let (colour, depth) = reader.output_color_type();
    let samples = colour.samples();
    // Grey with alpha is made RGBA.
    let channels = if colour == ColorType::GrayscaleAlpha {
        4
    } else {
        samples
    };
    let wide = depth == BitDepth::Sixteen;
    let mut rows = PngRows {
        width: width as usize,
        height: height as usize,
        samples,
        channels,
        wide,
        left: height,
        reader: None,
    };
    if !interlaced {
        rows.reader = Some(reader);
        return Ok(Box::new(rows));
    }
    let pixels = u64::from(width) * u64::from(height);
    let sample_bytes = if wide { 2 } else { 1 };
    let decoded_bytes = pixels * samples as u64 * sample_bytes;
    let needed_bytes = if wide || channels != samples {
        decoded_bytes + pixels * channels as u64
    } else {
        decoded_bytes
    };
    limits.check_bytes((width, height), needed_bytes)?;
    let samples_bytes = pixels * channels as u64;
    limits.check_bytes((width, height), samples_bytes + result_bytes)?;
    let mut decoded = vec![0; decoded_bytes as usize];
    reader.next_frame(&mut decoded).map_err(explain)?;
    if needed_bytes > decoded_bytes {
        let mut data = vec![0; (pixels * channels as u64) as usize];
        rows.convert(&decoded, &mut data);
        decoded = data;
    }
    Ok(Box::new(Whole {
        width: rows.width,
        height: rows.height,
        channels,
        data: decoded,
        row: 0,
    }))
}

struct PngRows<'a> {
    width: usize,
    height: usize,
    /// Samples of a decoded pixel, and of one that is delivered.
    samples: usize,
    channels: usize,
    /// Samples have 16 bits, the upper half first.
    wide: bool,
    /// Rows to come.
    left: u32,
    reader: Option<Reader<Cursor<&'a [u8]>>>,
}

impl PngRows<'_> {
    /// Decoded samples to delivered ones.
    fn convert(&self, decoded: &[u8], out: &mut [u8]) {
        let bytes = if self.wide { 2 } else { 1 };
        if !self.wide && self.samples == self.channels {
            out.copy_from_slice(decoded);
            return;
        }
        let sample = |bytes: &[u8]| match *bytes {
            [high, low] => narrow(u16::from_be_bytes([high, low])),
            _ => bytes[0],
        };
        for (out, pixel) in out
            .chunks_exact_mut(self.channels)
            .zip(decoded.chunks_exact(self.samples * bytes))
        {
            if self.samples == 2 {
                let (grey, alpha) = pixel.split_at(bytes);
                let grey = sample(grey);
                out.copy_from_slice(&[grey, grey, grey, sample(alpha)]);
            } else {
                for (out, pixel) in out.iter_mut().zip(pixel.chunks_exact(bytes)) {
                    *out = sample(pixel);
                }
            }
        }
    }
}

impl Rows for PngRows<'_> {
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
        let mut reader = self.reader.take().ok_or_else(|| cut("no row is left"))?;
        let decoded = reader.next_row().map_err(explain)?;
        self.convert(decoded.ok_or_else(|| cut("fewer rows"))?.data(), row);
        self.left -= 1;
        if self.left == 0 {
            // The check sum behind the last row.
            reader.next_row().map_err(explain)?;
        }
        self.reader = Some(reader);
        Ok(())
    }
}

fn reader<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Reader<Cursor<&'a [u8]>>, Error> {
    let limits = png::Limits {
        bytes: limits.max_decode_bytes as usize,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes to colours, transparent colours to alpha, 1, 2 and 4 bits to 8.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.read_info().map_err(explain)
}

/// Types and contents of the chunks (ISO/IEC 15948, 5.3), up to the first one that is cut.
pub(crate) fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (kind, behind) = behind.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (content, behind) = behind.split_at_checked(length)?;
        // A check sum follows.
        rest = behind.get(4..)?;
        Some((kind, content))
    })
}

/// Sides from the header chunk, which must come first (ISO/IEC 15948, 5.6): after the signature, a length of 13, `IHDR`.
fn size(bytes: &[u8]) -> Result<(u32, u32), Error> {
    let header = bytes.get(8..24).ok_or(Error::Truncated {
        format: Format::Png,
    })?;
    if &header[4..8] != b"IHDR" {
        return Err(cut("header chunk is not first"));
    }
    let side = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    Ok((side(8), side(12)))
}

fn cut(reason: &str) -> Error {
    Error::Corrupt {
        format: Format::Png,
        reason: reason.to_owned(),
    }
}

fn explain(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => Error::Truncated {
            format: Format::Png,
        },
        DecodingError::LimitsExceeded => {
            cut("its parts take more memory than its size accounts for")
        }
        other => cut(&other.to_string()),
    }
}
