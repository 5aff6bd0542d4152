//! A graph in tract as a whole, in f32: for what the lowering does not cover, and to compare with.

use std::sync::Arc;

use anyhow::Context;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::SymbolValues;

use crate::graph::graph_shape;
use crate::{ChannelOrder, Data, Datatype, Error, InputSpec, Manifest, RawTensor, import};

/// tract's own optimised form of a graph.
#[derive(Debug)]
pub(crate) struct FloatGraph {
    model: Arc<TypedRunnableModel>,
    reason: String,
}

impl FloatGraph {
    /// `reason`: why the graph is not lowered.
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Load`] when the file is not what the manifest says, or tract cannot run it.
    pub(crate) fn load(
        manifest: &Manifest,
        proto: &ModelProto,
        reason: String,
    ) -> Result<Self, Error> {
        let model = import::plain_typed_model(manifest, proto)?;
        check_volumes(&model).map_err(Error::Load)?;
        let model = model
            .into_optimized()
            .and_then(|model| model.into_runnable())
            .map_err(Error::Load)?;
        Ok(Self { model, reason })
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// `tensors`: as `specs`. Returns shape and elements of each output.
    pub(crate) fn run(
        &self,
        specs: &[InputSpec],
        tensors: &[&crate::Tensor],
    ) -> anyhow::Result<Vec<(Vec<usize>, Vec<f32>)>> {
        let inputs = specs.iter().zip(tensors).map(|(spec, tensor)| {
            let shape = graph_shape(spec, tensor)?;
            let values = match &tensor.data {
                Data::F32(values) => values.clone(),
                Data::U8(bytes) => normalised(spec, &shape, bytes),
            };
            Ok(Tensor::from_shape(&shape, &values)?.into_tvalue())
        });
        let outputs = run(&self.model, inputs.collect::<anyhow::Result<_>>()?)?;
        let read = |output: TValue| {
            let values = output
                .cast_to::<f32>()?
                .try_as_plain_ram()?
                .as_slice::<f32>()?
                .to_vec();
            Ok((output.shape().to_vec(), values))
        };
        outputs
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()
            .context("reading the outputs")
    }
}

impl FloatGraph {
    /// The same on elements of any type. `tensors`: of the types and in the order of axes of the manifest's ports.
    /// `datatypes`: of the outputs.
    pub(crate) fn run_raw(
        &self,
        specs: &[InputSpec],
        tensors: Vec<RawTensor>,
        datatypes: &[Datatype],
    ) -> anyhow::Result<Vec<RawTensor>> {
        let inputs = specs.iter().zip(tensors).map(|(spec, tensor)| {
            if spec.mean.is_empty() {
                return Ok(of_bytes(&tensor)?.into_tvalue());
            }
            let pixels = crate::Tensor::u8(tensor.shape(), tensor.bytes().to_vec())?;
            let shape = graph_shape(spec, &pixels)?;
            let values = normalised(spec, &shape, tensor.bytes());
            Ok(Tensor::from_shape(&shape, &values)?.into_tvalue())
        });
        let outputs = run(&self.model, inputs.collect::<anyhow::Result<_>>()?)?;
        let read = |(output, &datatype): (TValue, &Datatype)| {
            let output = output.cast_to_dt(datum_type(datatype))?;
            let bytes = output.try_as_plain_ram()?.as_bytes().to_vec();
            Ok(RawTensor::new(datatype, output.shape().to_vec(), bytes)?)
        };
        outputs
            .into_iter()
            .zip(datatypes)
            .map(read)
            .collect::<anyhow::Result<_>>()
            .context("reading the outputs")
    }
}

/// tract's own name of a type.
pub(crate) fn datum_type(datatype: Datatype) -> DatumType {
    match datatype {
        Datatype::Bool => DatumType::Bool,
        Datatype::U8 => DatumType::U8,
        Datatype::U16 => DatumType::U16,
        Datatype::U32 => DatumType::U32,
        Datatype::U64 => DatumType::U64,
        Datatype::I8 => DatumType::I8,
        Datatype::I16 => DatumType::I16,
        Datatype::I32 => DatumType::I32,
        Datatype::I64 => DatumType::I64,
        Datatype::F16 => DatumType::F16,
        Datatype::F32 => DatumType::F32,
        Datatype::F64 => DatumType::F64,
    }
}

/// The same elements as a tensor of tract's. All targets are little-endian.
fn of_bytes(raw: &RawTensor) -> TractResult<Tensor> {
    let mut tensor = Tensor::zero_dt(datum_type(raw.datatype()), raw.shape())?;
    let to = tensor.as_bytes_mut();
    match raw.datatype() {
        // A boolean of any other byte would be none.
        Datatype::Bool => {
            for (to, &from) in to.iter_mut().zip(raw.bytes()) {
                *to = u8::from(from != 0);
            }
        }
        _ => to.copy_from_slice(raw.bytes()),
    }
    Ok(tensor)
}

/// No tensor is larger than what a program may hold; what symbols stand for is taken for the least.
pub(crate) fn check_volumes(model: &TypedModel) -> TractResult<()> {
    let volume = |fact: &TypedFact| {
        fact.shape.iter().try_fold(1usize, |volume, dim| {
            let least = dim
                .symbols()
                .into_iter()
                .fold(SymbolValues::default(), |values, symbol| {
                    values.with(&symbol, 1)
                });
            // What cannot be said yet is not counted.
            let extent = dim
                .eval_to_i64(&least)
                .map_or(1, |extent| extent.max(0) as usize);
            volume
                .checked_mul(extent)
                .filter(|&volume| volume <= MAX_ELEMENTS)
        })
    };
    for node in model.nodes() {
        for output in &node.outputs {
            let shape = &output.fact.shape;
            volume(&output.fact).with_context(|| {
                format!("{}: {shape:?} has over {MAX_ELEMENTS} elements", node.name)
            })?;
        }
    }
    Ok(())
}

/// As many f32 as a program's activations may take.
const MAX_ELEMENTS: usize = 1 << 28;

/// Runs `model`; a panic of tract's is an error, where panics can be caught.
pub(crate) fn run(
    model: &Arc<TypedRunnableModel>,
    inputs: TVec<TValue>,
) -> anyhow::Result<TVec<TValue>> {
    let run = std::panic::AssertUnwindSafe(|| model.run(inputs));
    std::panic::catch_unwind(run)
        .unwrap_or_else(|_| Err(anyhow::Error::msg("tract panicked while it ran")))
}

/// Pixels `[N, H, W, 3]` or `[N, T, H, W, 3]` as the graph's `[N, 3, H, W]` or `[N, 3, T, H, W]`, normalised.
pub(crate) fn normalised(spec: &InputSpec, shape: &[usize], pixels: &[u8]) -> Vec<f32> {
    let plane: usize = shape[2..].iter().product();
    let channels = spec.mean.len();
    let mut values = Vec::with_capacity(pixels.len());
    // An image without extent has no values.
    for image in pixels.chunks_exact((plane * channels).max(1)) {
        for channel in 0..channels {
            let real =
                |pixel: u8| (f32::from(pixel) / 255.0 - spec.mean[channel]) / spec.std[channel];
            let reals: [f32; 256] = std::array::from_fn(|pixel| real(pixel as u8));
            let source = match spec.channels {
                ChannelOrder::Rgb => channel,
                ChannelOrder::Bgr => channels - 1 - channel,
            };
            let pixels = image.iter().skip(source).step_by(channels);
            values.extend(pixels.map(|&pixel| reals[usize::from(pixel)]));
        }
    }
    values
}
