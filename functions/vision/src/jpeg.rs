//! A JPEG file -> its rows, whole or scaled down while decoding.
//!
//! A sequential file is decoded by rows of MCUs, of which only one is in memory. The coefficients of a progressive file
//! come in several passes and must be held; where the picture is to be shrunk anyway, only the lowest are.
//!
//! Why this is our own: the crates at hand deliver whole pictures. `zune-jpeg` takes three bytes a pixel, 300 MB for
//! 100 Mpx; `jpeg-decoder` can scale, but holds all planes and the result at once, and all coefficients of a
//! progressive file (two bytes each, 300 MB at 100 Mpx).

mod bits;
mod header;
mod scan;
mod transform;

pub(crate) use header::Header;

use crate::rows::Rows;
use crate::{Error, Format};
use header::{Component, Segments};
use scan::{Held, Precision, Scan, Tables};
use transform::Quantisers;

/// Passes over the picture that a file may take. Encoders make ten; each costs time even where it has no data.
const MAX_SCANS: usize = 100;

/// Blocks that all passes together may go through: each takes time even where it has no data. An encoder's ten passes over
/// 110 Mpx go through 11 million.
const MAX_BLOCKS: u64 = 24_000_000;

const TRUNCATED: Error = Error::Truncated {
    format: Format::Jpeg,
};

/// What the components of a picture are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Grey,
    Rgb,
    YCbCr,
    /// Four inks; `inverted`: 255 is none, as Adobe writes it.
    Cmyk {
        inverted: bool,
    },
    /// The inverted inks but black as YCbCr.
    Ycck,
}

impl Colour {
    /// As the markers tell, or where they do not, custom.
    pub(crate) fn of(header: &Header<'_>) -> Colour {
        let ids: Vec<u8> = header.components.iter().map(|c| c.id).collect();
        match (header.components.len(), header.adobe) {
            (1, _) => Colour::Grey,
            (3, Some(0)) => Colour::Rgb,
            (3, None) if header.jfif.is_none() && ids == *b"RGB" => Colour::Rgb,
            (3, _) => Colour::YCbCr,
            (_, Some(2)) => Colour::Ycck,
            (_, adobe) => Colour::Cmyk {
                inverted: adobe.is_some(),
            },
        }
    }

    fn components(self) -> usize {
        match self {
            Colour::Grey => 1,
            Colour::Rgb | Colour::YCbCr => 3,
            Colour::Cmyk { .. } | Colour::Ycck => 4,
        }
    }
}

/// How a picture is to be decoded.
pub(crate) struct Plan {
    /// Side of a decoded block in pixels: 8 for the whole size, 4, 2 or 1 to scale it down.
    pub(crate) block_px: usize,
    /// Rows above this one, in scaled pixels, are not looked at.
    pub(crate) first_row: usize,
}

/// Bytes of a picture's coefficients if they have to be held.
pub(crate) fn held_bytes(header: &Header<'_>, block_px: usize) -> u64 {
    if header.buffered {
        Held::bytes(header.blocks(), block_px)
    } else {
        0
    }
}

/// The rows of a picture.
pub(crate) struct JpegRows<'a> {
    header: Header<'a>,
    colour: Colour,
    tables: Tables,
    quantisers: Vec<Quantisers>,
    blocks: Blocks<'a>,
    planes: Vec<Plane>,
    block_px: usize,
    width: usize,
    /// The next row, and the next row of MCUs.
    row: usize,
    mcu_row: usize,
    first_row: usize,
}

enum Blocks<'a> {
    /// Decoded as rows are asked for.
    Streamed(Scan<'a>),
    Held(Vec<Held>),
}

/// The samples of one component in a row of MCUs.
struct Plane {
    /// Side of a block; that of a component with fewer samples can be greater than that of others, at no loss.
    block_px: usize,
    stride: usize,
    /// `[rows, stride]`.
    samples: Vec<u8>,
    /// The last row of the MCUs above, once there are any.
    above: Vec<u8>,
    /// A row between two; not used where the component has all rows of the picture itself.
    between: Vec<u8>,
    /// A row at the width of the picture; not used where the component has that width itself.
    line: Vec<u8>,
    /// Samples of this component for so many of the picture, across and down: `(own, picture)`.
    across: (usize, usize),
    down: (usize, usize),
}

