//! A lowered model: a flat list of steps over values, and the loop that runs it.
//!
//! Values are u8 (8-bit activations) or f32, dense, channels last: `[N, spatial..., C]`. The shapes are expressions over
//! the input's symbols, so one program serves every page and line size.

mod arena;
mod conv;
mod extent;
mod float;
mod pool;
pub(crate) mod requant;
mod step;
mod unary;

use anyhow::{Context, ensure};
use tract_onnx::prelude::TVec;

pub(crate) use arena::Element;
pub(crate) use conv::{Conv, Depthwise, Epilogue, Padding, Window};
pub(crate) use extent::{Extent, Symbols};
pub(crate) use float::{Binary, BinaryOp};
pub(crate) use pool::{Pool, PoolKind};
pub(crate) use requant::Requant;
pub(crate) use step::{AddQ, Op, ScaleQ, Step};
pub(crate) use unary::Unary;

use arena::{Arena, Plan};

/// Index of a value in [`Program::values`].
pub(crate) type ValueId = usize;

/// What is known of a value before the shapes are.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) element: Element,
    /// Extents as stored, outermost first.
    pub(crate) shape: TVec<Extent>,
    /// f32 values that do not depend on the input; they lie outside the arena.
    pub(crate) constant: Option<Vec<f32>>,
}

/// A model as steps.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) values: Vec<Value>,
    pub(crate) steps: Vec<Step>,
    /// The values that hold the model's inputs, in the manifest's order.
    pub(crate) inputs: Vec<ValueId>,
    /// The values that hold the model's outputs, in the manifest's order; f32, as stored.
    pub(crate) outputs: Vec<ValueId>,
    /// Every operator's packed weights, one after the other, so that a snapshot holds them in one dense stretch.
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
    /// Returns `outputs`, with their shapes.
    pub(crate) fn run(
        &self,
        symbols: &[i64],
        given: &[Given],
    ) -> anyhow::Result<Vec<(Vec<usize>, Vec<f32>)>> {
        let shapes = self.shapes(symbols)?;
        let plan = Plan::new(self, &shapes)?;
        let mut arena = Arena::new(&plan)?;
        for (&value, given) in self.inputs.iter().zip(given) {
            arena
                .load(&plan, value, *given)
                .with_context(|| format!("input value {value}"))?;
        }
        for step in &self.steps {
            step.run(self, &shapes, &plan, &mut arena)
                .with_context(|| format!("step {}", step.name))?;
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

/// Far above any real axis, far below where products of extents overflow.
const MAX_EXTENT: i64 = 1 << 20;
