//! Quantised constants that need not stay quantised.
//!
//! Tools quantise whatever goes into an operator, also what tract wants to know while it types the graph: a normalisation's
//! variances, the value of a padding, the limits of a clip. Such constants become f32 here, and weights that are fake
//! quantised become integers. What a convolution or matrix product multiplies by keeps its integers and scales.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::internal::*;

use super::mapping::{Mapping, elements};

/// Evaluates the quantisation of constants in `graph`, whose tensors have been checked.
pub(super) fn fold(graph: &mut GraphProto) {
    fold_but(graph, quantised_inputs);
}

/// The same of all constants: of weights too.
pub(super) fn fold_all(graph: &mut GraphProto) {
    fold_but(graph, |_| &[]);
}

/// Which inputs of an operator keep their integers.
type Quantised = fn(&str) -> &'static [usize];

fn fold_but(graph: &mut GraphProto, quantised_inputs: Quantised) {
    let Folded {
        made,
        renamed,
        removed,
    } = Folding::new(graph, quantised_inputs).run();
    let mut index = 0..;
    graph
        .node
        .retain(|_| !removed.contains(&index.next().unwrap_or(usize::MAX)));
    for node in &mut graph.node {
        let quantised = quantised_inputs(&node.op_type);
        for (index, input) in node.input.iter_mut().enumerate() {
            if let Some(name) = renamed.get(input).filter(|_| !quantised.contains(&index)) {
                input.clone_from(name);
            }
        }
    }
    graph.initializer.extend(made);
}

/// Which inputs an operator takes quantised, or hands on to one that may.
fn quantised_inputs(op_type: &str) -> &'static [usize] {
    match op_type {
        "Conv" | "ConvTranspose" => &[1],
        "Gemm" | "MatMul" => &[0, 1],
        "Flatten" | "Identity" | "Reshape" | "Squeeze" | "Transpose" | "Unsqueeze" => &[0],
        _ => &[],
    }
}

/// What changes in a graph.
#[derive(Default)]
struct Folded {
    made: Vec<TensorProto>,
    /// Where the f32 form of a tensor is that also stays quantised.
    renamed: HashMap<String, String>,
    removed: HashSet<usize>,
}

struct Folding<'g> {
    graph: &'g GraphProto,
    /// Constants in the file.
    stored: HashMap<&'g str, &'g TensorProto>,
    /// Integers made of f32 constants.
    integers: HashMap<&'g str, Arc<Tensor>>,
    /// Names of tensors that are read as integers and scales, and of those that are read as reals.
    quantised: HashSet<&'g str>,
    real: HashSet<&'g str>,
    folded: Folded,
}

impl<'g> Folding<'g> {
    fn new(graph: &'g GraphProto, quantised_inputs: Quantised) -> Self {
        let mut stored: HashMap<&str, &TensorProto> = HashMap::new();
        stored.extend(
            graph
                .initializer
                .iter()
                .map(|tensor| (tensor.name.as_str(), tensor)),
        );
        let (mut quantised, mut real) = (HashSet::new(), HashSet::new());
        for node in &graph.node {
            let value = node
                .attribute
                .iter()
                .find(|attribute| attribute.name == "value");
            if let ("Constant", [output], Some(value)) = (&*node.op_type, &*node.output, value) {
                stored.extend(value.t.as_ref().map(|tensor| (output.as_str(), tensor)));
            }
            let takes = quantised_inputs(&node.op_type);
            for (index, input) in node.input.iter().enumerate() {
                let set = if takes.contains(&index) {
                    &mut quantised
                } else {
                    &mut real
                };
                set.insert(input.as_str());
            }
            // What the body of a loop or condition reads keeps its name.
            for body in node
                .attribute
                .iter()
                .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
            {
                quantised.extend(
                    body.node
                        .iter()
                        .flat_map(|node| &node.input)
                        .map(String::as_str),
                );
            }
        }
        real.extend(graph.output.iter().map(|output| output.name.as_str()));
        Self {
            graph,
            stored,
            integers: HashMap::new(),
            quantised,
            real,
            folded: Folded::default(),
        }
    }

