//! The marker segments of a JPEG file, read without decoding anything (T.81, annex B).
//!
//! This gives the size and what decoding will need. A file that just lacks its last marker may still have all of the picture,
//! which decoding tells.

use super::corrupt;
use crate::density::{CENTIMETRES_PER_INCH, Density};
use crate::{Error, Format};

/// One component of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Component {
    /// How scans call it.
    pub(super) id: u8,
    /// Blocks of one MCU across and down, 1 to 4.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Which of four tables of quantisers.
    pub(super) quantisers: usize,
}

/// What stands before the coefficients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) components: Vec<Component>,
    /// Coefficients come in several passes over the picture.
    pub(crate) progressive: bool,
    /// All coefficients are held until the last scan: progressive, or one scan for each component.
    pub(super) buffered: bool,
    /// Adobe's marker: its colour transform.
    pub(super) adobe: Option<u8>,
    /// JFIF's segment, whose presence prescribes YCbCr.
    pub(super) jfif: Option<&'a [u8]>,
    /// An Exif structure, a TIFF file without pixels.
    pub(crate) exif: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Walks the segments of `bytes` up to the end of the image, or of the file.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Header<'a>, Error> {
        let mut header: Option<Header<'a>> = None;
        let (mut adobe, mut jfif, mut exif) = (None, None, None);
        let mut segments = Segments::new(bytes, 2);
        loop {
            let (marker, segment) = segments.next()?;
            match marker {
                0xd9 => {
                    let mut header =
                        header.ok_or_else(|| corrupt("end of image before a frame header"))?;
                    (header.adobe, header.jfif, header.exif) = (adobe, jfif, exif);
                    return Ok(header);
                }
                0xc0..=0xc2 => {
                    if header.is_some() {
                        return Err(corrupt("more than one frame header"));
                    }
                    header = Some(frame(marker, segment)?);
                }
                0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    return Err(unsupported(match marker {
                        0xc9..=0xcb | 0xcd..=0xcf => "arithmetic coding",
                        0xc3 => "lossless coding",
                        _ => "hierarchical coding",
                    }));
                }
                0xda => {
                    let header = header
                        .as_mut()
                        .ok_or_else(|| corrupt("scan before a frame header"))?;
                    let scanned = usize::from(segment.first().copied().unwrap_or(0));
                    header.buffered |= scanned < header.components.len();
                }
                0xe0 if jfif.is_none() => jfif = segment.strip_prefix(b"JFIF\0"),
                0xe1 if exif.is_none() => exif = segment.strip_prefix(b"Exif\0\0"),
                0xee if segment.starts_with(b"Adobe") => adobe = segment.get(11).copied().or(adobe),
                _ => {}
            }
        }
    }

    /// Pixels per inch, if JFIF's segment knows a unit: behind two bytes of version, 1 for inches and 2 for centimetres, then
    /// two numbers.
    pub(crate) fn density(&self) -> Option<Density> {
        let &[_, _, unit, a, b, c, d, ..] = self.jfif? else {
            return None;
        };
        let inch = match unit {
            1 => 1.0,
            2 => CENTIMETRES_PER_INCH,
            _ => return None,
        };
        Some([[a, b], [c, d]].map(|count| f64::from(u16::from_be_bytes(count)) * inch))
    }

    /// Blocks across or down one MCU, most of all components.
    pub(super) fn most(&self, of: impl Fn(&Component) -> usize) -> usize {
        self.components.iter().map(of).max().unwrap_or(1)
    }

    /// MCUs across and down.
    pub(super) fn mcus(&self) -> (usize, usize) {
        let across = (self.width as usize).div_ceil(8 * self.most(|c| c.h));
        let down = (self.height as usize).div_ceil(8 * self.most(|c| c.v));
        (across, down)
    }

    /// Blocks of all components together.
    pub(super) fn blocks(&self) -> u64 {
        let (across, down) = self.mcus();
        let in_mcu: usize = self.components.iter().map(|c| c.h * c.v).sum();
        across as u64 * down as u64 * in_mcu as u64
    }
}

/// A walk over marker segments; entropy-coded bytes are passed over.
pub(super) struct Segments<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the next is looked for.
    pub(super) at: usize,
    /// Whether there was a scan, and so a picture.
    scanned: bool,
    /// Whether the file ended where the marker of the image's end should be.
    pub(super) open_ended: bool,
}

