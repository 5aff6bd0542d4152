//! ONNX bytes to tract's typed model, with quantisation left standing.
//!
//! tract's own importer turns `QuantizeLinear` and `DequantizeLinear` into float arithmetic and folds what is constant,
//! so that int8 weights become f32. Here they become operators of our own, opaque to constant folding, that the lowering
//! recognises. `LayerNormalization`, `GlobalAveragePool` and `Resize` are kept whole for the same reason: tract takes the
//! first two apart, and only one form of the third is ours.

use prost::Message;
use tract_onnx::pb::{ModelProto, NodeProto};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_hir::internal::*;

use crate::{Error, InputSpec, Manifest};

/// Decodes the file. The protobuf holds copies of all weights, so the bytes can go.
///
/// # Errors
/// [`Error::Load`] when it is no ONNX model.
pub(crate) fn decode(onnx: &[u8]) -> Result<ModelProto, Error> {
    ModelProto::decode(onnx).map_err(|error| Error::Load(error.into()))
}

/// Types `onnx` for the shapes that `manifest` gives, symbols included.
///
/// # Errors
/// [`Error::Manifest`] for shapes that are not understood, [`Error::Load`] for anything in the file.
pub(crate) fn typed_model(manifest: &Manifest, onnx: &ModelProto) -> Result<TypedModel, Error> {
    let mut framework = tract_onnx::onnx();
    framework.ignore_value_info = true;
    framework
        .op_register
        .insert("QuantizeLinear", quantize_linear);
    framework
        .op_register
        .insert("DequantizeLinear", dequantize_linear);
    framework
        .op_register
        .insert("LayerNormalization", layer_normalization);
    framework.op_register.insert("GlobalAveragePool", |_, _| {
        Ok((expand(GlobalAveragePool), vec![]))
    });
    framework.op_register.insert("Resize", resize);
    framework.op_register.insert("Concat", concat);
    typed_with(framework, manifest, onnx)
}

/// The same, with tract's own operators throughout: for graphs that the lowering does not cover.
///
/// # Errors
/// As [`typed_model`].
pub(crate) fn plain_typed_model(
    manifest: &Manifest,
    onnx: &ModelProto,
) -> Result<TypedModel, Error> {
    let mut framework = tract_onnx::onnx();
    framework.ignore_value_info = true;
    typed_with(framework, manifest, onnx)
}

fn typed_with(
    framework: tract_onnx::Onnx,
    manifest: &Manifest,
    onnx: &ModelProto,
) -> Result<TypedModel, Error> {
    let mut model = framework.model_for_proto_model(onnx).map_err(Error::Load)?;
    let names: Vec<&str> = manifest
        .inputs
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    model.set_input_names(&names).map_err(Error::Load)?;
    for (index, input) in manifest.inputs.iter().enumerate() {
        let fact = input_fact(&model, input)?;
        model.set_input_fact(index, fact).map_err(Error::Load)?;
    }
    let names: Vec<&str> = manifest
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    model.select_outputs_by_name(&names).map_err(Error::Load)?;
    for index in 0..names.len() {
        // The file's symbols are not the manifest's; the analysis finds the shape anew.
        model
            .set_output_fact(index, InferenceFact::default())
            .map_err(Error::Load)?;
    }
    model.into_typed().map_err(Error::Load)
}

fn input_fact(model: &InferenceModel, input: &InputSpec) -> Result<InferenceFact, Error> {
    let mut shape: TVec<TDim> = tvec![];
    for dim in &input.shape {
        let (factor, symbol) = dim.parts()?;
        shape.push(match symbol {
            None => factor.to_dim(),
            Some(symbol) => model.symbols.sym(symbol).to_dim() * factor,
        });
    }
    Ok(InferenceFact::dt_shape(f32::datum_type(), shape))
}

/// `q = saturate(round_half_even(x / scale) + zero_point)`, for the whole tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantize {
    pub(crate) params: Affine,
}

/// `x = scale * (q - zero_point)`, with one scale for the tensor or one for each index along `axis`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dequantize {
    pub(crate) scales: Vec<f32>,
    /// As many as `scales`.
    pub(crate) zero_points: Vec<i32>,
    pub(crate) axis: usize,
}

/// Normalisation over the last axis, then `* gamma + beta` (inputs 1 and, when there, 2).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerNorm {
    pub(crate) epsilon: f32,
}

/// Mean over all axes behind the channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GlobalMean;

/// Each element of `[N, C, spatial...]` repeated along each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeat {
    pub(crate) factors: Vec<usize>,
}

