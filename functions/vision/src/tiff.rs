//! A page of a TIFF file -> its rows, in the variants that scanners and fax machines write.
//!
//! Strips are decompressed as their rows are asked for; of tiles, a row of them is in memory. Directories are read here
//! and not by the crate `tiff`, because it delivers a strip at a time, which is often the whole page, has its own JPEG
//! decoder with SIMD, whose bits differ between targets, and knows neither fax rows without line ends nor leaning ones.

mod directory;
mod fax;
mod stream;

use std::borrow::Cow;

use image::metadata::Orientation;

use crate::decode::{Announced, Wanted};
use crate::density::{CENTIMETRES_PER_INCH, Density};
use crate::jpeg::{self, Colour, JpegRows};
use crate::limits::Limits;
use crate::rows::{Rows, narrow};
use crate::{Error, Format};
use directory::{Directory, tag};
use fax::{Coding, Fax};
use stream::Stream;

/// Reads a page's directory.
pub(crate) fn announced(bytes: &[u8], page: u32) -> Result<Announced, Error> {
    let directory = Directory::of_page(bytes, page)?;
    let tagged = directory.number(tag::ORIENTATION, 1)?;
    let turned = u8::try_from(tagged).ok().and_then(Orientation::from_exif);
    Ok(Announced {
        size: (directory.side(tag::WIDTH)?, directory.side(tag::HEIGHT)?),
        orientation: turned.unwrap_or(Orientation::NoTransforms),
    })
}

/// Pixels per inch of a page, or of what an Exif structure belongs to.
pub(crate) fn density(bytes: &[u8], page: u32) -> Option<Density> {
    let directory = Directory::of_page(bytes, page).ok()?;
    let inch = match directory.number(tag::RESOLUTION_UNIT, 2).ok()? {
        2 => 1.0,
        3 => CENTIMETRES_PER_INCH,
        _ => return None,
    };
    let across = directory.ratio(tag::X_RESOLUTION)?;
    let down = directory.ratio(tag::Y_RESOLUTION)?;
    Some([across * inch, down * inch])
}

/// Starts decoding a page, whose size has been checked.
pub(crate) fn open<'a>(bytes: &'a [u8], wanted: &Wanted<'_>) -> Result<Box<dyn Rows + 'a>, Error> {
    let directory = Directory::of_page(bytes, wanted.page)?;
    Ok(Box::new(TiffRows::new(directory, *wanted.limits)?))
}

/// What numbers in the pixels mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
}

impl Meaning {
    fn samples(self) -> usize {
        match self {
            Meaning::WhiteIsZero | Meaning::BlackIsZero | Meaning::Palette => 1,
            Meaning::Rgb => 3,
            Meaning::Cmyk => 4,
        }
    }
}

/// How an extra sample covers what lies below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alpha {
    None,
    Straight,
    /// The colours are multiplied by it already.
    Multiplied,
}

struct TiffRows<'a> {
    directory: Directory<'a>,
    limits: Limits,
    width: usize,
    height: usize,
    meaning: Meaning,
    alpha: Alpha,
    /// Samples of a pixel in the file, all of these bits.
    samples: usize,
    bits: usize,
    compression: u64,
    /// One plane for each sample, instead of one with all.
    planar: bool,
    predicted: bool,
    reversed_bits: bool,
    /// RGB by index; empty unless there is a palette.
    palette: Vec<[u8; 3]>,
    chunks: Chunks,
    /// The strips under way, one for each plane.
    strips: Vec<Stream<'a>>,
    /// A row of tiles, `[planes, tile height, tiles across, bytes of a tile's row]`.
    tiles: Vec<u8>,
    /// The picture's row as it is in the file, one for each plane.
    raw: Vec<Vec<u8>>,
    /// The next row.
    row: usize,
    /// Bytes of all chunks so far.
    seen_bytes: u64,
}

/// Most bytes of all chunks together. They may share some, as empty tiles do, but a small file must not make work
/// for a large one.
const MAX_SEEN_BYTES: u64 = 256 << 20;

/// How the picture is cut up.
#[derive(Debug, Clone, Copy)]
struct Chunks {
    tiled: bool,
    /// Pixels of a chunk.
    width: usize,
    height: usize,
    /// Chunks of a plane.
    across: usize,
    down: usize,
}

