//! Pools as slices that are added up or compared: devices have no pools, and would send the image to the processor and back.
//!
//! Windows that lie apart are an axis of their own after a reshape; windows that move by one are shifted copies. Other pools stay.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Pad, PadMode, Slice};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::math;

/// More slices than this along an axis cost more than they save.
const MAX_KERNEL: usize = 4;

/// Replaces the pools of `model` that have such a form.
///
/// # Errors
/// A graph that cannot be taken apart.
pub(super) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::default()
        .with_rule_for("max-pool-as-slices", max_pool)
        .with_rule_for("sum-pool-as-slices", sum_pool)
        .rewrite(&(), model)
}

fn max_pool(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &MaxPool,
) -> TractResult<Option<TypedModelPatch>> {
    if op.with_index_outputs.is_some() {
        return Ok(None);
    }
    let Some(plan) = Plan::new(model, node, &op.pool_spec)? else {
        return Ok(None);
    };
    let mut patch = TypedModelPatch::default();
    let wire = plan.wire(
        &mut patch,
        model,
        node,
        name,
        &math::max(),
        f32::NEG_INFINITY,
    )?;
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

fn sum_pool(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &SumPool,
) -> TractResult<Option<TypedModelPatch>> {
    let Some(plan) = Plan::new(model, node, &op.pool_spec)? else {
        return Ok(None);
    };
    // Windows at the border may be averaged over fewer elements.
    if plan.axes.iter().any(|axis| axis.border != (0, 0)) {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let mut wire = plan.wire(&mut patch, model, node, name, &math::add(), 0.0)?;
    if op.normalize {
        let fact = patch.outlet_fact(wire)?;
        let window: usize = plan.axes.iter().map(|axis| axis.kernel).product();
        let share = tensor0(1.0 / window as f32)
            .cast_to_dt(fact.datum_type)?
            .into_owned();
        let share = share.broadcast_into_rank(fact.rank())?;
        let share = patch.add_const(format!("{name}.share"), share)?;
        wire = patch.wire_node(format!("{name}.mean"), math::mul(), &[wire, share])?[0];
    }
    patch.shunt_outside(model, node.id.into(), wire)?;
    Ok(Some(patch))
}

/// One axis that is pooled.
#[derive(Debug)]
struct Axis {
    index: usize,
    kernel: usize,
    /// Windows lie apart, or move by one.
    apart: bool,
    /// Before and behind.
    border: (usize, usize),
}

#[derive(Debug)]
struct Plan {
    axes: Vec<Axis>,
}

impl Plan {
    /// `None` for a pool that has no such form.
    fn new(model: &TypedModel, node: &TypedNode, spec: &PoolSpec) -> TractResult<Option<Self>> {
        let fact = model.outlet_fact(node.inputs[0])?;
        let first = spec.data_format.shape(&fact.shape)?.h_axis();
        let mut axes = vec![];
        for (at, &kernel) in spec.kernel_shape.iter().enumerate() {
            let Some(border) = border(&spec.padding, at) else {
                return Ok(None);
            };
            let index = first + at;
            let stride = spec.stride(at);
            if kernel == 1 && stride == 1 && border == (0, 0) {
                continue;
            }
            let extent = fact.shape[index].clone() + border.0 + border.1;
            let whole = extent.clone() / kernel * kernel == extent;
            let apart = stride == kernel && whole;
            let fits = spec.dilation(at) == 1 && kernel <= MAX_KERNEL && (apart || stride == 1);
            if !fits {
                return Ok(None);
            }
            axes.push(Axis {
                index,
                kernel,
                apart,
                border,
            });
        }
        Ok(Some(Self { axes }))
    }

    /// Pools axis by axis, with `join` for what lies in a window and `outside` for what lies beyond the border.
    fn wire(
        &self,
        patch: &mut TypedModelPatch,
        model: &TypedModel,
        node: &TypedNode,
        name: &str,
        join: &TypedBinOp,
        outside: f32,
    ) -> TractResult<OutletId> {
        let mut wire = patch.tap_model(model, node.inputs[0])?;
        let fact = model.outlet_fact(node.inputs[0])?;
        let mut pads = vec![(0, 0); fact.rank()];
        for axis in &self.axes {
            pads[axis.index] = axis.border;
        }
        if pads.iter().any(|&pad| pad != (0, 0)) {
            let value = tensor0(outside).cast_to_dt(fact.datum_type)?.into_owned();
            let pad = Pad {
                pads,
                mode: PadMode::Constant(value.into_arc_tensor()),
            };
            wire = patch.wire_node(format!("{name}.padded"), pad, &[wire])?[0];
        }
        for axis in &self.axes {
            let prefix = format!("{name}.axis{}", axis.index);
            wire = axis.wire(patch, &prefix, wire, join)?;
        }
        Ok(wire)
    }
}

impl Axis {
    fn wire(
        &self,
        patch: &mut TypedModelPatch,
        name: &str,
        input: OutletId,
        join: &TypedBinOp,
    ) -> TractResult<OutletId> {
        let extent = patch.outlet_fact(input)?.shape[self.index].clone();
        let mut input = input;
        let (axis, length) = match self.apart {
            true => {
                let windows = extent.clone() / self.kernel;
                let split = AxisOp::Reshape(
                    self.index,
                    tvec![extent],
                    tvec![windows, self.kernel.to_dim()],
                );
                input = patch.wire_node(format!("{name}.windows"), split, &[input])?[0];
                (self.index + 1, 1.to_dim())
            }
            false => (self.index, extent - (self.kernel - 1)),
        };
        let mut joined: Option<OutletId> = None;
        for at in 0..self.kernel {
            let slice = Slice::new(axis, at, length.clone() + at);
            let slice = patch.wire_node(format!("{name}.at{at}"), slice, &[input])?[0];
            joined = Some(match joined {
                None => slice,
                Some(before) => {
                    let name = format!("{name}.joined{at}");
                    patch.wire_node(name, join.clone(), &[before, slice])?[0]
                }
            });
        }
        let joined = joined.context("a window of no elements")?;
        match self.apart {
            true => Ok(patch.wire_node(format!("{name}.rm"), AxisOp::Rm(axis), &[joined])?[0]),
            false => Ok(joined),
        }
    }
}

/// How far windows reach beyond an axis; `None` where that depends on its extent.
fn border(padding: &PaddingSpec, at: usize) -> Option<(usize, usize)> {
    match padding {
        PaddingSpec::Valid => Some((0, 0)),
        // The rounding of a last window that is not whole does not matter: there is none.
        PaddingSpec::Explicit(before, behind)
        | PaddingSpec::ExplicitOnnxPool(before, behind, _) => Some((before[at], behind[at])),
        _ => None,
    }
}
