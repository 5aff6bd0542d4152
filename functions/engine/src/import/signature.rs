//! What a file says of its own inputs and outputs: the manifest of a model that has none.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, bail, ensure};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::*;

use crate::{Datatype, Dim, Error, InputSpec, Manifest, OutputSpec, import};

/// Inputs and outputs of a graph, as the file has them.
#[derive(Debug, Clone)]
pub struct Signature {
    /// In the file's order, without what the file itself gives values.
    pub inputs: Vec<InputSpec>,
    /// In the file's order, as tract's analysis finds them.
    pub outputs: Vec<OutputSpec>,
}

/// Most inputs and outputs of a model.
const MAX_PORTS: usize = 64;

impl Signature {
    /// Reads the signature of `onnx`. An axis without a fixed extent becomes a symbol, the same one wherever the file gives it
    /// the same name. `fixed`: the whole shape of an input, by name, where it is to be one shape only.
    ///
    /// # Errors
    /// [`Error::Load`] when the file is no model, has an operator that tract does not know, which is named, or inputs that are
    /// no tensors of numbers.
    pub fn read(onnx: &[u8], fixed: &[(&str, &[usize])]) -> Result<Signature, Error> {
        import::guarded(|| {
            let proto = import::decode(onnx)?;
            let inputs = inputs(&proto, fixed).map_err(Error::Load)?;
            let names = names(&proto).map_err(Error::Load)?;
            let mut manifest = nameless(inputs, names);
            let model = import::plain_typed_model(&manifest, &proto)?;
            outputs(&model, &mut manifest).map_err(Error::Load)?;
            Ok(Signature {
                inputs: manifest.inputs,
                outputs: manifest.outputs,
            })
        })
    }
}

fn inputs(proto: &ModelProto, fixed: &[(&str, &[usize])]) -> anyhow::Result<Vec<InputSpec>> {
    let graph = proto.graph.as_ref().context("the file has no graph")?;
    known_operators(graph)?;
    let given: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| !given.contains(input.name.as_str()))
        .collect();
    ensure!(
        (1..=MAX_PORTS).contains(&inputs.len()),
        "{} inputs, expected 1 to {MAX_PORTS}",
        inputs.len()
    );
    for (name, _) in fixed {
        ensure!(
            inputs.iter().any(|input| input.name == *name),
            "the model has no input {name:?}"
        );
    }
    let mut symbols = Symbols::default();
    inputs
        .into_iter()
        .map(|input| {
            let fixed = fixed.iter().find(|(name, _)| *name == input.name);
            let spec = spec(input, fixed.map(|(_, shape)| *shape), &mut symbols);
            spec.with_context(|| format!("input {:?}", input.name))
        })
        .collect()
}

/// Every operator is one that tract has.
fn known_operators(graph: &GraphProto) -> anyhow::Result<()> {
    let known = import::bounded::operators(false).0;
    let unknown = graph
        .node
        .iter()
        .find(|node| !known.contains_key(&node.op_type));
    if let Some(node) = unknown {
        bail!(
            "operator {} (node {:?}) is not one that tract has",
            node.op_type,
            node.name
        );
    }
    let inner = graph.node.iter().flat_map(|node| &node.attribute);
    let inner = inner.flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
    inner.into_iter().try_for_each(known_operators)
}

