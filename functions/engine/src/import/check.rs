//! What a decoded file has to be before anything else reads it.
//!
//! tract trusts its files: it allocates what a tensor's dimensions say, indexes by names and attributes, and follows edges.
//! So the bytes are counted, the names looked up and the attributes held within what real operators have, first.

use std::collections::HashMap;

use anyhow::{Context, bail, ensure};
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// Operator sets in which the operators mean what the importer takes them for.
const VERSIONS: std::ops::RangeInclusive<i64> = 7..=26;

/// The standard operators, and those of onnxruntime, whose quantised ones have the same names.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "com.microsoft"];

/// Nodes in all graphs of a file; large language models have some thousands.
const MAX_NODES: usize = 1 << 15;

/// Inputs and outputs of a node.
const MAX_EDGES: usize = 1 << 12;

/// Graphs within graphs.
const MAX_DEPTH: usize = 4;

/// Elements of a tensor.
pub(super) const MAX_ELEMENTS: usize = 1 << 28;

/// Axes of a tensor, and what an attribute may say of them.
const MAX_RANK: usize = 16;

/// Extents, steps and borders of a window.
const MAX_WINDOW: i64 = 1 << 12;

/// # Errors
/// The first thing that is wrong, and with which node or tensor.
pub(super) fn check(model: &ModelProto) -> anyhow::Result<()> {
    let mut sets = model.opset_import.iter();
    let set = sets.find(|set| ["", "ai.onnx"].contains(&&*set.domain));
    let version = set.context("the file names no operator set")?.version;
    ensure!(
        VERSIONS.contains(&version),
        "operator set {version}, expected one of {VERSIONS:?}"
    );
    let graph = model.graph.as_ref().context("the file has no graph")?;
    let mut nodes = 0;
    check_graph(graph, 0, &mut nodes)
}

fn check_graph(graph: &GraphProto, depth: usize, nodes: &mut usize) -> anyhow::Result<()> {
    ensure!(
        depth <= MAX_DEPTH,
        "graphs within graphs, over {MAX_DEPTH} deep"
    );
    ensure!(graph.sparse_initializer.is_empty(), "sparse tensors");
    *nodes += graph.node.len();
    ensure!(*nodes <= MAX_NODES, "{nodes} nodes, limit is {MAX_NODES}");
    for tensor in &graph.initializer {
        check_tensor(tensor).with_context(|| format!("tensor {:?}", tensor.name))?;
    }
    for node in &graph.node {
        check_node(node, depth, nodes)
            .with_context(|| format!("{} {:?}", node.op_type, node.name))?;
    }
    check_scales(graph)?;
    check_edges(graph, depth)
}

/// The scales of quantisations are positive numbers.
fn check_scales(graph: &GraphProto) -> anyhow::Result<()> {
    let mut stored: HashMap<&str, &TensorProto> = HashMap::new();
    stored.extend(
        graph
            .initializer
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor)),
    );
    for node in graph.node.iter().filter(|node| node.op_type == "Constant") {
        let tensors = node
            .attribute
            .iter()
            .filter_map(|attribute| attribute.t.as_ref());
        stored.extend(node.output.iter().map(String::as_str).zip(tensors));
    }
    let kinds = ["QuantizeLinear", "DequantizeLinear"];
    for node in graph
        .node
        .iter()
        .filter(|node| kinds.contains(&&*node.op_type))
    {
        let stored = |index: usize| stored.get(node.input.get(index)?.as_str());
        let Some(scale) = stored(1) else {
            continue;
        };
        if let Some(zero_point) = stored(2) {
            let count = |tensor: &TensorProto| tensor.dims.iter().product::<i64>();
            ensure!(
                count(scale) == count(zero_point),
                "{:?}: {} scales but {} zero points",
                node.name,
                count(scale),
                count(zero_point)
            );
        }
        if scale.data_type != i32::from(DataType::Float) {
            continue;
        }
        let raw = scale
            .raw_data
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes));
        for scale in raw.chain(scale.float_data.iter().copied()) {
            ensure!(
                scale.is_normal() && scale > 0.0,
                "{:?}: scale {scale} is not a positive number",
                node.name
            );
        }
    }
    Ok(())
}

