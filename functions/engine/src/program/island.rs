//! An operator of the graph that has no form of ours, in tract, in f32.

use std::sync::Arc;

use anyhow::ensure;
use tract_onnx::prelude::*;

/// A part of the graph that ends in one f32 tensor, with its constants inside.
#[derive(Debug, Clone)]
pub(crate) struct Island {
    pub(crate) model: Arc<TypedRunnableModel>,
    /// The operator that it ends in, and why there is no other form.
    pub(crate) op: String,
    pub(crate) reason: String,
}

impl Island {
    /// `inputs`: elements and shape of each, as in the graph.
    pub(super) fn run(
        &self,
        inputs: &[(&[f32], &[usize])],
        out: &mut [f32],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let inputs = inputs
            .iter()
            .map(|(values, shape)| Ok(Tensor::from_shape(shape, values)?.into_tvalue()));
        let outputs = crate::float::run(&self.model, inputs.collect::<anyhow::Result<_>>()?)?;
        ensure!(outputs.len() == 1, "{} outputs", outputs.len());
        let output = outputs[0].cast_to::<f32>()?;
        ensure!(
            output.shape() == out_shape,
            "expected {out_shape:?}, got {:?}",
            output.shape()
        );
        out.copy_from_slice(output.try_as_plain_ram()?.as_slice::<f32>()?);
        Ok(())
    }
}
