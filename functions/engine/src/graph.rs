//! A loaded model: the manifest's border around a program, or around tract where there is no integer form.

use crate::kernels::Isa;
use crate::program::{FloatStep, Given, Program, StepReport};
use crate::raw::{Datatype, Port, Symbols};
use crate::{Data, Error, InputSpec, Manifest, Model, Tensor};
#[cfg(feature = "tract")]
use crate::{float::FloatGraph, import, lower};

/// A model in memory, ready to run.
#[derive(Debug)]
pub struct Graph {
    inputs: Vec<InputSpec>,
    outputs: Vec<String>,
    output_datatypes: Vec<Datatype>,
    ports: Vec<Port>,
    isa: Isa,
    form: Form,
}

#[derive(Debug)]
pub(crate) enum Form {
    /// Our integer operators.
    Int8(Program),
    /// tract in f32.
    #[cfg(feature = "tract")]
    Float(FloatGraph),
}

/// A graph as bytes: what a function's snapshot is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The steps, without their weights.
    pub program: Vec<u8>,
    /// The packed weights.
    pub weights: Vec<i8>,
}

/// The first byte of a program: grows whenever a step or the order of its weights changes, so that a function and an `ephemera`
/// of different ages say so.
const FORMAT: u8 = 4;

impl Graph {
    /// Imports and rewrites `onnx`.
    ///
    /// An operator that has no form of ours runs in tract, in f32: see [`float_steps`](Self::float_steps). A graph that
    /// cannot be taken apart like that runs in tract as a whole: see [`float_reason`](Self::float_reason).
    ///
    /// # Errors
    /// [`Error::Manifest`] or [`Error::Load`] when the file is not what the manifest says, or tract cannot run it either.
    #[cfg(feature = "tract")]
    pub fn load(manifest: &Manifest, onnx: &[u8]) -> Result<Self, Error> {
        let form = import::guarded(|| {
            let proto = import::decode(onnx)?;
            let lowered = import::guarded(|| {
                manifest.expect_reals().map_err(Error::Load)?;
                let model = import::typed_model(manifest, &proto)?;
                lower::program(&model, manifest).map_err(Error::Load)
            });
            match lowered {
                Ok(program) => Ok(Form::Int8(program)),
                Err(Error::Load(reason)) => {
                    let reason = format!("{reason:#}");
                    let load = || FloatGraph::load(manifest, &proto, reason.clone());
                    let graph = import::guarded(load);
                    graph.map(Form::Float).map_err(|error| match error {
                        Error::Load(other) => Error::Load(other.context(reason)),
                        error => error,
                    })
                }
                Err(error) => Err(error),
            }
        })?;
        Ok(Self::new(manifest, form))
    }

    /// The same in tract as a whole, in f32, whatever integer form there is: to compare with.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    #[cfg(feature = "tract")]
    pub fn load_float(manifest: &Manifest, onnx: &[u8]) -> Result<Self, Error> {
        let graph = import::guarded(|| {
            let proto = import::decode(onnx)?;
            FloatGraph::load(manifest, &proto, "asked for".to_owned())
        })?;
        Ok(Self::new(manifest, Form::Float(graph)))
    }

    /// A graph from what [`parts`](Self::parts) gave.
    ///
    /// # Errors
    /// [`Error::Bundle`] when `program` is not such bytes.
    pub fn from_parts(
        manifest: &Manifest,
        program: &[u8],
        weights: Vec<i8>,
    ) -> Result<Self, Error> {
        let (&format, program) = program
            .split_first()
            .ok_or_else(|| Error::Bundle(format!("{}: an empty program", manifest.name)))?;
        if format != FORMAT {
            return Err(Error::Bundle(format!(
                "{}: program format {format}, expected {FORMAT}: the function must be built anew",
                manifest.name
            )));
        }
        let mut program: Program = postcard::from_bytes(program)
            .map_err(|error| Error::Bundle(format!("{}: {error}", manifest.name)))?;
        program.weights = weights;
        program
            .check(&manifest.inputs, manifest.outputs.len())
            .map_err(|error| Error::Bundle(format!("{}: {error:#}", manifest.name)))?;
        Ok(Self::new(manifest, Form::Int8(program)))
    }

    fn new(manifest: &Manifest, form: Form) -> Self {
        let outputs = manifest.outputs.iter().map(|output| output.name.clone());
        Self {
            inputs: manifest.inputs.clone(),
            outputs: outputs.collect(),
            output_datatypes: manifest
                .outputs
                .iter()
                .map(|output| output.datatype)
                .collect(),
            ports: manifest.input_ports(),
            isa: Isa::best(),
            form,
        }
    }

    /// The graph as bytes; `None` when it, or a step of it, runs in tract.
    #[must_use]
    pub fn parts(&self) -> Option<Parts> {
        match &self.form {
            Form::Int8(_) if !self.float_steps().is_empty() => None,
            Form::Int8(program) => Some(Parts {
                program: postcard::to_extend(program, vec![FORMAT])
                    .expect("every part of a program has a form in bytes"),
                weights: program.weights.clone(),
            }),
            #[cfg(feature = "tract")]
            Form::Float(_) => None,
        }
    }

