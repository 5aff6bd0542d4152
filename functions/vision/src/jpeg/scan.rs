//! Scans: what their header says, and how their bits become coefficients (T.81, annexes F and G).

use super::bits::{Bits, Fault, Huffman};
use super::header::{Component, Header};
use super::transform::{Block, Quantisers};
use super::{TRUNCATED, corrupt};
use crate::Error;

/// Tables that segments have defined so far.
#[derive(Default)]
pub(super) struct Tables {
    quantisers: [Option<Quantisers>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    /// MCUs between restart markers; none if 0.
    restart_interval: u32,
}

impl Tables {
    /// Takes up a segment if it defines tables.
    pub(super) fn define(&mut self, marker: u8, segment: &[u8]) -> Result<(), Error> {
        match marker {
            0xc4 => self.huffman(segment).map_err(corrupt),
            0xdb => self.quantise(segment).map_err(corrupt),
            0xdd => match *segment {
                [high, low, ..] => {
                    self.restart_interval = u32::from(u16::from_be_bytes([high, low]));
                    Ok(())
                }
                _ => Err(corrupt("restart interval is cut")),
            },
            _ => Ok(()),
        }
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), Fault> {
        const CUT: Fault = "huffman table is cut";
        while let Some((&head, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(CUT)?;
            let codes = counts.iter().map(|&n| usize::from(n)).sum();
            let values = rest.get(..codes).ok_or(CUT)?;
            let tables = if head >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            let slot = tables.get_mut(usize::from(head & 15));
            *slot.ok_or("huffman table of an impossible number")? =
                Some(Huffman::new(counts, values)?);
            segment = &rest[codes..];
        }
        Ok(())
    }

    fn quantise(&mut self, mut segment: &[u8]) -> Result<(), Fault> {
        const CUT: Fault = "quantisers are cut";
        while let Some((&head, rest)) = segment.split_first() {
            let width = if head >> 4 == 0 { 1 } else { 2 };
            let values = rest.get(..64 * width).ok_or(CUT)?;
            let slot = self.quantisers.get_mut(usize::from(head & 15));
            let table = slot
                .ok_or("quantisers of an impossible number")?
                .insert([0; 64]);
            for (value, &at) in values.chunks_exact(width).zip(&NATURAL_ORDER) {
                table[at] = value.iter().fold(0, |v, &b| v << 8 | u16::from(b));
            }
            segment = &rest[64 * width..];
        }
        Ok(())
    }

    /// The quantisers of a component.
    pub(super) fn quantisers(&self, component: &Component) -> Result<Quantisers, Error> {
        self.quantisers[component.quantisers].ok_or_else(|| corrupt("quantisers are missing"))
    }
}

/// Where a coefficient stands in its block, by its place in the file: along the anti-diagonals.
pub(super) const NATURAL_ORDER: [usize; 64] = natural_order();

const fn natural_order() -> [usize; 64] {
    let mut order = [0; 64];
    let (mut at, mut diagonal) = (0, 0);
    while diagonal < 15 {
        let mut step = 0;
        while step <= diagonal {
            // Even diagonals run upwards.
            let (row, column) = if diagonal % 2 == 0 {
                (diagonal - step, step)
            } else {
                (step, diagonal - step)
            };
            if row < 8 && column < 8 {
                order[at] = row * 8 + column;
                at += 1;
            }
            step += 1;
        }
        diagonal += 1;
    }
    order
}

/// A component in a scan.
struct Part {
    component: usize,
    dc: usize,
    ac: usize,
    /// The last block's first coefficient.
    last: i32,
}

/// Which bits of which coefficients the scans so far had.
pub(super) struct Precision {
    /// By component, in the order of the file: how many of the lowest bits are still to come.
    missing_bits: Vec<[u32; 64]>,
}

impl Precision {
    pub(super) fn new(components: usize) -> Precision {
        Precision {
            missing_bits: vec![[u32::MAX; 64]; components],
        }
    }