/// Joined along `axis`. Unlike tract's own, it does not ask for proof that the other extents are equal: symbolic shapes
/// carry roundings that tract cannot see through, and the program checks the real ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Concat {
    pub(crate) axis: usize,
}

/// How a tensor's 8-bit integers stand for real numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Affine {
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
    /// Whether the integers are i8. The program stores every activation as u8: an i8 value is kept plus 128.
    pub(crate) signed: bool,
}

impl Eq for Quantize {}
impl Eq for Dequantize {}
impl Eq for LayerNorm {}

impl Op for Concat {
    fn name(&self) -> StaticName {
        "Concat".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Concat {
    not_out_of_plan!();
}

impl TypedOp for Concat {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: Vec<TVec<TDim>> = inputs
            .iter()
            .map(|fact| fact.shape.iter().cloned().collect())
            .collect();
        Ok(tvec![inputs[0].datum_type.fact(joined(self.axis, &shapes))])
    }

    as_op!();
}

fn joined(axis: usize, shapes: &[TVec<TDim>]) -> TVec<TDim> {
    let mut shape = shapes[0].clone();
    shape[axis] = shapes.iter().map(|shape| shape[axis].clone()).sum();
    shape
}

macro_rules! marker {
    ($op:ty, $name:literal, $output:expr) => {
        impl Op for $op {
            fn name(&self) -> StaticName {
                $name.into()
            }

            op_as_typed_op!();
        }

        impl EvalOp for $op {
            not_out_of_plan!();
        }

        impl TypedOp for $op {
            fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
                let output: fn(&$op, &[TDim]) -> (DatumType, TVec<TDim>) = $output;
                let (datum_type, shape) = output(self, &inputs[0].shape);
                Ok(tvec![datum_type.fact(shape)])
            }

            as_op!();
        }
    };
}

marker!(Quantize, "Quantize", |op, shape| {
    (
        if op.params.signed {
            i8::datum_type()
        } else {
            u8::datum_type()
        },
        shape.into(),
    )
});
marker!(Dequantize, "Dequantize", |_, shape| (
    f32::datum_type(),
    shape.into()
));
marker!(LayerNorm, "LayerNorm", |_, shape| (
    f32::datum_type(),
    shape.into()
));
marker!(GlobalMean, "GlobalMean", |_, shape| (
    f32::datum_type(),
    pooled(shape)
));
marker!(Repeat, "Repeat", |op, shape| (
    f32::datum_type(),
    repeated(shape, &op.factors)
));

fn pooled(shape: &[TDim]) -> TVec<TDim> {
    shape
        .iter()
        .enumerate()
        .map(|(axis, extent)| if axis < 2 { extent.clone() } else { 1.to_dim() })
        .collect()
}

