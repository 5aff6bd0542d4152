//! Resizing between elements: each output is a mean of its neighbours, weighted by how near they are.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::requant::Requant;
use super::sample::Sample;

/// A linear resizing of `[N, spatial..., C]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Linear {
    /// One for each spatial axis.
    pub(crate) axes: Vec<Sample>,
    /// For bytes; a real tensor has none.
    pub(crate) bytes: Option<Rescale>,
}

/// From bytes of one quantisation to those of another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rescale {
    /// The input's.
    pub(crate) zero_point: i32,
    /// The input's scale over the output's.
    pub(crate) scale: f32,
    pub(crate) requant: Requant,
}

impl Linear {
    /// `read` gives the real number of an element, `write` makes an element of one.
    pub(super) fn run<T: Copy>(
        &self,
        x: &[T],
        shape: &[usize],
        out: &mut [T],
        out_shape: &[usize],
        read: impl Fn(T) -> f32,
        write: impl Fn(f32) -> T,
    ) -> anyhow::Result<()> {
        let axes = self.axes.len();
        ensure!(
            shape.len() == axes + 2
                && out_shape.len() == axes + 2
                && shape[0] == out_shape[0]
                && shape[axes + 1] == out_shape[axes + 1],
            "{shape:?} to {out_shape:?}"
        );
        ensure!(
            out.is_empty() || !x.is_empty(),
            "{shape:?} to {out_shape:?}"
        );
        if out.is_empty() {
            return Ok(());
        }
        let channels = shape[axes + 1];
        let mut pairs = vec![];
        for (axis, sample) in self.axes.iter().enumerate() {
            let (from, to) = (shape[axis + 1], out_shape[axis + 1]);
            pairs.push(
                (0..to)
                    .map(|index| Pair::new(sample, index, from, to))
                    .collect::<Vec<_>>(),
            );
        }
        let mut index = vec![0; axes + 1];
        let mut sums = vec![0.0; channels];
        for out in out.chunks_exact_mut(channels) {
            sums.fill(0.0);
            for corner in 0..1usize << axes {
                let (mut at, mut weight) = (index[0], 1.0);
                for axis in 0..axes {
                    let pair = &pairs[axis][index[axis + 1]];
                    let far = corner >> (axes - 1 - axis) & 1;
                    at = at * shape[axis + 1] + pair.at[far];
                    weight *= pair.weights[far];
                }
                if weight != 0.0 {
                    let pixel = &x[at * channels..][..channels];
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += read(value) * weight;
                    }
                }
            }
            for (out, &sum) in out.iter_mut().zip(&sums) {
                *out = write(sum);
            }
            for axis in (0..=axes).rev() {
                index[axis] += 1;
                if index[axis] < out_shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(())
    }
}

/// The two neighbours of a position, and how much each counts.
struct Pair {
    at: [usize; 2],
    weights: [f32; 2],
}

impl Pair {
    fn new(sample: &Sample, index: usize, from: usize, to: usize) -> Self {
        let position = sample.position(index, from, to);
        let before = position as usize;
        let far = position - before as f32;
        Self {
            at: [before, (before + 1).min(from.saturating_sub(1))],
            weights: [1.0 - far, far],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Coordinates, Nearest};
    use super::*;

    #[test]
    fn a_row_of_two_pixels_becomes_four() {
        let sample = Sample {
            scale: Some(2.0),
            coordinates: Coordinates::HalfPixel,
            rounding: Nearest::Floor,
        };
        let linear = Linear {
            axes: vec![sample],
            bytes: None,
        };
        let mut out = [0.0; 8];
        let x = [0.0, 10.0, 4.0, 30.0];
        linear
            .run(&x, &[1, 2, 2], &mut out, &[1, 4, 2], |x| x, |x| x)
            .expect("shapes fit");
        assert_eq!(out, [0.0, 10.0, 1.0, 15.0, 3.0, 25.0, 4.0, 30.0]);
    }
}
