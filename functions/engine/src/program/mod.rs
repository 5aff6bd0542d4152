//! A lowered model: a flat list of steps over values, and the loop that runs it.
//!
//! Values are i8 (8-bit activations) or f32, dense, channels last: `[N, spatial..., C]`. The shapes are expressions over
//! the input's symbols, so one program serves every page and line size.

mod along;
mod arena;
mod broadcast;
mod check;
mod conv;
mod elementwise;
mod extent;
mod float;
mod geometry;
#[cfg(feature = "tract")]
mod island;
mod linear;
mod lookup;
mod moves;
mod pick;
mod pool;
mod pool_reals;
mod pooled;
mod reduce;
pub(crate) mod requant;
mod sample;
mod step;
mod store;
mod strip;
mod unary;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

pub(crate) use along::Along;
pub(crate) use arena::Element;
pub(crate) use broadcast::Broadcast;
pub(crate) use conv::{Channels, Conv, Depthwise, Epilogue};
pub(crate) use elementwise::{AddQ, ScaleQ};
pub(crate) use extent::Extent;
pub(crate) use float::{Binary, BinaryOp};
pub(crate) use geometry::{Padding, Window};
#[cfg(feature = "tract")]
pub(crate) use island::Island;
pub(crate) use linear::{Linear, Rescale};
pub(crate) use lookup::Lookup;
pub(crate) use pick::{Outside, Pick};
pub(crate) use pool::{Pool, PoolKind};
pub(crate) use pool_reals::PoolReals;
pub(crate) use pooled::Pooled;
pub(crate) use reduce::{Reduce, Reduction};
pub(crate) use requant::{Affine, Requant};
pub(crate) use sample::{Coordinates, Nearest, Sample};
pub(crate) use step::{Op, Step};
pub(crate) use unary::Unary;

use crate::kernels::Isa;
use arena::{Arena, Plan};
use step::Scratch;

/// Index of a value in [`Program::values`].
pub(crate) type ValueId = usize;

/// What is known of a value before the shapes are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) element: Element,
    /// Extents as stored, outermost first.
    pub(crate) shape: Vec<Extent>,
    /// f32 values that do not depend on the input; they lie outside the arena.
    pub(crate) constant: Option<Vec<f32>>,
}

/// A model as steps.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    /// The values that hold the model's inputs, in the manifest's order.
    pub(crate) inputs: Vec<ValueId>,
    /// The values that hold the model's outputs, in the manifest's order; f32, as stored.
    pub(crate) outputs: Vec<ValueId>,
    /// Every operator's packed weights, one after the other, so that a snapshot holds them in one dense stretch.
    #[serde(skip)]
    pub(crate) weights: Vec<i8>,
}

/// One input as the caller has it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    U8(&'a [u8]),
    F32(&'a [f32]),
}

impl Program {
    /// Runs every step for the given values of the symbols.
    ///
    /// `given`: as `inputs`, each with as many elements as its value's shape.
    /// `done` is called with the index of every step after it has run.
    /// Returns `outputs`, with their shapes.
    pub(crate) fn run(
        &self,
        isa: Isa,
        symbols: &[i64],
        given: &[Given],
        done: &mut dyn FnMut(usize),
    ) -> anyhow::Result<Vec<(Vec<usize>, Vec<f32>)>> {
        let shapes = self.shapes(symbols)?;
        let plan = Plan::new(self, &shapes)?;
        let mut arena = Arena::new(&plan)?;
        for (&value, given) in self.inputs.iter().zip(given) {
            arena
                .load(&plan, value, *given)
                .with_context(|| format!("input value {value}"))?;
        }
        let mut scratch = Scratch::default();
        for (index, step) in self.steps.iter().enumerate() {
            step.run(isa, self, index, &shapes, &plan, &mut arena, &mut scratch)
                .with_context(|| format!("step {}", step.name))?;
            done(index);
        }
        let read = |&value: &ValueId| {
            let values = match &self.values[value].constant {
                Some(constant) => constant.clone(),
                None => arena.f32(&plan, value).to_vec(),
            };
            (shapes[value].clone(), values)
        };
        Ok(self.outputs.iter().map(read).collect())
    }

    /// What each step does for the given values of the symbols.
    pub(crate) fn report(&self, symbols: &[i64]) -> anyhow::Result<Vec<StepReport>> {
        let shapes = self.shapes(symbols)?;
        // Shapes that have no place have no products either.
        Plan::new(self, &shapes)?;
        let report = |step: &Step| StepReport {
            name: step.name.clone(),
            op: step.op.name(),
            output: shapes[step.output].clone(),
            macs: step.macs(&shapes),
            weight_bytes: step.op.weight_bytes(),
        };
        Ok(self.steps.iter().map(report).collect())
    }

    /// The steps that run in tract.
    pub(crate) fn float_steps(&self) -> Vec<FloatStep> {
        let float = |step: &Step| match &step.op {
            #[cfg(feature = "tract")]
            Op::Tract(island) => Some(FloatStep {
                name: step.name.clone(),
                op: island.op.clone(),
                reason: island.reason.clone(),
            }),
            _ => None,
        };
        self.steps.iter().filter_map(float).collect()
    }

    /// Bytes of activations at once, for the given values of the symbols.
    pub(crate) fn arena_bytes(&self, symbols: &[i64]) -> anyhow::Result<usize> {
        Ok(Plan::new(self, &self.shapes(symbols)?)?.bytes())
    }

    /// The concrete shape of every value.
    fn shapes(&self, symbols: &[i64]) -> anyhow::Result<Vec<Vec<usize>>> {
        let extent = |extent: &Extent| -> anyhow::Result<usize> {
            let extent = extent.at(symbols);
            ensure!(
                (0..=MAX_EXTENT).contains(&extent),
                "an axis of {extent}, limit is {MAX_EXTENT}"
            );
            Ok(usize::try_from(extent)?)
        };
        self.values
            .iter()
            .map(|value| value.shape.iter().map(extent).collect())
            .collect()
    }
}

/// One step of a lowered graph, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The graph's node that it comes from.
    pub name: String,
    /// What it does, and in which form.
    pub op: String,
    /// Shape of the result as stored, channels last.
    pub output: Vec<usize>,
    /// Multiplications that are added up.
    pub macs: u64,
    /// Bytes of packed weights, padding included.
    pub weight_bytes: usize,
}

/// A step that has no form of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloatStep {
    /// The graph's node.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// Why there is no other form.
    pub reason: String,
}

/// Far above any real axis, far below where products of extents overflow.
const MAX_EXTENT: i64 = 1 << 20;