fn repeated(shape: &[TDim], factors: &[usize]) -> TVec<TDim> {
    let factors = [1, 1].iter().chain(factors);
    shape
        .iter()
        .zip(factors)
        .map(|(extent, &factor)| extent.clone() * factor)
        .collect()
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

fn quantize_linear(_: &tract_onnx::model::ParsingContext, node: &NodeProto) -> Built {
    check_attributes(node)?;
    // 2 is `TensorProto.UINT8`, and 0 leaves it to the zero point.
    let output: i64 = node.get_attr_opt("output_dtype")?.unwrap_or(0);
    ensure!(
        node.input.len() == 3 || [0, 2].contains(&output),
        "QuantizeLinear to type {output} without a zero point"
    );
    Ok((
        expand(QuantizeLinear {
            zero_point: node.input.len() == 3,
        }),
        vec![],
    ))
}

fn dequantize_linear(_: &tract_onnx::model::ParsingContext, node: &NodeProto) -> Built {
    check_attributes(node)?;
    let axis = node.get_attr_opt("axis")?.unwrap_or(1i64);
    Ok((
        expand(DequantizeLinear {
            zero_point: node.input.len() == 3,
            axis,
        }),
        vec![],
    ))
}

fn layer_normalization(_: &tract_onnx::model::ParsingContext, node: &NodeProto) -> Built {
    let axis: i64 = node.get_attr_opt("axis")?.unwrap_or(-1);
    ensure!(
        axis == -1,
        "LayerNormalization over axis {axis}: only the last axis is supported"
    );
    ensure!(
        node.output.len() == 1,
        "LayerNormalization with {} outputs",
        node.output.len()
    );
    ensure!(
        (2..=3).contains(&node.input.len()),
        "LayerNormalization with {} inputs",
        node.input.len()
    );
    let epsilon = node.get_attr_opt("epsilon")?.unwrap_or(1e-5);
    Ok((
        expand(LayerNormalization {
            epsilon,
            inputs: node.input.len(),
        }),
        vec![],
    ))
}

fn resize(_: &tract_onnx::model::ParsingContext, node: &NodeProto) -> Built {
    let attribute = |name, default| -> TractResult<String> {
        Ok(node
            .get_attr_opt::<&str>(name)?
            .unwrap_or(default)
            .to_owned())
    };
    let mode = attribute("mode", "nearest")?;
    let coordinates = attribute("coordinate_transformation_mode", "half_pixel")?;
    let rounding = attribute("nearest_mode", "round_prefer_floor")?;
    ensure!(
        mode == "nearest" && coordinates == "asymmetric" && rounding == "floor",
        "Resize by {mode}, {coordinates}, {rounding}: only nearest, asymmetric, floor is supported"
    );
    let given = |index: usize| node.input.get(index).is_some_and(|name| !name.is_empty());
    ensure!(
        given(2) && !given(3) && node.get_attr_opt_vec::<i64>("axes")?.is_none(),
        "Resize by anything but scales of all axes is not supported"
    );
    // Absent inputs have no name and no place among a node's inputs.
    let scales = 1 + usize::from(node.input.get(1).is_some_and(|name| !name.is_empty()));
    Ok((
        expand(Resize {
            scales,
            inputs: node.input.iter().filter(|name| !name.is_empty()).count(),
        }),
        vec![],
    ))
}

fn concat(_: &tract_onnx::model::ParsingContext, node: &NodeProto) -> Built {
    ensure!(!node.input.is_empty(), "Concat of nothing");
    let axis: i64 = node.get_attr("axis")?;
    // A concatenation of shapes, or from the back, is for tract.
    let axis = usize::try_from(axis).ok().filter(|&axis| axis > 0);
    let axis =
        axis.with_context(|| format!("Concat along axis {:?}", node.get_attr::<i64>("axis")))?;
    Ok((
        expand(Concatenate {
            axis,
            inputs: node.input.len(),
        }),
        vec![],
    ))
}

fn check_attributes(node: &NodeProto) -> TractResult<()> {
    let block_size: i64 = node.get_attr_opt("block_size")?.unwrap_or(0);
    ensure!(
        block_size == 0,
        "{}: blocks of {block_size} are not supported",
        node.op_type
    );
    Ok(())
}

#[derive(Debug, Clone)]
struct QuantizeLinear {
    zero_point: bool,
}

impl Expansion for QuantizeLinear {
    fn name(&self) -> StaticName {
        "QuantizeLinear".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2 + usize::from(self.zero_point))?;
        check_output_arity(outputs, 1)?;
        if self.zero_point {
            s.equals(&outputs[0].datum_type, &inputs[2].datum_type)?;
        } else {
            s.equals(&outputs[0].datum_type, u8::datum_type())?;
        }
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let (scales, zero_points, datum_type) = parameters(model, inputs, self.zero_point)?;
        let ([scale], [zero_point]) = (&*scales, &*zero_points) else {
            bail!(
                "QuantizeLinear with {} scales: only one is supported",
                scales.len()
            );
        };
        ensure!(datum_type != i32::datum_type(), "QuantizeLinear to 32 bits");
        let params = Affine {
            scale: *scale,
            zero_point: *zero_point,
            signed: datum_type == i8::datum_type(),
        };
        model.wire_node(prefix, Quantize { params }, &inputs[..1])
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone)]
struct DequantizeLinear {
    zero_point: bool,
    axis: i64,
}

impl Expansion for DequantizeLinear {
    fn name(&self) -> StaticName {
        "DequantizeLinear".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2 + usize::from(self.zero_point))?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let (scales, zero_points, _) = parameters(model, inputs, self.zero_point)?;
        let rank = model.outlet_fact(inputs[0])?.rank() as i64;
        let axis = if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        };
        ensure!(
            scales.len() == 1 || (0..rank).contains(&axis),
            "axis {} of a tensor of rank {rank}",
            self.axis
        );
        let axis = if scales.len() == 1 {
            0
        } else {
            usize::try_from(axis)?
        };
        if scales.len() > 1 {
            let extent = &model.outlet_fact(inputs[0])?.shape[axis];
            ensure!(
                *extent == scales.len().to_dim(),
                "{} scales for an axis of {extent}",
                scales.len()
            );
        }
        model.wire_node(
            prefix,
            Dequantize {
                scales,
                zero_points,
                axis,
            },
            &inputs[..1],
        )
    }

    fn runs_out_of_plan(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone)]
