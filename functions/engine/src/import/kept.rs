//! Operators of our own for what tract takes apart, folds away or only knows for fixed shapes.
//!
//! A [`Keep`] is built from the ONNX node; once tract knows shapes and constants, it becomes a [`Kept`], which the lowering
//! reads.

use std::sync::LazyLock;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::cast::wire_cast;
use tract_onnx::tract_hir::internal::*;

use super::mapping::{Mapping, elements};
use crate::program::{Coordinates, Nearest, Outside, Sample};

/// Registers the operators in the place of tract's.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("QuantizeLinear", |_, node| {
        quantisation(node, Attributes::Quantize)
    });
    operators.insert("DequantizeLinear", |_, node| {
        quantisation(node, Attributes::Dequantize)
    });
    operators.insert("LayerNormalization", layer_normalization);
    operators.insert("GlobalAveragePool", |_, node| {
        keep(node, &[], Attributes::GlobalMean)
    });
    operators.insert("ReduceMean", reduce_mean);
    operators.insert("Resize", resize);
    operators.insert("Upsample", resize);
    operators.insert("Concat", concat);
    operators.insert("Pad", pad);
}

/// An operator of the typed graph.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kept {
    Quantize(Mapping),
    Dequantize(Mapping),
    /// Normalisation over the last axis, then `* gamma + beta` (inputs 1 and, when there, 2).
    LayerNorm {
        epsilon: f32,
    },
    /// Mean over these axes, which stay with extent one.
    Mean {
        axes: Vec<usize>,
    },
    Resize(Resize),
    /// Joined along `axis`. Unlike tract's own, it does not ask for proof that the other extents are equal: symbolic shapes
    /// carry roundings that tract cannot see through, and the program checks the real ones.
    Concat {
        axis: usize,
    },
    Pad(Pad),
}

/// A change of extents by interpolation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resize {
    /// Between elements, and not from the nearest.
    pub(crate) linear: bool,
    /// One for each axis.
    pub(crate) axes: Vec<Sample>,
    pub(crate) shape: TVec<TDim>,
}

/// A border; elements are taken away where it is negative.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pad {
    /// Before and behind, for each axis.
    pub(crate) border: Vec<(i64, i64)>,
    pub(crate) outside: Outside,
    /// What [`Outside::Fill`] fills with.
    pub(crate) value: f32,
}

impl Eq for Kept {}

impl Kept {
    /// Type and shape of the output.
    fn output(&self, shapes: &[TVec<TDim>]) -> TractResult<(DatumType, TVec<TDim>)> {
        let mut shape = shapes.first().context("no input")?.clone();
        let mut datum_type = f32::datum_type();
        match self {
            Self::Quantize(mapping) => {
                mapping.check(shape.get(mapping.axis))?;
                datum_type = mapping.integers;
            }
            Self::Dequantize(mapping) => mapping.check(shape.get(mapping.axis))?,
            Self::LayerNorm { .. } => (),
            Self::Mean { axes } => axes.iter().for_each(|&axis| shape[axis] = 1.to_dim()),
            Self::Resize(resize) => shape.clone_from(&resize.shape),
            Self::Concat { axis } => {
                shape[*axis] = shapes.iter().map(|shape| shape[*axis].clone()).sum();
            }
            Self::Pad(pad) => {
                for (extent, (before, behind)) in shape.iter_mut().zip(&pad.border) {
                    *extent = extent.clone() + *before + *behind;
                }
            }
        }
        Ok((datum_type, shape))
    }
}

impl Op for Kept {
    fn name(&self) -> StaticName {
        match self {
            Self::Quantize(_) => "Quantize",
            Self::Dequantize(_) => "Dequantize",
            Self::LayerNorm { .. } => "LayerNorm",
            Self::Mean { .. } => "Mean",
            Self::Resize(_) => "Resize",
            Self::Concat { .. } => "Concat",
            Self::Pad(_) => "Pad",
        }
        .into()
    }

    op_as_typed_op!();
}

impl EvalOp for Kept {
    // Opaque to constant folding, which would make f32 weights of int8 ones.
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let output = match self {
            Self::Quantize(mapping) => mapping.quantised(&inputs[0])?,
            Self::Dequantize(mapping) => mapping.dequantised(&inputs[0])?,
            other => bail!("{} is for the lowering", other.name()),
        };
        Ok(tvec![output.into_tvalue()])
    }
}

