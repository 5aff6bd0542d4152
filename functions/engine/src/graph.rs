//! A loaded model: the manifest's border around a program, or around tract where there is no integer form.

use std::sync::Arc;

use anyhow::Context;
use tract_onnx::prelude::*;

use crate::program::{Given, Program};
use crate::{ChannelOrder, Data, Error, InputSpec, Manifest, Model, Tensor, import, lower};

/// A model in memory, ready to run.
#[derive(Debug)]
pub struct Graph {
    inputs: Vec<InputSpec>,
    outputs: Vec<String>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Our integer operators.
    Int8(Program),
    /// tract in f32, and why.
    Tract(Arc<TypedRunnableModel>, String),
}

impl Graph {
    /// Imports and rewrites `onnx`.
    ///
    /// A graph with an operator that has no integer form runs in tract as a whole, in f32: see
    /// [`float_reason`](Self::float_reason).
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Load`] when the file is not what the manifest says, or tract cannot run it either.
    pub fn load(manifest: &Manifest, onnx: Vec<u8>) -> Result<Self, Error> {
        let weights = Vec::with_capacity(onnx.len());
        Self::load_into(manifest, onnx, weights)
    }

    /// The same, with the weights packed into the room of `weights`, which is empty.
    ///
    /// Lean in memory, because what loading touches becomes part of a snapshot: the bytes go before tract makes tensors of
    /// them, the protobuf goes before the weights are packed, and room that was made before all of that lies below it.
    pub(crate) fn load_into(
        manifest: &Manifest,
        onnx: Vec<u8>,
        weights: Vec<i8>,
    ) -> Result<Self, Error> {
        let proto = import::decode(&onnx)?;
        drop(onnx);
        let lowered = import::typed_model(manifest, &proto).and_then(|model| {
            lower::check(&model, manifest).map_err(Error::Load)?;
            Ok(model)
        });
        let form = match lowered {
            Ok(model) => {
                drop(proto);
                let program = lower::program(&model, manifest, weights);
                Form::Int8(program.map_err(Error::Load)?)
            }
            Err(Error::Load(reason)) => {
                let model = import::plain_typed_model(manifest, &proto)?;
                let runnable = model
                    .into_optimized()
                    .and_then(|model| model.into_runnable())
                    .map_err(Error::Load)?;
                Form::Tract(runnable, format!("{reason:#}"))
            }
            Err(error) => return Err(error),
        };
        let outputs = manifest
            .outputs
            .iter()
            .map(|output| output.name.clone())
            .collect();
        Ok(Self {
            inputs: manifest.inputs.clone(),
            outputs,
            form,
        })
    }

    /// Why the graph runs in f32; `None` when it runs in integers.
    #[must_use]
    pub fn float_reason(&self) -> Option<&str> {
        match &self.form {
            Form::Int8(_) => None,
            Form::Tract(_, reason) => Some(reason),
        }
    }

    /// The manifest's inputs among `given`, in the manifest's order, and the values of the symbols in the order in which
    /// they appear there.
    fn bind<'g>(&self, given: &'g [(&str, Tensor)]) -> Result<(Vec<&'g Tensor>, Vec<i64>), Error> {
        let mut symbols: Vec<(&str, i64)> = vec![];
        let mut tensors = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let (_, tensor) = given
                .iter()
                .find(|(name, _)| *name == input.name)
                .ok_or_else(|| Error::Input(format!("{} is missing", input.name)))?;
            let shape = graph_shape(input, tensor)?;
            for (dim, &extent) in input.shape.iter().zip(&shape) {
                let (factor, symbol) = dim.parts()?;
                let value = i64::try_from(extent / factor.max(1)).unwrap_or(i64::MAX);
                let fits = match symbol {
                    None => extent == factor,
                    Some(_) if extent == 0 || extent % factor != 0 => false,
                    Some(symbol) => match symbols.iter().find(|(name, _)| *name == symbol) {
                        Some((_, before)) => *before == value,
                        None => {
                            symbols.push((symbol, value));
                            true
                        }
                    },
                };
                if !fits {
                    return Err(Error::Input(format!(
                        "{}: expected {:?}, got {shape:?}",
                        input.name, input.shape
                    )));
                }
            }
            tensors.push(tensor);
        }
        if given.len() != self.inputs.len() {
            return Err(Error::Input(format!(
                "expected {} tensors, got {}",
                self.inputs.len(),
                given.len()
            )));
        }
        Ok((
            tensors,
            symbols.into_iter().map(|(_, value)| value).collect(),
        ))
    }
}

impl Model for Graph {
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let (tensors, symbols) = self.bind(inputs)?;
        let results = match &self.form {
            Form::Int8(program) => {
                let given = tensors.iter().map(|tensor| match &tensor.data {
                    Data::U8(bytes) => Given::U8(bytes),
                    Data::F32(values) => Given::F32(values),
                });
                program
                    .run(&symbols, &given.collect::<Vec<_>>())
                    .map_err(Error::Run)?
            }
            Form::Tract(model, _) => {
                run_in_tract(model, &self.inputs, &tensors).map_err(Error::Run)?
            }
        };
        let named = self.outputs.iter().zip(results);
        named
            .map(|(name, (shape, values))| Ok((name.clone(), Tensor::f32(&shape, values)?)))
            .collect()
    }
}

/// Whether the model takes this input as pixels.
fn is_image(input: &InputSpec) -> bool {
    !input.mean.is_empty()
}

/// The shape of a given tensor as the graph sees it.
fn graph_shape(input: &InputSpec, tensor: &Tensor) -> Result<Vec<usize>, Error> {
    tensor.check()?;
    let shape = match (&tensor.data, is_image(input), tensor.shape.as_slice()) {
        (Data::U8(_), true, &[n, h, w, c]) => vec![n, c, h, w],
        (Data::F32(_), false, shape) => shape.to_vec(),
        (_, true, shape) => {
            return Err(Error::Input(format!(
                "{}: expected [1, H, W, 3] u8, got {shape:?}",
                input.name
            )));
        }
        (_, false, shape) => {
            return Err(Error::Input(format!(
                "{}: expected f32, got u8 {shape:?}",
                input.name
            )));
        }
    };
    if shape.len() != input.shape.len() {
        return Err(Error::Input(format!(
            "{}: expected {:?}, got {shape:?}",
            input.name, input.shape
        )));
    }
    Ok(shape)
}

fn run_in_tract(
    model: &Arc<TypedRunnableModel>,
    specs: &[InputSpec],
    tensors: &[&Tensor],
) -> anyhow::Result<Vec<(Vec<usize>, Vec<f32>)>> {
    let inputs = specs.iter().zip(tensors).map(|(spec, tensor)| {
        let shape = graph_shape(spec, tensor)?;
        let values = match &tensor.data {
            Data::F32(values) => values.clone(),
            Data::U8(bytes) => normalised(spec, &shape, bytes),
        };
        Ok(tract_onnx::prelude::Tensor::from_shape(&shape, &values)?.into_tvalue())
    });
    let outputs = model.run(inputs.collect::<anyhow::Result<_>>()?)?;
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

/// Pixels `[N, H, W, 3]` as the graph's `[N, 3, H, W]`, normalised.
fn normalised(spec: &InputSpec, shape: &[usize], pixels: &[u8]) -> Vec<f32> {
    let plane = shape[2] * shape[3];
    let channels = spec.mean.len();
    let mut values = vec![0.0; pixels.len()];
    for (index, value) in values.iter_mut().enumerate() {
        let (image, channel, at) = (
            index / (channels * plane),
            index / plane % channels,
            index % plane,
        );
        let source = match spec.channels {
            ChannelOrder::Rgb => channel,
            ChannelOrder::Bgr => channels - 1 - channel,
        };
        let pixel = pixels[(image * plane + at) * channels + source];
        *value = (f32::from(pixel) / 255.0 - spec.mean[channel]) / spec.std[channel];
    }
    values
}