impl<'a> JpegRows<'a> {
    /// Starts decoding. `tables`: segments from elsewhere to be read first, as TIFF has them. Memory: what
    /// [`held_bytes`] says, and a row of MCUs.
    pub(crate) fn open(
        bytes: &'a [u8],
        tables: &[u8],
        header: Header<'a>,
        colour: Colour,
        plan: &Plan,
    ) -> Result<JpegRows<'a>, Error> {
        if colour.components() != header.components.len() {
            let (expected, actual) = (colour.components(), header.components.len());
            return Err(corrupt(&format!(
                "expected {expected} components, got {actual}"
            )));
        }
        let block_px = plan.block_px;
        let planes: Vec<Plane> = header
            .components
            .iter()
            .map(|c| Plane::new(&header, c, block_px))
            .collect();
        let mut defined = Tables::default();
        let mut elsewhere = Segments::new(tables, 0);
        while !tables.is_empty() {
            match elsewhere.next()? {
                (0xd9, _) => break,
                (marker, segment) => defined.define(marker, segment)?,
            }
        }
        let mut rows = JpegRows {
            width: (header.width as usize * block_px).div_ceil(8),
            colour,
            quantisers: vec![[0; 64]; header.components.len()],
            blocks: Blocks::Held(Vec::new()),
            planes,
            block_px,
            row: 0,
            mcu_row: 0,
            first_row: plan.first_row,
            tables: defined,
            header,
        };
        rows.read_scans(bytes)?;
        Ok(rows)
    }

    /// Up to the data of the only scan, or through all of them.
    fn read_scans(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        let header = &self.header;
        let mut held: Vec<Held> = Vec::new();
        if header.buffered {
            let components = header.components.iter();
            held = components
                .map(|c| Held::new(header, c, self.block_px))
                .collect();
        }
        let mut seen = vec![false; header.components.len()];
        let mut precision = Precision::new(header.components.len());
        let (mut scans, mut blocks) = (0, 0);
        let mut segments = Segments::new(bytes, 2);
        loop {
            let (marker, segment) = segments.next()?;
            match marker {
                0xd9 => break,
                0xda => {
                    scans += 1;
                    if scans > MAX_SCANS {
                        return Err(corrupt(&format!("more than {MAX_SCANS} scans")));
                    }
                    let mut scan = Scan::open(header, &self.tables, segment, bytes, segments.at)?;
                    blocks += scan.blocks(header);
                    if blocks > MAX_BLOCKS {
                        return Err(corrupt(&format!(
                            "scans of {blocks} blocks, limit is {MAX_BLOCKS}"
                        )));
                    }
                    for component in scan.components() {
                        if !std::mem::replace(&mut seen[component], true) {
                            self.quantisers[component] =
                                self.tables.quantisers(&header.components[component])?;
                        }
                    }
                    if !header.buffered {
                        self.blocks = Blocks::Streamed(scan);
                        return Ok(());
                    }
                    scan.hold(header, &self.tables, &mut held)
                        .map_err(|fault| scan.explain(fault))?;
                    precision.add(&scan);
                    segments.at = scan.end();
                }
                _ => self.tables.define(marker, segment)?,
            }
        }
        if seen.contains(&false) {
            return Err(corrupt("component without a scan"));
        }
        if segments.open_ended && !precision.is_full() {
            // The scans at hand are whole, but the encoder made more of them.
            return Err(TRUNCATED);
        }
        self.blocks = Blocks::Held(held);
        Ok(())
    }

    /// Decodes the next row of MCUs into the planes.
    fn fill(&mut self) -> Result<(), Error> {
        let rows = self.rows_at_once();
        // The last row above the first one that is looked at is between that one's samples.
        let needed = (self.mcu_row + 1) * rows >= self.first_row;
        let (planes, quantisers) = (&mut self.planes, &self.quantisers);
        if self.mcu_row > 0 {
            planes.iter_mut().for_each(Plane::keep_last_row);
        }
        match &mut self.blocks {
            Blocks::Streamed(scan) => {
                let put = |component: usize, x: usize, y: usize, block: &_, flat| {
                    if needed {
                        planes[component].put(x, y, block, &quantisers[component], flat);
                    }
                };
                scan.sequential_row(&self.header, &self.tables, put)
                    .map_err(|fault| scan.explain(fault))?;
            }
            Blocks::Held(held) if needed => {
                for ((plane, held), (component, quantisers)) in planes
                    .iter_mut()
                    .zip(&*held)
                    .zip(self.header.components.iter().zip(quantisers))
                {
                    for y in 0..component.v {
                        for x in 0..held.across() {
                            let (block, flat) = held.block(x, self.mcu_row * component.v + y);
                            plane.put(x, y, &block, quantisers, flat);
                        }
                    }
                }
            }
            Blocks::Held(_) => {}
        }
        self.mcu_row += 1;
        Ok(())
    }

    /// Rows of the picture in a row of MCUs.
    fn rows_at_once(&self) -> usize {
        self.header.most(|c| c.v) * self.block_px
    }
}