    pub(super) fn add(&mut self, scan: &Scan<'_>) {
        for component in scan.components() {
            self.missing_bits[component][scan.band.0..=scan.band.1].fill(scan.low);
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_full(&self) -> bool {
        self.missing_bits.iter().flatten().all(|&bits| bits == 0)
    }
}

/// A scan under way.
pub(super) struct Scan<'a> {
    bits: Bits<'a>,
    parts: Vec<Part>,
    /// First and last coefficient of the band, in the order of the file.
    band: (usize, usize),
    /// Bit from which this scan's bits count, and the one before in an earlier scan (0 if this is the first).
    low: u32,
    high: u32,
    /// Blocks yet to come that have nothing in this band.
    empty_blocks: u32,
    until_restart: u32,
}

impl<'a> Scan<'a> {
    /// Reads a scan's header; its data begin at `bytes[at]`.
    pub(super) fn open(
        header: &Header<'_>,
        tables: &Tables,
        segment: &[u8],
        bytes: &'a [u8],
        at: usize,
    ) -> Result<Scan<'a>, Error> {
        let cut = || corrupt("scan header is cut");
        let (&count, rest) = segment.split_first().ok_or_else(cut)?;
        let count = usize::from(count);
        let (list, rest) = rest.split_at_checked(2 * count).ok_or_else(cut)?;
        let &[first, last, bits, ..] = rest else {
            return Err(cut());
        };
        let mut parts: Vec<Part> = Vec::new();
        for pair in list.chunks_exact(2) {
            let component = header.components.iter().position(|c| c.id == pair[0]);
            let component = component.ok_or_else(|| corrupt("scan of an unknown component"))?;
            if parts.iter().any(|p| p.component >= component) {
                return Err(corrupt("scan with its components out of order"));
            }
            let (dc, ac) = (usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
            if dc > 3 || ac > 3 {
                return Err(corrupt("scan with an impossible table"));
            }
            parts.push(Part {
                component,
                dc,
                ac,
                last: 0,
            });
        }
        if parts.is_empty() {
            return Err(corrupt("scan of no component"));
        }
        let (mut band, mut high, mut low) = ((0, 63), 0, 0);
        if header.progressive {
            band = (usize::from(first), usize::from(last));
            (high, low) = (u32::from(bits >> 4), u32::from(bits & 15));
            let dc_only = band == (0, 0);
            let ac_only = band.0 >= 1 && band.0 <= band.1 && band.1 <= 63 && parts.len() == 1;
            if !(dc_only || ac_only) || low > 13 {
                return Err(corrupt("scan with an impossible band"));
            }
        }
        let with_dc = band.0 == 0 && high == 0;
        let with_ac = band.1 > 0;
        for part in &parts {
            if with_dc && tables.dc[part.dc].is_none() || with_ac && tables.ac[part.ac].is_none() {
                return Err(corrupt("huffman table is missing"));
            }
        }
        Ok(Scan {
            bits: Bits::new(bytes, at),
            parts,
            band,
            low,
            high,
            empty_blocks: 0,
            until_restart: tables.restart_interval,
        })
    }

    /// Components of the scan.
    pub(super) fn components(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.component)
    }

    /// Blocks that it goes through.
    pub(super) fn blocks(&self, header: &Header<'_>) -> u64 {
        let (across, down) = header.mcus();
        let components = self.components().map(|i| &header.components[i]);
        let in_mcu: usize = components.map(|c| c.h * c.v).sum();
        across as u64 * down as u64 * in_mcu as u64
    }

    /// Where the next marker stands.
    pub(super) fn end(&self) -> usize {
        self.bits.marker()
    }

    /// What is wrong with the file when its scan has a fault.
    pub(super) fn explain(&self, fault: Fault) -> Error {
        if self.bits.ended() {
            TRUNCATED
        } else {
            corrupt(fault)
        }
    }

    /// Before each MCU: passes a restart marker where one is due.
    fn begin_mcu(&mut self, tables: &Tables) -> Result<(), Fault> {
        if tables.restart_interval == 0 {
            return Ok(());
        }
        if self.until_restart == 0 {
            self.check()?;
            self.bits.restart()?;
            self.parts.iter_mut().for_each(|part| part.last = 0);
            self.empty_blocks = 0;
            self.until_restart = tables.restart_interval;
        }
        self.until_restart -= 1;
        Ok(())
    }

    /// Fails when the data ended before the blocks did.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.bits.exhausted() {
            Err("scan ends before the picture does")
        } else {
            Ok(())
        }
    }

    /// Decodes a row of MCUs of an interleaved sequential scan and hands each block to
    /// `put(component, column, row in the MCU, block, flat)`.
    pub(super) fn sequential_row(
        &mut self,
        header: &Header<'_>,
        tables: &Tables,
        mut put: impl FnMut(usize, usize, usize, &Block, bool),
    ) -> Result<(), Fault> {
        let mut block: Block = [0; 64];
        for mcu in 0..header.mcus().0 {
            self.begin_mcu(tables)?;
            for part in &mut self.parts {
                let &Component { h, v, .. } = &header.components[part.component];
                let (Some(dc), Some(ac)) = (&tables.dc[part.dc], &tables.ac[part.ac]) else {
                    return Err("huffman table is missing");
                };
                for row in 0..v {
                    for column in 0..h {
                        let flat =
                            sequential_block(&mut self.bits, dc, ac, &mut part.last, &mut block)?;
                        put(part.component, mcu * h + column, row, &block, flat);
                    }
                }
            }
        }
        self.check()
    }