impl<'a> TiffRows<'a> {
    fn new(directory: Directory<'a>, limits: Limits) -> Result<TiffRows<'a>, Error> {
        let (width, height) = (directory.side(tag::WIDTH)?, directory.side(tag::HEIGHT)?);
        limits.check_size(width, height)?;
        let samples = directory.number(tag::SAMPLES, 1)?;
        let compression = directory.number(tag::COMPRESSION, 1)?;
        let bits = directory.number(tag::BITS, 1)?;
        for index in 1..directory.count(tag::BITS)?.min(16) {
            if directory.at(tag::BITS, index)? != Some(bits) {
                return Err(unsupported("samples of different bits"));
            }
        }
        if directory.number(tag::SAMPLE_FORMAT, 1)? > 2 {
            return Err(unsupported("samples that are no whole numbers"));
        }
        if !matches!(bits, 1 | 2 | 4 | 8 | 16) {
            return Err(unsupported(&format!("samples of {bits} bits")));
        }
        let mut samples = match samples {
            1..=8 => samples as usize,
            _ => return Err(unsupported(&format!("{samples} samples a pixel"))),
        };
        let jpeg = compression == COMPRESSION_JPEG;
        let meaning = match directory.number(tag::PHOTOMETRIC, 1)? {
            0 => Meaning::WhiteIsZero,
            1 => Meaning::BlackIsZero,
            2 => Meaning::Rgb,
            3 => Meaning::Palette,
            5 => Meaning::Cmyk,
            6 if jpeg => Meaning::Rgb,
            other => return Err(unsupported(&format!("photometric interpretation {other}"))),
        };
        if samples < meaning.samples() {
            return Err(corrupt("fewer samples than the colours have"));
        }
        if meaning == Meaning::Palette && bits == 16 {
            return Err(unsupported("a palette of 65,536 colours"));
        }
        let mut alpha = Alpha::None;
        if samples > meaning.samples() && meaning != Meaning::Cmyk && meaning != Meaning::Palette {
            alpha = match directory.at(tag::EXTRA_SAMPLES, 0)? {
                Some(1) => Alpha::Multiplied,
                Some(2) => Alpha::Straight,
                _ => Alpha::None,
            };
        }
        let planar = directory.number(tag::PLANAR, 1)? == 2 && samples > 1;
        let mut meaning = meaning;
        if jpeg {
            if planar || bits != 8 || samples != meaning.samples() {
                return Err(unsupported("jpeg with planes, alpha or other than 8 bits"));
            }
            if meaning == Meaning::Cmyk {
                // The decoder makes RGB of it.
                (meaning, samples) = (Meaning::Rgb, 3);
            }
        }
        let bits = bits as usize;
        let predicted = match directory.number(tag::PREDICTOR, 1)? {
            1 => false,
            2 if bits >= 8 => true,
            other => return Err(unsupported(&format!("predictor {other}"))),
        };
        let chunks = Chunks::read(&directory, width as usize, height as usize)?;
        let mut rows = TiffRows {
            limits,
            width: width as usize,
            height: height as usize,
            meaning,
            alpha,
            samples,
            bits,
            compression,
            planar,
            predicted: predicted && matches!(compression, 5 | 8 | 32_946),
            reversed_bits: directory.number(tag::FILL_ORDER, 1)? == 2,
            palette: palette(&directory, bits, meaning)?,
            chunks,
            strips: Vec::new(),
            tiles: Vec::new(),
            raw: Vec::new(),
            row: 0,
            seen_bytes: 0,
            directory,
        };
        let tile_row_bytes = rows.row_bytes(chunks.width) * chunks.across;
        let needed_bytes = if chunks.tiled {
            rows.planes() as u64 * chunks.height as u64 * tile_row_bytes as u64
        } else {
            0
        };
        rows.limits.check_bytes((width, height), needed_bytes)?;
        rows.tiles = vec![0; needed_bytes as usize];
        let row_bytes = tile_row_bytes.max(rows.row_bytes(rows.width));
        rows.raw = vec![vec![0; row_bytes]; rows.planes()];
        Ok(rows)
    }

    fn planes(&self) -> usize {
        if self.planar { self.samples } else { 1 }
    }

    /// Samples of a pixel in one plane.
    fn samples_in_plane(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of a row of so many pixels in one plane.
    fn row_bytes(&self, width: usize) -> usize {
        (width * self.samples_in_plane() * self.bits).div_ceil(8)
    }

    /// A chunk's data.
    fn data(&mut self, index: usize) -> Result<Cow<'a, [u8]>, Error> {
        let (offsets, lengths) = if self.chunks.tiled {
            (tag::TILE_OFFSETS, tag::TILE_BYTES)
        } else {
            (tag::STRIP_OFFSETS, tag::STRIP_BYTES)
        };
        let offset = self.directory.at(offsets, index)?;
        let offset = offset.ok_or_else(|| corrupt(&format!("strip or tile {index} is missing")))?;
        let data = match self.directory.at(lengths, index)? {
            Some(length) => self.directory.slice(offset, length)?,
            // Old writers leave the length out.
            None => self.directory.rest(offset)?,
        };
        self.seen_bytes += data.len() as u64;
        if self.seen_bytes > MAX_SEEN_BYTES {
            return Err(corrupt("strips or tiles overlap"));
        }
        if !self.reversed_bits || self.compression == COMPRESSION_JPEG {
            return Ok(Cow::Borrowed(data));
        }
        let size = (self.width as u32, self.height as u32);
        self.limits.check_bytes(size, data.len() as u64)?;
        Ok(Cow::Owned(data.iter().map(|b| b.reverse_bits()).collect()))
    }

    fn stream(&mut self, index: usize) -> Result<Stream<'a>, Error> {
        let data = self.data(index)?;
        let width = self.chunks.width as u32;
        let fax = |data, coding| Ok(Stream::Fax(Box::new(Fax::new(data, coding, width))));
        if matches!(self.compression, 2..=4) && (self.bits, self.samples) != (1, 1) {
            return Err(corrupt("fax compression of other than one bit a pixel"));
        }
        match self.compression {
            1 => Ok(Stream::raw(data)),
            2 => fax(data, Coding::Runs),
            3 => {
                let options = self.directory.number(tag::T4_OPTIONS, 0)?;
                let two_dimensional = options & 1 == 1;
                fax(data, Coding::T4 { two_dimensional })
            }
            4 => fax(data, Coding::T6),
            5 => Ok(Stream::lzw(data)),
            8 | 32_946 => Ok(Stream::deflate(data)),
            32_773 => Ok(Stream::pack_bits(data)),
            COMPRESSION_JPEG => self.jpeg(&data, index),
            6 => Err(unsupported("jpeg of the old style")),
            other => Err(unsupported(&format!("compression {other}"))),
        }
    }

