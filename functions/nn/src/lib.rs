//! A model's description -> a [`RemoteGraph`], which sends tensors to the graph of that name in the host, through wasi-nn.
//!
//! What a function built with its feature `wasi-nn` has in place of [`ephemera_engine::bundle`]: the same call gives values of the same
//! trait, and nothing else in the function knows. Only in WebAssembly; natively this crate is empty.
//!
//! A snapshot must hold no handle, so a graph is looked up by its name at every run, which costs the host one map.
#![cfg(target_family = "wasm")]

use std::io::Read;

use ephemera_engine::{Data, Error, Manifest, Model, Tensor, bundle};

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
}

/// Reads the descriptions in `stream`; their graphs are the host's.
///
/// # Errors
/// As [`bundle::describe`].
pub fn load(stream: impl Read) -> Result<Vec<(Manifest, RemoteGraph)>, Error> {
    let described = bundle::describe(stream)?.into_iter();
    let with_graph = described.map(|manifest| {
        let name = manifest.name.clone();
        (manifest, RemoteGraph { name })
    });
    Ok(with_graph.collect())
}

impl Model for RemoteGraph {
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let inputs = inputs
            .iter()
            .map(|(name, tensor)| Ok(((*name).to_owned(), sent(tensor)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let graph = load_by_name(&self.name).map_err(|refusal| self.error(&refusal))?;
        let outputs = graph
            .init_execution_context()
            .and_then(|context| context.compute(inputs))
            .map_err(|refusal| self.error(&refusal))?;
        let outputs = outputs.into_iter();
        outputs
            .map(|(name, tensor)| Ok((name, self.received(tensor)?)))
            .collect()
    }
}

impl RemoteGraph {
    fn received(&self, tensor: Sent) -> Result<Tensor, Error> {
        if tensor.ty() != TensorType::Fp32 {
            let text = format!("graph `{}`: expected f32, got {:?}", self.name, tensor.ty());
            return Err(Error::Run(anyhow::Error::msg(text)));
        }
        let shape: Vec<usize> = tensor.dimensions().iter().map(|&d| d as usize).collect();
        Tensor::f32_from_le_bytes(&shape, &tensor.data())
    }

    fn error(&self, refusal: &Refusal) -> Error {
        match refusal.code() {
            ErrorCode::InvalidArgument => Error::Input(refusal.data()),
            code => Error::Run(anyhow::Error::msg(format!("{code:?}: {}", refusal.data()))),
        }
    }
}

/// The host's copy of a tensor.
fn sent(tensor: &Tensor) -> Result<Sent, Error> {
    let extents = tensor.shape.iter().map(|&extent| u32::try_from(extent));
    let extents: Result<Vec<u32>, _> = extents.collect();
    let extents = extents.map_err(|_| Error::Input(format!("shape {:?}", tensor.shape)))?;
    let kind = match tensor.data {
        Data::U8(_) => TensorType::U8,
        Data::F32(_) => TensorType::Fp32,
    };
    Ok(Sent::new(&extents, kind, &tensor.le_bytes()))
}