struct LayerNormalization {
    epsilon: f32,
    inputs: usize,
}

impl Expansion for LayerNormalization {
    fn name(&self) -> StaticName {
        "LayerNormalization".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(
            prefix,
            LayerNorm {
                epsilon: self.epsilon,
            },
            inputs,
        )
    }
}

#[derive(Debug, Clone)]
struct GlobalAveragePool;

impl Expansion for GlobalAveragePool {
    fn name(&self) -> StaticName {
        "GlobalAveragePool".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.given(&inputs[0].shape, move |s, shape| {
            s.equals(&outputs[0].shape, pooled(&shape))
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, GlobalMean, inputs)
    }
}

#[derive(Debug, Clone)]
struct Resize {
    scales: usize,
    inputs: usize,
}

impl Resize {
    /// The factors of the spatial axes.
    fn factors(&self, scales: &Tensor) -> TractResult<Vec<usize>> {
        let scales = scales.cast_to::<f32>()?;
        let scales = scales.try_as_plain_ram()?.as_slice::<f32>()?;
        let whole = |scale: f32| (1.0..=64.0).contains(&scale) && scale.fract() == 0.0;
        ensure!(
            scales.len() > 2
                && scales[..2] == [1.0, 1.0]
                && scales.iter().all(|&scale| whole(scale)),
            "Resize by {scales:?}: only whole spatial factors are supported"
        );
        Ok(scales[2..].iter().map(|&scale| scale as usize).collect())
    }
}

impl Expansion for Resize {
    fn name(&self) -> StaticName {
        "Resize".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs)?;
        check_output_arity(outputs, 1)?;
        ensure!(
            self.scales < self.inputs,
            "Resize without scales is not supported"
        );
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.given_2(
            &inputs[0].shape,
            &inputs[self.scales].value,
            move |s, shape, scales| {
                s.equals(&outputs[0].shape, repeated(&shape, &self.factors(&scales)?))
            },
        )
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let factors = self.factors(&*constant(model, inputs[self.scales], "scales")?)?;
        model.wire_node(prefix, Repeat { factors }, &inputs[..1])
    }
}

#[derive(Debug, Clone)]
struct Concatenate {
    axis: usize,
    inputs: usize,
}

impl Expansion for Concatenate {
    fn name(&self) -> StaticName {
        "Concat".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.inputs)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes| {
            ensure!(
                shapes
                    .iter()
                    .all(|shape| shape.len() == shapes[0].len() && self.axis < shape.len()),
                "Concat along axis {} of {shapes:?}",
                self.axis
            );
            s.equals(&outputs[0].shape, joined(self.axis, &shapes))
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, Concat { axis: self.axis }, inputs)
    }
}

/// Scales, zero points (as many) and the quantised type of inputs 1 and 2 of a quantisation operator.
fn parameters(
    model: &TypedModel,
    inputs: &[OutletId],
    has_zero_point: bool,
) -> TractResult<(Vec<f32>, Vec<i32>, DatumType)> {
    let scales = constant(model, inputs[1], "scale")?;
    let scales = scales
        .cast_to::<f32>()?
        .try_as_plain_ram()?
        .as_slice::<f32>()?
        .to_vec();
    ensure!(!scales.is_empty(), "no scale");
    if let Some(scale) = scales
        .iter()
        .find(|scale| !(scale.is_normal() && **scale > 0.0))
    {
        bail!("scale {scale} is not a positive number");
    }
    if !has_zero_point {
        let zero_points = vec![0; scales.len()];
        return Ok((scales, zero_points, u8::datum_type()));
    }
    let zero_points = constant(model, inputs[2], "zero point")?;
    let datum_type = zero_points.datum_type();
    ensure!(
        [u8::datum_type(), i8::datum_type(), i32::datum_type()].contains(&datum_type),
        "zero point of type {datum_type:?}"
    );
    let zero_points = zero_points
        .cast_to::<i32>()?
        .try_as_plain_ram()?
        .as_slice::<i32>()?
        .to_vec();
    ensure!(
        zero_points.len() == scales.len(),
        "{} scales but {} zero points",
        scales.len(),
        zero_points.len()
    );
    Ok((scales, zero_points, datum_type))
}

fn constant(model: &TypedModel, outlet: OutletId, what: &str) -> TractResult<Arc<Tensor>> {
    model
        .outlet_fact(outlet)?
        .konst
        .clone()
        .with_context(|| format!("{what} must be a constant"))
}