impl Rows for JpegRows<'_> {
    fn width(&self) -> usize {
        self.width
    }

    fn height(&self) -> usize {
        (self.header.height as usize * self.block_px).div_ceil(8)
    }

    fn channels(&self) -> usize {
        if self.colour == Colour::Grey { 1 } else { 3 }
    }

    fn next_row(&mut self, row: &mut [u8]) -> Result<(), Error> {
        let at_once = self.rows_at_once();
        if self.row == self.mcu_row * at_once {
            self.fill()?;
        }
        let y = self.row % at_once;
        self.row += 1;
        if self.row <= self.first_row {
            return Ok(());
        }
        let width = self.width;
        for plane in &mut self.planes {
            plane.widen(y, width);
        }
        let lines: Vec<&[u8]> = self.planes.iter().map(|p| p.line(y, width)).collect();
        paint(self.colour, &lines, row);
        Ok(())
    }
}

impl Plane {
    fn new(header: &Header<'_>, component: &Component, block_px: usize) -> Plane {
        let (most_h, most_v) = (header.most(|c| c.h), header.most(|c| c.v));
        let mut own_px = block_px;
        // Held blocks have no more coefficients than the picture's size asks for.
        let divides = |most: usize, own: usize| (most * block_px).is_multiple_of(own);
        while !header.buffered
            && own_px < 8
            && divides(most_h, component.h * own_px * 2)
            && divides(most_v, component.v * own_px * 2)
        {
            own_px *= 2;
        }
        let stride = header.mcus().0 * component.h * own_px;
        let across = (component.h * own_px, most_h * block_px);
        let width = (header.width as usize * block_px).div_ceil(8);
        let down = (component.v * own_px, most_v * block_px);
        Plane {
            block_px: own_px,
            stride,
            samples: vec![0; stride * component.v * own_px],
            above: Vec::new(),
            between: vec![0; if down.0 == down.1 { 0 } else { stride }],
            line: vec![0; if across.0 == across.1 { 0 } else { width }],
            across,
            down,
        }
    }

    fn put(&mut self, x: usize, y: usize, block: &[i16; 64], quantisers: &Quantisers, flat: bool) {
        let px = self.block_px;
        let out = &mut self.samples[y * px * self.stride + x * px..];
        transform::samples(block, quantisers, flat, px, out, self.stride);
    }

    /// Before the next row of MCUs takes the place of this one.
    fn keep_last_row(&mut self) {
        if !self.between.is_empty() {
            let last = self.samples.len() - self.stride;
            self.above.clear();
            self.above.extend_from_slice(&self.samples[last..]);
        }
    }

