//! Activations without their quantisation.
//!
//! A pair of `QuantizeLinear` and `DequantizeLinear` rounds to 256 steps and saturates. A device that computes with reals needs neither,
//! but for one thing: tools leave out an activation such as ReLU where saturation does the same. There the limits stay, and at outputs.

use std::collections::{HashMap, HashSet};

use tract_onnx::data_resolver::MmapDataResolver;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::internal::*;

use super::constants::proto;
use super::mapping::Mapping;

/// Takes the pairs out of `graph`, whose constants have been folded. What is no such pair stays.
///
/// # Errors
/// A limit that cannot be stored.
pub(super) fn strip(graph: &mut GraphProto) -> TractResult<()> {
    let Stripped {
        removed,
        renamed,
        handed_on,
        limits,
    } = Pairs::new(graph).find();
    let mut index = 0..;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let index: usize = index.next().unwrap_or(usize::MAX);
        if let Some(limit) = limits.get(&index) {
            nodes.extend(limit.nodes(&node, &renamed));
            graph.initializer.extend(limit.constants(&node)?);
        }
        if handed_on.contains(&index) {
            node.op_type = "Identity".to_owned();
            node.attribute.clear();
            // What it read is gone.
            let output = node.output.first();
            node.input = output.map(|o| followed(&renamed, o)).into_iter().collect();
            nodes.push(node);
        } else if !removed.contains(&index) {
            for input in &mut node.input {
                *input = followed(&renamed, input);
            }
            nodes.push(node);
        }
    }
    graph.node = nodes;
    Ok(())
}

/// What is computed in the place of `name`.
fn followed(renamed: &HashMap<String, String>, name: &str) -> String {
    let mut name = name;
    // A name is made once, and before it is read, so there is no circle; a file that has one ends here too.
    for _ in 0..=renamed.len() {
        match renamed.get(name) {
            Some(next) => name = next,
            None => break,
        }
    }
    name.to_owned()
}

#[derive(Default)]
struct Stripped {
    removed: HashSet<usize>,
    /// Output of a `DequantizeLinear` -> what is read instead.
    renamed: HashMap<String, String>,
    /// Indices of those `DequantizeLinear` whose output keeps its name, for the outside reads it.
    handed_on: HashSet<usize>,
    /// By the index of the `QuantizeLinear` whose saturation stays.
    limits: HashMap<usize, Limits>,
}

/// The reals that a quantised tensor can stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limits {
    low: f32,
    high: f32,
}

impl Limits {
    /// `None` for activations with a scale for each channel.
    fn new(mapping: &Mapping) -> Option<Self> {
        let (scale, zero_point) = mapping.single().ok()?;
        let (least, most) = match mapping.integers == i8::datum_type() {
            true => (-128, 127),
            false => (0, 255),
        };
        let real = |integer: i32| scale * (i64::from(integer) - i64::from(zero_point)) as f32;
        Some(Self {
            low: real(least),
            high: real(most),
        })
    }

    /// Whether an activation may hide in them: not where zero lies within.
    fn begin_at_zero(self) -> bool {
        self.low == 0.0 || self.high == 0.0
    }

    /// `Max` and `Min`, which all versions of ONNX with quantisation have in the same form.
    fn nodes(self, quantize: &NodeProto, renamed: &HashMap<String, String>) -> [NodeProto; 2] {
        let name = &quantize.output[0];
        let node = |op_type: &str, input: String, limit: String, output: String| NodeProto {
            name: output.clone(),
            op_type: op_type.to_owned(),
            input: vec![input, limit],
            output: vec![output],
            ..NodeProto::default()
        };
        let input = followed(renamed, &quantize.input[0]);
        let floored = format!("{name}/floored");
        [
            node("Max", input, format!("{name}/low"), floored.clone()),
            node("Min", floored, format!("{name}/high"), limited(quantize)),
        ]
    }

    fn constants(self, quantize: &NodeProto) -> TractResult<[TensorProto; 2]> {
        let name = &quantize.output[0];
        Ok([
            proto(format!("{name}/low"), &tensor0(self.low))?,
            proto(format!("{name}/high"), &tensor0(self.high))?,
        ])
    }
}

/// The name of a tensor within its limits.
fn limited(quantize: &NodeProto) -> String {
    format!("{}/limited", quantize.output[0])
}

/// Operators whose result has the limits anyway, or hands on what has been limited before.
const LIMITED: [&str; 23] = [
    "Abs",
    "AveragePool",
    "Clip",
    "Concat",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "Identity",
    "MaxPool",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

struct Pairs<'g> {
    graph: &'g GraphProto,
    constants: HashMap<&'g str, &'g TensorProto>,
    makers: HashMap<&'g str, &'g NodeProto>,
    /// How many nodes read a tensor.
    readers: HashMap<&'g str, usize>,
    /// Names that the outside, or the body of a loop or condition, reads.
    kept: HashSet<&'g str>,
}

