//! From sums back to bytes: scale, round half to even, add the zero point, clamp.

use serde::{Deserialize, Serialize};

use super::lookup::Lookup;
use crate::kernels::{Isa, Rounding, round_half_even};

/// How a tensor's bytes stand for real numbers: `real = scale * (byte - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    /// -128..=127. Activations are stored as i8: those that the graph has as u8 are kept less 128.
    pub(crate) zero_point: i32,
}

/// The last part of an integer operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Requant {
    pub(crate) zero_point: i32,
    /// Lowest and highest byte: -128 and 127, or what a ReLU or clip leaves.
    pub(crate) low: i8,
    pub(crate) high: i8,
    /// An activation function applied to the byte.
    pub(crate) table: Option<Lookup<i8>>,
}

impl Requant {
    /// Requantises to `affine` with the results clamped to reals in `low..=high`.
    pub(crate) fn new(affine: Affine, low: f32, high: f32) -> Self {
        Self {
            zero_point: affine.zero_point,
            low: quantise(low, affine),
            high: quantise(high, affine),
            table: None,
        }
    }

    /// The byte for `scaled`, a real number in units of the output's scale.
    pub(crate) fn byte(&self, scaled: f32) -> i8 {
        let [byte] = self.rounding().bytes([scaled]);
        self.table.as_ref().map_or(byte, |table| table.at(byte))
    }

    /// What is done to every element, apart from the table, in the form that loops want.
    #[inline(always)]
    pub(crate) fn rounding(&self) -> Rounding {
        Rounding {
            low: (i32::from(self.low) - self.zero_point) as f32,
            high: (i32::from(self.high) - self.zero_point) as f32,
            zero_point: self.zero_point,
        }
    }

    /// Applies the table, if there is one, to bytes that were rounded.
    #[inline(always)]
    pub(crate) fn look_up(&self, isa: Isa, bytes: &mut [i8]) {
        if let Some(table) = &self.table {
            table.map(isa, bytes);
        }
    }
}

/// The byte, as stored, for the real number `value`; infinities saturate.
pub(crate) fn quantise(value: f32, affine: Affine) -> i8 {
    let scaled = value / affine.scale;
    let scaled = if scaled.is_nan() {
        -1024.0
    } else {
        scaled.clamp(-1024.0, 1024.0)
    };
    (round_half_even(scaled) + affine.zero_point).clamp(-128, 127) as i8
}

/// The real number of every byte.
pub(crate) fn reals(affine: Affine) -> Lookup<f32> {
    Lookup::new(|byte| affine.scale * (i32::from(byte) - affine.zero_point) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFFINE: Affine = Affine {
        scale: 0.5,
        zero_point: -118,
    };

    #[test]
    fn rounds_half_to_even_and_saturates() {
        let requant = Requant::new(AFFINE, f32::NEG_INFINITY, f32::INFINITY);
        for (scaled, expected) in [
            (0.0, -118),
            (0.5, -118),
            (1.5, -116),
            (2.5, -116),
            (-0.5, -118),
            (-1.5, -120),
            (0.50001, -117),
            (-10.0, -128),
            (-11.0, -128),
            (245.0, 127),
            (1e9, 127),
            (-1e9, -128),
            (f32::INFINITY, 127),
            (f32::NEG_INFINITY, -128),
            (f32::NAN, -128),
        ] {
            assert_eq!(requant.byte(scaled), expected, "{scaled}");
        }
    }

    #[test]
    fn relu_clamps_at_zero_and_tables_come_last() {
        let mut requant = Requant::new(AFFINE, 0.0, 6.0);
        assert_eq!((requant.low, requant.high), (-118, -106));
        let bytes = requant.rounding().bytes([-3.0, 3.0, 30.0]);
        assert_eq!(bytes, [-118, -115, -106]);
        requant.table = Some(Lookup::new(|byte| if byte == -115 { 99 } else { 0 }));
        assert_eq!(requant.byte(3.0), 99);
    }

    #[test]
    fn quantises_reals() {
        assert_eq!(quantise(1.0, AFFINE), -116);
        assert_eq!(quantise(f32::INFINITY, AFFINE), 127);
        assert_eq!(quantise(f32::NEG_INFINITY, AFFINE), -128);
        assert_eq!(reals(AFFINE).at(-116), 1.0);
    }
}