    fn jpeg(&self, data: &Cow<'a, [u8]>, index: usize) -> Result<Stream<'a>, Error> {
        let Cow::Borrowed(bytes) = *data else {
            return Err(unsupported("jpeg with reversed bits"));
        };
        let header = jpeg::Header::read(bytes)?;
        let expected = (self.chunks.width, self.chunk_height(index));
        let actual = (header.width as usize, header.height as usize);
        let fits = |actual: usize, expected: usize| (expected..expected + 64).contains(&actual);
        if !fits(actual.0, expected.0) || !fits(actual.1, expected.1) {
            return Err(corrupt(&format!(
                "jpeg of {} x {} px in a strip or tile of {} x {} px",
                actual.0, actual.1, expected.0, expected.1
            )));
        }
        if header.progressive {
            // No scanner writes it (TIFF Technical Note 2 has only sequential JPEG), and many small strips of many passes would
            // take for ever.
            return Err(unsupported("progressive jpeg in tiff"));
        }
        self.limits.check_size(header.width, header.height)?;
        self.limits
            .check_bytes((header.width, header.height), jpeg::held_bytes(&header, 8))?;
        // The directory tells the colours, not the markers.
        let colour = match (
            header.components.len(),
            self.directory.number(tag::PHOTOMETRIC, 1)?,
        ) {
            (1, _) => Colour::Grey,
            (3, 2) => Colour::Rgb,
            (3, _) => Colour::YCbCr,
            _ => Colour::of(&header),
        };
        let expected = self.samples;
        let plan = jpeg::Plan {
            block_px: 8,
            first_row: 0,
        };
        let tables = self.directory.bytes(tag::JPEG_TABLES)?;
        let rows = JpegRows::open(bytes, tables, header, colour, &plan)?;
        if rows.channels() != expected {
            return Err(corrupt("jpeg with other components than the page"));
        }
        Ok(Stream::jpeg(rows))
    }

    /// Rows of a chunk that are in the picture; tiles are always whole.
    fn chunk_height(&self, index: usize) -> usize {
        if self.chunks.tiled {
            return self.chunks.height;
        }
        let above = index % self.chunks.down * self.chunks.height;
        self.chunks.height.min(self.height - above)
    }

    /// Fetches the next row as it is in the file.
    fn fetch(&mut self) -> Result<(), Error> {
        let Chunks {
            tiled,
            height,
            across,
            down,
            ..
        } = self.chunks;
        let (chunk_row, y) = (self.row / height, self.row % height);
        if tiled {
            if y == 0 {
                self.decode_tiles(chunk_row)?;
            }
            let bytes = self.row_bytes(self.chunks.width) * across;
            for (plane, raw) in self.raw.iter_mut().enumerate() {
                raw.copy_from_slice(&self.tiles[(plane * height + y) * bytes..][..bytes]);
            }
            return Ok(());
        }
        if y == 0 {
            // The old ones' buffers go before the new ones come.
            self.strips.clear();
            for plane in 0..self.planes() {
                let strip = self.stream(plane * down + chunk_row)?;
                self.strips.push(strip);
            }
        }
        let samples = self.samples_in_plane();
        for (strip, raw) in self.strips.iter_mut().zip(&mut self.raw) {
            strip.next_row(raw)?;
            if self.predicted {
                accumulate(raw, samples, self.bits, self.directory.big_endian());
            }
        }
        Ok(())
    }

    fn decode_tiles(&mut self, chunk_row: usize) -> Result<(), Error> {
        let Chunks {
            height,
            across,
            down,
            ..
        } = self.chunks;
        let bytes = self.row_bytes(self.chunks.width);
        for plane in 0..self.planes() {
            for column in 0..across {
                let mut tile = self.stream((plane * down + chunk_row) * across + column)?;
                for y in 0..height {
                    let at = ((plane * height + y) * across + column) * bytes;
                    let row = &mut self.tiles[at..at + bytes];
                    tile.next_row(row)?;
                    if self.predicted {
                        let samples = if self.planar { 1 } else { self.samples };
                        accumulate(row, samples, self.bits, self.directory.big_endian());
                    }
                }
            }
        }
        Ok(())
    }

    /// Sample `s` of pixel `x`, all of its bits.
    fn sample(&self, x: usize, s: usize) -> u16 {
        let (raw, at) = if self.planar {
            (&self.raw[s], x)
        } else {
            (&self.raw[0], x * self.samples + s)
        };
        match self.bits {
            8 => u16::from(raw[at]),
            16 => {
                let pair = [raw[2 * at], raw[2 * at + 1]];
                if self.directory.big_endian() {
                    u16::from_be_bytes(pair)
                } else {
                    u16::from_le_bytes(pair)
                }
            }
            bits => {
                let byte = raw[at * bits / 8];
                let below = 8 - bits - at * bits % 8;
                u16::from(byte >> below) & ((1 << bits) - 1)
            }
        }
    }

    /// A sample on a scale of 0..=255.
    fn level(&self, x: usize, s: usize) -> u8 {
        let value = self.sample(x, s);
        match self.bits {
            8 => value as u8,
            16 => narrow(value),
            bits => (value * (255 / ((1 << bits) - 1))) as u8,
        }
    }

    fn pixel(&self, x: usize) -> [u8; 3] {
        match self.meaning {
            Meaning::WhiteIsZero => [255 - self.level(x, 0); 3],
            Meaning::BlackIsZero => [self.level(x, 0); 3],
            Meaning::Rgb => [0, 1, 2].map(|s| self.level(x, s)),
            Meaning::Palette => {
                let colour = self.palette.get(usize::from(self.sample(x, 0)));
                colour.copied().unwrap_or_default()
            }
            Meaning::Cmyk => {
                let black = 255 - self.level(x, 3);
                [0, 1, 2].map(|s| jpeg::times(255 - self.level(x, s), black))
            }
        }
    }

    fn is_grey(&self) -> bool {
        matches!(self.meaning, Meaning::WhiteIsZero | Meaning::BlackIsZero)
    }
}

impl Rows for TiffRows<'_> {
    fn width(&self) -> usize {
        self.width
    }