impl<'g> Pairs<'g> {
    fn new(graph: &'g GraphProto) -> Self {
        let mut constants = HashMap::new();
        constants.extend(graph.initializer.iter().map(|t| (t.name.as_str(), t)));
        let mut makers = HashMap::new();
        let mut readers = HashMap::new();
        let mut kept: HashSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        for node in &graph.node {
            for output in &node.output {
                makers.insert(output.as_str(), node);
            }
            for input in &node.input {
                *readers.entry(input.as_str()).or_insert(0) += 1;
            }
            for attribute in &node.attribute {
                if let ("Constant", "value", Some(tensor), [output]) = (
                    &*node.op_type,
                    &*attribute.name,
                    &attribute.t,
                    &*node.output,
                ) {
                    constants.insert(output.as_str(), tensor);
                }
                for body in attribute.g.iter().chain(&attribute.graphs) {
                    let inputs = body.node.iter().flat_map(|node| &node.input);
                    kept.extend(inputs.map(String::as_str));
                }
            }
        }
        Self {
            graph,
            constants,
            makers,
            readers,
            kept,
        }
    }

    fn find(&self) -> Stripped {
        let mut stripped = Stripped::default();
        for (index, node) in self.graph.node.iter().enumerate() {
            if node.op_type != "QuantizeLinear" {
                continue;
            }
            // What is no pair of one mapping stays, for tract to compute.
            let Some((mapping, dequantisers)) = self.pair(node) else {
                continue;
            };
            let output = |&at: &usize| self.kept.contains(self.graph.node[at].output[0].as_str());
            let outside = dequantisers.iter().any(output);
            let maker = self.makers.get(node.input[0].as_str());
            let may_hide = maker.is_some_and(|maker| !LIMITED.contains(&&*maker.op_type));
            let limits = Limits::new(&mapping)
                .filter(|limits| outside || may_hide && limits.begin_at_zero());
            let instead = match limits {
                Some(limits) => {
                    stripped.limits.insert(index, limits);
                    limited(node)
                }
                None => node.input[0].clone(),
            };
            stripped.removed.insert(index);
            for dequantiser in dequantisers {
                let output = &self.graph.node[dequantiser].output[0];
                match self.kept.contains(output.as_str()) {
                    true => stripped.handed_on.insert(dequantiser),
                    false => stripped.removed.insert(dequantiser),
                };
                stripped.renamed.insert(output.clone(), instead.clone());
            }
        }
        stripped
    }

    /// The mapping of a `QuantizeLinear` and the indices of all that read its output, where each is a `DequantizeLinear` of the same one.
    fn pair(&self, quantize: &NodeProto) -> Option<(Mapping, Vec<usize>)> {
        let mapping = self.mapping(quantize)?;
        let [output] = &*quantize.output else {
            return None;
        };
        if self.kept.contains(output.as_str()) {
            return None;
        }
        let reads = |node: &NodeProto| {
            node.op_type == "DequantizeLinear"
                && node.input.first() == Some(output)
                && self.mapping(node).as_ref() == Some(&mapping)
                && node.output.len() == 1
        };
        let nodes = self.graph.node.iter().enumerate();
        let found: Vec<usize> = nodes
            .filter(|(_, node)| reads(node))
            .map(|(index, _)| index)
            .collect();
        let readers = self.readers.get(output.as_str()).copied().unwrap_or(0);
        (!found.is_empty() && found.len() == readers).then_some((mapping, found))
    }

    /// A node's scale and zero point, where there is one of each and they are constant.
    fn mapping(&self, node: &NodeProto) -> Option<Mapping> {
        let plain = ["block_size", "output_dtype"];
        let special = node.attribute.iter();
        let mut special = special.filter(|a| plain.contains(&&*a.name) && a.i != 0);
        if special.next().is_some() {
            return None;
        }
        let constant = |name: &String| {
            let tensor = self.constants.get(name.as_str())?;
            load_tensor(&MmapDataResolver, tensor, None).ok()
        };
        let (scale, zero_point) = match &*node.input {
            [_, scale] => (constant(scale)?, None),
            [_, scale, zero] if zero.is_empty() => (constant(scale)?, None),
            [_, scale, zero] => (constant(scale)?, Some(constant(zero)?)),
            _ => return None,
        };
        let mapping = Mapping::new(&scale, zero_point.as_ref(), 0, 1).ok()?;
        mapping.single().ok()?;
        Some(mapping)
    }
}