    /// Decodes the whole scan into `held`.
    pub(super) fn hold(
        &mut self,
        header: &Header<'_>,
        tables: &Tables,
        held: &mut [Held],
    ) -> Result<(), Fault> {
        let (across, down) = match self.parts[..] {
            [Part { component, .. }] => held[component].own_blocks,
            _ => header.mcus(),
        };
        let alone = self.parts.len() == 1;
        for y in 0..down {
            for x in 0..across {
                self.begin_mcu(tables)?;
                for i in 0..self.parts.len() {
                    let component = self.parts[i].component;
                    let &Component { h, v, .. } = &header.components[component];
                    let (h, v) = if alone { (1, 1) } else { (h, v) };
                    for row in 0..v {
                        for column in 0..h {
                            let at = held[component].index(x * h + column, y * v + row);
                            self.block(header.progressive, tables, i, &mut held[component], at)?;
                        }
                    }
                }
            }
            self.check()?;
        }
        Ok(())
    }

    fn block(
        &mut self,
        progressive: bool,
        tables: &Tables,
        part: usize,
        held: &mut Held,
        at: usize,
    ) -> Result<(), Fault> {
        let part = &mut self.parts[part];
        let dc = tables.dc[part.dc].as_ref();
        let ac = tables.ac[part.ac].as_ref();
        if !progressive {
            let (Some(dc), Some(ac)) = (dc, ac) else {
                return Err("huffman table is missing");
            };
            let mut block = [0; 64];
            sequential_block(&mut self.bits, dc, ac, &mut part.last, &mut block)?;
            held.put(at, &block);
            return Ok(());
        }
        match (self.band.0, self.high) {
            (0, 0) => {
                let dc = dc.ok_or("huffman table is missing")?;
                let difference = dc_difference(&mut self.bits, dc)?;
                part.last = part.last.wrapping_add(difference);
                *held.first(at) = (part.last << self.low) as i16;
                Ok(())
            }
            (0, _) => {
                if self.bits.bit() {
                    *held.first(at) |= 1 << self.low;
                }
                Ok(())
            }
            (_, 0) => self.first_of_band(ac.ok_or("huffman table is missing")?, held, at),
            _ => self.more_of_band(ac.ok_or("huffman table is missing")?, held, at),
        }
    }

    /// The upper bits of a band (T.81, G.1.2.2).
    fn first_of_band(&mut self, ac: &Huffman, held: &mut Held, at: usize) -> Result<(), Fault> {
        if self.empty_blocks > 0 {
            self.empty_blocks -= 1;
            return Ok(());
        }
        let mut k = self.band.0;
        while k <= self.band.1 {
            let symbol = self.bits.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && run < 15 {
                self.empty_blocks = (1 << run) - 1 + self.bits.take(run as u32);
                return Ok(());
            }
            k += run;
            if size > 0 {
                if k > self.band.1 {
                    return Err("coefficient behind its band");
                }
                held.set(at, k, (self.bits.signed(size) << self.low) as i16);
            }
            k += 1;
        }
        Ok(())
    }

    /// One more bit of a band (T.81, G.1.2.3).
    fn more_of_band(&mut self, ac: &Huffman, held: &mut Held, at: usize) -> Result<(), Fault> {
        let step = 1i16 << self.low;
        let mut k = self.band.0;
        if self.empty_blocks == 0 {
            while k <= self.band.1 {
                let symbol = self.bits.symbol(ac)?;
                let (mut zeros, size) = (symbol >> 4, symbol & 15);
                let mut new = 0;
                if size > 0 {
                    new = if self.bits.bit() { step } else { -step };
                } else if zeros < 15 {
                    self.empty_blocks = (1 << zeros) + self.bits.take(u32::from(zeros));
                    break;
                }
                // Passes the coefficients that are known already, with a bit for each, and as many that are not.
                while k <= self.band.1 {
                    if held.is_set(at, k) {
                        if self.bits.bit() {
                            held.refine(at, k, step);
                        }
                    } else if zeros == 0 {
                        if new != 0 {
                            held.set(at, k, new);
                        }
                        k += 1;
                        break;
                    } else {
                        zeros -= 1;
                    }
                    k += 1;
                }
            }
        }
        if self.empty_blocks > 0 {
            while k <= self.band.1 {
                if held.is_set(at, k) && self.bits.bit() {
                    held.refine(at, k, step);
                }
                k += 1;
            }
            self.empty_blocks -= 1;
        }
        Ok(())
    }
}

fn dc_difference(bits: &mut Bits<'_>, dc: &Huffman) -> Result<i32, Fault> {
    let size = bits.symbol(dc)?;
    if size > 15 {
        return Err("coefficient of more than 15 bits");
    }
    Ok(bits.signed(u32::from(size)))
}

