//! One operator of a program and how it is run.

use anyhow::{bail, ensure};
use tract_onnx::prelude::*;

use super::arena::{Arena, Plan, Slice, SliceMut, View};
use super::requant::Requant;
use super::{Binary, Conv, Depthwise, Epilogue, Pool, PoolKind, Program, Unary, ValueId, float};

/// An operator with its operands.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The node that it comes from, for reports.
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

/// What a step does. Shapes are as stored: channels last.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// u8 to u8: a convolution, or with a window of one a product with a constant matrix. f32 with a float epilogue.
    Conv(Box<Conv>),
    /// u8 to u8: one filter for each channel.
    Depthwise(Box<Depthwise>),
    /// u8, u8 to u8: real addition of two tensors of one shape.
    Add(Box<AddQ>),
    /// u8, u8 to u8: real product of `[N, spatial..., C]` and `[N, 1..., C]`, or of one shape.
    Scale(Box<ScaleQ>),
    /// u8 to u8: maximum or mean over a window.
    Pool(Box<Pool>),
    /// u8 to u8: each pixel repeated by a whole factor along each spatial axis.
    Repeat(Vec<usize>),
    /// u8s to u8: joined along the last axis, each through its own table.
    Concat(Vec<[u8; 256]>),
    /// u8 to u8.
    Map(Box<[u8; 256]>),
    /// u8 pixels `[N, H, W, 3]` to u8: channels reordered, each through its own table.
    Image(Box<[(usize, [u8; 256]); 3]>),
    /// u8 to f32.
    Decode(Box<[f32; 256]>),
    /// f32 to u8.
    Encode {
        /// One over the output's scale.
        inverse_scale: f32,
        requant: Requant,
    },
    /// The same elements in another shape.
    Reshape,
    /// Axes reordered: output axis `i` is input axis `perm[i]`.
    Transpose(TVec<usize>),
    /// `start..start + extent` of one axis, the extent being the output's.
    Slice { axis: usize, start: usize },
    /// f32, f32 to f32 with broadcasting.
    Binary(Binary),
    /// f32 to f32.
    Unary(Unary),
    /// f32 `[..., M, K]`, `[..., K, N]` to `[..., M, N]`.
    MatMul,
    /// f32, over the last axis.
    Softmax,
    /// f32, over the last axis; then `* gamma + beta`.
    LayerNorm {
        epsilon: f32,
        gamma: Vec<f32>,
        beta: Vec<f32>,
    },
}

impl Op {
    /// The requantisation of the output, where there is one.
    pub(crate) fn requant_mut(&mut self) -> Option<&mut Requant> {
        match self {
            Self::Conv(conv) => match &mut conv.epilogue {
                Epilogue::Byte(requant) => Some(requant),
                Epilogue::Real(_) => None,
            },
            Self::Depthwise(conv) => Some(&mut conv.requant),
            Self::Add(add) => Some(&mut add.requant),
            Self::Scale(scale) => Some(&mut scale.requant),
            Self::Pool(pool) => match &mut pool.kind {
                PoolKind::Mean { requant, .. } => Some(requant),
                PoolKind::Max => None,
            },
            Self::Encode { requant, .. } => Some(requant),
            _ => None,
        }
    }
}

/// `q = (a - a_zero) * a_scale + (b - b_zero) * b_scale`, requantised. The scales are over the output's.
#[derive(Debug, Clone)]
pub(crate) struct AddQ {
    pub(crate) a_zero: i32,
    pub(crate) a_scale: f32,
    pub(crate) b_zero: i32,
    pub(crate) b_scale: f32,
    pub(crate) requant: Requant,
}

/// `q = (a - a_zero) * (b - b_zero) * scale`, requantised. `scale` is both scales over the output's.
#[derive(Debug, Clone)]
pub(crate) struct ScaleQ {
    pub(crate) a_zero: i32,
    pub(crate) b_zero: i32,
    pub(crate) scale: f32,
    pub(crate) requant: Requant,
}

