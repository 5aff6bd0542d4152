//! What stays in f32: plain Rust in a fixed order, with `libm` for what IEEE does not define, so that it has the same bits
//! on every target.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

/// A two-operand function with numpy's broadcasting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
}

/// The two-operand functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Pow,
}

impl BinaryOp {
    /// The function of two reals.
    #[inline(always)]
    pub(crate) fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            // Not `f32::min` and `max`, which leave the sign of zero open.
            Self::Min if b < a || a.is_nan() => b,
            Self::Max if b > a || a.is_nan() => b,
            Self::Min | Self::Max => a,
            Self::Pow => libm::powf(a, b),
        }
    }
}

impl Binary {
    #[inline(always)]
    pub(super) fn run(
        self,
        a: &[f32],
        a_shape: &[usize],
        b: &[f32],
        b_shape: &[usize],
        out: &mut [f32],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let (a_strides, b_strides) = (
            broadcast(a_shape, out_shape)?,
            broadcast(b_shape, out_shape)?,
        );
        let mut index = vec![0; out_shape.len()];
        let (mut at_a, mut at_b) = (0, 0);
        for out in out {
            *out = self.op.apply(a[at_a], b[at_b]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at_a += a_strides[axis];
                at_b += b_strides[axis];
                if index[axis] < out_shape[axis] {
                    break;
                }
                at_a -= a_strides[axis] * out_shape[axis];
                at_b -= b_strides[axis] * out_shape[axis];
                index[axis] = 0;
            }
        }
        Ok(())
    }
}

/// Strides of `shape` seen as `out_shape`: zero along axes of extent one.
fn broadcast(shape: &[usize], out_shape: &[usize]) -> anyhow::Result<Vec<usize>> {
    ensure!(shape.len() == out_shape.len(), "{shape:?} to {out_shape:?}");
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for axis in (0..shape.len()).rev() {
        ensure!(
            shape[axis] == 1 || shape[axis] == out_shape[axis],
            "{shape:?} to {out_shape:?}"
        );
        if shape[axis] != 1 {
            strides[axis] = stride;
        }
        stride *= shape[axis];
    }
    Ok(strides)
}

/// `a`: `[..., M, K]`, `b`: `[..., K, N]` of the same leading axes, `out`: `[..., M, N]`. Sums run along `K` in order.
#[inline(always)]
pub(super) fn matmul(
    a: &[f32],
    a_shape: &[usize],
    b: &[f32],
    b_shape: &[usize],
    out: &mut [f32],
) -> anyhow::Result<()> {
    let ([a_outer @ .., m, k], [b_outer @ .., b_k, n]) = (a_shape, b_shape) else {
        bail!("product of {a_shape:?} and {b_shape:?}")
    };
    ensure!(
        a_outer == b_outer && k == b_k,
        "product of {a_shape:?} and {b_shape:?}"
    );
    ensure!(
        out.len() == a_outer.iter().product::<usize>() * m * n,
        "product of {a_shape:?} and {b_shape:?}"
    );
    out.fill(0.0);
    if out.is_empty() || *k == 0 {
        return Ok(());
    }
    for ((a, b), out) in a
        .chunks_exact(m * k)
        .zip(b.chunks_exact(k * n))
        .zip(out.chunks_exact_mut(m * n))
    {
        for (a, out) in a.chunks_exact(*k).zip(out.chunks_exact_mut(*n)) {
            for (&a, b) in a.iter().zip(b.chunks_exact(*n)) {
                for (out, &b) in out.iter_mut().zip(b) {
                    *out += a * b;
                }
            }
        }
    }
    Ok(())
}

/// Over the last axis, with the highest value subtracted first.
#[inline(always)]
pub(super) fn softmax(x: &[f32], shape: &[usize], out: &mut [f32]) -> anyhow::Result<()> {
    let width = shape.last().copied().unwrap_or(1).max(1);
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let highest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (out, &value) in out.iter_mut().zip(x) {
            *out = libm::expf(value - highest);
            sum += *out;
        }
        for out in out {
            *out /= sum;
        }
    }
    Ok(())
}

/// Over rows as long as `gamma`.
#[inline(always)]
pub(super) fn layer_norm(
    epsilon: f32,
    gamma: &[f32],
    beta: &[f32],
    x: &[f32],
    out: &mut [f32],
) -> anyhow::Result<()> {
    let width = gamma.len();
    ensure!(
        width > 0 && x.len().is_multiple_of(width),
        "{} elements in rows of {width}",
        x.len()
    );
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = x.iter().sum::<f32>() / width as f32;
        let variance = x
            .iter()
            .map(|value| (value - mean) * (value - mean))
            .sum::<f32>()
            / width as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for (((out, &value), gamma), beta) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
            *out = (value - mean) * inverse * gamma + beta;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasts_like_numpy() {
        let mut out = [0.0; 6];
        let sub = Binary { op: BinaryOp::Sub };
        sub.run(
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            &[2, 3],
            &[1.0, 0.0],
            &[2, 1],
            &mut out,
            &[2, 3],
        )
        .expect("shapes fit");
        assert_eq!(out, [0.0, 1.0, 2.0, 4.0, 5.0, 6.0]);
        assert!(
            sub.run(&[0.0; 6], &[2, 3], &[0.0; 4], &[2, 2], &mut out, &[2, 3])
                .is_err()
        );
    }

    #[test]
    fn multiplies_batches() {
        // Two batches of [1, 2] by [2, 2].
        let mut out = [0.0; 4];
        let b = [1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 0.0];
        matmul(&[1.0, 2.0, 3.0, 4.0], &[2, 1, 2], &b, &[2, 2, 2], &mut out).expect("shapes fit");
        assert_eq!(out, [7.0, 10.0, 4.0, 3.0]);
    }

    #[test]
    fn softmax_of_equal_values_is_even_and_large_values_do_not_overflow() {
        let mut out = [0.0; 4];
        softmax(&[1000.0, 1000.0, -1000.0, 1000.0], &[2, 2], &mut out).expect("shapes fit");
        assert_eq!(out, [0.5, 0.5, 0.0, 1.0]);
    }

    #[test]
    fn layer_norm_has_mean_beta_and_deviation_gamma() {
        let mut out = [0.0; 2];
        layer_norm(0.0, &[2.0, 2.0], &[1.0, 1.0], &[3.0, 7.0], &mut out).expect("rows fit");
        assert_eq!(out, [-1.0, 3.0]);
    }
}