/// Every tensor is made once, and not, by way of others, of itself.
fn check_edges(graph: &GraphProto, depth: usize) -> anyhow::Result<()> {
    // Where each tensor comes from: `None` for what the graph is given.
    let mut makers: HashMap<&str, Option<usize>> = HashMap::new();
    let given = graph.input.iter().map(|input| &input.name);
    let given = given.chain(graph.initializer.iter().map(|tensor| &tensor.name));
    makers.extend(given.map(|name| (name.as_str(), None)));
    for (index, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            let before = makers.insert(output, Some(index));
            ensure!(before.is_none(), "tensor {output:?} is made more than once");
        }
    }
    let mut missing = vec![0; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; graph.node.len()];
    for (index, node) in graph.node.iter().enumerate() {
        for input in node.input.iter().filter(|name| !name.is_empty()) {
            match makers.get(input.as_str()) {
                Some(None) => (),
                Some(&Some(maker)) => {
                    readers[maker].push(index);
                    missing[index] += 1;
                }
                // A graph within another reads what the outer one has.
                None => ensure!(
                    depth > 0,
                    "{:?} reads {input:?}, which nothing makes",
                    node.name
                ),
            }
        }
    }
    let mut ready: Vec<usize> = (0..missing.len())
        .filter(|&index| missing[index] == 0)
        .collect();
    let mut done = 0;
    while let Some(index) = ready.pop() {
        done += 1;
        for &reader in &readers[index] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(reader);
            }
        }
    }
    if let Some(index) = missing.iter().position(|&missing| missing > 0) {
        bail!(
            "{:?} reads what is made of itself, {done} nodes do not",
            graph.node[index].name
        );
    }
    for output in &graph.output {
        let known = depth > 0 || makers.contains_key(output.name.as_str());
        ensure!(known, "output {:?}, which nothing makes", output.name);
    }
    Ok(())
}

fn check_node(node: &NodeProto, depth: usize, nodes: &mut usize) -> anyhow::Result<()> {
    ensure!(
        DOMAINS.contains(&&*node.domain),
        "an operator of {:?}",
        node.domain
    );
    ensure!(
        node.input.len() <= MAX_EDGES && node.output.len() <= MAX_EDGES,
        "{} inputs and {} outputs, limit is {MAX_EDGES}",
        node.input.len(),
        node.output.len()
    );
    for attribute in &node.attribute {
        check_attribute(&node.op_type, attribute)
            .with_context(|| format!("attribute {:?}", attribute.name))?;
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            check_graph(graph, depth + 1, nodes)?;
        }
    }
    check_window(node)
}

fn check_attribute(op_type: &str, attribute: &AttributeProto) -> anyhow::Result<()> {
    for tensor in attribute.t.iter().chain(&attribute.tensors) {
        check_tensor(tensor)?;
    }
    ensure!(
        attribute.sparse_tensor.is_none() && attribute.sparse_tensors.is_empty(),
        "sparse tensors"
    );
    let rank = MAX_RANK as i64;
    let (numbers, limits) = match attribute.name.as_str() {
        "kernel_shape" | "strides" | "dilations" => (&attribute.ints[..], 1..=MAX_WINDOW),
        "output_padding" => (&attribute.ints[..], 0..=MAX_WINDOW),
        // What a convolution has is not less than nothing.
        "pads" if op_type != "Pad" => (&attribute.ints[..], 0..=MAX_WINDOW),
        "pads" | "paddings" => (&attribute.ints[..], -(1 << 16)..=1 << 16),
        "output_shape" | "shape" => (&attribute.ints[..], 0..=1 << 24),
        "split" | "repeats" => (&attribute.ints[..], 0..=1 << 24),
        "axes" | "perm" => (&attribute.ints[..], -rank..=rank),
        "axis" | "batch_axis" | "time_axis" | "batch_dims" => {
            (std::slice::from_ref(&attribute.i), -rank..=rank)
        }
        "group" | "num_groups" | "num_outputs" | "hidden_size" | "size" | "num_heads" => {
            (std::slice::from_ref(&attribute.i), 1..=1 << 16)
        }
        "blocksize" => (std::slice::from_ref(&attribute.i), 1..=1 << 8),
        _ => return Ok(()),
    };
    for number in numbers {
        ensure!(
            limits.contains(number),
            "{number}, expected one of {limits:?}"
        );
    }
    let is_shape = ["output_shape", "shape"].contains(&&*attribute.name);
    let volume = numbers
        .iter()
        .try_fold(1i64, |volume, extent| volume.checked_mul(*extent));
    ensure!(
        !is_shape || volume.is_some_and(|volume| volume <= MAX_ELEMENTS as i64),
        "{numbers:?} has over {MAX_ELEMENTS} elements"
    );
    Ok(())
}