fn spec(
    input: &ValueInfoProto,
    fixed: Option<&[usize]>,
    symbols: &mut Symbols,
) -> anyhow::Result<InputSpec> {
    let value = input.r#type.as_ref().and_then(|of| of.value.as_ref());
    let type_proto::Value::TensorType(tensor) = value.context("it is no tensor")?;
    let data_type = DataType::try_from(tensor.elem_type).ok();
    let datatype = data_type
        .and_then(of_file)
        .with_context(|| format!("elements of type {data_type:?}, expected numbers or booleans"))?;
    let dims = tensor.shape.as_ref().map(|shape| &shape.dim);
    let shape = match (dims, fixed) {
        (None, None) => bail!("it has no shape: give one"),
        (None, Some(fixed)) => fixed.iter().map(|&extent| Dim::Fixed(extent)).collect(),
        (Some(dims), None) => dims.iter().map(|dim| symbols.dim(dim)).collect(),
        (Some(dims), Some(fixed)) => {
            let fits = |(dim, &extent): (&Dimension, &usize)| match extent_of(dim) {
                Some(expected) => expected == extent,
                None => extent > 0,
            };
            ensure!(
                dims.len() == fixed.len() && dims.iter().zip(fixed).all(fits),
                "shape {fixed:?} is not one that the file allows"
            );
            fixed.iter().map(|&extent| Dim::Fixed(extent)).collect()
        }
    };
    Ok(InputSpec {
        name: input.name.clone(),
        shape,
        datatype,
        channels: Default::default(),
        mean: vec![],
        std: vec![],
    })
}

/// The extent of an axis that has one. None is what some tools write as 0 or less.
fn extent_of(dim: &Dimension) -> Option<usize> {
    match dim.value {
        Some(dimension::Value::DimValue(extent)) if extent > 0 => usize::try_from(extent).ok(),
        _ => None,
    }
}

/// Symbols for axes without an extent.
#[derive(Default)]
struct Symbols {
    /// By the file's own names, which may be any text.
    named: HashMap<String, String>,
    used: HashSet<String>,
}

impl Symbols {
    fn dim(&mut self, dim: &Dimension) -> Dim {
        if let Some(extent) = extent_of(dim) {
            return Dim::Fixed(extent);
        }
        let name = match &dim.value {
            Some(dimension::Value::DimParam(name)) if !name.is_empty() => name,
            _ => return Dim::Symbolic(self.fresh("")),
        };
        if let Some(symbol) = self.named.get(name) {
            return Dim::Symbolic(symbol.clone());
        }
        let symbol = self.fresh(name);
        self.named.insert(name.clone(), symbol.clone());
        Dim::Symbolic(symbol)
    }

    /// A symbol that is not used yet: the letters of `name`, or else one from the alphabet.
    fn fresh(&mut self, name: &str) -> String {
        let letters: String = name
            .chars()
            .filter(char::is_ascii_alphabetic)
            .take(16)
            .collect();
        let mut symbol = letters.to_ascii_lowercase();
        let mut number = 0;
        while symbol.is_empty() || !self.used.insert(symbol.clone()) {
            symbol = alphabetic(number);
            number += 1;
        }
        symbol
    }
}

/// `a` to `z`, then `aa`, `ab` and so on.
fn alphabetic(mut number: usize) -> String {
    let mut letters = vec![];
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        match number / 26 {
            0 => break,
            more => number = more - 1,
        }
    }
    letters.iter().rev().collect()
}

fn names(proto: &ModelProto) -> anyhow::Result<Vec<String>> {
    let outputs = proto.graph.iter().flat_map(|graph| &graph.output);
    let names: Vec<String> = outputs.map(|output| output.name.clone()).collect();
    ensure!(
        (1..=MAX_PORTS).contains(&names.len()),
        "{} outputs, expected 1 to {MAX_PORTS}",
        names.len()
    );
    Ok(names)
}

/// A manifest of these inputs and outputs, for the importer.
fn nameless(inputs: Vec<InputSpec>, outputs: Vec<String>) -> Manifest {
    let output = |name| OutputSpec {
        name,
        shape: vec![],
        datatype: Datatype::default(),
    };
    Manifest {
        name: String::new(),
        version: String::new(),
        licence: String::new(),
        source: String::new(),
        source_sha256: String::new(),
        sha256: String::new(),
        training_data: String::new(),
        inputs,
        outputs: outputs.into_iter().map(output).collect(),
        characters: vec![],
        classes: vec![],
        pack: None,
        tables: vec![],
    }
}

