//! An image file -> what a PDF shows.
//!
//! PDF holds what JPEG files hold as it is, and the compressed rows of PNG files too. Only their headers are looked at
//! here; that the rest is sound is known, because the page was read from it.

use std::borrow::Cow;

use ephemera_vision::Rgb;
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use pdf_writer::types::Predictor;
use pdf_writer::{Filter, Finish, Name, Pdf, Ref};

/// Quality of pages that are encoded anew: strokes stay crisp, and a page of text takes about half a megabyte.
const QUALITY: u8 = 85;

/// An image as a PDF holds it.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    /// Of the stored rows, before they are turned.
    width: u32,
    height: u32,
    coding: Coding<'a>,
    orientation: Orientation,
    /// The compressed samples.
    pub(super) data: Cow<'a, [u8]>,
}

#[derive(Debug, PartialEq)]
enum Coding<'a> {
    Jpeg {
        components: u8,
        /// Whether no ink is 255: Adobe's programs write CMYK so.
        inverted: bool,
    },
    Png {
        bits: u8,
        colours: PngColours<'a>,
    },
}

#[derive(Debug, PartialEq)]
enum PngColours<'a> {
    Grey,
    Rgb,
    /// RGB triples.
    Palette(&'a [u8]),
}

impl<'a> Picture<'a> {
    /// The file as it is; `None` where a PDF cannot hold it so: another format, PNG with alpha or interlaced, JPEG of
    /// another precision than 8 bits or without a colour model that all readers agree on.
    pub(super) fn of_file(bytes: &'a [u8]) -> Option<Picture<'a>> {
        jpeg(bytes).or_else(|| png(bytes))
    }

    /// The picture that was read, encoded anew; grey where it has no colour.
    pub(super) fn of_pixels(pixels: &Rgb) -> Picture<'static> {
        let (width, height) = (pixels.width as u32, pixels.height as u32);
        let grey = pixels
            .data
            .chunks_exact(3)
            .all(|p| p[0] == p[1] && p[1] == p[2]);
        let mut data = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut data, QUALITY);
        let encoded = if grey {
            let samples: Vec<u8> = pixels.data.chunks_exact(3).map(|p| p[0]).collect();
            encoder.encode(&samples, width, height, ExtendedColorType::L8)
        } else {
            encoder.encode(&pixels.data, width, height, ExtendedColorType::Rgb8)
        };
        encoded.expect("a page's sides are below JPEG's 65,535, and memory takes every byte");
        Picture {
            width,
            height,
            coding: Coding::Jpeg {
                components: if grey { 1 } else { 3 },
                inverted: false,
            },
            orientation: Orientation::NoTransforms,
            data: Cow::Owned(data),
        }
    }

    /// Width and height as it is shown.
    pub(super) fn upright_size(&self) -> (u32, u32) {
        match self.orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (self.height, self.width),
            _ => (self.width, self.height),
        }
    }

    /// How the stored rows come to stand upright: the matrix from a PDF image's unit square, whose y axis points up, to a
    /// page's unit square.
    pub(super) fn placement(&self) -> [f64; 6] {
        match self.orientation {
            Orientation::NoTransforms => [1.0, 0.0, 0.0, 1.0, 0.0, 0.0],
            Orientation::FlipHorizontal => [-1.0, 0.0, 0.0, 1.0, 1.0, 0.0],
            Orientation::Rotate180 => [-1.0, 0.0, 0.0, -1.0, 1.0, 1.0],
            Orientation::FlipVertical => [1.0, 0.0, 0.0, -1.0, 0.0, 1.0],
            Orientation::Rotate90FlipH => [0.0, -1.0, -1.0, 0.0, 1.0, 1.0],
            Orientation::Rotate90 => [0.0, -1.0, 1.0, 0.0, 0.0, 1.0],
            Orientation::Rotate270FlipH => [0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
            Orientation::Rotate270 => [0.0, 1.0, -1.0, 0.0, 1.0, 0.0],
        }
    }

    /// Writes it as object `id`.
    pub(super) fn write(&self, pdf: &mut Pdf, id: Ref) {
        let mut image = pdf.image_xobject(id, &self.data);
        // Sides are checked before a page is read.
        image.width(self.width as i32).height(self.height as i32);
        match &self.coding {
            Coding::Jpeg {
                components,
                inverted,
            } => {
                let colours = image.color_space();
                match components {
                    1 => colours.device_gray(),
                    3 => colours.device_rgb(),
                    _ => colours.device_cmyk(),
                }
                image.bits_per_component(8).filter(Filter::DctDecode);
                if *inverted {
                    image.decode([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
                }
            }
            Coding::Png { bits, colours } => {
                let space = image.color_space();
                let channels = match colours {
                    PngColours::Grey => {
                        space.device_gray();
                        1
                    }
                    PngColours::Rgb => {
                        space.device_rgb();
                        3
                    }
                    PngColours::Palette(palette) => {
                        let last = (palette.len() / 3).saturating_sub(1) as i32;
                        space.indexed(Name(b"DeviceRGB"), last, palette);
                        1
                    }
                };
                image.bits_per_component(i32::from(*bits));
                image.filter(Filter::FlateDecode);
                image
                    .decode_parms()
                    .predictor(Predictor::PngOptimum)
                    .colors(channels)
                    .bits_per_component(i32::from(*bits))
                    .columns(self.width as i32);
            }
        }
        image.finish();
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Walks a JPEG file's segments (ITU-T T.81, annex B) up to the first scan.
fn jpeg(bytes: &[u8]) -> Option<Picture<'_>> {
    if !bytes.starts_with(b"\xff\xd8") {
        return None;
    }
    let mut orientation = None;
    let mut adobe = None;
    let mut frame = None;
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        at += 1;
        match marker {
            // A fill byte: the marker is still to come.
            0xff => continue,
            0x01 | 0xd0..=0xd8 => {
                at += 1;
                continue;
            }
            // The header ends where the first scan begins.
            0xda => break,
            _ => at += 1,
        }
        let length = usize::from(u16_at(bytes, at)?);
        let segment = bytes.get(at + 2..at + length)?;
        match marker {
            0xe1 => {
                if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
                    orientation = orientation.or(Orientation::from_exif_chunk(exif));
                }
            }
            0xee if segment.starts_with(b"Adobe") => adobe = Some(()),
            0xc0..=0xc2 => frame = Some(segment),
            // Frames that not every reader has a decoder for: lossless, hierarchical, arithmetic.
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return None,
            _ => {}
        }
        at += length;
    }
    let &[precision, h1, h0, w1, w0, components, ref rest @ ..] = frame? else {
        return None;
    };
    let ids: Vec<u8> = rest.chunks_exact(3).map(|component| component[0]).collect();
    // Components named so are RGB to some readers and YCbCr to others, unless Adobe's segment says which.
    let ambiguous = components == 3 && adobe.is_none() && ids == *b"RGB";
    if precision != 8 || ambiguous || !matches!(components, 1 | 3 | 4) {
        return None;
    }
    Some(Picture {
        width: u32::from(u16::from_be_bytes([w1, w0])),
        height: u32::from(u16::from_be_bytes([h1, h0])),
        coding: Coding::Jpeg {
            components,
            inverted: components == 4 && adobe.is_some(),
        },
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        data: Cow::Borrowed(bytes),
    })
}

/// Walks a PNG file's chunks (ISO/IEC 15948) and joins its data.
fn png(bytes: &[u8]) -> Option<Picture<'_>> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut header = None;
    let mut palette: &[u8] = &[];
    let mut exif = None;
    let mut data = Vec::new();
    while let Some(length) = u32_at(rest, 0) {
        let length = usize::try_from(length).ok()?;
        let end = length.checked_add(12)?;
        let (kind, chunk) = (rest.get(4..8)?, rest.get(8..length.checked_add(8)?)?);
        match kind {
            b"IHDR" => header = Some(chunk),
            b"PLTE" => palette = chunk,
            b"tRNS" => return None,
            // As the decoder has it: the first one counts, wherever it stands.
            b"eXIf" if exif.is_none() => exif = Some(chunk),
            b"IDAT" => {
                if data.capacity() == 0 {
                    // The image is nearly all of the file.
                    data.reserve(rest.len());
                }
                data.extend_from_slice(chunk);
            }
            b"IEND" => break,
            _ => {}
        }
        rest = rest.get(end..)?;
    }
    let header = header?;
    let &[.., bits, colour, _compression, _filter, interlace] = header else {
        return None;
    };
    let colours = match colour {
        0 => PngColours::Grey,
        2 => PngColours::Rgb,
        3 if !palette.is_empty() => PngColours::Palette(palette),
        _ => return None,
    };
    if interlace != 0 || !matches!(bits, 1 | 2 | 4 | 8 | 16) || data.is_empty() {
        return None;
    }
    Some(Picture {
        width: u32_at(header, 0)?,
        height: u32_at(header, 4)?,
        coding: Coding::Png { bits, colours },
        orientation: exif
            .and_then(Orientation::from_exif_chunk)
            .unwrap_or(Orientation::NoTransforms),
        data: Cow::Owned(data),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat};
    use proptest::prelude::*;

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, format).expect("a valid picture");
        out.into_inner()
    }

    #[test]
    fn files_that_a_pdf_can_hold_are_kept() {
        let grey = DynamicImage::new_luma8(7, 5);
        let colour = DynamicImage::new_rgb8(7, 5);
        let jpeg = |components: u8| Coding::Jpeg {
            components,
            inverted: false,
        };
        let png = |bits: u8, colours: PngColours<'static>| Coding::Png { bits, colours };
        let cases = [
            (encoded(&grey, ImageFormat::Jpeg), Some(jpeg(1))),
            (encoded(&colour, ImageFormat::Jpeg), Some(jpeg(3))),
            (
                encoded(&grey, ImageFormat::Png),
                Some(png(8, PngColours::Grey)),
            ),
            (
                encoded(&colour, ImageFormat::Png),
                Some(png(8, PngColours::Rgb)),
            ),
            (
                encoded(&DynamicImage::new_luma16(7, 5), ImageFormat::Png),
                Some(png(16, PngColours::Grey)),
            ),
            (
                encoded(&DynamicImage::new_rgba8(7, 5), ImageFormat::Png),
                None,
            ),
            (b"II*\0".to_vec(), None),
            (Vec::new(), None),
        ];
        for (i, (bytes, expected)) in cases.into_iter().enumerate() {
            let picture = Picture::of_file(&bytes);
            if let Some(picture) = &picture {
                assert_eq!(
                    (picture.upright_size(), picture.data.is_empty()),
                    ((7, 5), false)
                );
            }
            assert_eq!(picture.map(|p| p.coding), expected, "case {i}");
        }
    }

    /// A JPEG header of 7 x 5 px: these segments before the frame, and a scan.
    fn header(segments: &[(u8, &[u8])], ids: &[u8]) -> Vec<u8> {
        let mut bytes = b"\xff\xd8".to_vec();
        let mut frame = vec![8, 0, 5, 0, 7, ids.len() as u8];
        frame.extend(ids.iter().flat_map(|&id| [id, 0x11, 0]));
        for (marker, content) in segments.iter().copied().chain([(0xc0, frame.as_slice())]) {
            bytes.extend([0xff, marker]);
            bytes.extend((content.len() as u16 + 2).to_be_bytes());
            bytes.extend(content);
        }
        bytes.extend(b"\xff\xda\0\x02");
        bytes
    }

    #[test]
    fn jpeg_segments_tell_colours_and_orientation() {
        let adobe: (u8, &[u8]) = (0xee, b"Adobe\0\x64\0\0\0\0\x02");
        let exif: (u8, &[u8]) = (
            0xe1,
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        );
        let jfif: (u8, &[u8]) = (0xe0, b"JFIF\0\x01\x02\x01\0\xc8\0\xc8\0\0");
        let cases = [
            (header(&[], &[1]), Some((1, false, (7, 5)))),
            (header(&[jfif], &[1, 2, 3]), Some((3, false, (7, 5)))),
            (header(&[jfif, exif], &[1]), Some((1, false, (5, 7)))),
            (header(&[adobe], &[1, 2, 3, 4]), Some((4, true, (7, 5)))),
            (header(&[], &[1, 2, 3, 4]), Some((4, false, (7, 5)))),
            (header(&[], b"RGB"), None),
            (header(&[adobe], b"RGB"), Some((3, false, (7, 5)))),
            (header(&[], &[1, 2]), None),
        ];
        for (i, (bytes, expected)) in cases.into_iter().enumerate() {
            let actual = Picture::of_file(&bytes).map(|picture| {
                let Coding::Jpeg {
                    components,
                    inverted,
                } = picture.coding
                else {
                    panic!("a JPEG file")
                };
                (components, inverted, picture.upright_size())
            });
            assert_eq!(actual, expected, "case {i}");
        }
    }

    #[test]
    fn every_orientation_turns_the_first_pixel_to_its_corner() {
        // The first stored pixel is at (0, 1) of the image's square; EXIF names the corner it belongs to.
        let corners = [
            (1, [0.0, 1.0]),
            (2, [1.0, 1.0]),
            (3, [1.0, 0.0]),
            (4, [0.0, 0.0]),
            (5, [0.0, 1.0]),
            (6, [1.0, 1.0]),
            (7, [1.0, 0.0]),
            (8, [0.0, 0.0]),
        ];
        for (exif, corner) in corners {
            let mut picture = Picture::of_pixels(&Rgb::filled(7, 5, [0; 3]));
            picture.orientation = Orientation::from_exif(exif).expect("1..=8");
            let [a, b, c, d, e, f] = picture.placement();
            let map = |x: f64, y: f64| [a * x + c * y + e, b * x + d * y + f];
            assert_eq!(map(0.0, 1.0), corner, "{exif}");
            // The last one of the first row: beside it, or for 5 to 8 below or above it.
            let end = map(1.0, 1.0);
            assert_eq!(end[0] != corner[0], exif < 5, "{exif}");
        }
    }

    #[test]
    fn pages_are_encoded_anew_as_grey_or_colour() {
        let grey = Picture::of_pixels(&Rgb::filled(9, 4, [200; 3]));
        let colour = Picture::of_pixels(&Rgb::filled(9, 4, [200, 0, 0]));
        for (picture, components) in [(grey, 1), (colour, 3)] {
            let again = Picture::of_file(&picture.data).expect("what we write we can hold");
            let expected = Coding::Jpeg {
                components,
                inverted: false,
            };
            assert_eq!((again.upright_size(), again.coding), ((9, 4), expected));
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_trouble(
            start in prop_oneof![Just(&b"\xff\xd8\xff"[..]), Just(&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..])],
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &rest].concat();
            if let Some(picture) = Picture::of_file(&bytes) {
                prop_assert!(!picture.data.is_empty());
            }
        }
    }
}
