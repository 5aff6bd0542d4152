//! Sums and products of bytes whose shapes differ, with numpy's broadcasting.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::elementwise::{AddQ, ScaleQ};
use super::requant::Requant;
use crate::kernels::Isa;

/// What is done to each pair of elements.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Broadcast {
    Add(AddQ),
    Mul(ScaleQ),
}

impl Broadcast {
    /// The requantisation of the output.
    pub(super) fn requant(&self) -> &Requant {
        match self {
            Self::Add(add) => &add.requant,
            Self::Mul(mul) => &mul.requant,
        }
    }

    /// The same, to be changed.
    pub(super) fn requant_mut(&mut self) -> &mut Requant {
        match self {
            Self::Add(add) => &mut add.requant,
            Self::Mul(mul) => &mut mul.requant,
        }
    }

    pub(super) fn run(
        &self,
        isa: Isa,
        [a, b]: [&[i8]; 2],
        shapes: [&[usize]; 2],
        out: &mut [i8],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let rows = Rows::new(shapes, out_shape)?;
        let rounding = self.requant().rounding();
        // An operand's real number, or for a product its part of it, for each byte.
        let scaled = |byte: i8, zero: i32, scale: f32| (i32::from(byte) - zero) as f32 * scale;
        let of_a = |byte: i8| match self {
            Self::Add(add) => scaled(byte, add.a_zero, add.a_scale),
            Self::Mul(mul) => scaled(byte, mul.a_zero, 1.0),
        };
        let of_b = |byte: i8| match self {
            Self::Add(add) => scaled(byte, add.b_zero, add.b_scale),
            Self::Mul(mul) => scaled(byte, mul.b_zero, mul.scale),
        };
        let both = |a: f32, b: f32| match self {
            Self::Add(_) => a + b,
            Self::Mul(_) => a * b,
        };
        rows.each(out, |[at_a, at_b], out| {
            for (index, out) in out.iter_mut().enumerate() {
                let a = of_a(a[at_a + index * rows.steps[0]]);
                let b = of_b(b[at_b + index * rows.steps[1]]);
                [*out] = rounding.bytes([both(a, b)]);
            }
        });
        self.requant().look_up(isa, out);
        Ok(())
    }
}

/// The output as rows along which each operand either goes on or stands still.
struct Rows {
    /// Extents of the axes in front of the rows.
    outer: Vec<usize>,
    /// For each operand and each of those axes, elements from one index to the next.
    strides: [Vec<usize>; 2],
    /// Elements from one of the row to the next: 1, or 0 for an operand that stands still.
    steps: [usize; 2],
    len: usize,
}

impl Rows {
    fn new(shapes: [&[usize]; 2], out_shape: &[usize]) -> anyhow::Result<Self> {
        let rank = out_shape.len();
        for shape in shapes {
            let fits = |axis: usize| shape[axis] == 1 || shape[axis] == out_shape[axis];
            ensure!(
                shape.len() == rank && (0..rank).all(fits),
                "{shape:?} to {out_shape:?}"
            );
        }
        let moves = |axis: usize| shapes.map(|shape| shape[axis] == out_shape[axis]);
        // Axes of extent one go with any row.
        let last = (0..rank).rev().find(|&axis| out_shape[axis] != 1);
        let steps = last.map_or([true; 2], moves);
        let joins = |axis: &usize| out_shape[*axis] == 1 || moves(*axis) == steps;
        let inner = (0..rank).rev().take_while(joins).count();
        let outer = rank - inner;
        let strides = shapes.map(|shape| {
            let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
            let stands = |axis: usize| shape[axis] == 1;
            (0..outer)
                .map(|axis| if stands(axis) { 0 } else { stride(axis) })
                .collect()
        });
        Ok(Self {
            outer: out_shape[..outer].to_vec(),
            strides,
            steps: steps.map(usize::from),
            len: out_shape[outer..].iter().product(),
        })
    }

    /// Calls `row` with the operands' first elements and the output of each row.
    fn each(&self, out: &mut [i8], mut row: impl FnMut([usize; 2], &mut [i8])) {
        let mut index = vec![0; self.outer.len()];
        let mut at = [0; 2];
        for out in out.chunks_exact_mut(self.len.max(1)) {
            row(at, out);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                for (at, strides) in at.iter_mut().zip(&self.strides) {
                    *at += strides[axis];
                }
                if index[axis] < self.outer[axis] {
                    break;
                }
                for (at, strides) in at.iter_mut().zip(&self.strides) {
                    *at -= strides[axis] * self.outer[axis];
                }
                index[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::requant::Affine;
    use super::*;

    const ONE: Affine = Affine {
        scale: 1.0,
        zero_point: 0,
    };

    fn sums(
        a: &[i8],
        a_shape: &[usize],
        b: &[i8],
        b_shape: &[usize],
        out_shape: &[usize],
    ) -> Vec<i8> {
        let add = Broadcast::Add(AddQ {
            a_zero: 0,
            a_scale: 1.0,
            b_zero: 0,
            b_scale: 1.0,
            requant: Requant::new(ONE, f32::NEG_INFINITY, f32::INFINITY),
        });
        let mut out = vec![0; out_shape.iter().product()];
        add.run(Isa::Scalar, [a, b], [a_shape, b_shape], &mut out, out_shape)
            .expect("shapes fit");
        out
    }

    #[test]
    fn broadcasts_like_numpy() {
        let a = [1, 2, 3, 4, 5, 6];
        assert_eq!(
            sums(&a, &[2, 3], &[10, 20, 30], &[1, 3], &[2, 3]),
            [11, 22, 33, 14, 25, 36]
        );
        assert_eq!(
            sums(&a, &[2, 3], &[10, 20], &[2, 1], &[2, 3]),
            [11, 12, 13, 24, 25, 26]
        );
        assert_eq!(
            sums(&[1, 2], &[2, 1], &[10, 20, 30], &[1, 3], &[2, 3]),
            [11, 21, 31, 12, 22, 32]
        );
        assert_eq!(
            sums(&a, &[1, 2, 3], &a, &[1, 2, 3], &[1, 2, 3]),
            [2, 4, 6, 8, 10, 12]
        );
        assert_eq!(sums(&[1], &[1, 1], &[2], &[1, 1], &[1, 1]), [3]);
    }
}