    fn height(&self) -> usize {
        self.height
    }

    fn channels(&self) -> usize {
        match self.alpha {
            Alpha::None if self.is_grey() => 1,
            Alpha::None => 3,
            Alpha::Straight | Alpha::Multiplied => 4,
        }
    }

    fn next_row(&mut self, row: &mut [u8]) -> Result<(), Error> {
        self.fetch()?;
        self.row += 1;
        match self.channels() {
            1 if self.bits == 1 && self.samples == 1 => {
                let (zero, one) = if self.meaning == Meaning::WhiteIsZero {
                    (255, 0)
                } else {
                    (0, 255)
                };
                for (out, &byte) in row.chunks_mut(8).zip(&self.raw[0]) {
                    for (i, v) in out.iter_mut().enumerate() {
                        *v = if byte << i & 0x80 == 0 { zero } else { one };
                    }
                }
            }
            1 => {
                for (x, v) in row.iter_mut().enumerate() {
                    *v = self.pixel(x)[0];
                }
            }
            3 => {
                for (x, out) in row.chunks_exact_mut(3).enumerate() {
                    out.copy_from_slice(&self.pixel(x));
                }
            }
            _ => {
                let at = self.meaning.samples();
                for (x, out) in row.chunks_exact_mut(4).enumerate() {
                    let alpha = self.level(x, at);
                    let mut colour = self.pixel(x);
                    if self.alpha == Alpha::Multiplied && alpha > 0 {
                        let a = u32::from(alpha);
                        colour = colour.map(|v| ((u32::from(v) * 255 + a / 2) / a).min(255) as u8);
                    }
                    out[..3].copy_from_slice(&colour);
                    out[3] = alpha;
                }
            }
        }
        Ok(())
    }
}

