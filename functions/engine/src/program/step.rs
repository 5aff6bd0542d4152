//! One operator of a program and how it is run.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::along::Along;
use super::arena::{Arena, Plan, Slice, SliceMut, View};
use super::broadcast::Broadcast;
use super::conv::Run;
use super::elementwise::{AddQ, ScaleQ};
#[cfg(feature = "tract")]
use super::island::Island;
use super::linear::{Linear, Rescale};
use super::lookup::Lookup;
use super::pick::{self, Pick};
use super::pool::Pooling;
use super::pool_reals::PoolReals;
use super::reduce::Reduce;
use super::requant::Requant;
use super::{
    Binary, Conv, Depthwise, Epilogue, Pool, PoolKind, Program, Unary, ValueId, float, moves,
};
use crate::kernels::{BLOCK, Isa, PANEL, PANELS, Signed, Sums, Wide, Widened, widest};

/// An operator with its operands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    /// The node that it comes from, for reports.
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) output: ValueId,
}

/// What a step does. Shapes are as stored: channels last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Op {
    /// i8 to i8: a convolution, or with a window of one a product with a constant matrix, and the max pool behind it. f32 with a float
    /// epilogue.
    Conv(Box<Conv>),
    /// i8 to i8: one filter for each channel.
    Depthwise(Box<Depthwise>),
    /// i8, i8 to i8: real addition of two tensors of one shape.
    Add(Box<AddQ>),
    /// i8, i8 to i8: real product of `[N, spatial..., C]` and `[N, 1..., C]`, or of one shape.
    Scale(Box<ScaleQ>),
    /// i8 to i8: maximum or mean over a window.
    Pool(Box<Pool>),
    /// i8 to i8: each pixel repeated by a whole factor along each spatial axis.
    Repeat(Vec<usize>),
    /// i8s to i8: joined along one axis, each through its own table. f32s to f32, without tables.
    Concat {
        axis: usize,
        tables: Vec<Lookup<i8>>,
    },
    /// i8 to i8.
    Map(Lookup<i8>),
    /// u8 pixels `[N, H, W, 3]` or `[N, T, H, W, 3]` to i8: channels reordered, each through its own table.
    Image(Box<[(usize, Lookup<i8>); 3]>),
    /// i8 to f32.
    Decode(Lookup<f32>),
    /// f32 to i8.
    Encode {
        /// One over the output's scale.
        inverse_scale: f32,
        requant: Requant,
    },
    /// The same elements in another shape.
    Reshape,
    /// Axes reordered: output axis `i` is input axis `perm[i]`.
    Transpose(Vec<usize>),
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
    /// i8, i8 to i8: real sum or product with broadcasting.
    Broadcast(Box<Broadcast>),
    /// i8 to i8, by a table for each index of an axis.
    MapAlong(Along<i8>),
    /// i8 to f32, likewise.
    DecodeAlong(Along<f32>),
    /// Elements picked along each axis; `fill`, itself the byte for bytes, stands where there is none.
    Pick { picks: Vec<Pick>, fill: f32 },
    /// i8 to i8 or f32 to f32: resizing between pixels.
    Linear(Box<Linear>),
    /// f32 to f32.
    Reduce(Reduce),
    /// f32 to f32: maximum or mean over a window.
    PoolReals(Box<PoolReals>),
    /// f32s to f32, in the graph's own layout, in tract. It has no form in bytes.
    #[cfg(feature = "tract")]
    #[serde(skip)]
    Tract(Box<Island>),
}

/// Memory that steps use while they run, kept from one to the next.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Where the rows of a block begin: `[taps][BLOCK]`.
    pub(super) offsets: Vec<u32>,
    pub(super) sums: Box<[Sums; PANELS]>,
    /// The maxima of sums over the windows of a pool.
    pub(super) highest: Box<Sums>,
    pub(super) results: Box<super::store::Results>,
    pub(super) strips: super::strip::Strips,
    /// The pixels of a block.
    pub(super) runs: Vec<super::geometry::Run>,
    pub(super) widened: Widened,
    pub(super) signed: Signed,
    /// Sums of each channel.
    pub(super) totals: Vec<i32>,
    /// What each channel is multiplied by.
    pub(super) factors: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            offsets: vec![],
            sums: Box::new([[[0; PANEL]; BLOCK]; PANELS]),
            highest: Box::new([[0; PANEL]; BLOCK]),
            runs: vec![],
            results: Box::default(),
            strips: super::strip::Strips::default(),
            widened: Widened::default(),
            signed: Signed::default(),
            totals: vec![],
            factors: vec![],
        }
    }
}

