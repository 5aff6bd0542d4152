//! tract's typed model to a [`Program`].
//!
//! One walk in topological order. Each outlet of the graph becomes an [`Expr`]; steps are made on demand. A node that has no
//! form of ours is evaluated by tract, as a step; what tract cannot evaluate on its own is an error that names the node,
//! and the whole model then runs in tract.
//!
//! ```text
//! expr.rs       what is known of a tensor
//! layout.rs     Expr -> values: as reals, as bytes, channels where they are wanted
//! products.rs, pointwise.rs, moves.rs, pool.rs, reals.rs, image.rs    node -> Expr
//! island.rs     node -> a step in tract
//! fuse.rs       Program -> Program
//! symbols.rs    tract's dimensions -> Extent
//! ```

mod expr;
mod fuse;
mod image;
mod island;
mod layout;
mod moves;
mod pointwise;
mod pool;
mod products;
mod reals;
mod symbols;

use std::collections::HashMap;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{
    DynTile, Gather, MultiBroadcastTo, Slice, StridedSlice, Tile,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::downsample::Downsample;
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::logic::Iff;
use tract_onnx::tract_core::ops::nn::{Reduce, Softmax};
use tract_onnx::tract_core::ops::source::TypedSource;

use crate::Manifest;
use crate::import::{Kept, Mapping};
use crate::program::{Affine, Element, Extent, Op, Program, Requant, Step, Value, ValueId};
use expr::{Bytes, Expr, Integers, Place, State, Table, Weights};
use symbols::Symbols;

/// Lowers `model`, whose inputs and outputs are `manifest`'s.
///
/// # Errors
/// The first node that has no form in a program, with the reason.
pub(crate) fn program(model: &TypedModel, manifest: &Manifest) -> TractResult<Program> {
    let mut program = Lowering::new(model, manifest)?.run()?;
    program.weights.shrink_to_fit();
    fuse::fuse(&mut program);
    let is_product = |step: &Step| matches!(step.op, Op::Conv(_) | Op::Depthwise(_));
    let island = program.steps.iter().find_map(|step| match &step.op {
        Op::Tract(island) => Some((&step.name, island)),
        _ => None,
    });
    // tract is quicker with a whole graph than with its parts.
    if let Some((name, island)) = island.filter(|_| !program.steps.iter().any(is_product)) {
        bail!(
            "{} {name}: {}, and nothing is multiplied in int8",
            island.op,
            island.reason
        );
    }
    Ok(program)
}

struct Lowering<'m> {
    model: &'m TypedModel,
    manifest: &'m Manifest,
    /// What the shapes are over.
    symbols: Symbols,
    program: Program,
    exprs: HashMap<OutletId, Expr>,
    /// The f32 values that were made of them.
    reals: HashMap<OutletId, Place>,
    /// The bytes that were made of integers, by who made the integers.
    written: HashMap<OutletId, Place>,
    /// The bytes that pending operators were finished to.
    finished: HashMap<OutletId, Bytes>,
    /// The same tensor in the other layout, both ways.
    layouts: HashMap<ValueId, ValueId>,
    /// Bytes of tables and constants that may still be made.
    budget: usize,
}

/// Most bytes of tables and constants: a small file may name a large one many times.
const MAX_TABLE_BYTES: usize = 1 << 28;

impl<'m> Lowering<'m> {
    fn new(model: &'m TypedModel, manifest: &'m Manifest) -> TractResult<Self> {
        Ok(Self {
            model,
            manifest,
            symbols: symbols(model, manifest)?,
            program: Program::default(),
            exprs: HashMap::default(),
            reals: HashMap::default(),
            written: HashMap::default(),
            finished: HashMap::default(),
            layouts: HashMap::default(),
            budget: MAX_TABLE_BYTES,
        })
    }

    /// Walks the graph.
    fn run(mut self) -> TractResult<Program> {
        for &node in &self.model.eval_order()? {
            let node = self.model.node(node);
            match self.attempt(|this| this.node(node)) {
                Ok(outputs) => {
                    for (slot, expr) in outputs.into_iter().enumerate() {
                        self.exprs.insert(OutletId::new(node.id, slot), expr);
                    }
                }
                Err(reason) => self.foreign(node, &reason)?,
            }
        }
        for &outlet in self.model.output_outlets()? {
            let place = self.output(outlet)?;
            self.program.outputs.push(place.value);
        }
        Ok(self.program)
    }

    /// An output of the model as f32, in the graph's layout.
    fn output(&mut self, outlet: OutletId) -> TractResult<Place> {
        if let Expr::Table(table) = self.exprs[&outlet].clone() {
            // Bytes are moved rather than reals.
            let place = self.with_layout(table.place, outlet, false)?;
            self.exprs
                .insert(outlet, Expr::Table(Table { place, ..table }));
        }
        let place = self.real(outlet)?;
        self.with_layout(place, outlet, false)
    }