impl Step {
    pub(super) fn run(
        &self,
        program: &Program,
        shapes: &[Vec<usize>],
        plan: &Plan,
        arena: &mut Arena,
    ) -> anyhow::Result<()> {
        let pad_at = match &self.op {
            Op::Conv(conv) => arena.pad(plan, self.inputs[0], conv.zero_point),
            Op::Depthwise(conv) => arena.pad(plan, self.inputs[0], conv.zero_point),
            _ => 0,
        };
        let View { inputs, output } = arena.view(program, plan, &self.inputs, self.output);
        let shape_of = |index: usize| shapes[self.inputs[index]].as_slice();
        let out_shape = shapes[self.output].as_slice();
        match (&self.op, inputs.as_slice(), output) {
            (Op::Conv(conv), [Slice::U8(x, _)], out) => {
                conv.run(&program.weights, x, shape_of(0), pad_at, out, out_shape)
            }
            (Op::Depthwise(conv), [Slice::U8(x, _)], SliceMut::U8(out)) => {
                conv.run(&program.weights, x, shape_of(0), pad_at, out, out_shape)
            }
            (Op::Add(add), [a, b], SliceMut::U8(out)) => add.run(bytes(*a)?, bytes(*b)?, out),
            (Op::Scale(scale), [a, b], SliceMut::U8(out)) => {
                scale.run(bytes(*a)?, shape_of(0), bytes(*b)?, shape_of(1), out)
            }
            (Op::Pool(pool), [x], SliceMut::U8(out)) => {
                pool.run(bytes(*x)?, shape_of(0), out, out_shape)
            }
            (Op::Repeat(factors), [x], SliceMut::U8(out)) => {
                repeat(factors, bytes(*x)?, shape_of(0), out, out_shape)
            }
            (Op::Concat(tables), inputs, SliceMut::U8(out)) => {
                let outer = |shape: &[usize]| shape.split_last().map(|(_, outer)| outer.to_vec());
                ensure!(
                    (0..inputs.len()).all(|i| outer(shape_of(i)) == outer(out_shape)),
                    "parts of other extents than {out_shape:?}"
                );
                let widths: Vec<usize> = (0..inputs.len())
                    .map(|i| shape_of(i).last().copied().unwrap_or(1))
                    .collect();
                concat(tables, inputs, &widths, out)
            }
            (Op::Map(table), [x], SliceMut::U8(out)) => {
                each(bytes(*x)?, out, |byte| table[usize::from(byte)])
            }
            (Op::Image(channels), [x], SliceMut::U8(out)) => {
                for (pixel, out) in bytes(*x)?.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
                    for (value, (channel, table)) in out.iter_mut().zip(channels.iter()) {
                        *value = table[usize::from(pixel[*channel])];
                    }
                }
                Ok(())
            }
            (Op::Decode(table), [x], SliceMut::F32(out)) => {
                each(bytes(*x)?, out, |byte| table[usize::from(byte)])
            }
            (
                Op::Encode {
                    inverse_scale,
                    requant,
                },
                [Slice::F32(x)],
                SliceMut::U8(out),
            ) => each(x, out, |value| requant.byte(value * inverse_scale)),
            (Op::Reshape, [Slice::U8(x, len)], SliceMut::U8(out)) => {
                each(&x[..*len], out, |byte| byte)
            }
            (Op::Reshape, [Slice::F32(x)], SliceMut::F32(out)) => each(x, out, |value| value),
            (Op::Transpose(perm), [Slice::U8(x, len)], SliceMut::U8(out)) => {
                transpose(perm, &x[..*len], shape_of(0), out, out_shape)
            }
            (Op::Transpose(perm), [Slice::F32(x)], SliceMut::F32(out)) => {
                transpose(perm, x, shape_of(0), out, out_shape)
            }
            (Op::Slice { axis, start }, [Slice::U8(x, len)], SliceMut::U8(out)) => {
                slice(*axis, *start, &x[..*len], shape_of(0), out, out_shape)
            }
            (Op::Slice { axis, start }, [Slice::F32(x)], SliceMut::F32(out)) => {
                slice(*axis, *start, x, shape_of(0), out, out_shape)
            }
            (Op::Binary(op), [Slice::F32(a), Slice::F32(b)], SliceMut::F32(out)) => {
                op.run(a, shape_of(0), b, shape_of(1), out, out_shape)
            }
            (Op::Unary(function), [Slice::F32(x)], SliceMut::F32(out)) => {
                each(x, out, |value| function.apply(value))
            }
            (Op::MatMul, [Slice::F32(a), Slice::F32(b)], SliceMut::F32(out)) => {
                float::matmul(a, shape_of(0), b, shape_of(1), out)
            }
            (Op::Softmax, [Slice::F32(x)], SliceMut::F32(out)) => {
                float::softmax(x, shape_of(0), out)
            }
            (
                Op::LayerNorm {
                    epsilon,
                    gamma,
                    beta,
                },
                [Slice::F32(x)],
                SliceMut::F32(out),
            ) => float::layer_norm(*epsilon, gamma, beta, x, out),
            (op, inputs, _) => bail!(
                "{op:?} cannot run on {} operands of their types",
                inputs.len()
            ),
        }
    }
}