/// Types and shapes of the outputs, as the analysis has found them. An extent that is no multiple of one symbol becomes a
/// symbol of its own.
fn outputs(model: &TypedModel, manifest: &mut Manifest) -> anyhow::Result<()> {
    let inputs = manifest.inputs.iter().flat_map(|input| &input.shape);
    let known: HashSet<String> = inputs
        .filter_map(|dim| dim.parts().ok()?.1.map(str::to_owned))
        .collect();
    let mut symbols = Symbols {
        used: known.clone(),
        ..Symbols::default()
    };
    for (index, output) in manifest.outputs.iter_mut().enumerate() {
        let fact = model.output_fact(index)?;
        let datatype = of_tract(fact.datum_type);
        output.datatype = datatype.with_context(|| {
            format!(
                "output {:?} has elements of type {:?}",
                output.name, fact.datum_type
            )
        })?;
        output.shape = fact
            .shape
            .iter()
            .map(|extent| match extent.to_i64() {
                Ok(extent) => Dim::Fixed(usize::try_from(extent).unwrap_or(0)),
                Err(_) => {
                    let dim = Dim::Symbolic(extent.to_string());
                    let plain =
                        matches!(dim.parts(), Ok((_, Some(symbol))) if known.contains(symbol));
                    match plain {
                        true => dim,
                        false => Dim::Symbolic(symbols.fresh("")),
                    }
                }
            })
            .collect();
    }
    Ok(())
}

fn of_file(data_type: DataType) -> Option<Datatype> {
    Some(match data_type {
        DataType::Bool => Datatype::Bool,
        DataType::Uint8 => Datatype::U8,
        DataType::Uint16 => Datatype::U16,
        DataType::Uint32 => Datatype::U32,
        DataType::Uint64 => Datatype::U64,
        DataType::Int8 => Datatype::I8,
        DataType::Int16 => Datatype::I16,
        DataType::Int32 => Datatype::I32,
        DataType::Int64 => Datatype::I64,
        DataType::Float16 => Datatype::F16,
        DataType::Float => Datatype::F32,
        DataType::Double => Datatype::F64,
        _ => return None,
    })
}

fn of_tract(datum_type: DatumType) -> Option<Datatype> {
    Some(match datum_type.unquantized() {
        DatumType::Bool => Datatype::Bool,
        DatumType::U8 => Datatype::U8,
        DatumType::U16 => Datatype::U16,
        DatumType::U32 => Datatype::U32,
        DatumType::U64 => Datatype::U64,
        DatumType::I8 => Datatype::I8,
        DatumType::I16 => Datatype::I16,
        DatumType::I32 => Datatype::I32,
        // What tract computes shapes with; ONNX has i64 for them.
        DatumType::I64 | DatumType::TDim => Datatype::I64,
        DatumType::F16 => Datatype::F16,
        DatumType::F32 => Datatype::F32,
        DatumType::F64 => Datatype::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Dimension {
        Dimension {
            value: Some(dimension::Value::DimParam(name.to_owned())),
            ..Dimension::default()
        }
    }

    #[test]
    fn symbols_are_words_and_the_same_for_the_same_name() {
        let mut symbols = Symbols::default();
        let mut text = |dim: &Dimension| symbols.dim(dim).to_string();
        let two = Dimension {
            value: Some(dimension::Value::DimValue(2)),
            ..Dimension::default()
        };
        assert_eq!(text(&two), "2");
        assert_eq!(text(&named("batch_size")), "batchsize");
        assert_eq!(text(&named("Batch-Size")), "a");
        assert_eq!(text(&named("2*n + 1")), "n");
        assert_eq!(text(&named("batch_size")), "batchsize");
        assert_eq!(text(&Dimension::default()), "b");
        assert_eq!(text(&Dimension::default()), "c");
        assert_eq!(alphabetic(25), "z");
        assert_eq!(alphabetic(26), "aa");
        assert_eq!(alphabetic(26 + 26 * 26), "aaa");
    }
}