/// Decodes a block (T.81, F.2.2). Returns whether only its first coefficient is set.
#[inline]
fn sequential_block(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    last: &mut i32,
    block: &mut Block,
) -> Result<bool, Fault> {
    block.fill(0);
    *last = last.wrapping_add(dc_difference(bits, dc)?);
    block[0] = *last as i16;
    let (mut k, mut flat) = (1, true);
    while k < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let at = *NATURAL_ORDER.get(k).ok_or("coefficient behind its block")?;
        block[at] = bits.signed(size) as i16;
        flat = false;
        k += 1;
    }
    Ok(flat)
}

/// The coefficients of a component: of each block the lowest `size` x `size`, in rows, and for the others only whether
/// they are set, which tells how many bits later passes have for them.
pub(super) struct Held {
    size: usize,
    /// Blocks across, filled up to whole MCUs.
    across: usize,
    /// Blocks across and down that the component has when it is alone in a scan.
    own_blocks: (usize, usize),
    /// `[blocks, size, size]`.
    kept: Vec<i16>,
    /// A bit for each coefficient of a block, by its place in the file; empty where all are kept.
    set: Vec<u64>,
}

impl Held {
    /// Bytes for `blocks` blocks.
    pub(super) fn bytes(blocks: u64, size: usize) -> u64 {
        let masks = if size < 8 { 8 } else { 0 };
        blocks * ((size * size * 2) as u64 + masks)
    }

    pub(super) fn new(header: &Header<'_>, component: &Component, size: usize) -> Held {
        let (across, down) = header.mcus();
        let (most_h, most_v) = (header.most(|c| c.h), header.most(|c| c.v));
        let (across, down) = (across * component.h, down * component.v);
        let own = |side: u32, factor: usize, most: usize| {
            (side as usize * factor).div_ceil(most).div_ceil(8)
        };
        Held {
            size,
            across,
            own_blocks: (
                own(header.width, component.h, most_h),
                own(header.height, component.v, most_v),
            ),
            kept: vec![0; across * down * size * size],
            set: vec![0; if size < 8 { across * down } else { 0 }],
        }
    }

    fn index(&self, x: usize, y: usize) -> usize {
        y * self.across + x
    }

    /// Blocks across.
    pub(super) fn across(&self) -> usize {
        self.across
    }

    /// Where coefficient `k` of block `at` is kept.
    #[inline]
    fn slot(&self, at: usize, k: usize) -> Option<usize> {
        let (row, column) = (NATURAL_ORDER[k] / 8, NATURAL_ORDER[k] % 8);
        (row < self.size && column < self.size).then(|| (at * self.size + row) * self.size + column)
    }

    fn first(&mut self, at: usize) -> &mut i16 {
        &mut self.kept[at * self.size * self.size]
    }

    #[inline]
    fn is_set(&self, at: usize, k: usize) -> bool {
        match self.slot(at, k) {
            Some(slot) => self.kept[slot] != 0,
            None => self.set[at] >> k & 1 == 1,
        }
    }

    #[inline]
    fn set(&mut self, at: usize, k: usize, value: i16) {
        match self.slot(at, k) {
            Some(slot) => self.kept[slot] = value,
            None => self.set[at] |= 1 << k,
        }
    }

    /// Adds a bit to a coefficient that is set, away from zero.
    #[inline]
    fn refine(&mut self, at: usize, k: usize, step: i16) {
        if let Some(slot) = self.slot(at, k) {
            let value = &mut self.kept[slot];
            if *value & step == 0 {
                *value = value.wrapping_add(if *value < 0 { -step } else { step });
            }
        }
    }

    fn put(&mut self, at: usize, block: &Block) {
        let size = self.size;
        for (kept, row) in self.kept[at * size * size..][..size * size]
            .chunks_exact_mut(size)
            .zip(block.chunks_exact(8))
        {
            kept.copy_from_slice(&row[..size]);
        }
    }

    /// A block's coefficients, those that are not kept zero, and whether only the first is set.
    pub(super) fn block(&self, x: usize, y: usize) -> (Block, bool) {
        let (at, size) = (self.index(x, y), self.size);
        let kept = &self.kept[at * size * size..][..size * size];
        let mut block = [0; 64];
        for (row, kept) in block.chunks_exact_mut(8).zip(kept.chunks_exact(size)) {
            row[..size].copy_from_slice(kept);
        }
        (block, kept[1..].iter().all(|&v| v == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_standard() {
        // T.81, figure 5: the first ten, one from the turn in the middle, the last three.
        assert_eq!(NATURAL_ORDER[..10], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]);
        assert_eq!(NATURAL_ORDER[35], 56);
        assert_eq!(NATURAL_ORDER[61..], [55, 62, 63]);
    }
}