    /// Runs `lower`, and forgets what it has made when it fails.
    fn attempt<R>(&mut self, lower: impl FnOnce(&mut Self) -> TractResult<R>) -> TractResult<R> {
        let program = &self.program;
        let (values, steps, weights) = (
            program.values.len(),
            program.steps.len(),
            program.weights.len(),
        );
        let result = lower(self);
        if result.is_err() {
            self.program.values.truncate(values);
            self.program.steps.truncate(steps);
            self.program.weights.truncate(weights);
            self.program.inputs.retain(|&value| value < values);
            self.reals.retain(|_, place| place.value < values);
            self.written.retain(|_, place| place.value < values);
            self.finished.retain(|_, bytes| bytes.place.value < values);
            self.layouts
                .retain(|&from, to| from < values && *to < values);
        }
        result
    }

    /// Takes bytes from the budget.
    fn spend(&mut self, bytes: usize) -> TractResult<()> {
        let rest = self.budget.checked_sub(bytes);
        self.budget =
            rest.with_context(|| format!("over {MAX_TABLE_BYTES} bytes of tables and constants"))?;
        Ok(())
    }

    /// A node for tract: what is f32 is made now, the rest with what reads it.
    fn foreign(&mut self, node: &TypedNode, reason: &TractError) -> TractResult<()> {
        for slot in 0..node.outputs.len() {
            self.exprs
                .insert(OutletId::new(node.id, slot), Expr::Foreign);
        }
        for (slot, output) in node.outputs.iter().enumerate() {
            let outlet = OutletId::new(node.id, slot);
            let read = !output.successors.is_empty() || self.model.outputs.contains(&outlet);
            if read && output.fact.datum_type == f32::datum_type() {
                let place = self.island(outlet, reason)?;
                self.exprs.insert(outlet, Expr::Real(place));
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &TypedNode) -> TractResult<TVec<Expr>> {
        if let Some(constants) = self.folded(node)? {
            return Ok(constants);
        }
        let expr = if node.op_is::<TypedSource>() {
            self.source(node)?
        } else if let Some(op) = node.op_as::<Kept>() {
            match op {
                Kept::Quantize(mapping) => self.quantize(node, mapping)?,
                Kept::Dequantize(mapping) => self.dequantize(node, mapping)?,
                Kept::LayerNorm { epsilon } => self.layer_norm(node, *epsilon)?,
                Kept::Mean { axes } => self.mean(node, axes)?,
                Kept::Resize(resize) => self.resize(node, resize)?,
                Kept::Concat { axis } => self.concat(node, *axis)?,
                Kept::Pad(pad) => self.pad(node, pad)?,
            }
        } else if self.is_same(node) {
            self.exprs[&node.inputs[0]].clone()
        } else if let Some(op) = node.op_as::<AxisOp>() {
            self.axes(node, op)?
        } else if let Some(op) = node.op_as::<Conv>() {
            self.conv(node, op)?
        } else if let Some(op) = node.op_as::<Deconv>() {
            self.deconv(node, op)?
        } else if let Some(op) = node.op_as::<MaxPool>() {
            self.max_pool(node, op)?
        } else if let Some(op) = node.op_as::<SumPool>() {
            self.mean_pool(node, op)?
        } else if let Some(op) = node.op_as::<Reduce>() {
            self.reduce(node, op)?
        } else if let Some(op) = node.op_as::<TypedBinOp>() {
            self.binary(node, op)?
        } else if let Some(op) = node.op_as::<ElementWiseOp>() {
            self.unary(node, op)?
        } else if let Some(op) = node.op_as::<EinSum>() {
            self.matmul(node, op)?
        } else if let Some(op) = node.op_as::<Softmax>() {
            self.softmax(node, op)?
        } else if let Some(op) = node.op_as::<Slice>() {
            self.slice(node, op)?
        } else if let Some(op) = node.op_as::<StridedSlice>() {
            self.strided_slice(node, op)?
        } else if let Some(op) = node.op_as::<Downsample>() {
            self.downsample(node, op)?
        } else if let Some(op) = node.op_as::<Gather>() {
            self.gather(node, op)?
        } else if node.op_is::<MultiBroadcastTo>() {
            self.expand(node)?
        } else if node.op_is::<Tile>() || node.op_is::<DynTile>() {
            self.tile(node)?
        } else if node.op_is::<Iff>() || node.op_is::<Cast>() {
            // A choice between functions of the same bytes is a function of them.
            Expr::Table(self.tabulated(node)?)
        } else {
            bail!("no form of ours");
        };
        Ok(tvec![expr])
    }

    /// Whether a node gives back what it takes.
    fn is_same(&self, node: &TypedNode) -> bool {
        let to_f32 = |op: &Cast| op.to == f32::datum_type();
        let is_f32 = |outlet: &OutletId| {
            let fact = self.model.outlet_fact(*outlet);
            fact.is_ok_and(|fact| fact.datum_type == f32::datum_type())
        };
        node.op_is::<Identity>()
            || (node.op_as::<Cast>().is_some_and(to_f32) && is_f32(&node.inputs[0]))
            // Without a mask, and in inference, there is nothing that is dropped.
            || (node.op.name() == "Dropout" && node.inputs.len() == 1 && node.outputs.len() == 1)
    }

    /// The outputs of a node that only sees constants.
    fn folded(&mut self, node: &TypedNode) -> TractResult<Option<TVec<Expr>>> {
        if let Some(op) = node.op_as::<Const>() {
            return Ok(Some(tvec![Expr::Constant(op.val().clone())]));
        }
        if node.inputs.is_empty() {
            return Ok(None);
        }
        // Weights keep their integers for as long as their axes are only renamed.
        let keeps = node.op_is::<AxisOp>();
        let mut inputs = tvec![];
        for input in &node.inputs {
            inputs.push(match &self.exprs[input] {
                Expr::Constant(tensor) => tensor.clone().into_tvalue(),
                Expr::Weights(weights) if !keeps => weights.dequantised()?.into_tvalue(),
                _ => return Ok(None),
            });
        }
        for output in &node.outputs {
            let volume = output.fact.shape.volume().to_usize()?;
            self.spend(volume.saturating_mul(size_of::<f32>()))?;
        }
        let outputs = match node.op_as::<Kept>() {
            Some(Kept::Quantize(mapping)) => {
                Some(tvec![mapping.quantised(&inputs[0])?.into_tvalue()])
            }
            _ => node.op.eval_out_of_plan(inputs)?,
        };
        Ok(outputs.map(|outputs| {
            outputs
                .into_iter()
                .map(|value| Expr::Constant(value.into_arc_tensor()))
                .collect()
        }))
    }

    fn source(&mut self, node: &TypedNode) -> TractResult<Expr> {
        let index = self
            .model
            .input_outlets()?
            .iter()
            .position(|outlet| outlet.node == node.id);
        let index = index.context("a source that is not an input")?;
        let image = !self.manifest.inputs[index].mean.is_empty();
        let value = if image {
            ensure!(
                (4..=5).contains(&self.fact(node)?.rank()),
                "an image of rank {}",
                self.fact(node)?.rank()
            );
            let shape = self.stored_shape(node.id.into(), true)?;
            self.value(Element::I8, shape)
        } else {
            let shape = self.stored_shape(node.id.into(), false)?;
            self.value(Element::F32, shape)
        };
        self.program.inputs.push(value);
        ensure!(
            self.program.inputs.len() == index + 1,
            "inputs out of order"
        );
        Ok(if image {
            Expr::Input(index)
        } else {
            Expr::Real(Place {
                value,
                channels_last: false,
            })
        })
    }

    fn quantize(&mut self, node: &TypedNode, mapping: &Mapping) -> TractResult<Expr> {
        let affine = stored(mapping)?;
        let (input, origin) = (node.inputs[0], OutletId::from(node.id));
        let bytes = match self.expr(input)? {
            Expr::Input(index) => self.image(origin, index, affine)?,
            Expr::Table(table) => {
                let function = table.requantised(affine);
                let same = function.single().is_some_and(|table| table.is_identity());
                return Ok(Expr::Integers(Integers {
                    place: table.place,
                    function: (!same).then_some(function),
                    origin,
                }));
            }
            Expr::Pending(pending) => {
                let before = self
                    .finished
                    .get(&input)
                    .filter(|bytes| bytes.affine == affine);
                match before {
                    Some(bytes) => *bytes,
                    None => match self.attempt(|this| this.finish(&pending, affine)) {
                        Ok(bytes) => {
                            self.finished.insert(input, bytes);
                            bytes
                        }
                        Err(_) => self.encoded(node, affine)?,
                    },
                }
            }
            Expr::Real(_) => self.encoded(node, affine)?,
            Expr::Integers(_) | Expr::Weights(_) | Expr::Constant(_) | Expr::Foreign => {
                bail!("quantises what is not a float activation")
            }
        };
        Ok(Expr::Integers(Integers {
            place: bytes.place,
            function: None,
            origin,
        }))
    }

    /// The bytes of a tensor that is there as reals.
    fn encoded(&mut self, node: &TypedNode, affine: Affine) -> TractResult<Bytes> {
        let place = self.real(node.inputs[0])?;
        let encode = Op::Encode {
            inverse_scale: 1.0 / affine.scale,
            requant: Requant::new(affine, f32::NEG_INFINITY, f32::INFINITY),
        };
        let place = self.step(
            node,
            encode,
            &[place.value],
            Element::I8,
            place.channels_last,
        )?;
        Ok(Bytes { place, affine })
    }

    fn dequantize(&mut self, node: &TypedNode, mapping: &Mapping) -> TractResult<Expr> {
        let input = node.inputs[0];
        match self.expr(input)? {
            Expr::Constant(values) => {
                mapping.check(
                    values
                        .shape()
                        .get(mapping.axis)
                        .map(|extent| extent.to_dim())
                        .as_ref(),
                )?;
                let mapping = mapping.clone();
                Ok(Expr::Weights(Weights { values, mapping }))
            }
            Expr::Integers(integers) => {
                // The integers may be read under another mapping than they were written with.
                let written = self.model.outlet_fact(input)?.datum_type;
                let affine = stored(&Mapping {
                    integers: written,
                    ..mapping.clone()
                })?;
                let table = Table::stored(Bytes {
                    place: integers.place,
                    affine,
                });
                let Some(function) = integers.function else {
                    return Ok(Expr::Table(table));
                };
                let reals = &table.function.tables[0];
                Ok(Expr::Table(Table {
                    function: function.map(|byte| reals.at(byte)),
                    state: State::Made(integers.origin),
                    ..table
                }))
            }
            _ => bail!("dequantises what is not quantised"),
        }
    }

    /// A step whose output is `node`'s first.
    fn step(
        &mut self,
        node: &TypedNode,
        op: Op,
        inputs: &[ValueId],
        element: Element,
        channels_last: bool,
    ) -> TractResult<Place> {
        self.step_for(node.id.into(), op, inputs, element, channels_last)
    }

    fn step_for(
        &mut self,
        outlet: OutletId,
        op: Op,
        inputs: &[ValueId],
        element: Element,
        channels_last: bool,
    ) -> TractResult<Place> {
        let shape = self.stored_shape(outlet, channels_last)?;
        let place = self.step_shaped(outlet, op, inputs, element, shape)?;
        Ok(Place {
            channels_last,
            ..place
        })
    }

    /// A step in the name of an outlet's node whose output has another shape.
    fn step_shaped(
        &mut self,
        outlet: OutletId,
        op: Op,
        inputs: &[ValueId],
        element: Element,
        shape: Vec<Extent>,
    ) -> TractResult<Place> {
        let value = self.value(element, shape);
        self.program.steps.push(Step {
            name: self.model.node(outlet.node).name.clone(),
            op,
            inputs: inputs.to_vec(),
            output: value,
        });
        Ok(Place {
            value,
            channels_last: false,
        })
    }

    fn value(&mut self, element: Element, shape: Vec<Extent>) -> ValueId {
        self.program.values.push(Value {
            element,
            shape,
            constant: None,
        });
        self.program.values.len() - 1
    }

    fn fact(&self, node: &TypedNode) -> TractResult<&TypedFact> {
        self.model.outlet_fact(node.id.into())
    }

    /// The shape of an outlet in the graph.
    fn shape(&self, outlet: OutletId) -> TractResult<Vec<Extent>> {
        self.model
            .outlet_fact(outlet)?
            .shape
            .iter()
            .map(|dim| self.symbols.extent(dim))
            .collect()
    }

    /// The shape of an outlet as it is stored.
    fn stored_shape(&self, outlet: OutletId, channels_last: bool) -> TractResult<Vec<Extent>> {
        let mut shape = self.shape(outlet)?;
        if channels_last {
            ensure!(
                shape.len() >= 3,
                "channels of a tensor of rank {}",
                shape.len()
            );
            let channels = shape.remove(1);
            shape.push(channels);
        }
        Ok(shape)
    }
}

/// The symbols of the manifest's input shapes.
fn symbols(model: &TypedModel, manifest: &Manifest) -> TractResult<Symbols> {
    let mut symbols = Symbols::default();
    for dim in manifest.inputs.iter().flat_map(|input| &input.shape) {
        if let (_, Some(name)) = dim.parts()? {
            let symbol = model.symbols.sym(name);
            if !symbols.0.contains(&symbol) {
                symbols.0.push(symbol);
            }
        }
    }
    Ok(symbols)
}

/// The quantisation as it is stored: u8 values are kept less 128.
fn stored(mapping: &Mapping) -> TractResult<Affine> {
    let (scale, given) = mapping.single()?;
    ensure!(
        mapping.integers != i32::datum_type(),
        "activations of 32 bits"
    );
    let zero_point = given
        - if mapping.integers == i8::datum_type() {
            0
        } else {
            128
        };
    ensure!(
        (-128..=127).contains(&zero_point),
        "zero point {given} is not in the type's range"
    );
    Ok(Affine { scale, zero_point })
}
