//! From sums back to bytes: scale, round half to even, add the zero point, clamp.

use crate::import::Affine;

/// The last part of an integer operator.
#[derive(Debug, Clone)]
pub(crate) struct Requant {
    pub(crate) zero_point: i32,
    /// Lowest and highest byte: 0 and 255, or what a ReLU or clip leaves.
    pub(crate) low: u8,
    pub(crate) high: u8,
    /// An activation function applied to the byte.
    pub(crate) table: Option<Box<[u8; 256]>>,
}

impl Requant {
    /// Requantises to `affine` (its zero point as stored, 0..=255) with the results clamped to reals in `low..=high`.
    pub(crate) fn new(affine: Affine, low: f32, high: f32) -> Self {
        Self {
            zero_point: affine.zero_point,
            low: quantise(low, affine),
            high: quantise(high, affine),
            table: None,
        }
    }

    /// The byte for `scaled`, a real number in units of the output's scale.
    #[inline(always)]
    pub(crate) fn byte(&self, scaled: f32) -> u8 {
        let byte = self.plain(scaled);
        match &self.table {
            None => byte,
            Some(table) => table[usize::from(byte)],
        }
    }

    /// [`byte`](Self::byte) for a row; apart from the table it vectorises.
    #[inline(always)]
    pub(crate) fn bytes<const N: usize>(&self, scaled: [f32; N]) -> [u8; N] {
        let bytes = scaled.map(|value| self.plain(value));
        match &self.table {
            None => bytes,
            Some(table) => bytes.map(|byte| table[usize::from(byte)]),
        }
    }

    #[inline(always)]
    fn plain(&self, scaled: f32) -> u8 {
        // Clamping first is the same, for the limits are whole numbers, and keeps the rounding trick in its range.
        let low = (i32::from(self.low) - self.zero_point) as f32;
        let high = (i32::from(self.high) - self.zero_point) as f32;
        let clamped = if scaled < low { low } else { scaled };
        let clamped = if clamped > high { high } else { clamped };
        (round_half_even(clamped) as i32 + self.zero_point) as u8
    }
}

/// Rounds `value`, within +-2^22, to the nearest integer, ties to even.
///
/// Adding 1.5 * 2^23 leaves no fraction bits, so the addition itself rounds, in the mode that every target starts in. Unlike
/// `f32::round_ties_even` it needs no library call where the instruction is missing.
#[inline(always)]
fn round_half_even(value: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT) - SHIFT
}

/// The byte, as stored, for the real number `value`; infinities saturate.
pub(crate) fn quantise(value: f32, affine: Affine) -> u8 {
    let scaled = (value / affine.scale).clamp(-1024.0, 1024.0);
    (round_half_even(scaled) as i32 + affine.zero_point).clamp(0, 255) as u8
}

/// The real number of every byte.
pub(crate) fn reals(affine: Affine) -> Box<[f32; 256]> {
    let values = (0..256)
        .map(|byte| affine.scale * (byte - affine.zero_point) as f32)
        .collect::<Vec<f32>>();
    values.into_boxed_slice().try_into().expect("256 values")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFFINE: Affine = Affine {
        scale: 0.5,
        zero_point: 10,
        signed: false,
    };

    #[test]
    fn rounds_half_to_even_and_saturates() {
        let requant = Requant::new(AFFINE, f32::NEG_INFINITY, f32::INFINITY);
        for (scaled, expected) in [
            (0.0, 10),
            (0.5, 10),
            (1.5, 12),
            (2.5, 12),
            (-0.5, 10),
            (-1.5, 8),
            (0.50001, 11),
            (-10.0, 0),
            (-11.0, 0),
            (245.0, 255),
            (1e9, 255),
            (-1e9, 0),
        ] {
            assert_eq!(requant.byte(scaled), expected, "{scaled}");
        }
    }

    #[test]
    fn relu_clamps_at_zero_and_tables_come_last() {
        let mut requant = Requant::new(AFFINE, 0.0, 6.0);
        assert_eq!((requant.low, requant.high), (10, 22));
        assert_eq!(requant.bytes([-3.0, 3.0, 30.0]), [10, 13, 22]);
        let mut table = Box::new([0; 256]);
        table[13] = 99;
        requant.table = Some(table);
        assert_eq!(requant.byte(3.0), 99);
    }

    #[test]
    fn quantises_reals() {
        assert_eq!(quantise(1.0, AFFINE), 12);
        assert_eq!(quantise(f32::INFINITY, AFFINE), 255);
        assert_eq!(quantise(f32::NEG_INFINITY, AFFINE), 0);
        assert_eq!(reals(AFFINE)[12], 1.0);
    }
}
