//! Sums, means and extremes over axes, in f32.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// A reduction; the axes stay, with extent one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reduce {
    pub(crate) what: Reduction,
    /// As stored.
    pub(crate) axes: Vec<usize>,
}

/// What the elements become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reduction {
    Max,
    Mean,
    Min,
    Sum,
}

impl Reduce {
    /// Elements are taken in the order in which they lie.
    pub(super) fn run(
        &self,
        x: &[f32],
        shape: &[usize],
        out: &mut [f32],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let reduced = |axis: usize| self.axes.contains(&axis);
        let expected = shape
            .iter()
            .enumerate()
            .map(|(axis, &extent)| if reduced(axis) { 1 } else { extent });
        ensure!(
            expected.eq(out_shape.iter().copied())
                && self.axes.iter().all(|&axis| axis < shape.len()),
            "{shape:?} to {out_shape:?} over {:?}",
            self.axes
        );
        out.fill(match self.what {
            Reduction::Max => f32::NEG_INFINITY,
            Reduction::Min => f32::INFINITY,
            Reduction::Mean | Reduction::Sum => 0.0,
        });
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for axis in (0..shape.len()).rev() {
            if !reduced(axis) {
                strides[axis] = stride;
                stride *= shape[axis];
            }
        }
        let mut index = vec![0; shape.len()];
        let mut at = 0;
        for &value in x {
            let out = &mut out[at];
            match self.what {
                Reduction::Max if value > *out || value.is_nan() => *out = value,
                Reduction::Min if value < *out || value.is_nan() => *out = value,
                Reduction::Max | Reduction::Min => (),
                Reduction::Mean | Reduction::Sum => *out += value,
            }
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
        if self.what == Reduction::Mean {
            let count = x.len() / out.len().max(1);
            for out in out {
                *out /= count as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduces_rows_columns_and_all() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0];
        for (what, axes, out_shape, expected) in [
            (Reduction::Mean, vec![1], [2, 1], vec![2.0, 6.0]),
            (Reduction::Sum, vec![0], [1, 3], vec![5.0, 7.0, 12.0]),
            (Reduction::Max, vec![0, 1], [1, 1], vec![9.0]),
            (Reduction::Min, vec![1], [2, 1], vec![1.0, 4.0]),
        ] {
            let mut out = vec![7.0; expected.len()];
            let reduce = Reduce { what, axes };
            reduce
                .run(&x, &[2, 3], &mut out, &out_shape)
                .expect("shapes fit");
            assert_eq!(out, expected, "{reduce:?}");
        }
    }
}
