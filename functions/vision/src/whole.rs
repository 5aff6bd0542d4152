//! WebP, GIF and rare BMP files -> their rows, decoded whole within the memory limit. Of animations, the first frame.

use std::io::{Cursor, ErrorKind};

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageError, LimitErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder};

use crate::decode::Announced;
use crate::limits::Limits;
use crate::rows::{Rows, Whole};
use crate::{Error, Format};

/// Reads the header.
pub(crate) fn announced(format: Format, bytes: &[u8], limits: &Limits) -> Result<Announced, Error> {
    let mut decoder = decoder(format, bytes)?;
    let size = decoder.dimensions();
    limits.check_size(size.0, size.1)?;
    let turned = decoder.orientation();
    Ok(Announced {
        size,
        // Broken metadata do not make a picture unreadable.
        orientation: turned.unwrap_or(Orientation::NoTransforms),
    })
}

/// Decodes. `result_bytes`: what grows beside the samples afterwards.
pub(crate) fn open<'a>(
    format: Format,
    bytes: &'a [u8],
    limits: &Limits,
    result_bytes: u64,
) -> Result<Box<dyn Rows + 'a>, Error> {
    let fail = |e| explain(format, e);
    let mut decoder = decoder(format, bytes)?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let pixels = u64::from(width) * u64::from(height);
    // What decoders hold beside the samples: lossy WebP three planes at 4:2:0; lossless, or with alpha, another RGBA
    // picture; GIF the frame as RGBA.
    let beside = match format {
        Format::WebP if bytes.get(12..16) == Some(b"VP8 ") => pixels * 3 / 2,
        Format::WebP | Format::Gif => pixels * 4,
        _ => 0,
    };
    let size = (width, height);
    limits.check_bytes(size, decoder.total_bytes() + beside)?;
    limits.check_bytes(size, decoder.total_bytes() + result_bytes)?;
    let mut inner = image::Limits::no_limits();
    inner.max_image_width = Some(limits.max_side_px);
    inner.max_image_height = Some(limits.max_side_px);
    inner.max_alloc = Some(limits.max_decode_bytes);
    decoder.set_limits(inner).map_err(fail)?;
    let channels = match colour {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        ColorType::Rgba8 => 4,
        other => {
            return Err(Error::Unsupported {
                format,
                reason: format!("samples of type {other:?}"),
            });
        }
    };
    let mut data = vec![0; decoder.total_bytes() as usize];
    decoder.read_image_boxed(&mut data).map_err(fail)?;
    Ok(Box::new(Whole {
        width: width as usize,
        height: height as usize,
        channels,
        data,
        row: 0,
    }))
}

fn decoder<'a>(format: Format, bytes: &'a [u8]) -> Result<Box<dyn ImageDecoder + 'a>, Error> {
    let fail = |e| explain(format, e);
    let file = Cursor::new(bytes);
    Ok(match format {
        Format::WebP => Box::new(WebPDecoder::new(file).map_err(fail)?),
        Format::Bmp => Box::new(BmpDecoder::new(file).map_err(fail)?),
        _ => Box::new(GifDecoder::new(file).map_err(fail)?),
    })
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
