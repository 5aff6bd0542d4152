//! The first steps of a model whose input is an image or a clip.

use tract_onnx::tract_core::internal::*;

use super::Lowering;
use super::expr::{Bytes, Place};
use crate::program::{Affine, Along, Element, Lookup, Op, requant};
use crate::{ChannelOrder, InputSpec};

impl Lowering<'_> {
    /// Pixels to quantised, normalised, reordered channels.
    pub(super) fn image(
        &mut self,
        outlet: OutletId,
        index: usize,
        affine: Affine,
    ) -> TractResult<Bytes> {
        let normalised = normalised(&self.manifest.inputs[index])?;
        let channels = normalised.map(|(source, values)| {
            (
                source,
                Lookup::new(|byte| requant::quantise(values.at(byte), affine)),
            )
        });
        let pixels = self.program.inputs[index];
        let image = Op::Image(Box::new(channels));
        let place = self.step_for(outlet, image, &[pixels], Element::I8, true)?;
        Ok(Bytes { place, affine })
    }

    /// Pixels to normalised, reordered channels, where the graph does not quantise them first.
    pub(super) fn real_image(&mut self, outlet: OutletId, index: usize) -> TractResult<Place> {
        let normalised = normalised(&self.manifest.inputs[index])?;
        let order = normalised
            .clone()
            .map(|(source, _)| (source, Lookup::new(|byte| byte)));
        let pixels = self.program.inputs[index];
        let image = Op::Image(Box::new(order));
        let bytes = self.step_for(outlet, image, &[pixels], Element::I8, true)?;
        let tables = normalised.map(|(_, values)| values).to_vec();
        // Channels are stored last.
        let axis = self.model.outlet_fact(outlet)?.rank() - 1;
        let decode = Op::DecodeAlong(Along { axis, tables });
        self.step_for(outlet, decode, &[bytes.value], Element::F32, true)
    }
}

/// For each channel of the graph, which of the picture it is, and the real number of each byte.
fn normalised(input: &InputSpec) -> TractResult<[(usize, Lookup<f32>); 3]> {
    ensure!(
        input.mean.len() == 3,
        "an image of {} channels",
        input.mean.len()
    );
    Ok(std::array::from_fn(|channel| {
        let (mean, std) = (input.mean[channel], input.std[channel]);
        let table = Lookup::new(|byte| {
            let value = f32::from(byte as u8);
            (value / 255.0 - mean) / std
        });
        let source = match input.channels {
            ChannelOrder::Rgb => channel,
            ChannelOrder::Bgr => 2 - channel,
        };
        (source, table)
    }))
}