impl TypedOp for Kept {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: Vec<TVec<TDim>> = inputs.iter().map(|fact| fact.shape.to_tvec()).collect();
        let (datum_type, shape) = self.output(&shapes)?;
        Ok(tvec![datum_type.fact(shape)])
    }

    as_op!();
}

/// An operator while tract still looks for shapes.
#[derive(Debug, Clone)]
struct Keep {
    attributes: Attributes,
    /// How many inputs there are, and which of them have to be constants. The others stay inputs.
    inputs: usize,
    constants: Vec<usize>,
}

/// What the node says; what else is needed is in constants.
#[derive(Debug, Clone)]
enum Attributes {
    /// Along this axis.
    Quantize(i64),
    Dequantize(i64),
    LayerNorm {
        axis: i64,
        epsilon: f32,
    },
    GlobalMean,
    Mean {
        axes: Option<Vec<i64>>,
        keep_axes: bool,
        /// What no axes mean: none, and not all.
        none: bool,
    },
    Resize {
        linear: bool,
        coordinates: Coordinates,
        rounding: Nearest,
        /// Which axes the factors and extents are for.
        axes: Option<Vec<i64>>,
        /// Factors that the node itself holds.
        factors: Option<Vec<f32>>,
        /// The last constant holds extents, and not factors.
        extents: bool,
    },
    Concat(i64),
    Pad {
        outside: Outside,
        /// The value that the node itself holds.
        value: f32,
        border: Option<Vec<i64>>,
        /// Which of the constants hold the value and the axes.
        value_input: Option<usize>,
        axes_input: Option<usize>,
    },
}

impl Attributes {
    /// The operator for inputs of these shapes.
    fn resolve(&self, shape: &[TDim], constants: &[Arc<Tensor>]) -> TractResult<Kept> {
        let rank = shape.len();
        Ok(match self {
            Self::Quantize(axis) | Self::Dequantize(axis) => {
                let scales = constants.first().context("no scale")?;
                let mapping = Mapping::new(scales, constants.get(1).map(|t| &**t), *axis, rank)?;
                match self {
                    Self::Quantize(_) => Kept::Quantize(mapping),
                    _ => Kept::Dequantize(mapping),
                }
            }
            Self::LayerNorm { axis, epsilon } => {
                let axis = along(*axis, rank)?;
                ensure!(
                    axis + 1 == rank,
                    "normalisation over axes {axis}.. of {rank}"
                );
                Kept::LayerNorm { epsilon: *epsilon }
            }
            Self::GlobalMean => {
                ensure!(rank > 2, "a global mean of rank {rank}");
                Kept::Mean {
                    axes: (2..rank).collect(),
                }
            }
            Self::Mean { axes, none, .. } => {
                let axes = match (axes, constants.first()) {
                    (Some(axes), _) => axes.clone(),
                    (None, Some(axes)) => elements::<i64>(axes)?,
                    (None, None) => vec![],
                };
                let mut axes: Vec<usize> = axes
                    .iter()
                    .map(|&axis| along(axis, rank))
                    .collect::<TractResult<_>>()?;
                if axes.is_empty() && !none {
                    axes = (0..rank).collect();
                }
                axes.sort_unstable();
                axes.dedup();
                Kept::Mean { axes }
            }
            Self::Resize {
                linear,
                coordinates,
                rounding,
                axes,
                factors,
                extents,
            } => {
                let axes = match axes {
                    None => (0..rank).collect(),
                    Some(axes) => axes
                        .iter()
                        .map(|&axis| along(axis, rank))
                        .collect::<TractResult<Vec<_>>>()?,
                };
                let unchanged = Sample {
                    scale: Some(1.0),
                    coordinates: *coordinates,
                    rounding: *rounding,
                };
                let mut resize = Resize {
                    linear: *linear,
                    axes: vec![unchanged; rank],
                    shape: shape.into(),
                };
                if *extents {
                    let extents = elements::<TDim>(constants.last().context("no extents")?)?;
                    ensure!(
                        extents.len() == axes.len(),
                        "extents {extents:?} of axes {axes:?}"
                    );
                    for (axis, extent) in axes.into_iter().zip(extents) {
                        if extent != resize.shape[axis] {
                            resize.axes[axis].scale = None;
                            resize.shape[axis] = extent;
                        }
                    }
                } else {
                    let factors = match (factors, constants.last()) {
                        (Some(factors), _) => factors.clone(),
                        (None, Some(factors)) => elements::<f32>(factors)?,
                        (None, None) => bail!("no factors"),
                    };
                    ensure!(
                        factors.len() == axes.len(),
                        "factors {factors:?} of axes {axes:?}"
                    );
                    for (axis, factor) in axes.into_iter().zip(factors) {
                        resize.axes[axis].scale = Some(factor);
                        resize.shape[axis] = scaled(&shape[axis], factor)?;
                    }
                }
                Kept::Resize(resize)
            }
            Self::Concat(axis) => Kept::Concat {
                axis: along(*axis, rank)?,
            },
            Self::Pad {
                outside,
                value,
                border,
                value_input,
                axes_input,
            } => {
                let given = match border {
                    Some(border) => border.clone(),
                    None => elements::<i64>(constants.first().context("no pads")?)?,
                };
                let axes = match axes_input.map(|index| elements::<i64>(&constants[index])) {
                    Some(axes) => axes?,
                    None => (0..rank as i64).collect(),
                };
                ensure!(
                    given.len() == 2 * axes.len(),
                    "pads {given:?} of axes {axes:?}"
                );
                let (before, behind) = given.split_at(axes.len());
                let mut border = vec![(0, 0); rank];
                for ((&axis, &before), &behind) in axes.iter().zip(before).zip(behind) {
                    let limits = -MAX_BORDER..=MAX_BORDER;
                    ensure!(
                        limits.contains(&before) && limits.contains(&behind),
                        "pads {given:?}"
                    );
                    border[along(axis, rank)?] = (before, behind);
                }
                let value = match value_input.map(|index| elements::<f32>(&constants[index])) {
                    Some(values) => *values?.first().context("no value to pad with")?,
                    None => *value,
                };
                Kept::Pad(Pad {
                    border,
                    outside: *outside,
                    value,
                })
            }
        })
    }

