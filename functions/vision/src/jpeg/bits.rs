//! Entropy-coded bytes -> bits and Huffman symbols (T.81, annexes C and F).

/// What is wrong with a scan, in words for the caller.
pub(super) type Fault = &'static str;

/// The bits of one scan, most significant first, stuffed bytes taken out. Stops at a marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that have been fetched, the next one on top.
    held: u64,
    count: u32,
    /// Zeros that were put in place of bits that the scan does not have.
    invented: u32,
}

impl<'a> Bits<'a> {
    /// Starts at `bytes[at]`, behind a scan's header.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Bits<'a> {
        Bits {
            bytes,
            at,
            held: 0,
            count: 0,
            invented: 0,
        }
    }

    /// Fetches until at least 32 bits are held: enough for a code of 16 and its value of up to 16.
    #[inline]
    fn refill(&mut self) {
        if let Some(&[a, b, c, d]) = self.bytes.get(self.at..self.at + 4)
            && a != 0xff
            && b != 0xff
            && c != 0xff
            && d != 0xff
        {
            let word = u64::from(u32::from_be_bytes([a, b, c, d]));
            self.held |= word << (32 - self.count);
            self.count += 32;
            self.at += 4;
            return;
        }
        while self.count <= 32 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.invented += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.held |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next bit.
    #[inline]
    pub(super) fn bit(&mut self) -> bool {
        self.take(1) == 1
    }

    /// The next `n` bits, 0 to 16, as a number.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> u32 {
        if self.count < 32 {
            self.refill();
        }
        if n == 0 {
            return 0;
        }
        let value = (self.held >> (64 - n)) as u32;
        self.held <<= n;
        self.count -= n;
        value
    }

    /// A value of `n` bits, 0 to 16, of which the lower half of the range stands for negative ones (T.81, F.2.2.1).
    #[inline]
    pub(super) fn signed(&mut self, n: u32) -> i32 {
        let value = self.take(n) as i32;
        if n > 0 && value < 1 << (n - 1) {
            value - (1 << n) + 1
        } else {
            value
        }
    }

    /// The next symbol of `table`.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, Fault> {
        if self.count < 32 {
            self.refill();
        }
        let entry = table.short[(self.held >> (64 - SHORT_BITS)) as usize];
        if entry != 0 {
            let length = u32::from(entry >> 8);
            self.held <<= length;
            self.count -= length;
            return Ok(entry as u8);
        }
        let word = (self.held >> 48) as i32;
        for length in SHORT_BITS + 1..=16 {
            let code = word >> (16 - length);
            let row = &table.long[(length - SHORT_BITS - 1) as usize];
            if code < row.end {
                let at = usize::try_from(code - row.start).map_err(|_| NO_CODE)?;
                let value = table.values.get(row.offset + at).ok_or(NO_CODE)?;
                self.held <<= length;
                self.count -= length;
                return Ok(*value);
            }
        }
        Err(NO_CODE)
    }

    /// Whether more bits were used than the scan has.
    pub(super) fn exhausted(&self) -> bool {
        self.invented > self.count
    }

    /// Whether the file has no more bytes; a marker's first one, alone, is none.
    pub(super) fn ended(&self) -> bool {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        rest.iter().all(|&byte| byte == 0xff)
    }

    /// Drops what is left of the last byte and passes the restart marker that must follow.
    pub(super) fn restart(&mut self) -> Result<(), Fault> {
        let at = self.marker();
        match self.bytes.get(at..at + 2) {
            Some([0xff, 0xd0..=0xd7]) => {
                *self = Bits::new(self.bytes, at + 2);
                Ok(())
            }
            _ => Err("restart marker is missing"),
        }
    }

    /// Where the marker that ends the data at hand begins, or the end of the file.
    pub(super) fn marker(&self) -> usize {
        let mut at = self.at;
        while let Some(&byte) = self.bytes.get(at) {
            let next = self.bytes.get(at + 1).copied();
            if byte == 0xff && !matches!(next, Some(0 | 0xff)) {
                break;
            }
            at += if byte == 0xff && next == Some(0) {
                2
            } else {
                1
            };
        }
        at.min(self.bytes.len())
    }
}

