//! A strip's or tile's data -> its rows, decompressed as they are asked for.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind, Read};

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus};

use super::corrupt;
use super::fax::Fax;
use crate::jpeg::JpegRows;
use crate::rows::Rows;
use crate::{Error, Format};

type Data<'a> = Cursor<Cow<'a, [u8]>>;

/// Decompression under way.
pub(super) enum Stream<'a> {
    Raw(Data<'a>),
    PackBits(PackBits<'a>),
    Lzw(Box<Lzw<'a>>),
    Deflate(Box<ZlibDecoder<Data<'a>>>),
    Fax(Box<Fax<'a>>),
    Jpeg(Box<JpegRows<'a>>, Vec<u8>),
}

impl<'a> Stream<'a> {
    pub(super) fn raw(data: Cow<'a, [u8]>) -> Stream<'a> {
        Stream::Raw(Cursor::new(data))
    }

    pub(super) fn pack_bits(data: Cow<'a, [u8]>) -> Stream<'a> {
        Stream::PackBits(PackBits {
            data,
            at: 0,
            literal: 0,
            repeated: (0, 0),
        })
    }

    pub(super) fn lzw(data: Cow<'a, [u8]>) -> Stream<'a> {
        // Writers before TIFF 5.0 put the lowest bit of a code first; then the first code, 256, begins with a zero byte.
        let old = data.first() == Some(&0) && data.get(1).is_some_and(|b| b & 1 == 1);
        let decoder = if old {
            weezl::decode::Decoder::new(BitOrder::Lsb, 8)
        } else {
            weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8)
        };
        Stream::Lzw(Box::new(Lzw {
            data,
            at: 0,
            decoder,
        }))
    }

    pub(super) fn deflate(data: Cow<'a, [u8]>) -> Stream<'a> {
        Stream::Deflate(Box::new(ZlibDecoder::new(Cursor::new(data))))
    }

    pub(super) fn jpeg(rows: JpegRows<'a>) -> Stream<'a> {
        let row = vec![0; rows.width() * rows.channels()];
        Stream::Jpeg(Box::new(rows), row)
    }

    /// Writes the next row.
    pub(super) fn next_row(&mut self, row: &mut [u8]) -> Result<(), Error> {
        match self {
            Stream::Raw(data) => data.read_exact(row).map_err(explain),
            Stream::PackBits(packed) => packed.read_exact(row).map_err(explain),
            Stream::Lzw(lzw) => lzw.read_exact(row).map_err(explain),
            Stream::Deflate(deflated) => deflated.read_exact(row).map_err(explain),
            Stream::Fax(fax) => fax.next_row(row).map_err(corrupt),
            Stream::Jpeg(rows, whole) => {
                rows.next_row(whole)?;
                // A strip may be padded to whole blocks.
                row.copy_from_slice(&whole[..row.len()]);
                Ok(())
            }
        }
    }
}

fn explain(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::Truncated {
            format: Format::Tiff,
        },
        _ => corrupt(&error.to_string()),
    }
}

/// Runs of bytes: 1 to 128 that differ, or one that is repeated 2 to 128 times (TIFF 6.0, section 9).
pub(super) struct PackBits<'a> {
    data: Cow<'a, [u8]>,
    at: usize,
    /// Bytes to be copied.
    literal: usize,
    /// A byte, and how often it is still to be written.
    repeated: (u8, usize),
}

impl Read for PackBits<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.literal == 0 && self.repeated.1 == 0 {
            let Some(&head) = self.data.get(self.at) else {
                return Ok(0);
            };
            self.at += 1;
            match head as i8 {
                length @ 0.. => self.literal = length as usize + 1,
                -128 => {}
                length => {
                    let Some(&byte) = self.data.get(self.at) else {
                        return Ok(0);
                    };
                    self.at += 1;
                    self.repeated = (byte, 1 + usize::from(length.unsigned_abs()));
                }
            }
        }
        if self.repeated.1 > 0 {
            let count = self.repeated.1.min(out.len());
            out[..count].fill(self.repeated.0);
            self.repeated.1 -= count;
            return Ok(count);
        }
        let rest = self.data.get(self.at..).unwrap_or(&[]);
        let count = self.literal.min(out.len()).min(rest.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        self.literal -= count;
        Ok(count)
    }
}

pub(super) struct Lzw<'a> {
    data: Cow<'a, [u8]>,
    at: usize,
    decoder: weezl::decode::Decoder,
}

impl Read for Lzw<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let rest = self.data.get(self.at..).unwrap_or(&[]);
            let step = self.decoder.decode_bytes(rest, out);
            self.at += step.consumed_in;
            let status = step
                .status
                .map_err(|e| std::io::Error::new(ErrorKind::InvalidData, e.to_string()))?;
            let stuck = step.consumed_in == 0 || !matches!(status, LzwStatus::Ok);
            if step.consumed_out > 0 || out.is_empty() || stuck {
                return Ok(step.consumed_out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_by_hand() {
        // TIFF 6.0's own example, its rows as they come.
        let packed = [
            0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7,
            0xaa,
        ];
        let mut stream = Stream::pack_bits(Cow::Borrowed(&packed));
        let mut out = Vec::new();
        for _ in 0..6 {
            let mut row = [0; 4];
            stream.next_row(&mut row).expect("a row");
            out.extend(row);
        }
        let expected = [
            0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0xaa, 0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0x22,
            0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
        ];
        assert_eq!(out, expected);
        assert!(matches!(
            stream.next_row(&mut [0]),
            Err(Error::Truncated { .. })
        ));
    }
}