/// The attributes of a window have an entry for each axis.
fn check_window(node: &NodeProto) -> anyhow::Result<()> {
    let attribute = |name: &str| {
        node.attribute
            .iter()
            .find(|attribute| attribute.name == name)
    };
    let len = |name: &str| attribute(name).map(|attribute| attribute.ints.len());
    let pads = if node.op_type == "Pad" {
        None
    } else {
        len("pads")
    };
    ensure!(
        pads.is_none_or(|pads| pads % 2 == 0),
        "pads without an other side"
    );
    let lens = [
        len("kernel_shape"),
        len("strides"),
        len("dilations"),
        len("output_padding"),
        pads.map(|pads| pads / 2),
    ];
    let mut lens = lens.into_iter().flatten();
    let first = lens.next();
    ensure!(
        lens.all(|len| Some(len) == first) && first.is_none_or(|len| len <= MAX_RANK),
        "a window whose attributes differ in length"
    );
    Ok(())
}

/// The bytes are there, and as many as the dimensions say.
fn check_tensor(tensor: &TensorProto) -> anyhow::Result<()> {
    ensure!(
        tensor.data_location != Some(DataLocation::External.into())
            && tensor.external_data.is_empty(),
        "its data is in another file"
    );
    ensure!(tensor.segment.is_none(), "a part of a tensor");
    ensure!(
        tensor.dims.len() <= MAX_RANK,
        "{} axes, limit is {MAX_RANK}",
        tensor.dims.len()
    );
    let elements = tensor.dims.iter().try_fold(1usize, |elements, &extent| {
        let extent = usize::try_from(extent).ok()?;
        elements
            .checked_mul(extent)
            .filter(|&elements| elements <= MAX_ELEMENTS)
    });
    let elements = elements.with_context(|| {
        format!(
            "dimensions {:?}, limit is {MAX_ELEMENTS} elements",
            tensor.dims
        )
    })?;
    let data_type = DataType::try_from(tensor.data_type);
    let data_type = data_type
        .ok()
        .with_context(|| format!("data type {}", tensor.data_type))?;
    // Bytes of an element, and how many there are in fields of their own.
    let (size, given) = match data_type {
        DataType::Float => (4, tensor.float_data.len()),
        DataType::Double => (8, tensor.double_data.len()),
        DataType::Int64 => (8, tensor.int64_data.len()),
        // tract looks for them where the format does not have them: only raw ones are read.
        DataType::Uint64 => (8, tensor.int64_data.len()),
        DataType::Uint32 => (4, tensor.int32_data.len()),
        DataType::Int32 => (4, tensor.int32_data.len()),
        DataType::Uint16 | DataType::Int16 | DataType::Float16 => (2, tensor.int32_data.len()),
        DataType::Uint8 | DataType::Int8 | DataType::Bool => (1, tensor.int32_data.len()),
        DataType::String if tensor.raw_data.is_empty() => (0, tensor.string_data.len()),
        other => bail!("elements of type {other:?}"),
    };
    let (expected, actual) = match tensor.raw_data.len() {
        0 => (elements, given),
        bytes => (elements * size, bytes),
    };
    ensure!(
        expected == actual,
        "dimensions {:?} with {actual} of {expected} bytes or elements",
        tensor.dims
    );
    Ok(())
}
