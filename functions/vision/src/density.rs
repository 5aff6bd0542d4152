//! A picture file -> the pixels per inch of what it is a picture of, as far as it tells.

use crate::Format;
use crate::jpeg;
use crate::png;
use crate::tiff;

/// Pixels per inch, across and down, of the stored picture.
pub(crate) type Density = [f64; 2];

/// Centimetres and metres in an inch.
pub(crate) const CENTIMETRES_PER_INCH: f64 = 2.54;
const METRES_PER_INCH: f64 = 0.0254;

/// A file that says less or more is not believed.
const BELIEVED_DPI: std::ops::RangeInclusive<f64> = 50.0..=2400.0;
/// Both axes have the same if they differ by less than this part: files hold roundings of it.
const TOLERANCE: f64 = 0.01;

/// Pixels per inch of page `page` (from 1) of a picture file; `None` where it does not tell, tells what no scanner does (under
/// 50, over 2400), or has another number down than across.
pub fn dpi(bytes: &[u8], page: u32) -> Option<f64> {
    let [across, down] = match Format::sniff(bytes)? {
        Format::Jpeg => of_jpeg(bytes)?,
        Format::Png => of_png(bytes)?,
        Format::Tiff => tiff::density(bytes, page)?,
        Format::Bmp => of_bmp(bytes)?,
        Format::WebP | Format::Gif => return None,
    };
    let same = (across - down).abs() <= TOLERANCE * across;
    (same && BELIEVED_DPI.contains(&across)).then_some(across)
}

/// JFIF's segment, or where that knows no unit, Exif's tags.
fn of_jpeg(bytes: &[u8]) -> Option<Density> {
    let header = jpeg::Header::read(bytes).ok()?;
    let exif = || tiff::density(header.exif?, 1);
    header.density().or_else(exif)
}

/// The chunk pHYs (ISO/IEC 15948, 11.3.5.3): across, down, and 1 where these are per metre.
fn of_png(bytes: &[u8]) -> Option<Density> {
    let (_, physical) = png::chunks(bytes).find(|(kind, _)| *kind == b"pHYs")?;
    let &[a, b, c, d, e, f, g, h, 1] = physical else {
        return None;
    };
    let per_metre = [[a, b, c, d], [e, f, g, h]].map(u32::from_be_bytes);
    Some(per_metre.map(|count| f64::from(count) * METRES_PER_INCH))
}

