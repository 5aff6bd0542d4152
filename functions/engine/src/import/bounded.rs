//! Operators that are not evaluated on constants when that would make something huge.
//!
//! tract evaluates what sees only constants while it looks for shapes, and so would fill memory for a file of a hundred
//! bytes that asks for a tensor of a given shape, tiles one, or copies one from node to node.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::LazyLock;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::internal::*;

use super::kept;

/// Elements of a tensor that is made of smaller constants.
const MAX_ELEMENTS: usize = 1 << 24;

/// Bytes of all tensors that are made of constants.
const MAX_BYTES: usize = 1 << 30;

thread_local! {
    /// What may still be made in this import.
    static BUDGET: Cell<usize> = const { Cell::new(0) };
}

/// Begins an import with tract's operators, and in the place of some, where `ours`, our own.
pub(super) fn operators(ours: bool) -> OnnxOpRegister {
    BUDGET.set(MAX_BYTES);
    let (register, build): (_, fn(&ParsingContext, &NodeProto) -> _) = match ours {
        true => (&*OURS, |context, node| bounded(&OURS, context, node)),
        false => (&*PLAIN, |context, node| bounded(&PLAIN, context, node)),
    };
    let names = register.0.keys().cloned();
    OnnxOpRegister(names.map(|name| (name, build as _)).collect())
}

static PLAIN: LazyLock<OnnxOpRegister> = LazyLock::new(|| tract_onnx::onnx().op_register);

static OURS: LazyLock<OnnxOpRegister> = LazyLock::new(|| {
    let mut register = tract_onnx::onnx().op_register;
    kept::register(&mut register);
    register
});

fn bounded(
    register: &OnnxOpRegister,
    context: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let builder = register.0.get(&node.op_type).context("no such operator")?;
    let (op, closures) = builder(context, node)?;
    Ok((Box::new(Bounded { op, spent: false }), closures))
}

/// An operator, with a look at its output's size before it is evaluated.
#[derive(Debug, Clone)]
struct Bounded {
    op: Box<dyn InferenceOp>,
    /// Whether its constant is paid for.
    spent: bool,
}

impl PartialEq for Bounded {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Bounded {}

impl Op for Bounded {
    fn name(&self) -> StaticName {
        self.op.name()
    }

    not_a_typed_op!();
}

impl EvalOp for Bounded {
    fn eval(&self, context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.op.eval(context, inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        self.op.eval_out_of_plan(inputs)
    }

    fn state(&self, context: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        self.op.state(context)
    }
}

type Facts = TVec<InferenceFact>;

impl InferenceOp for Bounded {
    fn infer(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(Facts, Facts, Facts)> {
        let largest = inputs
            .iter()
            .map(|fact| Some(fact.value.concretize()?.len()))
            .collect::<Option<Vec<_>>>();
        if let Some(largest) = largest
            .and_then(|sizes| sizes.into_iter().max())
            .filter(|_| !self.spent)
        {
            let (_, made, _) =
                self.op
                    .infer_facts(inputs.clone(), outputs.clone(), observed.clone())?;
            for fact in &made {
                self.spend(fact, largest)?;
            }
        }
        let inferred = self.op.infer(inputs, outputs, observed)?;
        inferred.1.iter().try_for_each(check_dims)?;
        Ok(inferred)
    }

    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(Facts, Facts, Facts)> {
        self.op.infer_facts(inputs, outputs, observed)
    }

    fn observe_outlets(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Vec<OutletId>> {
        self.op.observe_outlets(model, node)
    }

    fn incorporate(
        &self,
        model: &InferenceModel,
        node: &InferenceNode,
    ) -> TractResult<Option<InferenceModelPatch>> {
        self.op.incorporate(model, node)
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.op.nboutputs()
    }

    // What looks for an operator of a certain type finds the one within.
    fn as_op(&self) -> &dyn Op {
        self.op.as_op()
    }

    fn as_op_mut(&mut self) -> &mut dyn Op {
        self.op.as_op_mut()
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        self.op.to_typed(source, node, target, mapping)
    }
}

/// A dimension that symbols make is not nested so deep, nor divided by so much, that tract's arithmetic fails on it.
fn check_dims(fact: &InferenceFact) -> TractResult<()> {
    if let Some(shape) = fact.shape.concretize() {
        let near =
            |dim: &TDim| dim.to_i64().is_err() || dim.to_i64().is_ok_and(|dim| dim <= MAX_FACTOR);
        let sound = shape.iter().all(|dim| near(dim) && is_sound(dim, 0));
        ensure!(sound, "a shape with dimensions out of proportion");
    }
    if let Some(value) = fact
        .value
        .concretize()
        .filter(|value| value.datum_type() == TDim::datum_type())
    {
        let plain = value.try_as_plain_ram()?;
        let sound = plain.as_slice::<TDim>()?.iter().all(|dim| is_sound(dim, 0));
        ensure!(sound, "dimensions out of proportion");
    }
    Ok(())
}

fn is_sound(dim: &TDim, depth: usize) -> bool {
    let inner = |dim: &TDim| depth < MAX_NESTING && is_sound(dim, depth + 1);
    match dim {
        TDim::Sym(_) | TDim::Val(_) => true,
        TDim::MulInt(factor, dim) => factor.abs() <= MAX_FACTOR && inner(dim),
        TDim::Div(dim, divisor) => *divisor <= MAX_FACTOR as u64 && inner(dim),
        TDim::Add(terms)
        | TDim::Mul(terms)
        | TDim::Min(terms)
        | TDim::Max(terms)
        | TDim::Broadcast(terms) => terms.len() <= MAX_NESTING && terms.iter().all(inner),
        TDim::Ge(a, b) | TDim::Eq(a, b) => inner(a) && inner(b),
    }
}

/// Most of what a symbol is multiplied or divided by: larger than any extent.
const MAX_FACTOR: i64 = 1 << 32;

/// Operations within operations of one dimension.
const MAX_NESTING: usize = 64;

impl Bounded {
    /// Takes what a constant output holds from the budget. `largest`: elements of the largest input.
    fn spend(&mut self, output: &InferenceFact, largest: usize) -> TractResult<()> {
        let Some(shape) = output.shape.concretize() else {
            return Ok(());
        };
        let extents = shape.iter().map(|extent| extent.to_usize().ok());
        let Some(extents) = extents.collect::<Option<Vec<_>>>() else {
            return Ok(());
        };
        let elements = extents
            .iter()
            .try_fold(1usize, |elements, &extent| elements.checked_mul(extent));
        let elements = elements.filter(|&elements| elements <= MAX_ELEMENTS.max(largest));
        let elements = elements.with_context(|| format!("a constant of shape {extents:?}"))?;
        let size = output
            .datum_type
            .concretize()
            .map_or(8, |datum_type| datum_type.size_of());
        let rest = BUDGET.get().checked_sub(elements.saturating_mul(size));
        BUDGET.set(rest.with_context(|| format!("over {MAX_BYTES} bytes of constants"))?);
        self.spent = true;
        Ok(())
    }
}