const NO_CODE: Fault = "bits that are no code";

/// Codes up to this length are looked up in one step.
const SHORT_BITS: u32 = 9;

/// Codes of one length beyond [`SHORT_BITS`].
#[derive(Clone, Copy, Default)]
struct Long {
    /// The first code, and the one after the last.
    start: i32,
    end: i32,
    /// Where the first code's value stands.
    offset: usize,
}

/// A table of codes.
#[derive(Clone)]
pub(super) struct Huffman {
    /// By the next [`SHORT_BITS`] bits: `length << 8 | value`, or 0.
    short: [u16; 1 << SHORT_BITS],
    long: [Long; 16 - SHORT_BITS as usize],
    values: Vec<u8>,
}

impl Huffman {
    /// `counts[i]` codes of `i + 1` bits each, with these values in ascending order of their codes.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Result<Huffman, Fault> {
        let mut table = Huffman {
            short: [0; 1 << SHORT_BITS],
            long: [Long::default(); 16 - SHORT_BITS as usize],
            values: values.to_vec(),
        };
        let (mut code, mut at) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            let count = u32::from(count);
            if code + count > 1 << length {
                return Err("huffman table has more codes than fit their lengths");
            }
            if length > SHORT_BITS {
                table.long[(length - SHORT_BITS - 1) as usize] = Long {
                    start: code as i32,
                    end: (code + count) as i32,
                    offset: at,
                };
            } else {
                for i in 0..count {
                    let value = values.get(at + i as usize).copied();
                    let entry = (length << 8) as u16 | u16::from(value.ok_or(NO_CODE)?);
                    let first = ((code + i) << (SHORT_BITS - length)) as usize;
                    table.short[first..first + (1 << (SHORT_BITS - length))].fill(entry);
                }
            }
            at += count as usize;
            code = (code + count) << 1;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_values_by_hand() {
        // Codes 0, 10, 110 for 5, 6, 7, and one of eleven bits, 11100000000, for 9.
        let mut counts = [0u8; 16];
        counts[..3].copy_from_slice(&[1, 1, 1]);
        counts[10] = 1;
        let table = Huffman::new(&counts, &[5, 6, 7, 9]).expect("a table");
        // 0 10 110 11100000000, then 0111 = 7 in four bits, 0111 as a signed value of four bits = -8, stuffed 0xff.
        let bytes = [
            0b0101_1011,
            0b1000_0000,
            0b0011_1011,
            0b1111_1111,
            0,
            0b1000_0000,
        ];
        let mut bits = Bits::new(&bytes, 0);
        for expected in [5, 6, 7, 9] {
            assert_eq!(bits.symbol(&table), Ok(expected));
        }
        assert_eq!(bits.take(4), 7);
        assert_eq!(bits.signed(4), -8);
        assert_eq!(bits.take(8), 255);
        assert!(!bits.exhausted());
        assert_eq!(bits.take(16), 0);
        assert!(bits.exhausted());
        assert_eq!(Bits::new(&[0xff, 0xff], 0).symbol(&table), Ok(5));
        assert_eq!(Bits::new(&[0xfe, 0xfe], 0).symbol(&table), Err(NO_CODE));
    }

    #[test]
    fn impossible_tables_are_refused() {
        let mut counts = [0u8; 16];
        counts[0] = 3;
        assert!(Huffman::new(&counts, &[1, 2, 3]).is_err());
        counts[0] = 2;
        assert!(Huffman::new(&counts, &[1]).is_err());
    }

    #[test]
    fn restarts_begin_on_a_byte() {
        let mut bits = Bits::new(&[0x80, 0xff, 0xd3, 0x40, 0xff, 0xd9], 0);
        assert!(bits.bit());
        bits.restart().expect("a restart marker");
        assert_eq!(bits.take(2), 1);
        assert_eq!(bits.marker(), 4);
        assert!(bits.restart().is_err());
    }
}