/// Two fields of BITMAPINFOHEADER, per metre.
fn of_bmp(bytes: &[u8]) -> Option<Density> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if number(14)? < 40 {
        return None;
    }
    let per_metre = [number(38)?, number(42)?];
    Some(per_metre.map(|count| f64::from(count) * METRES_PER_INCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF directory with these resolutions, as ratios, and a unit where there is one; `big` as Motorola has numbers.
    fn directory(across: (u32, u32), down: (u32, u32), unit: Option<u16>, big: bool) -> Vec<u8> {
        let u16_bytes = |v: u16| {
            if big {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let u32_bytes = |v: u32| {
            if big {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let mut out = if big {
            b"MM\0\x2a".to_vec()
        } else {
            b"II\x2a\0".to_vec()
        };
        let count = 2 + u16::from(unit.is_some());
        let ratios_at = 8 + 2 + 12 * u32::from(count) + 4;
        out.extend(u32_bytes(8));
        out.extend(u16_bytes(count));
        for (tag, at) in [(282, ratios_at), (283, ratios_at + 8)] {
            out.extend([u16_bytes(tag), u16_bytes(5)].concat());
            out.extend([u32_bytes(1), u32_bytes(at)].concat());
        }
        if let Some(unit) = unit {
            out.extend([u16_bytes(296), u16_bytes(3)].concat());
            out.extend(u32_bytes(1));
            out.extend([u16_bytes(unit), u16_bytes(0)].concat());
        }
        out.extend(u32_bytes(0));
        for (count, of) in [across, down] {
            out.extend([u32_bytes(count), u32_bytes(of)].concat());
        }
        out
    }

    /// A JPEG header of one component with these segments before the frame, and a scan without data.
    fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = b"\xff\xd8".to_vec();
        let frame = [8, 0, 5, 0, 7, 1, 1, 0x11, 0].as_slice();
        for &(marker, content) in segments
            .iter()
            .chain(&[(0xc0, frame), (0xda, &[1, 1, 0, 0, 63, 0])])
        {
            out.extend([0xff, marker]);
            out.extend((content.len() as u16 + 2).to_be_bytes());
            out.extend(content);
        }
        out
    }

    fn png(across: u32, down: u32, unit: u8) -> Vec<u8> {
        let physical = [&across.to_be_bytes()[..], &down.to_be_bytes(), &[unit]].concat();
        let mut out = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        out.extend([0; 13 + 4]);
        out.extend(b"\0\0\0\x09pHYs");
        out.extend(physical);
        out.extend([0; 4]);
        out
    }

    fn bmp(across: u32, down: u32) -> Vec<u8> {
        let mut out = vec![0; 54];
        out[..2].copy_from_slice(b"BM");
        out[14] = 40;
        out[38..42].copy_from_slice(&across.to_le_bytes());
        out[42..46].copy_from_slice(&down.to_le_bytes());
        out
    }

    #[test]
    fn files_tell_their_resolution() {
        let exif = |tiff: Vec<u8>| [b"Exif\0\0".as_slice(), &tiff].concat();
        let jfif = |unit: u8, across: u8, down: u8| {
            [
                b"JFIF\0\x01\x02".as_slice(),
                &[unit, 0, across, 0, down, 0, 0],
            ]
            .concat()
        };
        let cases = [
            (
                "jfif, inches",
                jpeg(&[(0xe0, &jfif(1, 200, 200))]),
                Some(200.0),
            ),
            (
                "jfif, centimetres",
                jpeg(&[(0xe0, &jfif(2, 100, 100))]),
                Some(254.0),
            ),
            ("jfif, oblong", jpeg(&[(0xe0, &jfif(1, 200, 100))]), None),
            (
                "jfif, only the pixels' shape",
                jpeg(&[(0xe0, &jfif(0, 100, 100))]),
                None,
            ),
            (
                "exif where jfif has no unit",
                jpeg(&[
                    (0xe0, &jfif(0, 1, 1)),
                    (0xe1, &exif(directory((600, 2), (300, 1), None, false))),
                ]),
                Some(300.0),
            ),
            (
                "exif alone",
                jpeg(&[(0xe1, &exif(directory((118, 1), (118, 1), Some(3), true)))]),
                Some(299.72),
            ),
            (
                "tiff, inches",
                directory((400, 1), (400, 1), Some(2), false),
                Some(400.0),
            ),
            (
                "tiff, no unit",
                directory((400, 1), (400, 1), Some(1), false),
                None,
            ),
            (
                "tiff, nearly the same",
                directory((299_999, 1000), (300, 1), Some(2), true),
                Some(299.999),
            ),
            (
                "tiff, a fax",
                directory((204, 1), (98, 1), Some(2), true),
                None,
            ),
            (
                "tiff, of nothing",
                directory((300, 0), (300, 0), None, false),
                None,
            ),
            ("png, metres", png(11_811, 11_811, 1), Some(299.999_4)),
            ("png, no unit", png(1, 1, 0), None),
            ("png, beyond belief", png(1, 1, 1), None),
            ("bmp", bmp(5906, 5906), Some(150.012_4)),
            ("bmp, none", bmp(0, 0), None),
            ("gif", b"GIF89a".to_vec(), None),
            ("nothing", Vec::new(), None),
        ];
        for (name, bytes, expected) in cases {
            let actual = dpi(&bytes, 1);
            let close = match (actual, expected) {
                (Some(actual), Some(expected)) => (actual - expected).abs() < 1e-3,
                (actual, expected) => actual == expected,
            };
            assert!(close, "{name}: {actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn of_several_pages_the_one_is_asked() {
        let bytes = directory((400, 1), (400, 1), Some(2), false);
        assert_eq!([1, 2].map(|page| dpi(&bytes, page)), [Some(400.0), None]);
    }
}
