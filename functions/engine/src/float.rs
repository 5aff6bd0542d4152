//! A graph in tract as a whole, in f32: for what the lowering does not cover, and to compare with.

use std::sync::Arc;

use anyhow::Context;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::SymbolValues;

use crate::graph::graph_shape;
use crate::{ChannelOrder, Data, Error, InputSpec, Manifest, import};

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
