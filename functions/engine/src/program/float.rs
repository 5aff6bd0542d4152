//! What stays in f32: plain Rust in a fixed order, with `libm` for what IEEE does not define, so that it has the same bits
//! on every target.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use crate::kernels::round_half_even;

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
        let strides = [
            broadcast(a_shape, out_shape)?,
            broadcast(b_shape, out_shape)?,
        ];
        let rows = Rows::new(strides, out_shape);
        match self.op {
            BinaryOp::Add => rows.run(a, b, out, |a, b| a + b),
            BinaryOp::Sub => rows.run(a, b, out, |a, b| a - b),
            BinaryOp::Mul => rows.run(a, b, out, |a, b| a * b),
            op => rows.run(a, b, out, |a, b| op.apply(a, b)),
        }
        Ok(())
    }
}

/// Two operands as rows in which each either goes on or stands still.
struct Rows<'a> {
    /// Of the axes over the rows.
    outer: &'a [usize],
    strides: [Vec<usize>; 2],
    width: usize,
    /// Whether an operand goes on along a row.
    goes_on: [bool; 2],
}

impl<'a> Rows<'a> {
    fn new(strides: [Vec<usize>; 2], out_shape: &'a [usize]) -> Self {
        let steps = |axis: usize| [0, 1].map(|operand: usize| strides[operand][axis] != 0);
        // Neighbouring axes along which both do the same are one.
        let mut first = out_shape.len();
        let mut goes_on = [false; 2];
        while first > 0 {
            let axis = first - 1;
            let whole = out_shape[axis] == 1;
            if first == out_shape.len() || goes_on == [false; 2] {
                goes_on = steps(axis);
            } else if !whole && steps(axis) != goes_on {
                break;
            }
            first = axis;
        }
        Self {
            outer: &out_shape[..first],
            width: out_shape[first..].iter().product(),
            strides,
            goes_on,
        }
    }

    #[inline(always)]
    fn run(&self, a: &[f32], b: &[f32], out: &mut [f32], op: impl Fn(f32, f32) -> f32) {
        let mut index = vec![0; self.outer.len()];
        let mut at = [0; 2];
        for out in out.chunks_exact_mut(self.width.max(1)) {
            let (a, b) = (&a[at[0]..], &b[at[1]..]);
            match self.goes_on {
                [true, true] => {
                    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                        *out = op(a, b);
                    }
                }
                [true, false] => {
                    let b = b[0];
                    for (out, &a) in out.iter_mut().zip(a) {
                        *out = op(a, b);
                    }
                }
                [false, true] => {
                    let a = a[0];
                    for (out, &b) in out.iter_mut().zip(b) {
                        *out = op(a, b);
                    }
                }
                [false, false] => out.fill(op(a[0], b[0])),
            }
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

/// `a`: `[..., M, K]`, `b`: `[..., K, N]`, `out`: `[..., M, N]`, leading axes of one being broadcast. Sums run along `K` in
/// order.
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
    let pairs = stacked(a_outer, b_outer, out.len())
        .filter(|pairs| k == b_k && out.len() == pairs.len() * m * n);
    let Some(pairs) = pairs else {
        bail!(
            "product of {a_shape:?} and {b_shape:?} to {} elements",
            out.len()
        )
    };
    out.fill(0.0);
    if out.is_empty() || *k == 0 {
        return Ok(());
    }
    for ((at_a, at_b), out) in pairs.into_iter().zip(out.chunks_exact_mut(m * n)) {
        let (a, b) = (&a[at_a * m * k..][..m * k], &b[at_b * k * n..][..k * n]);
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

/// Which matrices of two stacks meet, with numpy's broadcasting; no more than `limit`.
fn stacked(a: &[usize], b: &[usize], limit: usize) -> Option<Vec<(usize, usize)>> {
    if a.len() != b.len() {
        return None;
    }
    let mut pairs = vec![(0, 0)];
    for (&a, &b) in a.iter().zip(b) {
        let extent = if a == 1 { b } else { a };
        let fits = a == b || a == 1 || b == 1;
        if !fits || pairs.len().saturating_mul(extent) > limit {
            return None;
        }
        let step = |at: usize, extent: usize, index: usize| at * extent + index % extent.max(1);
        let along = |(at_a, at_b)| {
            (0..extent).map(move |index| (step(at_a, a, index), step(at_b, b, index)))
        };
        pairs = pairs.into_iter().flat_map(along).collect();
    }
    Some(pairs)
}

/// Over the last axis, with the highest value subtracted first.
#[inline(always)]
pub(super) fn softmax(x: &[f32], shape: &[usize], out: &mut [f32]) -> anyhow::Result<()> {
    let width = shape.last().copied().unwrap_or(1).max(1);
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mut highest = f32::NEG_INFINITY;
        for &value in x {
            highest = if value > highest { value } else { highest };
        }
        for (out, &value) in out.iter_mut().zip(x) {
            *out = exp(value - highest);
        }
        let scale = 1.0 / sum(out);
        for out in out {
            *out *= scale;
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
        let mean = sum(x) / width as f32;
        for (out, &value) in out.iter_mut().zip(x) {
            *out = (value - mean) * (value - mean);
        }
        let variance = sum(out) / width as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for (((out, &value), gamma), beta) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
            *out = (value - mean) * inverse * gamma + beta;
        }
    }
    Ok(())
}

/// The sum of a row, in an order that vectors can keep: eight sums of every eighth element, then those in order.
#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let (rows, rest) = row.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for row in rows {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    let mut total = 0.0;
    for &value in sums.iter().chain(rest) {
        total += value;
    }
    total
}

/// The exponential function in f32 arithmetic without fused operations, to about one unit in the last place; zero below
/// -87.3, where results would lose bits. Range reduction and coefficients are those of `expf` in Cephes 2.2 (Moshier, 1992).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.3;
    // ln 2 in two parts, the first with few enough bits that its products with small integers are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const COEFFICIENTS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        0.5,
    ];
    let within = if LOWEST < x { x } else { LOWEST };
    let within = if HIGHEST < within { HIGHEST } else { within };
    let power = round_half_even(within * std::f32::consts::LOG2_E);
    let rest = within - power as f32 * LN_2[0] - power as f32 * LN_2[1];
    let mut polynomial = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        polynomial = polynomial * rest + coefficient;
    }
    let mantissa = polynomial * (rest * rest) + rest + 1.0;
    let value = mantissa * f32::from_bits(((power + 127) as u32) << 23);
    if LOWEST < x { value } else { 0.0 }
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
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
    fn exp_is_within_two_units_of_the_last_place() {
        let mut x = -87.0f32;
        while x < 88.0 {
            let exact = libm::exp(f64::from(x));
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}) = {}, expected {exact}", exp(x));
            x += 0.013;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-100.0), 0.0);
        assert!(exp(f32::INFINITY).is_finite());
        assert_eq!(sigmoid(0.0), 0.5);
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
    fn multiplies_one_matrix_by_each_of_a_stack() {
        // [1, 2, 1, 1] by [2, 1, 1, 1].
        let mut out = [0.0; 4];
        let (a, b) = ([2.0, 3.0], [5.0, 7.0]);
        matmul(&a, &[1, 2, 1, 1], &b, &[2, 1, 1, 1], &mut out).expect("shapes fit");
        assert_eq!(out, [10.0, 15.0, 14.0, 21.0]);
        assert!(matmul(&[0.0; 2], &[2, 1, 1], &[0.0; 3], &[3, 1, 1], &mut out).is_err());
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
