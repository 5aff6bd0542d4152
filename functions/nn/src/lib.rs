//! A model's description -> a [`RemoteGraph`], which sends tensors to the graph of that name in the host, through wasi-nn.
//!
//! What a function built with its feature `wasi-nn` has in place of [`ephemera_engine::bundle`]: the same call gives values of the same
//! traits, and nothing else in the function knows. Only in WebAssembly; natively this crate is empty.
//!
//! A snapshot must hold no handle, so a graph is looked up by its name at every run, which costs the host one map.
#![cfg(target_family = "wasm")]

use std::io::Read;

use ephemera_engine::{
    Data, Datatype, Error, Manifest, Model, Port, RawModel, RawTensor, Tensor, bundle, ordered,
};

// Generated: the component model's calling convention.
#[allow(unsafe_code, missing_docs)]
mod bindings {
    spin_sdk::wit_bindgen::generate!({
        path: "../wit/deps/wasi-nn@0.2.0-rc-2024-10-28/wasi-nn.wit",
        world: "ml",
        runtime_path: "::spin_sdk::wit_bindgen::rt",
    });
}

use bindings::wasi::nn::errors::{Error as Refusal, ErrorCode};
use bindings::wasi::nn::graph::load_by_name;
use bindings::wasi::nn::tensor::{Tensor as Sent, TensorType};

/// A graph that the host has.
pub struct RemoteGraph {
    name: String,
    inputs: Vec<Port>,
}

/// Reads the descriptions in `stream`; their graphs are the host's.
///
/// # Errors
/// As [`bundle::describe`]; a graph with inputs or outputs that do not cross to the host.
pub fn load(stream: impl Read) -> Result<Vec<(Manifest, RemoteGraph)>, Error> {
    let described = bundle::describe(stream)?.into_iter();
    let with_graph = described.map(|manifest| {
        let (name, inputs) = (manifest.name.clone(), manifest.input_ports());
        let outputs = manifest.output_ports();
        let stays = |port: &&Port| kind(port.datatype).is_none();
        if let Some(port) = inputs.iter().chain(&outputs).find(stays) {
            let text = format!(
                "{name}: expected u8 and f32, which cross to a device, `{}` is {}",
                port.name, port.datatype
            );
            return Err(Error::Manifest(text));
        }
        Ok((manifest, RemoteGraph { name, inputs }))
    });
    with_graph.collect()
}

/// What the interface calls the type, of those that graphs of ours have at their border.
fn kind(datatype: Datatype) -> Option<TensorType> {
    match datatype {
        Datatype::U8 => Some(TensorType::U8),
        Datatype::F32 => Some(TensorType::Fp32),
        _ => None,
    }
}

impl Model for RemoteGraph {
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let inputs = inputs
            .iter()
            .map(|(name, tensor)| {
                let kind = match tensor.data {
                    Data::U8(_) => TensorType::U8,
                    Data::F32(_) => TensorType::Fp32,
                };
                let sent = sent(&tensor.shape, kind, &tensor.le_bytes())?;
                Ok(((*name).to_owned(), sent))
            })
            .collect::<Result<_, Error>>()?;
        let outputs = self.compute(inputs)?.into_iter();
        outputs
            .map(|(name, tensor)| {
                let shape = self.shape(&tensor)?;
                Ok((name, Tensor::f32_from_le_bytes(&shape, &tensor.data())?))
            })
            .collect()
    }
}

impl RawModel for RemoteGraph {
    fn run_raw(&self, inputs: Vec<(String, RawTensor)>) -> Result<Vec<(String, RawTensor)>, Error> {
        // Held against the description here, so that what does not fit is told in the words of a graph that is inside.
        let inputs = ordered(&self.inputs, inputs)?.into_iter();
        let inputs = inputs.map(|(port, tensor)| {
            let kind = kind(port.datatype);
            let kind = kind.ok_or_else(|| self.failed("a type that does not cross"))?;
            let sent = sent(tensor.shape(), kind, tensor.bytes())?;
            Ok((port.name.clone(), sent))
        });
        let outputs = self.compute(inputs.collect::<Result<_, Error>>()?)?;
        let outputs = outputs.into_iter().map(|(name, tensor)| {
            let shape = self.shape(&tensor)?;
            Ok((name, RawTensor::new(Datatype::F32, shape, tensor.data())?))
        });
        outputs.collect()
    }

    /// Zero: what runs the graph counts them, and says when there are too many.
    fn raw_arena_bytes(&self, _: &[(String, RawTensor)]) -> Result<usize, Error> {
        Ok(0)
    }
}

impl RemoteGraph {
    fn compute(&self, inputs: Vec<(String, Sent)>) -> Result<Vec<(String, Sent)>, Error> {
        let graph = load_by_name(&self.name).map_err(|refusal| error(&refusal))?;
        let context = graph.init_execution_context();
        let outputs = context.and_then(|context| context.compute(inputs));
        outputs.map_err(|refusal| error(&refusal))
    }

    /// The shape of an output, all of which are f32.
    fn shape(&self, tensor: &Sent) -> Result<Vec<usize>, Error> {
        if tensor.ty() != TensorType::Fp32 {
            return Err(self.failed(&format!("expected f32, got {:?}", tensor.ty())));
        }
        Ok(tensor.dimensions().iter().map(|&d| d as usize).collect())
    }

    fn failed(&self, how: &str) -> Error {
        Error::Run(anyhow::Error::msg(format!("graph `{}`: {how}", self.name)))
    }
}

fn error(refusal: &Refusal) -> Error {
    match refusal.code() {
        ErrorCode::InvalidArgument => Error::Input(refusal.data()),
        ErrorCode::TooLarge => Error::TooLarge(refusal.data()),
        code => Error::Run(anyhow::Error::msg(format!("{code:?}: {}", refusal.data()))),
    }
}

/// The host's copy of a tensor.
fn sent(shape: &[usize], kind: TensorType, bytes: &[u8]) -> Result<Sent, Error> {
    let extents = shape.iter().map(|&extent| u32::try_from(extent));
    let extents: Result<Vec<u32>, _> = extents.collect();
    let extents = extents.map_err(|_| Error::Input(format!("shape {shape:?}")))?;
    Ok(Sent::new(&extents, kind, bytes))
}