    fn own_row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.stride]
    }

    /// Brings the component's samples for row `y` of the MCUs to the picture's size, if it has fewer: a quarter of the
    /// way to the next where it has half as many, else the nearest.
    fn widen(&mut self, y: usize, width: usize) {
        if !self.between.is_empty() {
            let mut between = std::mem::take(&mut self.between);
            let (own, picture) = self.down;
            let near = y * own / picture;
            let far = match (own * 2 == picture, y.is_multiple_of(2)) {
                (true, true) if near > 0 => self.own_row(near - 1),
                (true, true) if !self.above.is_empty() => &self.above,
                // The row below the last one is not decoded yet: its own stands for it.
                (true, false) if near + 1 < own => self.own_row(near + 1),
                _ => self.own_row(near),
            };
            let pairs = self.own_row(near).iter().zip(far);
            for (out, (&near, &far)) in between.iter_mut().zip(pairs) {
                *out = quarter(near, far, y);
            }
            self.between = between;
        }
        let (own, picture) = self.across;
        if own == picture {
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        let row = self.row(y);
        if own * 2 == picture {
            let last = (width - 1) / 2;
            for (x, out) in line.iter_mut().enumerate() {
                let near = x / 2;
                let far = if x.is_multiple_of(2) {
                    near.saturating_sub(1)
                } else {
                    (near + 1).min(last)
                };
                *out = quarter(row[near], row[far], x);
            }
        } else {
            for (x, out) in line.iter_mut().enumerate() {
                *out = row[x * own / picture];
            }
        }
        self.line = line;
    }

    /// Row `y` at the component's own width.
    fn row(&self, y: usize) -> &[u8] {
        if self.between.is_empty() {
            self.own_row(y)
        } else {
            &self.between
        }
    }

    fn line(&self, y: usize, width: usize) -> &[u8] {
        if self.line.is_empty() {
            &self.row(y)[..width]
        } else {
            &self.line
        }
    }
}

/// A quarter of the way from one sample to the next; `at`, even or odd, rounds up and down in turn, so that there is no
/// drift.
#[inline]
fn quarter(near: u8, far: u8, at: usize) -> u8 {
    ((3 * u16::from(near) + u16::from(far) + 1 + (at as u16 & 1)) / 4) as u8
}

/// Components to grey or RGB.
fn paint(colour: Colour, lines: &[&[u8]], row: &mut [u8]) {
    match (colour, lines) {
        (Colour::Grey, [grey, ..]) => row.copy_from_slice(grey),
        (Colour::Rgb, [r, g, b, ..]) => {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&[r[x], g[x], b[x]]);
            }
        }
        (Colour::YCbCr, [y, cb, cr, ..]) => {
            let samples = y.iter().zip(*cb).zip(*cr);
            for (pixel, ((&y, &cb), &cr)) in row.chunks_exact_mut(3).zip(samples) {
                pixel.copy_from_slice(&rgb(y, cb, cr));
            }
        }
        (Colour::Cmyk { inverted }, [c, m, y, k]) => {
            let ink = |v: u8| if inverted { v } else { 255 - v };
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                pixel.copy_from_slice(&[c[x], m[x], y[x]].map(|v| times(ink(v), ink(k[x]))));
            }
        }
        (Colour::Ycck, [y, cb, cr, k]) => {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let inks = rgb(y[x], cb[x], cr[x]);
                pixel.copy_from_slice(&inks.map(|v| times(255 - v, k[x])));
            }
        }
        _ => unreachable!("the number of components was compared with the colour"),
    }
}

/// JFIF 1.02, section 7 (BT.601 at full range), in 1 / 2^16.
#[inline]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y) << 16, i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    [
        y + 91_881 * cr + half,
        y - 22_554 * cb - 46_802 * cr + half,
        y + 116_130 * cb + half,
    ]
    .map(|v| (v >> 16).clamp(0, 255) as u8)
}

/// The product of two numbers that stand for 0..=1.
pub(crate) fn times(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt {
        format: Format::Jpeg,
        reason: reason.to_owned(),
    }
}
