//! A JPEG file -> its samples.
//!
//! The marker segments are walked first, without decoding anything: that gives the size, what a decoder will need, and
//! whether the file is whole. The decoder itself fills what is missing from a cut file with grey and says nothing.

use image::ColorType;
use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::decode::{self, MAX_SIDE_PX};
use crate::pixels::Decoded;
use crate::{Error, Format};

/// Decodes a whole JPEG file to grey or RGB, and tells how the camera was held.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Decoded, Orientation), Error> {
    let frame = inspect(bytes)?;
    decode::check_size(frame.width, frame.height, frame.decode_bytes())?;

    // Without the `unsafe` (SIMD) paths native and Wasm builds run the same code, bit for bit.
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_strict_mode(false)
        .set_max_width(MAX_SIDE_PX as usize)
        .set_max_height(MAX_SIDE_PX as usize)
        .jpeg_set_out_colorspace(if frame.components == 1 {
            ColorSpace::Luma
        } else {
            ColorSpace::RGB
        });
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let data = decoder.decode().map_err(|e| explain(&e))?;
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let colour = if frame.components == 1 {
        ColorType::L8
    } else {
        ColorType::Rgb8
    };
    let (width, height) = (frame.width as usize, frame.height as usize);
    let expected = width * height * usize::from(colour.bytes_per_pixel());
    if data.len() != expected {
        let reason = format!("expected {expected} bytes of samples, got {}", data.len());
        return Err(Error::Corrupt {
            format: Format::Jpeg,
            reason,
        });
    }
    Ok((
        Decoded {
            width,
            height,
            colour,
            data,
        },
        orientation,
    ))
}

/// What the frame header says.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    width: u32,
    height: u32,
    components: u8,
    /// Coefficients of all components together, in hundredths per pixel: 300 at 4:4:4, 150 at 4:2:0.
    samples_per_100_px: u64,
    /// All coefficients are held until the last scan: progressive, or one scan for each component.
    buffered: bool,
}

impl Frame {
    fn decode_bytes(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let output = pixels * if self.components == 1 { 1 } else { 3 };
        // Coefficients are 16 bits each.
        let coefficients = if self.buffered {
            pixels * self.samples_per_100_px / 100 * 2
        } else {
            0
        };
        output + coefficients
    }
}

/// Walks the marker segments (T.81, annex B) up to the end of the image.
fn inspect(bytes: &[u8]) -> Result<Frame, Error> {
    const TRUNCATED: Error = Error::Truncated {
        format: Format::Jpeg,
    };
    let mut frame: Option<Frame> = None;
    let mut at = 2;
    loop {
        at += bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff))
            .ok_or(TRUNCATED)?;
        at += bytes[at..]
            .iter()
            .position(|&b| b != 0xff)
            .ok_or(TRUNCATED)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            // Stuffed byte, temporary, restart, start of image: no segment follows.
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 => return frame.ok_or_else(|| corrupt("end of image before a frame header")),
            _ => {}
        }
        let length = bytes
            .get(at..at + 2)
            .map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let length = length.ok_or(TRUNCATED)?;
        let segment = bytes.get(at..at + length).ok_or(TRUNCATED)?;
        let segment = segment
            .get(2..)
            .ok_or_else(|| corrupt("segment length under 2"))?;
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                if frame.is_some() {
                    return Err(corrupt("more than one frame header"));
                }
                frame = Some(frame_header(marker, segment)?);
            }
            0xda => {
                let frame = frame
                    .as_mut()
                    .ok_or_else(|| corrupt("scan before a frame header"))?;
                let scanned = segment.first().copied().unwrap_or(0);
                frame.buffered |= scanned < frame.components;
            }
            _ => {}
        }
        at += length;
    }
}

fn frame_header(marker: u8, segment: &[u8]) -> Result<Frame, Error> {
    let &[_precision, h1, h0, w1, w0, components, ref rest @ ..] = segment else {
        return Err(corrupt("frame header too short"));
    };
    let factors: Vec<(u64, u64)> = rest
        .chunks_exact(3)
        .map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15)))
        .collect();
    if factors.len() != usize::from(components) || !(1..=4).contains(&components) {
        return Err(corrupt("frame header does not list its components"));
    }
    let widest = factors.iter().map(|f| f.0).max().unwrap_or(1).max(1);
    let tallest = factors.iter().map(|f| f.1).max().unwrap_or(1).max(1);
    let samples: u64 = factors.iter().map(|(h, v)| h * v).sum();
    Ok(Frame {
        width: u32::from(u16::from_be_bytes([w1, w0])),
        height: u32::from(u16::from_be_bytes([h1, h0])),
        components,
        samples_per_100_px: (samples * 100).div_ceil(widest * tallest),
        buffered: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
    })
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt {
        format: Format::Jpeg,
        reason: reason.to_owned(),
    }
}

fn explain(error: &DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(what) => Error::Unsupported {
            format: Format::Jpeg,
            reason: format!("{what:?}"),
        },
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => Error::Truncated {
            format: Format::Jpeg,
        },
        other => Error::Corrupt {
            format: Format::Jpeg,
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, one frame header of 3 components at 4:2:0, one scan of `scanned` components, two data bytes, EOI.
    fn file(marker: u8, scanned: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, marker, 0, 17, 8, 0, 5, 0, 7, 3];
        bytes.extend([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
        bytes.extend([0xff, 0xda, 0, 3, scanned]);
        // A stuffed 0xff and a restart marker belong to the scan.
        bytes.extend([0x12, 0xff, 0x00, 0xff, 0xd0, 0x34, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn headers_tell_what_decoding_takes() {
        let baseline = inspect(&file(0xc0, 3)).expect("a whole file");
        assert_eq!(
            (baseline.width, baseline.height, baseline.components),
            (7, 5, 3)
        );
        assert_eq!(baseline.decode_bytes(), 7 * 5 * 3);
        // 4:2:0 has (4 + 1 + 1) / 4 = 1.5 coefficients a pixel, of 2 bytes: 35 * 1.5 = 52, times 2.
        assert_eq!(
            inspect(&file(0xc2, 3))
                .expect("a whole file")
                .decode_bytes(),
            105 + 104
        );
        assert_eq!(
            inspect(&file(0xc0, 1))
                .expect("a whole file")
                .decode_bytes(),
            105 + 104
        );
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = file(0xc0, 3);
        for length in 3..whole.len() {
            let cut = inspect(&whole[..length]);
            assert!(
                matches!(cut, Err(Error::Truncated { .. })),
                "{length} bytes: {cut:?}"
            );
        }
    }

    #[test]
    fn odd_headers_are_refused() {
        let mut twice = file(0xc0, 3);
        let header: Vec<u8> = twice[2..21].to_vec();
        twice.splice(21..21, header);
        let mut no_components = file(0xc0, 3);
        no_components[11] = 0;
        let cases: [(&str, Vec<u8>); 4] = [
            ("more than one frame", twice),
            ("components", no_components),
            (
                "scan before",
                vec![0xff, 0xd8, 0xff, 0xda, 0, 3, 1, 0xff, 0xd9],
            ),
            ("under 2", vec![0xff, 0xd8, 0xff, 0xe0, 0, 1, 0xff, 0xd9]),
        ];
        for (expected, bytes) in cases {
            let message = inspect(&bytes).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
