//! tract's typed model to a [`Program`].
//!
//! One walk in topological order. Each outlet of the graph becomes an [`Expr`]; steps are made on demand. What the walk
//! does not know is an error that names the node, and the model then runs in tract instead.

mod expr;
mod layout;
mod operators;
mod symbols;

use std::collections::HashMap;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Slice;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, MaxPool, SumPool};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::identity::Identity;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::nn::Softmax;
use tract_onnx::tract_core::ops::source::TypedSource;

use crate::Manifest;
use crate::import::{self, Concat, Dequantize, GlobalMean, LayerNorm, Quantize, Repeat};
use crate::program::{Affine, Element, Extent, Op, Program, Step, Value, ValueId};
use expr::{Bytes, Expr, Pending, Place, Table, Weights};
use symbols::Symbols;

/// Lowers `model`, whose inputs and outputs are `manifest`'s.
///
/// # Errors
/// The first node that has no form in a program, with the reason.
pub(crate) fn program(model: &TypedModel, manifest: &Manifest) -> TractResult<Program> {
    let mut program = Lowering::new(model, manifest)?.run()?;
    program.weights.shrink_to_fit();
    fuse_tables(&mut program);
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
}

impl<'m> Lowering<'m> {
    fn new(model: &'m TypedModel, manifest: &'m Manifest) -> TractResult<Self> {
        Ok(Self {
            model,
            manifest,
            symbols: symbols(model, manifest)?,
            program: Program::default(),
            exprs: HashMap::default(),
            reals: HashMap::default(),
        })
    }

    /// Walks the graph.
    fn run(mut self) -> TractResult<Program> {
        for &node in &self.model.eval_order()? {
            let node = self.model.node(node);
            let outputs = self
                .node(node)
                .with_context(|| format!("{} {}", node.op.name(), node.name))?;
            for (slot, expr) in outputs.into_iter().enumerate() {
                self.exprs.insert(OutletId::new(node.id, slot), expr);
            }
        }
        for &outlet in self.model.output_outlets()? {
            let place = self.real(outlet)?;
            let place = self.with_layout(place, outlet, false)?;
            self.program.outputs.push(place.value);
        }
        Ok(self.program)
    }

    fn node(&mut self, node: &TypedNode) -> TractResult<TVec<Expr>> {
        if let Some(constants) = self.folded(node)? {
            return Ok(constants);
        }
        let expr = if node.op_is::<TypedSource>() {
            self.source(node)?
        } else if let Some(op) = node.op_as::<Quantize>() {
            self.quantize(node, op.params)?
        } else if let Some(op) = node.op_as::<Dequantize>() {
            self.dequantize(node, op)?
        } else if node.op_is::<Identity>() {
            self.exprs[&node.inputs[0]].clone()
        } else if node
            .op_as::<Cast>()
            .is_some_and(|op| op.to == f32::datum_type())
        {
            // Between floats, or from constants, which are folded: the value stays.
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
        } else if node.op_is::<GlobalMean>() {
            self.global_mean(node)?
        } else if let Some(op) = node.op_as::<Repeat>() {
            self.repeat(node, op)?
        } else if let Some(op) = node.op_as::<Concat>() {
            self.concat(node, op)?
        } else if let Some(op) = node.op_as::<TypedBinOp>() {
            self.binary(node, op)?
        } else if let Some(op) = node.op_as::<ElementWiseOp>() {
            self.unary(node, op)?
        } else if let Some(op) = node.op_as::<EinSum>() {
            self.matmul(node, op)?
        } else if let Some(op) = node.op_as::<Softmax>() {
            self.softmax(node, op)?
        } else if let Some(op) = node.op_as::<LayerNorm>() {
            self.layer_norm(node, op)?
        } else if let Some(op) = node.op_as::<Slice>() {
            self.slice(node, op)?
        } else {
            bail!("no integer form");
        };
        Ok(tvec![expr])
    }

