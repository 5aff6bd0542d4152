//! CCITT bilevel compression, as in fax machines: T.4 (G3, in one or two dimensions), T.6 (G4) and TIFF's own variant
//! without line ends. The codes are the crate `fax`'s; its decoders know T.6, and T.4 in one dimension.

use std::borrow::Cow;

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, Bits};

/// What is wrong with the data, in words for the caller.
type Fault = &'static str;

/// Which of the codings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Rows of runs, each beginning on a byte (TIFF's compression 2).
    Runs,
    /// T.4: lines ends between rows, which may lean on the row above.
    T4 { two_dimensional: bool },
    /// T.6: every row leans on the row above.
    T6,
}

/// Rows of a fax, packed, the leftmost pixel in the uppermost bit, 1 = black.
pub(super) struct Fax<'a> {
    bits: FaxBits<'a>,
    coding: Coding,
    width: u32,
    /// Where the colour changes, first to black, in the row above and in this one.
    above: Vec<u32>,
    changes: Vec<u32>,
    /// The end was announced: what is left is white.
    ended: bool,
}

impl<'a> Fax<'a> {
    pub(super) fn new(bytes: Cow<'a, [u8]>, coding: Coding, width: u32) -> Fax<'a> {
        Fax {
            bits: FaxBits { bytes, at: 0 },
            coding,
            width,
            above: Vec::new(),
            changes: Vec::new(),
            ended: false,
        }
    }

    /// Writes the next row; `row` holds at least `width` bits.
    pub(super) fn next_row(&mut self, row: &mut [u8]) -> Result<(), Fault> {
        self.changes.clear();
        if !self.ended {
            self.decode()?;
        }
        row.fill(0);
        let mut black = self.changes.chunks(2);
        while let Some(&[from, ref to @ ..]) = black.next() {
            let to = to.first().copied().unwrap_or(self.width);
            set_bits(row, from as usize, to.min(self.width) as usize);
        }
        std::mem::swap(&mut self.above, &mut self.changes);
        Ok(())
    }

    fn decode(&mut self) -> Result<(), Fault> {
        match self.coding {
            Coding::Runs => {
                self.bits.at = self.bits.at.next_multiple_of(8);
                self.runs()
            }
            Coding::T6 => self.differences(),
            Coding::T4 { two_dimensional } => {
                let mut ends = 0;
                let mut leans = false;
                while self.bits.line_end() {
                    leans = two_dimensional && self.bits.next() == 0;
                    ends += 1;
                    // Two in a row end the page, and so do data without rows.
                    if ends == 2 || self.bits.ended() {
                        self.ended = true;
                        return Ok(());
                    }
                }
                if leans {
                    self.differences()
                } else {
                    self.runs()
                }
            }
        }
    }

    /// A row of runs of white and black in turn (T.4, 4.1).
    fn runs(&mut self) -> Result<(), Fault> {
        let (mut at, mut is_black) = (0u32, false);
        while at < self.width {
            at = (at + self.bits.run(is_black)?).min(self.width);
            self.change(at)?;
            is_black = !is_black;
        }
        Ok(())
    }

    /// A row as differences to the one above (T.4, 4.2; T.6, 2.2).
    fn differences(&mut self) -> Result<(), Fault> {
        // Where the row is known up to; nothing is at first, not even whether it begins with black.
        let mut at: Option<u32> = None;
        let (mut is_black, mut near) = (false, 0usize);
        while at.is_none_or(|at| at < self.width) {
            // The first change above that lies behind `at` and goes to the other colour.
            while near > 0 && at.is_none_or(|at| self.above[near - 1] > at) {
                near -= 1;
            }
            while self
                .above
                .get(near)
                .is_some_and(|&v| at.is_some_and(|at| v <= at))
            {
                near += 1;
            }
            near += usize::from((near % 2 == 1) != is_black);
            let change = |i: usize| self.above.get(i).copied().unwrap_or(self.width);
            let (first, second) = (change(near), change(near + 1));
            near = near.min(self.above.len());
            match mode::decode(&mut self.bits).ok_or(NO_CODE)? {
                Mode::Pass => at = Some(second),
                Mode::Vertical(by) => {
                    let to = i64::from(first) + i64::from(by);
                    let to = u32::try_from(to).map_err(|_| BACKWARDS)?.min(self.width);
                    if at.is_some_and(|at| to < at) {
                        return Err(BACKWARDS);
                    }
                    self.change(to)?;
                    is_black = !is_black;
                    at = Some(to);
                }
                Mode::Horizontal => {
                    let mut to = at.unwrap_or(0);
                    for black in [is_black, !is_black] {
                        to = (to + self.bits.run(black)?).min(self.width);
                        self.change(to)?;
                    }
                    at = Some(to);
                }
                Mode::EOF => {
                    self.ended = true;
                    self.changes.clear();
                    return Ok(());
                }
                Mode::Extension => return Err("uncompressed mode"),
            }
        }
        Ok(())
    }

    fn change(&mut self, at: u32) -> Result<(), Fault> {
        // Runs of no length make changes that do not get ahead.
        if self.changes.len() > self.width as usize + 2 {
            return Err("more changes than pixels in a row");
        }
        self.changes.push(at);
        Ok(())
    }
}

const NO_CODE: Fault = "bits that are no code";
const BACKWARDS: Fault = "a change before the last one";

/// Sets bits `from..to`, the uppermost of the first byte being number 0.
fn set_bits(row: &mut [u8], from: usize, to: usize) {
    if from >= to {
        return;
    }
    let (first, last) = (from / 8, (to - 1) / 8);
    let head = 0xff >> (from % 8);
    let tail = 0xff << (7 - (to - 1) % 8);
    if first == last {
        row[first] |= head & tail;
    } else {
        row[first] |= head;
        row[first + 1..last].fill(0xff);
        row[last] |= tail;
    }
}

/// The bits of a strip, uppermost first.
struct FaxBits<'a> {
    bytes: Cow<'a, [u8]>,
    /// The next bit.
    at: usize,
}