/// A u8 operand without its tail.
fn bytes(slice: Slice<'_>) -> anyhow::Result<&[u8]> {
    match slice {
        Slice::U8(bytes, len) => Ok(&bytes[..len]),
        Slice::F32(_) => bail!("expected a u8 operand, got f32"),
    }
}

fn each<T: Copy, U>(x: &[T], out: &mut [U], function: impl Fn(T) -> U) -> anyhow::Result<()> {
    ensure!(
        x.len() == out.len(),
        "{} elements to {}",
        x.len(),
        out.len()
    );
    for (out, &value) in out.iter_mut().zip(x) {
        *out = function(value);
    }
    Ok(())
}

impl AddQ {
    fn run(&self, a: &[u8], b: &[u8], out: &mut [u8]) -> anyhow::Result<()> {
        ensure!(
            a.len() == b.len() && a.len() == out.len(),
            "{} and {} elements to {}",
            a.len(),
            b.len(),
            out.len()
        );
        let sum = |a: u8, b: u8| {
            (i32::from(a) - self.a_zero) as f32 * self.a_scale
                + (i32::from(b) - self.b_zero) as f32 * self.b_scale
        };
        let (a_rows, a_rest) = a.as_chunks::<LANES>();
        let (b_rows, b_rest) = b.as_chunks::<LANES>();
        let (out_rows, out_rest) = out.as_chunks_mut::<LANES>();
        for ((a, b), out) in a_rows.iter().zip(b_rows).zip(out_rows) {
            *out = self
                .requant
                .bytes(std::array::from_fn::<f32, LANES, _>(|i| sum(a[i], b[i])));
        }
        for ((&a, &b), out) in a_rest.iter().zip(b_rest).zip(out_rest) {
            *out = self.requant.byte(sum(a, b));
        }
        Ok(())
    }
}

impl ScaleQ {
    fn run(
        &self,
        a: &[u8],
        a_shape: &[usize],
        b: &[u8],
        b_shape: &[usize],
        out: &mut [u8],
    ) -> anyhow::Result<()> {
        ensure!(
            a.len() == out.len(),
            "{} elements to {}",
            a.len(),
            out.len()
        );
        let product = |a: u8, factor: f32| (i32::from(a) - self.a_zero) as f32 * factor;
        let factors: Vec<f32> = b
            .iter()
            .map(|&b| (i32::from(b) - self.b_zero) as f32 * self.scale)
            .collect();
        if a_shape == b_shape {
            for ((&a, &factor), out) in a.iter().zip(&factors).zip(out) {
                *out = self.requant.byte(product(a, factor));
            }
            return Ok(());
        }
        let (Some(&batch), Some(&channels)) = (a_shape.first(), a_shape.last()) else {
            bail!("no axes to scale")
        };
        ensure!(
            factors.len() == batch * channels,
            "factors {b_shape:?} for {a_shape:?}"
        );
        let image = (a.len() / batch.max(1)).max(1);
        for ((a, out), factors) in a
            .chunks(image)
            .zip(out.chunks_mut(image))
            .zip(factors.chunks(channels.max(1)))
        {
            for (a, out) in a.chunks_exact(channels).zip(out.chunks_exact_mut(channels)) {
                let (a_rows, a_rest) = a.as_chunks::<LANES>();
                let (factor_rows, factor_rest) = factors.as_chunks::<LANES>();
                let (out_rows, out_rest) = out.as_chunks_mut::<LANES>();
                for ((a, factors), out) in a_rows.iter().zip(factor_rows).zip(out_rows) {
                    *out = self
                        .requant
                        .bytes(std::array::from_fn::<f32, LANES, _>(|i| {
                            product(a[i], factors[i])
                        }));
                }
                for ((&a, &factor), out) in a_rest.iter().zip(factor_rest).zip(out_rest) {
                    *out = self.requant.byte(product(a, factor));
                }
            }
        }
        Ok(())
    }
}