impl Op {
    /// What it does and in which form, for people.
    pub(super) fn name(&self) -> String {
        let table = self
            .requant()
            .is_some_and(|requant| requant.table.is_some());
        format!(
            "{}{}",
            self.plain_name(),
            if table { " + table" } else { "" }
        )
    }

    fn plain_name(&self) -> String {
        let product = |window: &super::Window, what: &str, form: &str| {
            let kernel: Vec<String> = window.kernel.iter().map(usize::to_string).collect();
            format!("{what} {} {form}", kernel.join("x"))
        };
        match self {
            Self::Conv(conv) => {
                let form = match conv.groups.iter().all(|packed| packed.offset.is_some()) {
                    true => "i8 x 7 bits",
                    false => "i8 x i8",
                };
                let what = match (conv.groups.len(), &conv.spread) {
                    (1, None) => "conv".to_owned(),
                    (1, Some(_)) => "transposed conv".to_owned(),
                    (groups, _) => format!("conv in {groups} groups"),
                };
                let name = product(&conv.window, &what, form);
                match &conv.pool {
                    None => name,
                    Some(pool) => product(&pool.window, &format!("{name} + max pool"), "inside"),
                }
            }
            Self::Depthwise(conv) => product(&conv.window, "depthwise conv", "i8 x i8"),
            Self::Add(_) => "add i8".to_owned(),
            Self::Scale(_) => "mul i8".to_owned(),
            Self::Pool(pool) => match &pool.kind {
                PoolKind::Max if pool.overlaps() => "max pool i8, windows overlap".to_owned(),
                PoolKind::Max => "max pool i8".to_owned(),
                PoolKind::Mean { .. } => "mean pool i8".to_owned(),
            },
            Self::Repeat(factors) => format!("repeat {factors:?} i8"),
            Self::Concat { tables, .. } if tables.is_empty() => "concat f32".to_owned(),
            Self::Concat { tables, .. } => format!("concat of {} i8", tables.len()),
            Self::Map(_) => "table i8".to_owned(),
            Self::Image(_) => "image to i8".to_owned(),
            Self::Decode(_) => "i8 to f32".to_owned(),
            Self::Encode { .. } => "f32 to i8".to_owned(),
            Self::Reshape => "reshape".to_owned(),
            Self::Transpose(perm) => format!("transpose {perm:?}"),
            Self::Slice { .. } => "slice".to_owned(),
            Self::Binary(binary) => format!("{:?} f32", binary.op).to_lowercase(),
            Self::Unary(unary) => format!("{unary:?} f32").to_lowercase(),
            Self::MatMul => "matmul f32".to_owned(),
            Self::Softmax => "softmax f32".to_owned(),
            Self::LayerNorm { .. } => "layer norm f32".to_owned(),
            Self::Broadcast(broadcast) => match &**broadcast {
                Broadcast::Add(_) => "add i8, broadcast".to_owned(),
                Broadcast::Mul(_) => "mul i8, broadcast".to_owned(),
            },
            Self::MapAlong(along) => format!("{} tables i8", along.tables.len()),
            Self::DecodeAlong(_) => "i8 to f32".to_owned(),
            Self::Pick { .. } => "pick".to_owned(),
            Self::Linear(linear) => match &linear.bytes {
                Some(_) => "resize i8".to_owned(),
                None => "resize f32".to_owned(),
            },
            Self::PoolReals(pool) => match pool.mean {
                None => "max pool f32".to_owned(),
                Some(_) => "mean pool f32".to_owned(),
            },
            Self::Reduce(reduce) => format!("{:?} f32", reduce.what).to_lowercase(),
            #[cfg(feature = "tract")]
            Self::Tract(island) => format!("{} f32 in tract", island.op),
        }
    }

