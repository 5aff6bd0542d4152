//! A graph without quantisation, in tract: for devices that are quicker with reals than with integers.
//!
//! ```text
//! import/stripped.rs   ONNX with Q/DQ pairs -> ONNX in f32
//! real/pools.rs        pools                -> operators that devices have
//! real/footprint.rs    shapes               -> bytes of weights and activations
//! ```
//!
//! tract's runtimes are found by name: `cpu` is always there, others where the program links them.

mod footprint;
mod pools;

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::floats::FloatPrecisionTranslator;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::runtime::{Runnable, runtime_for_name};

use crate::graph::{bind, graph_shape};
use crate::{Data, Dim, Error, Manifest, Model, float, import};
use footprint::Footprint;

/// What reals are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits; sums over many values, softmax, and convolutions of more than two dimensions in 32.
    F16,
}

/// A model in a runtime of tract's.
pub struct RealGraph {
    manifest: Manifest,
    precision: Precision,
    runtime: String,
    source: Source,
    /// The one used last at the end.
    prepared: Mutex<Vec<Prepared>>,
}

/// What a graph is prepared from for each shape.
enum Source {
    /// It has been prepared for all shapes.
    None,
    /// tract or its runtime cannot see that shapes with symbols agree, and is told numbers.
    Stripped(Box<ModelProto>),
}

/// A graph for some shapes.
struct Prepared {
    /// Values of the symbols; `None` for all.
    symbols: Option<Vec<i64>>,
    footprint: Footprint,
    form: Form,
}

enum Form {
    Typed(Box<TypedModel>),
    Ready(Box<dyn Runnable>),
}

/// Shapes for which a graph that needs numbers is kept prepared.
const SHAPES_KEPT: usize = 4;

impl std::fmt::Debug for RealGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RealGraph")
            .field("name", &self.manifest.name)
            .field("precision", &self.precision)
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

