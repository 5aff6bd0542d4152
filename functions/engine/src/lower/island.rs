//! Nodes that have no form of ours, evaluated by tract, in f32.

use std::collections::HashMap;

use tract_onnx::tract_core::internal::*;

use super::Lowering;
use super::expr::{Expr, Place};
use crate::import::Kept;
use crate::program::{Element, Island, Op};

/// The graph of one island while it is put together.
struct Draft {
    model: TypedModel,
    /// The island's outlets for the graph's.
    outlets: HashMap<OutletId, OutletId>,
    /// The graph's f32 outlets that it begins with.
    inputs: Vec<OutletId>,
}

impl Lowering<'_> {
    /// A step in which tract evaluates an f32 outlet. `reason`: why there is no other.
    pub(super) fn island(&mut self, outlet: OutletId, reason: &TractError) -> TractResult<Place> {
        let node = self.model.node(outlet.node);
        let why = || format!("{} {}: {reason:#}", node.op.name(), node.name);
        let datum_type = self.model.outlet_fact(outlet)?.datum_type;
        ensure!(
            datum_type == f32::datum_type(),
            "{}, and its output is {datum_type:?}",
            why()
        );
        let symbols = self.model.symbols.clone();
        let mut draft = Draft {
            model: TypedModel {
                symbols,
                ..TypedModel::default()
            },
            outlets: HashMap::new(),
            inputs: vec![],
        };
        let end = self.graft(&mut draft, outlet, 0).with_context(why)?;
        draft.model.select_output_outlets(&[end])?;
        self.check_symbols(&draft).with_context(why)?;
        crate::float::check_volumes(&draft.model).with_context(why)?;
        let model = draft
            .model
            .into_optimized()
            .and_then(|model| model.into_runnable());
        let island = Island {
            model: model.with_context(why)?,
            op: node.op.name().to_string(),
            reason: format!("{reason:#}"),
        };
        let mut values = vec![];
        for input in draft.inputs {
            let place = self.real(input)?;
            values.push(self.with_layout(place, input, false)?.value);
        }
        self.step_for(
            outlet,
            Op::Tract(Box::new(island)),
            &values,
            Element::F32,
            false,
        )
    }

    /// Copies the node of an outlet into the island, with all in front of it up to f32 tensors.
    fn graft(&self, draft: &mut Draft, outlet: OutletId, depth: usize) -> TractResult<OutletId> {
        if let Some(&done) = draft.outlets.get(&outlet) {
            return Ok(done);
        }
        let node = self.model.node(outlet.node);
        let name = format!("{}.{}", node.name, outlet.slot);
        let constant = match self.exprs.get(&outlet) {
            Some(Expr::Constant(tensor)) => Some(tensor.clone()),
            Some(Expr::Weights(weights)) => Some(weights.dequantised()?.into_arc_tensor()),
            _ => None,
        };
        let fact = self.model.outlet_fact(outlet)?;
        let made = if let Some(constant) = constant {
            draft.model.add_const(name, constant)?
        } else if depth > 0 && fact.datum_type == f32::datum_type() {
            draft.inputs.push(outlet);
            let shape = self.shape(outlet)?;
            let shape = shape.iter().map(|extent| self.symbols.dim(extent));
            draft
                .model
                .add_source(name, f32::fact(shape.collect::<TVec<_>>()))?
        } else {
            ensure!(
                depth < MAX_DEPTH,
                "over {MAX_DEPTH} operators on what is not f32"
            );
            ensure!(!node.inputs.is_empty(), "an input that is not f32");
            if let Some(kept) = node.op_as::<Kept>() {
                let known = matches!(kept, Kept::Quantize(_) | Kept::Dequantize(_));
                ensure!(known, "{} has no form in tract", node.op.name());
            }
            let inputs = node
                .inputs
                .iter()
                .map(|&input| self.graft(draft, input, depth + 1));
            let inputs: TVec<OutletId> = inputs.collect::<TractResult<_>>()?;
            let outputs = draft
                .model
                .wire_node(&node.name, node.op.clone(), &inputs)?;
            outputs
                .get(outlet.slot)
                .copied()
                .context("an output is missing")?
        };
        draft.outlets.insert(outlet, made);
        Ok(made)
    }

    /// Every symbol has to follow from the shape of an input, for that is where tract looks.
    fn check_symbols(&self, draft: &Draft) -> TractResult<()> {
        let mut known = vec![];
        for &input in &draft.inputs {
            let shape = self.shape(input)?;
            let only = shape.iter().filter_map(|extent| self.symbols.only(extent));
            known.extend(only.cloned());
        }
        let nodes = draft.model.nodes().iter();
        let facts = nodes
            .flat_map(|node| &node.outputs)
            .map(|output| &output.fact);
        for symbol in facts
            .flat_map(|fact| fact.shape.iter())
            .flat_map(TDim::symbols)
        {
            ensure!(known.contains(&symbol), "{symbol} is no extent of an input");
        }
        Ok(())
    }
}

/// Most operators between f32 tensors: they are followed one within another.
const MAX_DEPTH: usize = 64;