    /// The operands that the output may take the place of, when they are as large and are not read again.
    pub(super) fn in_place(&self) -> &'static [usize] {
        match self {
            Self::Add(_) => &[0, 1],
            Self::Scale(_) | Self::Map(_) | Self::Reshape | Self::Unary(_) => &[0],
            _ => &[],
        }
    }

    /// Bytes of packed weights.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::Conv(conv) => {
                let bytes = |packed: &crate::kernels::Packed| packed.panels * packed.panel_len();
                conv.groups.iter().map(bytes).sum()
            }
            Self::Depthwise(conv) => conv.packed.panels * conv.packed.panel_len(),
            _ => 0,
        }
    }

    /// The requantisation of the output, where there is one.
    fn requant(&self) -> Option<&Requant> {
        let epilogue = match self {
            Self::Conv(conv) => &conv.epilogue,
            Self::Depthwise(conv) => &conv.epilogue,
            Self::Add(add) => return Some(&add.requant),
            Self::Scale(scale) => return Some(&scale.requant),
            Self::Pool(pool) => match &pool.kind {
                PoolKind::Mean { requant, .. } => return Some(requant),
                PoolKind::Max => return None,
            },
            Self::Encode { requant, .. } => return Some(requant),
            Self::Broadcast(broadcast) => return Some(broadcast.requant()),
            Self::Linear(linear) => return linear.bytes.as_ref().map(|bytes| &bytes.requant),
            _ => return None,
        };
        match epilogue {
            Epilogue::Byte(requant) => Some(requant),
            Epilogue::Real { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn requant_mut(&mut self) -> Option<&mut Requant> {
        let epilogue = match self {
            Self::Conv(conv) => &mut conv.epilogue,
            Self::Depthwise(conv) => &mut conv.epilogue,
            Self::Add(add) => return Some(&mut add.requant),
            Self::Scale(scale) => return Some(&mut scale.requant),
            Self::Pool(pool) => match &mut pool.kind {
                PoolKind::Mean { requant, .. } => return Some(requant),
                PoolKind::Max => return None,
            },
            Self::Encode { requant, .. } => return Some(requant),
            Self::Broadcast(broadcast) => return Some(broadcast.requant_mut()),
            Self::Linear(linear) => return linear.bytes.as_mut().map(|bytes| &mut bytes.requant),
            _ => return None,
        };
        match epilogue {
            Epilogue::Byte(requant) => Some(requant),
            Epilogue::Real { .. } => None,
        }
    }
}

impl Step {
    /// Multiplications that are added up.
    pub(super) fn macs(&self, shapes: &[Vec<usize>]) -> u64 {
        let elements = |value: ValueId| shapes[value].iter().product::<usize>() as u64;
        let width = |value: ValueId| shapes[value].last().copied().unwrap_or(1) as u64;
        match &self.op {
            Op::Conv(conv) => {
                let k = width(self.inputs[0]) / conv.groups.len().max(1) as u64;
                let result = conv.pool.as_ref().map_or(self.output, |pool| pool.of);
                elements(result) * k * conv.window.taps() as u64
            }
            Op::Depthwise(conv) => elements(self.output) * conv.window.taps() as u64,
            Op::MatMul => elements(self.output) * width(self.inputs[0]),
            _ => 0,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call, of all that a run consists of"
    )]
    pub(super) fn run(
        &self,
        isa: Isa,
        program: &Program,
        index: usize,
        shapes: &[Vec<usize>],
        plan: &Plan,
        arena: &mut Arena,
        scratch: &mut Scratch,
    ) -> anyhow::Result<()> {
        let pad_at = match &self.op {
            Op::Conv(conv) => arena.pad(plan, self.inputs[0], conv.zero_point),
            Op::Depthwise(conv) => arena.pad(plan, self.inputs[0], conv.zero_point),
            Op::Pool(pool) => arena.pad(plan, self.inputs[0], pool.padding()),
            _ => 0,
        };
        let View { inputs, output } = arena.view(program, plan, index);
        let shape_of = |index: usize| shapes[self.inputs[index]].as_slice();
        let out_shape = shapes[self.output].as_slice();
        match (&self.op, inputs.as_slice(), output) {
            (Op::Conv(conv), [Slice::I8(x, _)], out) => conv.run(Run {
                full_shape: conv
                    .pool
                    .as_ref()
                    .map_or(out_shape, |pool| &shapes[pool.of]),
                isa,
                weights: &program.weights,
                x,
                shape: shape_of(0),
                pad_at,
                out,
                out_shape,
                scratch,
            }),
            (Op::Depthwise(conv), [Slice::I8(x, _)], out) => conv.run(Run {
                full_shape: out_shape,
                isa,
                weights: &program.weights,
                x,
                shape: shape_of(0),
                pad_at,
                out,
                out_shape,
                scratch,
            }),
            (Op::Add(add), [a, b], SliceMut::I8(out)) => add.run(isa, *a, *b, out),
            (Op::Scale(scale), [a, b], SliceMut::I8(out)) => {
                copied(*a, out)?;
                let factors = &mut scratch.factors;
                scale.run(isa, shape_of(0), bytes(*b)?, shape_of(1), out, factors)
            }
            (Op::Pool(pool), [Slice::I8(x, _)], SliceMut::I8(out)) => {
                let pooling = Pooling {
                    pool,
                    x,
                    shape: shape_of(0),
                    pad_at,
                    out,
                    out_shape,
                    scratch,
                };
                widest(isa, pooling)
            }
            (Op::Repeat(factors), [x], SliceMut::I8(out)) => {
                moves::repeat(factors, bytes(*x)?, shape_of(0), out, out_shape)
            }
            (Op::Concat { axis, tables }, inputs, out) => {
                let shapes: Vec<&[usize]> = (0..inputs.len()).map(shape_of).collect();
                let widths = moves::widths(*axis, &shapes, out_shape)?;
                match out {
                    SliceMut::I8(out) => moves::concat(isa, tables, inputs, &widths, out),
                    SliceMut::F32(out) => moves::concat_reals(inputs, &widths, out),
                }
            }
            (Op::Map(table), [x], SliceMut::I8(out)) => {
                copied(*x, out)?;
                table.map(isa, out);
                Ok(())
            }
            (Op::Broadcast(broadcast), [a, b], SliceMut::I8(out)) => {
                let operands = [bytes(*a)?, bytes(*b)?];
                broadcast.run(isa, operands, [shape_of(0), shape_of(1)], out, out_shape)
            }
            #[cfg(feature = "tract")]
            (Op::Tract(island), inputs, SliceMut::F32(out)) => {
                let reals = inputs.iter().enumerate().map(|(index, input)| match input {
                    Slice::F32(values) => Ok((*values, shape_of(index))),
                    Slice::I8(..) | Slice::InPlace => bail!("expected an f32 operand"),
                });
                island.run(&reals.collect::<anyhow::Result<Vec<_>>>()?, out, out_shape)
            }
            (_, inputs, output) => widest(
                isa,
                Plain {
                    step: self,
                    inputs,
                    output,
                    shapes,
                },
            ),
        }
    }
}

/// A step of an operator that the compiler vectorises.
struct Plain<'a, 's> {
    step: &'a Step,
    inputs: &'a [Slice<'a>],
    output: SliceMut<'a>,
    /// Of every value of the program.
    shapes: &'s [Vec<usize>],
}

impl Wide for Plain<'_, '_> {
    type Output = anyhow::Result<()>;

    #[inline(always)]
    fn run(self) -> anyhow::Result<()> {
        let Self {
            step,
            inputs,
            output,
            shapes,
        } = self;
        let shape_of = |index: usize| shapes[step.inputs[index]].as_slice();
        let out_shape = shapes[step.output].as_slice();
        match (&step.op, inputs, output) {
            (Op::Image(channels), [x], SliceMut::I8(out)) => {
                for (pixel, out) in bytes(*x)?.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
                    for (value, (channel, table)) in out.iter_mut().zip(channels.iter()) {
                        *value = table.at(pixel[*channel]);
                    }
                }
                Ok(())
            }
            (Op::Decode(table), [x], SliceMut::F32(out)) => {
                each(bytes(*x)?, out, |byte| table.at(byte))
            }
            (
                Op::Encode {
                    inverse_scale,
                    requant,
                },
                [Slice::F32(x)],
                SliceMut::I8(out),
            ) => encode(requant, *inverse_scale, x, out),
            (Op::Reshape, [Slice::InPlace], _) => Ok(()),
            (Op::Reshape, [Slice::I8(x, len)], SliceMut::I8(out)) => {
                each(&x[..*len], out, |byte| byte)
            }
            (Op::Reshape, [Slice::F32(x)], SliceMut::F32(out)) => each(x, out, |value| value),
            (Op::Transpose(perm), [Slice::I8(x, len)], SliceMut::I8(out)) => {
                moves::transpose(perm, &x[..*len], shape_of(0), out, out_shape)
            }
            (Op::Transpose(perm), [Slice::F32(x)], SliceMut::F32(out)) => {
                moves::transpose(perm, x, shape_of(0), out, out_shape)
            }
            (Op::Slice { axis, start }, [Slice::I8(x, len)], SliceMut::I8(out)) => {
                moves::slice(*axis, *start, &x[..*len], shape_of(0), out, out_shape)
            }
            (Op::Slice { axis, start }, [Slice::F32(x)], SliceMut::F32(out)) => {
                moves::slice(*axis, *start, x, shape_of(0), out, out_shape)
            }
            (Op::Binary(op), [Slice::F32(a), Slice::F32(b)], SliceMut::F32(out)) => {
                op.run(a, shape_of(0), b, shape_of(1), out, out_shape)
            }
            (Op::Unary(Unary::Sigmoid), [Slice::InPlace], SliceMut::F32(out)) => {
                out.iter_mut()
                    .for_each(|value| *value = float::sigmoid(*value));
                Ok(())
            }
            (Op::Unary(function), [Slice::InPlace], SliceMut::F32(out)) => {
                out.iter_mut()
                    .for_each(|value| *value = function.apply(*value));
                Ok(())
            }
            // The two that graphs have behind large tensors, in a form that vectorises.
            (Op::Unary(Unary::Sigmoid), [Slice::F32(x)], SliceMut::F32(out)) => {
                each(x, out, float::sigmoid)
            }
            (Op::Unary(Unary::Exp), [Slice::F32(x)], SliceMut::F32(out)) => {
                each(x, out, float::exp)
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
            (Op::MapAlong(along), [x], SliceMut::I8(out)) => {
                along.run(bytes(*x)?, shape_of(0), out)
            }
            (Op::DecodeAlong(along), [x], SliceMut::F32(out)) => {
                along.run(bytes(*x)?, shape_of(0), out)
            }
            (Op::Pick { picks, fill }, [Slice::I8(x, len)], SliceMut::I8(out)) => {
                pick::pick(picks, *fill as i8, &x[..*len], shape_of(0), out, out_shape)
            }
            (Op::Pick { picks, fill }, [Slice::F32(x)], SliceMut::F32(out)) => {
                pick::pick(picks, *fill, x, shape_of(0), out, out_shape)
            }
            (Op::Linear(linear), [x], SliceMut::I8(out)) => {
                let Some(Rescale {
                    zero_point,
                    scale,
                    requant,
                }) = &linear.bytes
                else {
                    bail!("bytes resized as reals")
                };
                let read = |byte: i8| (i32::from(byte) - zero_point) as f32 * scale;
                let write = |sum| requant.byte(sum);
                linear.run(bytes(*x)?, shape_of(0), out, out_shape, read, write)
            }
            (Op::Linear(linear), [Slice::F32(x)], SliceMut::F32(out)) => {
                linear.run(x, shape_of(0), out, out_shape, |x| x, |sum| sum)
            }
            (Op::PoolReals(pool), [Slice::F32(x)], SliceMut::F32(out)) => {
                pool.run(x, shape_of(0), out, out_shape)
            }
            (Op::Reduce(reduce), [Slice::F32(x)], SliceMut::F32(out)) => {
                reduce.run(x, shape_of(0), out, out_shape)
            }
            (op, inputs, _) => bail!(
                "{op:?} cannot run on {} operands of their types",
                inputs.len()
            ),
        }
    }
}

/// Copies an i8 operand to where it is changed, if it is not there.
pub(super) fn copied(slice: Slice, out: &mut [i8]) -> anyhow::Result<()> {
    if let Slice::InPlace = slice {
        return Ok(());
    }
    let bytes = bytes(slice)?;
    ensure!(
        bytes.len() == out.len(),
        "{} elements to {}",
        bytes.len(),
        out.len()
    );
    out.copy_from_slice(bytes);
    Ok(())
}

/// An i8 operand without its tail.
pub(super) fn bytes(slice: Slice<'_>) -> anyhow::Result<&[i8]> {
    match slice {
        Slice::I8(bytes, len) => Ok(&bytes[..len]),
        Slice::F32(_) | Slice::InPlace => bail!("expected an i8 operand"),
    }
}

#[inline(always)]
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

#[inline(always)]
fn encode(requant: &Requant, inverse_scale: f32, x: &[f32], out: &mut [i8]) -> anyhow::Result<()> {
    ensure!(
        x.len() == out.len(),
        "{} elements to {}",
        x.len(),
        out.len()
    );
    let rounding = requant.rounding();
    let (x, x_rest) = x.as_chunks::<16>();
    let (rows, out_rest) = out.as_chunks_mut::<16>();
    for (x, out) in x.iter().zip(rows) {
        let mut scaled = *x;
        for value in &mut scaled {
            *value *= inverse_scale;
        }
        *out = rounding.bytes(scaled);
    }
    for (&x, out) in x_rest.iter().zip(out_rest) {
        [*out] = rounding.bytes([x * inverse_scale]);
    }
    if let Some(table) = &requant.table {
        for byte in out {
            *byte = table.at(*byte);
        }
    }
    Ok(())
}