    /// The outputs of a node that only sees constants.
    fn folded(&self, node: &TypedNode) -> TractResult<Option<TVec<Expr>>> {
        if let Some(op) = node.op_as::<Const>() {
            return Ok(Some(tvec![Expr::Constant(op.val().clone())]));
        }
        if node.inputs.is_empty() {
            return Ok(None);
        }
        let mut inputs = tvec![];
        for input in &node.inputs {
            let Expr::Constant(tensor) = &self.exprs[input] else {
                return Ok(None);
            };
            inputs.push(tensor.clone().into_tvalue());
        }
        let outputs = node.op.eval_out_of_plan(inputs)?;
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
                self.fact(node)?.rank() == 4,
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

    fn quantize(&mut self, node: &TypedNode, params: import::Affine) -> TractResult<Expr> {
        let affine = stored(params)?;
        let input = self.exprs[&node.inputs[0]].clone();
        let bytes = match input {
            Expr::Input(index) => self.image(node, index, affine)?,
            Expr::Table(table) if table.plain && table.bytes.affine == affine => table.bytes,
            Expr::Table(table) => {
                let map = Op::Map(table.requantised(affine));
                let place = self.step(
                    node,
                    map,
                    &[table.bytes.place.value],
                    Element::I8,
                    table.bytes.place.channels_last,
                )?;
                Bytes { place, affine }
            }
            Expr::Pending(pending) => self.finish(node, &pending, affine)?,
            Expr::Real(place) => {
                let requant =
                    crate::program::Requant::new(affine, f32::NEG_INFINITY, f32::INFINITY);
                let encode = Op::Encode {
                    inverse_scale: 1.0 / affine.scale,
                    requant,
                };
                let place = self.step(
                    node,
                    encode,
                    &[place.value],
                    Element::I8,
                    place.channels_last,
                )?;
                Bytes { place, affine }
            }
            Expr::Bytes(_) | Expr::Weights(_) | Expr::Constant(_) => {
                bail!("quantises what is not a float activation")
            }
        };
        Ok(Expr::Bytes(bytes))
    }

    fn dequantize(&self, node: &TypedNode, op: &Dequantize) -> TractResult<Expr> {
        match &self.exprs[&node.inputs[0]] {
            Expr::Constant(values) => Ok(Expr::Weights(Weights {
                values: values.clone(),
                scales: op.scales.clone().into(),
                zero_points: op.zero_points.clone().into(),
                axis: op.axis,
            })),
            Expr::Bytes(bytes) => {
                let ([scale], [zero_point]) = (&*op.scales, &*op.zero_points) else {
                    bail!("activations with {} scales", op.scales.len())
                };
                // The bytes may be read under another scale than they were written with.
                let integers = self.model.outlet_fact(node.inputs[0])?.datum_type;
                let params = import::Affine {
                    scale: *scale,
                    zero_point: *zero_point,
                    signed: integers == i8::datum_type(),
                };
                Ok(Expr::Table(Table::plain(Bytes {
                    affine: stored(params)?,
                    ..*bytes
                })))
            }
            _ => bail!("dequantises what is not quantised"),
        }
    }

    /// The element of a new value for `node`'s first output.
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
        let value = self.value(element, shape);
        let name = self.model.node(outlet.node).name.clone();
        self.program.steps.push(Step {
            name,
            op,
            inputs: inputs.to_vec(),
            output: value,
        });
        Ok(Place {
            value,
            channels_last,
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

    /// A pending operator with its output's quantisation.
    fn finish(
        &mut self,
        node: &TypedNode,
        pending: &Pending,
        affine: Affine,
    ) -> TractResult<Bytes> {
        let (op, inputs) = operators::finished(pending, affine)?;
        let place = self.step(node, op, &inputs, Element::I8, pending.channels_last)?;
        Ok(Bytes { place, affine })
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
fn stored(params: import::Affine) -> TractResult<Affine> {
    let zero_point = params.zero_point - if params.signed { 0 } else { 128 };
    ensure!(
        (-128..=127).contains(&zero_point),
        "zero point {} is not in the type's range",
        params.zero_point
    );
    Ok(Affine {
        scale: params.scale,
        zero_point,
    })
}

/// Puts each table that alone reads an operator's bytes into that operator.
fn fuse_tables(program: &mut Program) {
    let mut readers = vec![0; program.values.len()];
    for value in program
        .steps
        .iter()
        .flat_map(|step| &step.inputs)
        .chain(&program.outputs)
    {
        readers[*value] += 1;
    }
    let mut makers = vec![None; program.values.len()];
    for (index, step) in program.steps.iter().enumerate() {
        makers[step.output] = Some(index);
    }
    for index in 0..program.steps.len() {
        let (before, rest) = program.steps.split_at_mut(index);
        let Op::Map(table) = &rest[0].op else {
            continue;
        };
        let input = rest[0].inputs[0];
        let Some(maker) = makers[input].filter(|_| readers[input] == 1) else {
            continue;
        };
        let Some(requant) = before[maker]
            .op
            .requant_mut()
            .filter(|requant| requant.table.is_none())
        else {
            continue;
        };
        requant.table = Some(table.clone());
        before[maker].output = rest[0].output;
        makers[rest[0].output] = Some(maker);
        rest[0].inputs.clear();
    }
    program.steps.retain(|step| !step.inputs.is_empty());
}