/// Elements that elementwise loops take at once, so that they vectorise.
const LANES: usize = 16;

fn repeat(
    factors: &[usize],
    x: &[u8],
    shape: &[usize],
    out: &mut [u8],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    let ([n, h, w, c], [fy, fx]) = (shape, factors) else {
        bail!("repeat of shape {shape:?} by {factors:?}")
    };
    ensure!(
        out_shape == [*n, h * fy, w * fx, *c],
        "{shape:?} by {factors:?} to {out_shape:?}"
    );
    let row_bytes = w * c;
    for (row, out_rows) in x
        .chunks_exact(row_bytes.max(1))
        .zip(out.chunks_exact_mut((row_bytes * fx * fy).max(1)))
    {
        let (first, others) = out_rows.split_at_mut(row_bytes * fx);
        for (pixel, out) in row.chunks_exact(*c).zip(first.chunks_exact_mut(c * fx)) {
            for out in out.chunks_exact_mut(*c) {
                out.copy_from_slice(pixel);
            }
        }
        for other in others.chunks_exact_mut(row_bytes * fx) {
            other.copy_from_slice(first);
        }
    }
    Ok(())
}

fn concat(
    tables: &[[u8; 256]],
    inputs: &[Slice],
    widths: &[usize],
    out: &mut [u8],
) -> anyhow::Result<()> {
    let total: usize = widths.iter().sum();
    ensure!(total > 0, "nothing to join");
    let rows = out.len() / total;
    let mut at = 0;
    for ((input, &width), table) in inputs.iter().zip(widths).zip(tables) {
        if width == 0 {
            continue;
        }
        let x = bytes(*input)?;
        ensure!(
            x.len() == rows * width,
            "{} elements of width {width} for {rows} rows",
            x.len()
        );
        for (row, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(total)) {
            for (out, &value) in out[at..at + width].iter_mut().zip(row) {
                *out = table[usize::from(value)];
            }
        }
        at += width;
    }
    Ok(())
}

fn transpose<T: Copy>(
    perm: &[usize],
    x: &[T],
    shape: &[usize],
    out: &mut [T],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    ensure!(
        x.len() == out.len() && perm.len() == shape.len(),
        "{shape:?} to {out_shape:?} by {perm:?}"
    );
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let strides: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
    let mut index = vec![0; out_shape.len()];
    let mut at = 0;
    for out in out {
        *out = x[at];
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < out_shape[axis] {
                break;
            }
            at -= strides[axis] * out_shape[axis];
            index[axis] = 0;
        }
    }
    Ok(())
}

fn slice<T: Copy>(
    axis: usize,
    start: usize,
    x: &[T],
    shape: &[usize],
    out: &mut [T],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    let inner: usize = shape[axis + 1..].iter().product();
    let (from, to) = (shape[axis] * inner, out_shape[axis] * inner);
    ensure!(
        start + out_shape[axis] <= shape[axis],
        "{start} + {} of {}",
        out_shape[axis],
        shape[axis]
    );
    if to == 0 {
        return Ok(());
    }
    for (row, out) in x.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        out.copy_from_slice(&row[start * inner..start * inner + to]);
    }
    Ok(())
}