impl RealGraph {
    /// Imports `onnx` without its quantisation and prepares it for `runtime`: `cpu`, or `cuda` where it is linked. What the runtime
    /// writes to its device is written from the thread that calls this or runs it. Where the graph cannot be prepared for shapes with
    /// symbols, it is prepared anew for each shape, and some of those are kept.
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Load`] when the file is not what the manifest says, there is no such runtime, or it does not take
    /// the graph.
    pub fn load(
        manifest: &Manifest,
        onnx: &[u8],
        precision: Precision,
        runtime: &str,
    ) -> Result<Self, Error> {
        let proto = import::guarded(|| import::decode_stripped(onnx))?;
        let typed = import::guarded(|| typed(manifest, &proto, precision));
        let ready = typed.and_then(|(model, footprint)| {
            let runnable = runnable(model, runtime).map_err(Error::Load)?;
            Ok(Prepared {
                symbols: None,
                footprint,
                form: Form::Ready(runnable),
            })
        });
        let (source, prepared) = match ready {
            Ok(prepared) => (Source::None, vec![prepared]),
            Err(Error::Load(_)) if has_symbols(manifest) && has_runtime(runtime) => {
                (Source::Stripped(Box::new(proto)), vec![])
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            manifest: manifest.clone(),
            precision,
            runtime: runtime.to_owned(),
            source,
            prepared: Mutex::new(prepared),
        })
    }

    /// Bytes of the weights, once for each shape that the graph is prepared for.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let prepared = self.lock();
        let weights = prepared.iter().map(|p| p.footprint.weight_bytes());
        weights.sum()
    }

    /// Bytes of the activations that a run for `inputs` holds at once, of which only the shapes matter. A device takes more: scratch
    /// space of its libraries is not counted.
    ///
    /// # Errors
    /// [`Error::Input`] when the inputs are not the manifest's, [`Error::Run`] when their shapes do not fit the graph.
    pub fn activation_bytes(&self, inputs: &[(&str, crate::Tensor)]) -> Result<u64, Error> {
        let (_, symbols) = bind(&self.manifest.inputs, inputs)?;
        let mut all = self.lock();
        let prepared = self.prepared(&mut all, &symbols)?;
        let bytes = prepared.footprint.activation_bytes(&symbols);
        bytes.map_err(Error::Run)
    }

    /// The form for these values of the symbols, which is the last of `all` then.
    fn prepared<'a>(
        &self,
        all: &'a mut Vec<Prepared>,
        symbols: &[i64],
    ) -> Result<&'a mut Prepared, Error> {
        let fits = |p: &Prepared| p.symbols.as_deref().is_none_or(|known| known == symbols);
        match (all.iter().position(fits), &self.source) {
            (Some(index), _) => all[index..].rotate_left(1),
            (None, Source::None) => {}
            (None, Source::Stripped(proto)) => {
                let fixed = fixed(&self.manifest, symbols)?;
                let typed = import::guarded(|| typed(&fixed, proto, self.precision));
                // The file is sound, so the shape is not.
                let (model, footprint) = typed.map_err(|error| match error {
                    Error::Load(cause) => Error::Run(cause),
                    other => other,
                })?;
                let excess = (all.len() + 1).saturating_sub(SHAPES_KEPT);
                all.drain(..excess);
                all.push(Prepared {
                    symbols: Some(symbols.to_vec()),
                    footprint,
                    form: Form::Typed(Box::new(model)),
                });
            }
        }
        let none = || Error::Run(anyhow::anyhow!("the graph is not prepared"));
        all.last_mut().ok_or_else(none)
    }

    fn run_bound(
        &self,
        tensors: &[&crate::Tensor],
        runnable: &dyn Runnable,
    ) -> TractResult<Vec<(Vec<usize>, Vec<f32>)>> {
        let mut inputs = tvec![];
        for (index, (spec, tensor)) in self.manifest.inputs.iter().zip(tensors).enumerate() {
            let shape = graph_shape(spec, tensor)?;
            let values = match &tensor.data {
                Data::F32(values) => Tensor::from_shape(&shape, values)?,
                Data::U8(bytes) => {
                    Tensor::from_shape(&shape, &float::normalised(spec, &shape, bytes))?
                }
            };
            let datum_type = runnable.input_fact(index)?.datum_type;
            inputs.push(values.cast_to_dt(datum_type)?.into_owned().into_tvalue());
        }
        let outputs = runnable.run(inputs)?;
        let read = |output: TValue| {
            let values = output.cast_to::<f32>()?;
            let values = values.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
            Ok((output.shape().to_vec(), values))
        };
        outputs.into_iter().map(read).collect()
    }

    /// A shape is prepared or it is not there, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Vec<Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for RealGraph {
    fn run(&self, inputs: &[(&str, crate::Tensor)]) -> Result<Vec<(String, crate::Tensor)>, Error> {
        let (tensors, symbols) = bind(&self.manifest.inputs, inputs)?;
        let mut all = self.lock();
        let prepared = self.prepared(&mut all, &symbols)?;
        if let Form::Typed(model) = &mut prepared.form {
            let model = std::mem::take(&mut **model);
            let ready = runnable(model, &self.runtime);
            match ready {
                Ok(ready) => prepared.form = Form::Ready(ready),
                Err(error) => {
                    // What is left is no graph.
                    all.pop();
                    return Err(Error::Run(error));
                }
            }
        }
        let Form::Ready(runnable) = &prepared.form else {
            return Err(Error::Run(anyhow::anyhow!("the graph is not prepared")));
        };
        let run = || self.run_bound(&tensors, &**runnable);
        let results = caught(run, "it ran").map_err(Error::Run)?;
        let names = self.manifest.outputs.iter().map(|output| &output.name);
        names
            .zip(results)
            .map(|(name, (shape, values))| Ok((name.clone(), crate::Tensor::f32(&shape, values)?)))
            .collect()
    }
}

fn has_runtime(name: &str) -> bool {
    matches!(runtime_for_name(name), Ok(Some(_)))
}

fn has_symbols(manifest: &Manifest) -> bool {
    let dims = manifest.inputs.iter().flat_map(|input| &input.shape);
    dims.into_iter().any(|dim| matches!(dim, Dim::Symbolic(_)))
}

/// The manifest with numbers in the place of symbols, whose values are in the order in which the symbols appear.
fn fixed(manifest: &Manifest, symbols: &[i64]) -> Result<Manifest, Error> {
    let mut manifest = manifest.clone();
    let mut names: Vec<String> = vec![];
    for dim in manifest
        .inputs
        .iter_mut()
        .flat_map(|input| &mut input.shape)
    {
        let (factor, symbol) = dim.parts()?;
        let Some(symbol) = symbol else { continue };
        let index = match names.iter().position(|name| name == symbol) {
            Some(index) => index,
            None => {
                names.push(symbol.to_owned());
                names.len() - 1
            }
        };
        let value = symbols
            .get(index)
            .and_then(|&value| usize::try_from(value).ok());
        let extent = value.and_then(|value| value.checked_mul(factor));
        *dim = Dim::Fixed(extent.ok_or_else(|| Error::Input("no such extent".to_owned()))?);
    }
    Ok(manifest)
}

/// The graph as a runtime gets it, and what it takes.
fn typed(
    manifest: &Manifest,
    proto: &ModelProto,
    precision: Precision,
) -> Result<(TypedModel, Footprint), Error> {
    let model = import::plain_typed_model(manifest, proto)?;
    float::check_volumes(&model).map_err(Error::Load)?;
    let model = prepared(model, precision).map_err(Error::Load)?;
    let footprint = Footprint::new(&model, manifest).map_err(Error::Load)?;
    Ok((model, footprint))
}

/// In this precision, and without what devices do not have.
fn prepared(model: TypedModel, precision: Precision) -> TractResult<TypedModel> {
    let mut model = model.into_decluttered()?;
    if precision == Precision::F16 {
        let halved = |node: &TypedNode| !needs_f32(node);
        let to_f16 =
            FloatPrecisionTranslator::with_filter(f32::datum_type(), f16::datum_type(), halved);
        model.transform(&to_f16)?;
        model = model.into_decluttered()?;
    }
    pools::rewrite(&mut model)?;
    Ok(model)
}

/// Sums of many values, and what divides by them; and convolutions that cuDNN is not given in 16 bits.
fn needs_f32(node: &TypedNode) -> bool {
    if let Some(conv) = node.op_as::<Conv>() {
        return conv.pool_spec.rank() > 2;
    }
    let name = node.op().name();
    ["Softmax", "Reduce", "SumPool", "RmsNorm"]
        .iter()
        .any(|kind| name.contains(kind))
}

fn runnable(model: TypedModel, runtime: &str) -> TractResult<Box<dyn Runnable>> {
    let found = runtime_for_name(runtime)?;
    let runtime = found.with_context(|| format!("no runtime `{runtime}` in this program"))?;
    caught(|| runtime.prepare(model), "it prepared the graph")
}

/// A panic of tract's is an error: a device's memory that runs out is one.
fn caught<T>(run: impl FnOnce() -> TractResult<T>, when: &str) -> TractResult<T> {
    let run = std::panic::AssertUnwindSafe(run);
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("no message");
        Err(anyhow::anyhow!("tract panicked while {when}: {text}"))
    })
}
