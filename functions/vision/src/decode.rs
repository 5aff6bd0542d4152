//! Bytes of any kind -> an upright picture of bounded size.
//!
//! The header is checked against the limits before a decoder allocates; the full-size samples are dropped as soon as
//! they have been shrunk. Transparent pixels are laid over paper, a camera's orientation tag is obeyed.

use std::io::{Cursor, ErrorKind};

use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, Limits, RgbImage};

use crate::pixels::Decoded;
use crate::resize::{Filter, fit, resize_rows};
use crate::{Error, Format, Rgb, jpeg};

/// Longest side of a picture that is looked at: an A0 sheet at 400 dpi has 18,700 px.
pub const MAX_SIDE_PX: u32 = 20_000;

/// Largest area of a picture that is looked at, whatever its format: an A4 page at 600 dpi has 34.8 million pixels.
/// It bounds the time, as [`MAX_DECODE_BYTES`] bounds the memory.
pub const MAX_PIXELS: u64 = 40_000_000;

/// Largest sum of a decoder's buffers. The platform gives 128 MiB: about 24 MiB of models and code and a body of
/// 10 MiB leave this much, with 14 MiB to spare for the shrunk picture and the allocator. It admits 27 Mpx of baseline
/// JPEG or RGB PNG, 9.3 Mpx of progressive 4:4:4 JPEG, 13.9 Mpx of RGB TIFF.
pub const MAX_DECODE_BYTES: u64 = 80 << 20;

/// A decoded picture, upright.
#[derive(Debug)]
pub struct Picture {
    /// The pixels, shrunk if they had to be.
    pub rgb: Rgb,
    /// Width of the upright original, in its pixels.
    pub original_width: u32,
    /// Height of the upright original, in its pixels.
    pub original_height: u32,
}

/// Decodes a JPEG, PNG or TIFF file (of several pages, the first) and shrinks it to at most `max_side` px a side.
///
/// # Errors
/// Every [`Error`]; none of them after more memory than [`MAX_DECODE_BYTES`] was asked for.
pub fn decode(bytes: &[u8], max_side: usize) -> Result<Picture, Error> {
    let format = Format::sniff(bytes).ok_or(Error::NotAnImage)?;
    let (decoded, orientation) = match format {
        Format::Jpeg => jpeg::decode(bytes)?,
        Format::Png => {
            let (width, height) = png_size(bytes)?;
            check_size(width, height, 0)?;
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits());
            samples(decoder.map_err(|e| explain(format, e))?, format)?
        }
        Format::Tiff => {
            let decoder = TiffDecoder::new(Cursor::new(bytes));
            samples(decoder.map_err(|e| explain(format, e))?, format)?
        }
    };

    let (width, height) = fit(decoded.width, decoded.height, max_side);
    let background = decoded.background();
    let shrunk = resize_rows(
        decoded.width,
        decoded.height,
        width,
        height,
        Filter::Lanczos3,
        |y, row| {
            decoded.rgb_row(y, background, row);
        },
    );
    let original = (decoded.width as u32, decoded.height as u32);
    drop(decoded);
    let rgb = turn(shrunk, orientation);
    let (original_width, original_height) = if swaps_sides(orientation) {
        (original.1, original.0)
    } else {
        original
    };
    Ok(Picture {
        rgb,
        original_width,
        original_height,
    })
}

/// Checks a header's announcement. `decode_bytes`: what the decoder's buffers would take.
pub(crate) fn check_size(width: u32, height: u32, decode_bytes: u64) -> Result<(), Error> {
    if width == 0 || height == 0 {
        return Err(Error::ZeroSize { width, height });
    }
    if width.max(height) > MAX_SIDE_PX || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Error::TooLarge {
            width,
            height,
            max_side_px: MAX_SIDE_PX,
            max_pixels: MAX_PIXELS,
        });
    }
    if decode_bytes > MAX_DECODE_BYTES {
        return Err(Error::TooHeavy {
            width,
            height,
            needed_bytes: decode_bytes,
            limit_bytes: MAX_DECODE_BYTES,
        });
    }
    Ok(())
}

/// Sides from the header chunk, which must come first (ISO/IEC 15948, 5.6): after the signature, a length of 13, `IHDR`.
fn png_size(bytes: &[u8]) -> Result<(u32, u32), Error> {
    let header = bytes.get(8..24).ok_or(Error::Truncated {
        format: Format::Png,
    })?;
    if &header[4..8] != b"IHDR" {
        return Err(Error::Corrupt {
            format: Format::Png,
            reason: "header chunk is not first".to_owned(),
        });
    }
    let side = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    Ok((side(8), side(12)))
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    limits
}

fn samples(
    mut decoder: impl ImageDecoder,
    format: Format,
) -> Result<(Decoded, Orientation), Error> {
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let output = decoder.total_bytes();
    // The TIFF decoder fills a buffer of its own before it hands the samples over; CMYK and bilevel ones convert then.
    let decode_bytes = match (format, decoder.original_color_type()) {
        (Format::Tiff, ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16) => {
            output + output / 3 * 4
        }
        (Format::Tiff, ExtendedColorType::L1) => output + output / 8,
        (Format::Tiff, _) => output * 2,
        _ => output,
    };
    check_size(width, height, decode_bytes)?;
    if !Decoded::supports(colour) {
        return Err(Error::Unsupported {
            format,
            reason: format!("samples of type {colour:?}"),
        });
    }
    let fail = |e| explain(format, e);
    decoder.set_limits(limits()).map_err(fail)?;
    let orientation = decoder.orientation().map_err(fail)?;
    let mut data = vec![0; output as usize];
    decoder.read_image(&mut data).map_err(fail)?;
    Ok((
        Decoded {
            width: width as usize,
            height: height as usize,
            colour,
            data,
        },
        orientation,
    ))
}

fn turn(picture: Rgb, orientation: Orientation) -> Rgb {
    if orientation == Orientation::NoTransforms {
        return picture;
    }
    let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.data);
    let mut image = DynamicImage::ImageRgb8(image.expect("a picture's length matches its sides"));
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Rgb::new(width, height, image.into_raw()).expect("turning keeps every pixel")
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(
        orientation,
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH
    )
}

fn explain(format: Format, error: ImageError) -> Error {
    match error {
        ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Error::Truncated { format }
        }
        ImageError::Unsupported(e) => Error::Unsupported {
            format,
            reason: e.to_string(),
        },
        ImageError::Limits(e) if e.kind() == LimitErrorKind::InsufficientMemory => Error::Corrupt {
            format,
            reason: "its parts take more memory than its size accounts for".to_owned(),
        },
        other => Error::Corrupt {
            format,
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