    /// The axes that go once the operator has run.
    fn dropped(&self, kept: &Kept) -> Vec<usize> {
        match (self, kept) {
            (
                Self::Mean {
                    keep_axes: false, ..
                },
                Kept::Mean { axes },
            ) => axes.clone(),
            _ => vec![],
        }
    }
}

/// No picture has a wider border.
const MAX_BORDER: i64 = 1 << 16;

/// The index of an axis that may be counted from the back.
fn along(axis: i64, rank: usize) -> TractResult<usize> {
    let index = if axis < 0 {
        axis.saturating_add(rank as i64)
    } else {
        axis
    };
    let index = usize::try_from(index).ok().filter(|&index| index < rank);
    index.with_context(|| format!("axis {axis} of rank {rank}"))
}

/// `extent * factor`, rounded down.
fn scaled(extent: &TDim, factor: f32) -> TractResult<TDim> {
    ensure!(
        (1e-3..=1e3).contains(&factor),
        "an axis resized by {factor}"
    );
    if factor.fract() == 0.0 {
        return Ok(extent.clone() * factor as i64);
    }
    if let Ok(extent) = extent.to_i64() {
        return Ok(((extent as f32 * factor).floor() as i64).to_dim());
    }
    let divisor = 1.0 / factor;
    ensure!(divisor.fract() == 0.0, "{extent} resized by {factor}");
    Ok(extent.clone() / divisor as i64)
}