    fn run(mut self) -> Folded {
        for (index, node) in self.graph.node.iter().enumerate() {
            // What cannot be evaluated stays, for the lowering or tract to judge.
            let _ = match &*node.op_type {
                "QuantizeLinear" => self.quantise(index, node),
                "DequantizeLinear" => self.dequantise(index, node),
                _ => Ok(()),
            };
        }
        self.folded
    }

    fn quantise(&mut self, index: usize, node: &'g NodeProto) -> TractResult<()> {
        let [output] = &*node.output else {
            return Ok(());
        };
        let Some((reals, mapping)) = self.operands(node)? else {
            return Ok(());
        };
        let integers = mapping.quantised(&reals)?;
        self.folded.made.push(proto(output.clone(), &integers)?);
        self.folded.removed.insert(index);
        self.integers.insert(output, integers.into_arc_tensor());
        Ok(())
    }

    fn dequantise(&mut self, index: usize, node: &'g NodeProto) -> TractResult<()> {
        let [output] = &*node.output else {
            return Ok(());
        };
        if !self.real.contains(output.as_str()) {
            return Ok(());
        }
        let Some((integers, mapping)) = self.operands(node)? else {
            return Ok(());
        };
        let mut name = output.clone();
        if self.quantised.contains(output.as_str()) {
            name.push_str("/f32");
            self.folded.renamed.insert(output.clone(), name.clone());
        } else {
            self.folded.removed.insert(index);
        }
        let reals = mapping.dequantised(&integers)?;
        self.folded.made.push(proto(name, &reals)?);
        Ok(())
    }

    /// A node's first input with its mapping, where all of it is constant.
    fn operands(&self, node: &NodeProto) -> TractResult<Option<(Arc<Tensor>, Mapping)>> {
        let plain = ["block_size", "output_dtype"];
        if node
            .attribute
            .iter()
            .any(|attribute| plain.contains(&&*attribute.name) && attribute.i != 0)
        {
            return Ok(None);
        }
        let inputs: TractResult<Option<Vec<_>>> =
            node.input.iter().map(|name| self.value(name)).collect();
        let Some(inputs) = inputs? else {
            return Ok(None);
        };
        let (values, scales, zero_points) = match &*inputs {
            [values, scales] => (values, scales, None),
            [values, scales, zero_points] => (values, scales, Some(&**zero_points)),
            _ => bail!("{} inputs", inputs.len()),
        };
        let axis = node.get_attr_opt("axis")?.unwrap_or(1i64);
        let mapping = Mapping::new(scales, zero_points, axis, values.rank())?;
        Ok(Some((values.clone(), mapping)))
    }

    fn value(&self, name: &str) -> TractResult<Option<Arc<Tensor>>> {
        if let Some(tensor) = self.integers.get(name) {
            return Ok(Some(tensor.clone()));
        }
        let stored = self.stored.get(name);
        let load = |proto: &&TensorProto| load_tensor(&MmapDataResolver, proto, None);
        Ok(stored.map(load).transpose()?.map(Arc::new))
    }
}

/// A tensor as an initialiser.
pub(super) fn proto(name: String, tensor: &Tensor) -> TractResult<TensorProto> {
    let (data_type, raw_data) = match tensor.datum_type() {
        DatumType::F32 => {
            let values = elements::<f32>(tensor)?;
            (
                DataType::Float,
                values.into_iter().flat_map(f32::to_le_bytes).collect(),
            )
        }
        DatumType::U8 => (DataType::Uint8, elements::<u8>(tensor)?),
        DatumType::I8 => {
            let values = elements::<i8>(tensor)?;
            (
                DataType::Int8,
                values.into_iter().map(|value| value as u8).collect(),
            )
        }
        other => bail!("a constant of type {other:?}"),
    };
    Ok(TensorProto {
        name,
        data_type: data_type.into(),
        dims: tensor.shape().iter().map(|&extent| extent as i64).collect(),
        raw_data,
        ..TensorProto::default()
    })
}
