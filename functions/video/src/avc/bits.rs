//! A NAL unit -> its bits and Exp-Golomb codes (ITU-T H.264, 7.2 and 9.1), as headers need them.

/// Bits, most significant first. Behind the end there are none.
pub(super) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// Those of a NAL unit behind its first byte, of at most `most` bytes; the third zero-stuffing byte of `00 00 03` taken out.
    pub(super) fn of(unit: &[u8], most: usize) -> Bits {
        let mut bytes = Vec::new();
        let mut zeros = 0;
        for &byte in unit.iter().skip(1).take(most) {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Bits { bytes, at: 0 }
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// Up to 32 bits.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// `ue(v)`.
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// `se(v)`.
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = self.unsigned()?;
        let half = i64::from(code.div_ceil(2));
        let value = if code % 2 == 1 { half } else { -half };
        i32::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_by_hand() {
        // 1, 010, 011, 00100 are 0, 1, 2, 3; signed 0, 1, -1, 2; then a stuffed byte.
        let unit = [0x67, 0b1010_0110, 0b0100_0000, 0, 0, 3, 0x80];
        let mut bits = Bits::of(&unit, 64);
        assert_eq!(
            [0; 4].map(|_| bits.unsigned()),
            [Some(0), Some(1), Some(2), Some(3)]
        );
        let mut bits = Bits::of(&unit, 64);
        assert_eq!(
            [0; 4].map(|_| bits.signed()),
            [Some(0), Some(1), Some(-1), Some(2)]
        );
        assert_eq!(bits.take(4 + 16), Some(0));
        assert_eq!(
            (bits.bit(), bits.take(7), bits.bit()),
            (Some(true), Some(0), None)
        );
        assert_eq!(Bits::of(&[0; 9], 64).unsigned(), None);
    }
}