impl Expansion for Keep {
    fn name(&self) -> StaticName {
        "Kept".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs)?;
        check_output_arity(outputs, 1)?;
        match self.attributes {
            Attributes::Quantize(_) if self.inputs < 3 => {
                s.equals(&outputs[0].datum_type, u8::datum_type())?;
            }
            Attributes::Quantize(_) => s.equals(&outputs[0].datum_type, &inputs[2].datum_type)?,
            Attributes::Dequantize(_) => s.equals(&outputs[0].datum_type, f32::datum_type())?,
            // Shapes are joined of numbers and dimensions.
            Attributes::Concat(_) => {
                let datum_types = inputs.iter().map(|input| (&input.datum_type).bex());
                s.given_all(datum_types.collect::<Vec<_>>(), move |s, datum_types| {
                    let super_type = DatumType::super_type_for(&datum_types);
                    let super_type = super_type.context("parts of types that do not meet")?;
                    s.equals(&outputs[0].datum_type, super_type)
                })?;
            }
            _ => s.equals(&outputs[0].datum_type, &inputs[0].datum_type)?,
        }
        let tensors = self.tensors().map(|index| &inputs[index].shape);
        s.given_all(tensors.collect::<Vec<_>>(), move |s, shapes| {
            let constants = self.constants.iter().map(|&index| &inputs[index].value);
            s.given_all(constants.collect::<Vec<_>>(), move |s, constants| {
                let kept = self.attributes.resolve(&shapes[0], &constants)?;
                ensure!(
                    shapes.iter().all(|shape| {
                        shape.len() == shapes[0].len() || !matches!(kept, Kept::Concat { .. })
                    }),
                    "tensors {shapes:?} joined"
                );
                let (_, mut shape) = kept.output(&shapes)?;
                for axis in self.attributes.dropped(&kept).into_iter().rev() {
                    shape.remove(axis);
                }
                s.equals(&outputs[0].shape, shape)
            })
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let mut constants = vec![];
        for &index in &self.constants {
            let constant = model.outlet_fact(inputs[index])?.konst.clone();
            constants.push(constant.with_context(|| format!("input {index} must be a constant"))?);
        }
        let shape = model.outlet_fact(inputs[0])?.shape.to_tvec();
        let kept = self.attributes.resolve(&shape, &constants)?;
        let tensors: TVec<OutletId> = self.tensors().map(|index| inputs[index]).collect();
        if let Kept::Concat { axis } = kept {
            let facts: Vec<&TypedFact> = tensors
                .iter()
                .map(|&input| model.outlet_fact(input))
                .collect::<TractResult<_>>()?;
            let real = facts
                .iter()
                .all(|fact| fact.datum_type == f32::datum_type());
            if !real || facts.iter().all(|fact| fact.konst.is_some()) {
                // Constants, and shapes, which tract computes with.
                let super_type =
                    DatumType::super_type_for(facts.iter().map(|fact| fact.datum_type));
                let super_type = super_type.context("parts of types that do not meet")?;
                let tensors = wire_cast(prefix, model, &tensors, super_type)?;
                return model.wire_node(prefix, TypedConcat::new(axis), &tensors);
            }
        }
        let dropped = self.attributes.dropped(&kept);
        let mut outputs = model.wire_node(prefix, kept, &tensors)?;
        for axis in dropped.into_iter().rev() {
            outputs =
                model.wire_node(format!("{prefix}.axis{axis}"), AxisOp::Rm(axis), &outputs)?;
        }
        Ok(outputs)
    }

    fn runs_out_of_plan(&self) -> bool {
        matches!(self.attributes, Attributes::Concat(_))
    }
}

impl Keep {
    /// The inputs that stay.
    fn tensors(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.inputs).filter(|index| !self.constants.contains(index))
    }
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// `constants`: among the inputs that are there, for an absent one has no name and no place.
fn keep(node: &NodeProto, constants: &[usize], attributes: Attributes) -> Built {
    let inputs = node.input.iter().filter(|name| !name.is_empty()).count();
    ensure!(
        inputs > constants.len(),
        "{} of {inputs} inputs",
        node.op_type
    );
    let keep = Keep {
        attributes,
        inputs,
        constants: constants.to_vec(),
    };
    Ok((expand(keep), vec![]))
}

/// The place of an optional input among those that are there.
fn place(node: &NodeProto, index: usize) -> Option<usize> {
    let given = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
    given(index).then(|| (0..index).filter(|&index| given(index)).count())
}

/// tract's own form, for what ours does not cover.
fn tracts(context: &ParsingContext, node: &NodeProto) -> Built {
    static OPERATORS: LazyLock<OnnxOpRegister> = LazyLock::new(|| tract_onnx::onnx().op_register);
    let builder = OPERATORS.0.get(&node.op_type);
    builder.with_context(|| format!("{} of this kind is not supported", node.op_type))?(
        context, node,
    )
}

fn text<'n>(node: &'n NodeProto, name: &str, default: &'n str) -> TractResult<&'n str> {
    Ok(node.get_attr_opt::<&str>(name)?.unwrap_or(default))
}

fn quantisation(node: &NodeProto, attributes: fn(i64) -> Attributes) -> Built {
    let block_size: i64 = node.get_attr_opt("block_size")?.unwrap_or(0);
    ensure!(
        block_size == 0,
        "{}: blocks of {block_size} are not supported",
        node.op_type
    );
    ensure!(
        (2..=3).contains(&node.input.len()),
        "{} of {} inputs",
        node.op_type,
        node.input.len()
    );
    // 2 is `TensorProto.UINT8`, and 0 leaves it to the zero point.
    let output: i64 = node.get_attr_opt("output_dtype")?.unwrap_or(0);
    ensure!(
        place(node, 2).is_some() || [0, 2].contains(&output),
        "{} to type {output} without a zero point",
        node.op_type
    );
    let constants = (1..node.input.len()).filter_map(|index| place(node, index));
    let axis = node.get_attr_opt("axis")?.unwrap_or(1);
    keep(node, &constants.collect::<Vec<_>>(), attributes(axis))
}

fn layer_normalization(context: &ParsingContext, node: &NodeProto) -> Built {
    let axis: i64 = node.get_attr_opt("axis")?.unwrap_or(-1);
    // Which axis a positive one is, is known with the rank.
    if axis < -1 || node.output.len() != 1 || !(2..=3).contains(&node.input.len()) {
        return tracts(context, node);
    }
    let epsilon = node.get_attr_opt("epsilon")?.unwrap_or(1e-5);
    keep(node, &[], Attributes::LayerNorm { axis, epsilon })
}

fn reduce_mean(_: &ParsingContext, node: &NodeProto) -> Built {
    let mean = Attributes::Mean {
        axes: node.get_attr_opt_vec("axes")?,
        keep_axes: node.get_attr_opt("keepdims")?.unwrap_or(1i64) != 0,
        none: node.get_attr_opt("noop_with_empty_axes")?.unwrap_or(0i64) != 0,
    };
    keep(node, &place(node, 1).into_iter().collect::<Vec<_>>(), mean)
}

fn resize(context: &ParsingContext, node: &NodeProto) -> Built {
    let version = context.onnx_operator_set_version;
    // Before version 11 there is one way of each, and no region of interest.
    let old = version < 11 || node.op_type == "Upsample";
    let defaults = if old {
        ["asymmetric", "floor"]
    } else {
        ["half_pixel", "round_prefer_floor"]
    };
    let coordinates = match text(node, "coordinate_transformation_mode", defaults[0])? {
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        _ => return tracts(context, node),
    };
    let rounding = match text(node, "nearest_mode", defaults[1])? {
        "ceil" => Nearest::Ceil,
        "floor" => Nearest::Floor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "round_prefer_floor" => Nearest::PreferFloor,
        other => bail!("nearest_mode {other}"),
    };
    let linear = match text(node, "mode", "nearest")? {
        "nearest" => false,
        "linear" | "bilinear" => true,
        _ => return tracts(context, node),
    };
    let antialias: i64 = node.get_attr_opt("antialias")?.unwrap_or(0);
    if antialias != 0 || text(node, "keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return tracts(context, node);
    }
    let factors = node.get_attr_opt_vec("scales")?;
    let (scales, sizes) = if old {
        (place(node, 1), None)
    } else {
        (place(node, 2), place(node, 3))
    };
    let constants: Vec<usize> = match (sizes, scales) {
        // What stands between them is a region, which these modes have no use for, or empty scales.
        (Some(sizes), _) => (1..=sizes).collect(),
        (None, Some(scales)) => (1..=scales).collect(),
        (None, None) => vec![],
    };
    let resize = Attributes::Resize {
        linear,
        coordinates,
        rounding,
        axes: node.get_attr_opt_vec("axes")?,
        factors,
        extents: sizes.is_some(),
    };
    keep(node, &constants, resize)
}

fn concat(_: &ParsingContext, node: &NodeProto) -> Built {
    keep(node, &[], Attributes::Concat(node.get_attr("axis")?))
}

fn pad(context: &ParsingContext, node: &NodeProto) -> Built {
    let outside = match text(node, "mode", "constant")? {
        "constant" => Outside::Fill,
        "edge" => Outside::Edge,
        "reflect" => Outside::Reflect,
        "wrap" => Outside::Wrap,
        _ => return tracts(context, node),
    };
    let border = match node.get_attr_opt_vec("pads")? {
        Some(border) => Some(border),
        None => node.get_attr_opt_vec("paddings")?,
    };
    let constants: Vec<usize> = (1..node.input.len())
        .filter_map(|index| place(node, index))
        .collect();
    // An input's place among the constants is one less than among all, for the first input is none.
    let among = |index| place(node, index).map(|place: usize| place - 1);
    let pad = Attributes::Pad {
        outside,
        value: node.get_attr_opt("value")?.unwrap_or(0.0),
        border,
        value_input: among(2),
        axes_input: among(3),
    };
    keep(node, &constants, pad)
}