impl<'a> Segments<'a> {
    /// Those from `bytes[at]` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Segments<'a> {
        Segments {
            bytes,
            at,
            scanned: false,
            open_ended: false,
        }
    }

    /// The next marker and its segment without the length; empty for the end of the image, which may also be the file's, once
    /// there was a scan: cameras and networks lose the last marker.
    pub(super) fn next(&mut self) -> Result<(u8, &'a [u8]), Error> {
        const TRUNCATED: Error = Error::Truncated {
            format: Format::Jpeg,
        };
        loop {
            let rest = self.bytes.get(self.at..).ok_or(TRUNCATED)?;
            let first = rest.iter().position(|&b| b == 0xff);
            let behind = first.and_then(|first| {
                let filled = rest[first..].iter().position(|&b| b != 0xff)?;
                Some(first + filled)
            });
            let Some(behind) = behind else {
                self.open_ended = self.scanned;
                return if self.scanned {
                    Ok((0xd9, &[]))
                } else {
                    Err(TRUNCATED)
                };
            };
            self.at += behind;
            let marker = self.bytes[self.at];
            self.at += 1;
            match marker {
                // Stuffed byte, temporary, restart, start of image: no segment follows.
                0x00 | 0x01 | 0xd0..=0xd8 => continue,
                0xd9 => return Ok((marker, &[])),
                _ => {}
            }
            let length = self.bytes.get(self.at..self.at + 2).ok_or(TRUNCATED)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let segment = self.bytes.get(self.at..self.at + length);
            let segment = segment.ok_or(TRUNCATED)?.get(2..);
            self.at += length;
            self.scanned |= marker == 0xda;
            return Ok((
                marker,
                segment.ok_or_else(|| corrupt("segment length under 2"))?,
            ));
        }
    }
}

fn frame<'a>(marker: u8, segment: &[u8]) -> Result<Header<'a>, Error> {
    let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = segment else {
        return Err(corrupt("frame header too short"));
    };
    if precision != 8 {
        return Err(unsupported("samples of other than 8 bits"));
    }
    let mut components: Vec<Component> = rest
        .chunks_exact(3)
        .map(|c| Component {
            id: c[0],
            h: usize::from(c[1] >> 4),
            v: usize::from(c[1] & 15),
            quantisers: usize::from(c[2]),
        })
        .collect();
    if components.len() != usize::from(count) || !matches!(count, 1..=4) {
        return Err(corrupt("frame header does not list its components"));
    }
    let valid = |c: &Component| matches!((c.h, c.v, c.quantisers), (1..=4, 1..=4, 0..=3));
    if !components.iter().all(valid) {
        return Err(corrupt("component with impossible parameters"));
    }
    if let [only] = &mut components[..] {
        // An MCU of the only component is one block, whatever its factors (T.81, A.2.2).
        (only.h, only.v) = (1, 1);
    } else if components.iter().map(|c| c.h * c.v).sum::<usize>() > 10 {
        return Err(corrupt("more than ten blocks in an mcu"));
    }
    if count == 2 {
        return Err(unsupported("two components"));
    }
    Ok(Header {
        width: u32::from(u16::from_be_bytes([w1, w0])),
        height: u32::from(u16::from_be_bytes([h1, h0])),
        components,
        progressive: marker == 0xc2,
        buffered: marker == 0xc2,
        adobe: None,
        jfif: None,
        exif: None,
    })
}

fn unsupported(reason: &str) -> Error {
    Error::Unsupported {
        format: Format::Jpeg,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, one frame header of 3 components at 4:2:0, one scan of `scanned` components, two data bytes, EOI.
    fn file(marker: u8, scanned: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, marker, 0, 17, 8, 0, 5, 0, 37, 3];
        bytes.extend([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
        bytes.extend([0xff, 0xda, 0, 3, scanned]);
        // A stuffed 0xff and a restart marker belong to the scan.
        bytes.extend([0x12, 0xff, 0x00, 0xff, 0xd0, 0x34, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn headers_tell_what_decoding_takes() {
        let bytes = file(0xc0, 3);
        let baseline = Header::read(&bytes).expect("a whole file");
        assert_eq!((baseline.width, baseline.height), (37, 5));
        assert_eq!(baseline.mcus(), (3, 1));
        assert_eq!(baseline.blocks(), 18);
        assert!(!baseline.buffered);
        assert!(
            Header::read(&file(0xc2, 3))
                .expect("a whole file")
                .progressive
        );
        assert!(Header::read(&file(0xc0, 1)).expect("a whole file").buffered);
    }

    #[test]
    fn every_cut_before_the_data_is_noticed() {
        let whole = file(0xc0, 3);
        let data = whole.len() - 8;
        // Whether the data are all there is for the decoder to find out.
        Header::read(&whole[..data]).expect("a header and a scan");
        for length in 3..data {
            let cut = Header::read(&whole[..length]);
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
        let with = |at: usize, value: u8| {
            let mut bytes = file(0xc0, 3);
            bytes[at] = value;
            bytes
        };
        let cases: [(&str, Vec<u8>); 8] = [
            ("more than one frame", twice),
            ("components", with(11, 0)),
            ("arithmetic", with(3, 0xc9)),
            ("8 bits", with(6, 12)),
            ("ten blocks", with(13, 0x44)),
            ("impossible", with(13, 0x50)),
            (
                "scan before",
                vec![0xff, 0xd8, 0xff, 0xda, 0, 3, 1, 0xff, 0xd9],
            ),
            ("under 2", vec![0xff, 0xd8, 0xff, 0xe0, 0, 1, 0xff, 0xd9]),
        ];
        for (expected, bytes) in cases {
            let message = Header::read(&bytes).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