    /// The steps that run in tract, in f32; empty when all of the graph does.
    #[must_use]
    pub fn float_steps(&self) -> Vec<FloatStep> {
        match &self.form {
            Form::Int8(program) => program.float_steps(),
            #[cfg(feature = "tract")]
            Form::Float(_) => vec![],
        }
    }

    /// Why the graph as a whole runs in tract, in f32; `None` when it is a program.
    #[must_use]
    pub fn float_reason(&self) -> Option<&str> {
        match &self.form {
            Form::Int8(_) => None,
            #[cfg(feature = "tract")]
            Form::Float(graph) => Some(graph.reason()),
        }
    }

    /// The same graph on the kernels of `isa` instead of the quickest that the machine has. The results are the same.
    ///
    /// # Panics
    /// When this machine does not have the instructions; all that run rely on this check.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        assert!(Isa::available().contains(&isa), "no {} here", isa.name());
        self.isa = isa;
        self
    }

    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    pub(crate) fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    pub(crate) fn ports(&self) -> &[Port] {
        &self.ports
    }

    pub(crate) fn output_names(&self) -> &[String] {
        &self.outputs
    }

    pub(crate) fn output_datatypes(&self) -> &[Datatype] {
        &self.output_datatypes
    }
}

impl Model for Graph {
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        self.run_observed(inputs, &mut |_| ())
    }
}

impl Graph {
    /// As [`Model::run`]; `done` is called with the index of every step, as in [`report`](Self::report), after it has run.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_observed<N: AsRef<str>>(
        &self,
        inputs: &[(N, Tensor)],
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let (tensors, symbols) = bind(&self.inputs, inputs)?;
        let results = match &self.form {
            Form::Int8(program) => {
                let given = tensors.iter().map(|tensor| match &tensor.data {
                    Data::U8(bytes) => Given::U8(bytes),
                    Data::F32(values) => Given::F32(values),
                });
                program
                    .run(self.isa, &symbols, &given.collect::<Vec<_>>(), done)
                    .map_err(Error::Run)?
            }
            #[cfg(feature = "tract")]
            Form::Float(graph) => graph.run(&self.inputs, &tensors).map_err(Error::Run)?,
        };
        let named = self.outputs.iter().zip(results);
        named
            .map(|(name, (shape, values))| Ok((name.clone(), Tensor::f32(&shape, values)?)))
            .collect()
    }

    /// What each step does for `inputs`, of which only the shapes matter; empty when the graph runs in tract.
    ///
    /// # Errors
    /// [`Error::Input`] when the inputs are not the manifest's, [`Error::Run`] when their shapes have no program.
    pub fn report(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<StepReport>, Error> {
        let (_, symbols) = bind(&self.inputs, inputs)?;
        match &self.form {
            Form::Int8(program) => program.report(&symbols).map_err(Error::Run),
            #[cfg(feature = "tract")]
            Form::Float(_) => Ok(vec![]),
        }
    }

    /// Bytes of activations that a run for `inputs` holds at once; zero when the graph runs in tract.
    ///
    /// # Errors
    /// As [`report`](Self::report).
    pub fn arena_bytes<N: AsRef<str>>(&self, inputs: &[(N, Tensor)]) -> Result<usize, Error> {
        let (_, symbols) = bind(&self.inputs, inputs)?;
        match &self.form {
            Form::Int8(program) => program.arena_bytes(&symbols).map_err(Error::Run),
            #[cfg(feature = "tract")]
            Form::Float(_) => Ok(0),
        }
    }
}

/// The manifest's inputs among `given`, in the manifest's order, and the values of the symbols in the order in which
/// they appear there.
pub(crate) fn bind<'g, N: AsRef<str>>(
    inputs: &[InputSpec],
    given: &'g [(N, Tensor)],
) -> Result<(Vec<&'g Tensor>, Vec<i64>), Error> {
    let mut symbols = Symbols::default();
    let mut tensors = Vec::with_capacity(inputs.len());
    for input in inputs {
        let (_, tensor) = given
            .iter()
            .find(|(name, _)| name.as_ref() == input.name)
            .ok_or_else(|| Error::Input(format!("{} is missing", input.name)))?;
        let shape = graph_shape(input, tensor)?;
        symbols.bind(&input.name, &input.shape, &shape)?;
        tensors.push(tensor);
    }
    if given.len() != inputs.len() {
        return Err(Error::Input(format!(
            "expected {} tensors, got {}",
            inputs.len(),
            given.len()
        )));
    }
    Ok((tensors, symbols.values()))
}

/// Whether the model takes this input as pixels.
fn is_image(input: &InputSpec) -> bool {
    !input.mean.is_empty()
}

/// The shape of a given tensor as the graph sees it.
pub(crate) fn graph_shape(input: &InputSpec, tensor: &Tensor) -> Result<Vec<usize>, Error> {
    tensor.check()?;
    let shape = match (&tensor.data, is_image(input), tensor.shape.as_slice()) {
        (Data::U8(_), true, &[n, h, w, c]) => vec![n, c, h, w],
        (Data::U8(_), true, &[n, t, h, w, c]) => vec![n, c, t, h, w],
        (Data::F32(_), false, shape) => shape.to_vec(),
        (_, true, shape) => {
            let expected = match input.shape.len() {
                5 => "[1, T, H, W, 3] u8",
                _ => "[1, H, W, 3] u8",
            };
            return Err(Error::Input(format!(
                "{}: expected {expected}, got {shape:?}",
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