impl Chunks {
    fn read(directory: &Directory<'_>, width: usize, height: usize) -> Result<Chunks, Error> {
        let tiled = directory.count(tag::TILE_OFFSETS)? > 0;
        let (chunk_width, chunk_height) = if tiled {
            let side = |tag| Ok(directory.side(tag)? as usize);
            (side(tag::TILE_WIDTH)?, side(tag::TILE_HEIGHT)?)
        } else {
            let rows = directory.number(tag::ROWS_PER_STRIP, u64::MAX)?;
            (width, rows.min(height as u64) as usize)
        };
        // A tile's sides are multiples of 16; one that is much larger than the picture is a trap.
        let whole = |side: usize, all: usize| {
            !tiled || side.is_multiple_of(16) && side <= all.next_multiple_of(16).max(1024)
        };
        if chunk_height == 0
            || chunk_width == 0
            || !whole(chunk_width, width)
            || !whole(chunk_height, height)
        {
            return Err(corrupt(&format!(
                "strips or tiles of {chunk_width} x {chunk_height} px"
            )));
        }
        Ok(Chunks {
            tiled,
            width: chunk_width,
            height: chunk_height,
            across: width.div_ceil(chunk_width),
            down: height.div_ceil(chunk_height),
        })
    }
}

const COMPRESSION_JPEG: u64 = 7;

fn palette(
    directory: &Directory<'_>,
    bits: usize,
    meaning: Meaning,
) -> Result<Vec<[u8; 3]>, Error> {
    if meaning != Meaning::Palette {
        return Ok(Vec::new());
    }
    let colours = 1 << bits;
    if directory.count(tag::COLOUR_MAP)? < 3 * colours {
        return Err(corrupt("palette is missing or cut"));
    }
    // The upper byte: some writers widen by 256, some by 257, and old ones not at all.
    let mut down = 0;
    for index in 0..3 * colours {
        if directory.at(tag::COLOUR_MAP, index)?.unwrap_or(0) > 255 {
            down = 8;
        }
    }
    let at = |index: usize| {
        let value = directory.at(tag::COLOUR_MAP, index)?.unwrap_or(0);
        Ok((value >> down) as u8)
    };
    (0..colours)
        .map(|i| Ok([at(i)?, at(colours + i)?, at(2 * colours + i)?]))
        .collect()
}

/// Undoes horizontal differencing (TIFF 6.0, section 14).
fn accumulate(row: &mut [u8], samples: usize, bits: usize, big_endian: bool) {
    if bits == 8 {
        for i in samples..row.len() {
            row[i] = row[i].wrapping_add(row[i - samples]);
        }
        return;
    }
    let (high, low) = if big_endian { (0, 1) } else { (1, 0) };
    for i in (2 * samples..row.len().saturating_sub(1)).step_by(2) {
        let at = |i: usize| u16::from_be_bytes([row[i + high], row[i + low]]);
        let [upper, lower] = at(i).wrapping_add(at(i - 2 * samples)).to_be_bytes();
        row[i + high] = upper;
        row[i + low] = lower;
    }
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt {
        format: Format::Tiff,
        reason: reason.to_owned(),
    }
}

fn unsupported(reason: &str) -> Error {
    Error::Unsupported {
        format: Format::Tiff,
        reason: reason.to_owned(),
    }
}
