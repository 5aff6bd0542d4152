//! ONNX bytes to tract's typed model, with quantisation left standing.
//!
//! tract's own importer turns `QuantizeLinear` and `DequantizeLinear` into float arithmetic and folds what is constant,
//! so that int8 weights become f32. Here they become operators of our own, opaque to constant folding, that the lowering
//! recognises.
//!
//! ```text
//! check.rs       ONNX graph -> error        what no real model has
//! bounded.rs     tract's operators, held back from making huge constants
//! constants.rs   ONNX graph -> ONNX graph   quantised constants that are read as reals become f32
//! kept.rs        ONNX node  -> Kept         what tract would take apart, whole
//! mapping.rs     integers  <-> reals
//! stripped.rs    ONNX graph -> ONNX graph   no quantisation, for devices that are quicker with reals
//! guard.rs       a panic    -> an error
//! external.rs    several files -> one
//! signature.rs   ONNX graph -> inputs and outputs, for models without a manifest
//! ```

mod bounded;
mod check;
mod constants;
mod external;
mod guard;
mod kept;
mod mapping;
mod signature;
mod stripped;

use prost::Message;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

pub use external::{External, inline_external};
pub(crate) use guard::guarded;
pub(crate) use kept::{Kept, Pad, Resize};
pub(crate) use mapping::{Mapping, elements};
pub use signature::Signature;

use crate::{Error, InputSpec, Manifest, float};

/// Most bytes of a file: far more than what one instance's memory holds.
const MAX_BYTES: usize = 1 << 30;

/// Decodes the file, and folds what is quantised and constant.
///
/// # Errors
/// [`Error::Load`] when it is no ONNX model.
pub(crate) fn decode(onnx: &[u8]) -> Result<ModelProto, Error> {
    if onnx.len() > MAX_BYTES {
        let error = anyhow::anyhow!("{} bytes, limit is {MAX_BYTES}", onnx.len());
        return Err(Error::Load(error));
    }
    let mut model = ModelProto::decode(onnx).map_err(|error| Error::Load(error.into()))?;
    check::check(&model).map_err(Error::Load)?;
    model.graph.iter_mut().for_each(constants::fold);
    Ok(model)
}

/// Decodes the file and takes the quantisation out of it: weights become the reals that they stand for, and activations stay as they are
/// computed.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_stripped(onnx: &[u8]) -> Result<ModelProto, Error> {
    let mut model = decode(onnx)?;
    if let Some(graph) = &mut model.graph {
        constants::fold_all(graph);
        stripped::strip(graph).map_err(Error::Load)?;
    }
    Ok(model)
}

/// Types `onnx` for the shapes that `manifest` gives, symbols included.
///
/// # Errors
/// [`Error::Manifest`] for shapes that are not understood, [`Error::Load`] for anything in the file.
pub(crate) fn typed_model(manifest: &Manifest, onnx: &ModelProto) -> Result<TypedModel, Error> {
    typed_with(bounded::operators(true), manifest, onnx)
}

/// The same, with tract's own operators throughout: for graphs that the lowering does not cover.
///
/// # Errors
/// As [`typed_model`].
pub(crate) fn plain_typed_model(
    manifest: &Manifest,
    onnx: &ModelProto,
) -> Result<TypedModel, Error> {
    typed_with(bounded::operators(false), manifest, onnx)
}

fn typed_with(
    op_register: OnnxOpRegister,
    manifest: &Manifest,
    onnx: &ModelProto,
) -> Result<TypedModel, Error> {
    let framework = tract_onnx::Onnx {
        op_register,
        ignore_value_info: true,
        ..tract_onnx::Onnx::default()
    };
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
    Ok(InferenceFact::dt_shape(
        float::datum_type(input.datatype),
        shape,
    ))
}