/// Zeros that may be read behind the end: codes are looked up by more bits than they have.
const SPARE_BITS: usize = 64;

impl FaxBits<'_> {
    fn next(&mut self) -> u16 {
        let bit = self.peek(1).unwrap_or(0);
        self.at += 1;
        bit
    }

    /// A run's length.
    fn run(&mut self, is_black: bool) -> Result<u32, Fault> {
        let mut sum = 0u32;
        loop {
            let part = if is_black {
                black::decode(self)
            } else {
                white::decode(self)
            };
            let part = part.ok_or(NO_CODE)?;
            sum = sum.saturating_add(u32::from(part)).min(1 << 20);
            if part < 64 {
                return Ok(sum);
            }
        }
    }

    /// Passes a line end, eleven or more zeros and a one, if one is next.
    fn line_end(&mut self) -> bool {
        if self.peek(11) != Some(0) {
            return false;
        }
        while self.peek(1) == Some(0) {
            self.at += 1;
        }
        self.at += 1;
        true
    }

    fn ended(&self) -> bool {
        self.at > self.bytes.len() * 8
    }
}

impl BitReader for FaxBits<'_> {
    type Error = Fault;

    fn peek(&self, bits: u8) -> Option<u16> {
        if self.at > self.bytes.len() * 8 + SPARE_BITS {
            return None;
        }
        let byte = |i: usize| u32::from(self.bytes.get(self.at / 8 + i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        let bits = u32::from(bits.min(16));
        Some((word >> (24 - self.at as u32 % 8 - bits) & ((1 << bits) - 1)) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), Fault> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn expect(&mut self, bits: Bits) -> Result<(), Option<Bits>> {
        match self.peek(bits.len) {
            Some(value) if value == bits.data => Ok(()),
            other => Err(other.map(|data| Bits {
                data,
                len: bits.len,
            })),
        }
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (self.at.next_multiple_of(8) - self.at) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_from_the_top() {
        let cases = [
            (0, 0, [0x00, 0x00, 0x00]),
            (0, 24, [0xff, 0xff, 0xff]),
            (3, 5, [0x18, 0x00, 0x00]),
            (7, 17, [0x01, 0xff, 0x80]),
            (8, 16, [0x00, 0xff, 0x00]),
        ];
        for (from, to, expected) in cases {
            let mut row = [0; 3];
            set_bits(&mut row, from, to);
            assert_eq!(row, expected, "{from}..{to}");
        }
    }

    /// Two pixels, black and white, as runs: white 0 = 00110101, black 1 = 010, white 1 = 000111.
    const RUNS: u32 = 0b0_0110_1010_1000_0111;

    #[test]
    fn rows_of_runs_begin_on_a_byte() {
        let bytes = (RUNS << 7).to_be_bytes();
        let twice = [&bytes[1..4], &bytes[1..4]].concat();
        let mut fax = Fax::new(Cow::Borrowed(&twice), Coding::Runs, 2);
        for _ in 0..2 {
            let mut row = [0xff];
            fax.next_row(&mut row).expect("a row");
            assert_eq!(row, [0x80]);
        }
        assert!(fax.next_row(&mut [0]).is_err());
    }

    #[test]
    fn line_ends_tell_the_dimension() {
        // Line end, 1 = in one dimension, runs (17 bits); line end, 0 = in two: vertical 0 = 1, 1 and 1; two line ends.
        let mut text = format!("000000000001{}{RUNS:017b}", 1);
        text += "0000000000010111";
        text += "00000000000110000000000011";
        let mut bytes = Vec::new();
        for byte in text.as_bytes().chunks(8) {
            let value = byte.iter().fold(0u8, |v, &b| v << 1 | (b - b'0'));
            bytes.push(value << (8 - byte.len()));
        }
        let coding = Coding::T4 {
            two_dimensional: true,
        };
        let mut fax = Fax::new(Cow::Borrowed(&bytes), coding, 2);
        let mut rows = [[0xffu8]; 3];
        for row in &mut rows {
            fax.next_row(row).expect("a row");
        }
        assert_eq!(rows, [[0x80], [0x80], [0]]);
    }
}
