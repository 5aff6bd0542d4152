//! Files that nobody means well with: an error with a reason, never a panic of ours, an end of the process, or memory
//! without bound.

#![cfg(feature = "tract")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Sketch, Value};
use ephemera_engine::{Dim, Error, Graph, Isa, Manifest, Model, Tensor};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
};

/// Gives out no more than this, so that what asks for more ends the test.
struct Limited;

const MAX_ALLOCATED: usize = 3 << 30;
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator that counts")]
// SAFETY: everything is the system's but for what is refused.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        if before.saturating_add(layout.size()) > MAX_ALLOCATED {
            ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Patterns that the mutations begin with: one of each kind of operator.
const SEEDS: [&str; 16] = [
    "add-broadcast",
    "average-pool-3x3-pads-count",
    "block-attention",
    "block-squeeze-excite",
    "block-two-branch-head",
    "concat-height",
    "conv-3d-relu-max-pool",
    "conv-batch-normalization",
    "conv-depthwise-3x3-per-channel",
    "conv-transpose-3x3",
    "gelu",
    "pad-conv",
    "reduce-mean-drop-axes",
    "resize-linear",
    "split-concat",
    "torch-fake-quant-conv-relu",
];

/// A test takes no longer than this, however many mutations are left.
const TIME: Duration = Duration::from_secs(20);

fn pattern(name: &str) -> (Manifest, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/patterns")
        .join(name);
    let text = std::fs::read_to_string(folder.join("model.toml")).expect("part of the sources");
    let onnx = std::fs::read(folder.join("model.onnx")).expect("part of the sources");
    (Manifest::parse(&text).expect("a manifest"), onnx)
}

/// Zeros for every input.
fn run(manifest: &Manifest, graph: &Graph) -> Result<(), Error> {
    let shape = |dims: &[Dim]| -> Vec<usize> {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => *extent,
            Dim::Symbolic(_) => 2,
        };
        dims.iter().map(extent).collect()
    };
    let mut inputs = vec![];
    for input in &manifest.inputs {
        let shape = shape(&input.shape);
        let zeros = vec![0.0; shape.iter().product()];
        inputs.push((input.name.as_str(), Tensor::f32(&shape, zeros)?));
    }
    graph.report(&inputs)?;
    graph.run(&inputs).map(|_| ())
}

/// Loads, and runs what loads. Returns whether it ran.
fn survives(manifest: &Manifest, onnx: &[u8]) -> bool {
    Graph::load(manifest, onnx)
        .and_then(|graph| run(manifest, &graph))
        .is_ok()
}

/// The reason why a file is refused.
fn refused(manifest: &Manifest, onnx: &[u8]) -> String {
    match Graph::load(manifest, onnx) {
        Err(Error::Load(reason)) => format!("{reason:#}"),
        other => panic!(
            "expected an error, got {:?}",
            other.map(|graph| graph.float_reason().map(str::to_owned))
        ),
    }
}

/// xorshift64, Marsaglia 2003: the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    fn of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}

#[test]
fn cut_short() {
    for name in ["conv-3x3", "block-squeeze-excite"] {
        let (manifest, onnx) = pattern(name);
        assert!(survives(&manifest, &onnx), "{name} as it is");
        let model = ModelProto::decode(&*onnx).expect("a model");
        for part in 0..50 {
            let end = onnx.len() * part / 50;
            // What is behind the graph may be missing.
            let whole =
                ModelProto::decode(&onnx[..end]).is_ok_and(|part| part.graph == model.graph);
            let loaded = Graph::load(&manifest, &onnx[..end]);
            assert!(loaded.is_err() || whole, "{name} up to {end}");
        }
    }
}

#[test]
fn bytes_changed() {
    let start = Instant::now();
    let (mut tried, mut ran) = (0, 0);
    for seed in 0..250 {
        for name in SEEDS {
            let (manifest, mut onnx) = pattern(name);
            let mut random = Random::new(seed);
            for _ in 0..=random.below(4) {
                let at = random.below(onnx.len());
                match random.below(4) {
                    0 => onnx[at] ^= 1 << random.below(8),
                    1 => onnx[at] = *random.of(&[0, 1, 0x7f, 0x80, 0xff]),
                    2 => drop(onnx.remove(at)),
                    _ => onnx.insert(at, random.below(256) as u8),
                }
            }
            tried += 1;
            ran += usize::from(survives(&manifest, &onnx));
        }
        if start.elapsed() > TIME {
            break;
        }
    }
    println!("{ran} of {tried} ran");
    assert!(ran < tried, "what was changed is what was read");
}

#[test]
fn fields_changed() {
    let start = Instant::now();
    let (mut tried, mut ran) = (0, 0);
    for seed in 0..250 {
        for name in SEEDS {
            let (manifest, onnx) = pattern(name);
            let mut model = ModelProto::decode(&*onnx).expect("a model");
            let mut random = Random::new(seed);
            for _ in 0..=random.below(2) {
                change(&mut random, model.graph.as_mut().expect("a graph"));
            }
            tried += 1;
            ran += usize::from(survives(&manifest, &model.encode_to_vec()));
        }
        if start.elapsed() > TIME {
            break;
        }
    }
    println!("{ran} of {tried} ran");
    assert!(ran > 0 && ran < tried, "{ran} of {tried}");
}

/// Numbers that something somewhere is not made for.
const NUMBERS: [i64; 16] = [
    0,
    1,
    -1,
    2,
    3,
    5,
    -2,
    7,
    16,
    255,
    4096,
    65_537,
    i32::MAX as i64,
    i64::MAX,
    i64::MIN,
    1 << 40,
];

/// Changes one thing that still is an ONNX graph.
fn change(random: &mut Random, graph: &mut GraphProto) {
    let kinds = [
        "Add",
        "Mul",
        "Concat",
        "Relu",
        "Conv",
        "MaxPool",
        "Reshape",
        "MatMul",
        "Transpose",
        "Softmax",
        "Resize",
        "Gather",
        "Tile",
        "Expand",
        "ConstantOfShape",
        "Range",
        "TopK",
        "Shape",
    ];
    let nodes = graph.node.len();
    let names: Vec<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.clone())
        .collect();
    let node = random.below(nodes);
    match random.below(10) {
        0 => drop(graph.node.remove(node)),
        1 => graph.node[node].op_type = (*random.of(&kinds)).to_owned(),
        2 => {
            let inputs = &mut graph.node[node].input;
            let at = random.below(inputs.len());
            if let Some(input) = inputs.get_mut(at) {
                input.clone_from(random.of(&names));
            }
        }
        3 => {
            let other = random.below(nodes);
            graph.node.swap(node, other);
        }
        4 => drop(graph.node[node].input.pop()),
        5 => {
            let input = graph.node[node].input.first().cloned();
            graph.node[node].input.extend(input);
        }
        6 | 7 => {
            let attributes: Vec<&mut AttributeProto> = graph
                .node
                .iter_mut()
                .flat_map(|node| &mut node.attribute)
                .collect();
            let at = random.below(attributes.len());
            if let Some(attribute) = attributes.into_iter().nth(at) {
                let len = attribute.ints.len();
                match attribute.ints.get_mut(random.below(len)) {
                    Some(number) => *number = *random.of(&NUMBERS),
                    None => {
                        attribute.i = *random.of(&NUMBERS);
                        attribute.f = *random.of(&[0.0, -1.0, f32::NAN, f32::INFINITY]);
                    }
                }
            }
        }
        _ => {
            let at = random.below(graph.initializer.len());
            let tensor = &mut graph.initializer[at];
            match random.below(4) {
                0 if !tensor.dims.is_empty() => {
                    let axis = random.below(tensor.dims.len());
                    tensor.dims[axis] = *random.of(&NUMBERS);
                }
                1 => tensor.dims.push(1),
                2 => tensor.data_type = random.below(24) as i32,
                _ => {
                    let len = tensor.raw_data.len();
                    if len >= 4 {
                        // A float, or four bytes, or half of an integer.
                        let value = *random.of(&[
                            0.0,
                            -1.0,
                            f32::NAN,
                            f32::INFINITY,
                            f32::MIN_POSITIVE,
                            1e38,
                            1e-38,
                        ]);
                        let at = random.below(len / 4) * 4;
                        tensor.raw_data[at..at + 4].copy_from_slice(&value.to_le_bytes());
                    } else if len > 0 {
                        tensor.raw_data[random.below(len)] = random.below(256) as u8;
                    }
                }
            }
        }
    }
}

/// What [`absurd`] changes in a small model.
type Change = fn(&mut Sketch);

fn node<'s>(sketch: &'s mut Sketch, op_type: &str) -> &'s mut NodeProto {
    let mut nodes = sketch.graph.node.iter_mut();
    nodes
        .find(|node| node.op_type == op_type)
        .expect("the sketch has one")
}

fn tensor<'s>(sketch: &'s mut Sketch, name: &str) -> &'s mut TensorProto {
    let mut tensors = sketch.graph.initializer.iter_mut();
    tensors
        .find(|tensor| tensor.name == name)
        .expect("the sketch has one")
}

fn ints(sketch: &mut Sketch, op_type: &str, name: &str, ints: &[i64]) {
    let attribute = AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints.into(),
        ints: ints.to_vec(),
        ..AttributeProto::default()
    };
    let node = node(sketch, op_type);
    node.attribute.retain(|other| other.name != name);
    node.attribute.push(attribute);
}

/// `x [1, 3, 8, 8]` -> conv 3 x 3 to 4 channels -> max pool -> `p_q`.
fn small() -> Sketch {
    let mut sketch = Sketch::default();
    sketch.input("x", &["1", "3", "8", "8"]);
    let x = sketch.pair("x", 0.01, 0);
    let weight = sketch.weight("w", &[4, 3, 3, 3], 0.01);
    sketch.node("Conv", &format!("{x} {weight}"), "c", &[]);
    let c = sketch.pair("c", 0.1, 0);
    sketch.node(
        "MaxPool",
        &c,
        "p",
        &[("kernel_shape", Value::Ints(&[2, 2]))],
    );
    sketch.pair("p", 0.1, 0);
    sketch
}

const ABSURD: [(&str, Change, &str); 34] = [
    (
        "an empty kernel",
        |s| ints(s, "MaxPool", "kernel_shape", &[0, 2]),
        "kernel_shape",
    ),
    (
        "a kernel of no axes",
        |s| ints(s, "MaxPool", "kernel_shape", &[]),
        "",
    ),
    (
        "a huge kernel",
        |s| ints(s, "MaxPool", "kernel_shape", &[i64::MAX, 2]),
        "kernel_shape",
    ),
    (
        "no step",
        |s| ints(s, "Conv", "strides", &[0, 1]),
        "strides",
    ),
    (
        "a huge step",
        |s| ints(s, "Conv", "strides", &[1 << 40, 1]),
        "strides",
    ),
    (
        "a step back",
        |s| ints(s, "Conv", "strides", &[-1, 1]),
        "strides",
    ),
    (
        "negative pads",
        |s| ints(s, "Conv", "pads", &[0, -1, 0, 0]),
        "pads",
    ),
    (
        "huge pads",
        |s| ints(s, "Conv", "pads", &[0, 1 << 33, 0, 0]),
        "pads",
    ),
    (
        "pads for other axes",
        |s| ints(s, "MaxPool", "pads", &[1, 1, 1, 1, 1, 1]),
        "differ in length",
    ),
    (
        "no groups",
        |s| {
            node(s, "Conv").attribute.push(int("group", 0));
        },
        "group",
    ),
    (
        "more groups than channels",
        |s| {
            node(s, "Conv").attribute.push(int("group", 7));
        },
        "",
    ),
    (
        "a product of dimensions that overflows",
        |s| tensor(s, "w").dims = vec![1 << 32, 1 << 32, 3, 3],
        "dimensions",
    ),
    (
        "a negative dimension",
        |s| tensor(s, "w").dims[0] = -4,
        "dimensions",
    ),
    (
        "two gigabytes and no byte",
        |s| {
            let w = tensor(s, "w");
            w.dims = vec![1 << 31];
            w.raw_data.clear();
        },
        "dimensions",
    ),
    (
        "fewer bytes than elements",
        |s| tensor(s, "w").raw_data.truncate(7),
        "with 7 of 108",
    ),
    (
        "more bytes than elements",
        |s| tensor(s, "w").raw_data.push(0),
        "with 109 of 108",
    ),
    (
        "data elsewhere",
        |s| {
            let w = tensor(s, "w");
            w.data_location = Some(DataLocation::External.into());
            w.external_data = vec![StringStringEntryProto {
                key: "location".to_owned(),
                value: "/etc/passwd".to_owned(),
            }];
        },
        "another file",
    ),
    (
        "a type that does not exist",
        |s| tensor(s, "w").data_type = 99,
        "data type 99",
    ),
    (
        "a type that tract does not know",
        |s| tensor(s, "w").data_type = DataType::Complex128.into(),
        "Complex128",
    ),
    (
        "text for weights",
        |s| tensor(s, "w").data_type = DataType::String.into(),
        "String",
    ),
    (
        "weights of another type",
        |s| {
            let w = tensor(s, "w");
            w.data_type = DataType::Int16.into();
            w.dims[0] = 2;
        },
        "",
    ),
    (
        "no scale",
        |s| {
            let scale = tensor(s, "w_s");
            scale.dims = vec![0];
            scale.raw_data.clear();
        },
        "scale",
    ),
    (
        "a scale of zero",
        |s| tensor(s, "w_s").raw_data = 0f32.to_le_bytes().to_vec(),
        "scale",
    ),
    (
        "a negative scale",
        |s| tensor(s, "x_s").raw_data = (-1f32).to_le_bytes().to_vec(),
        "scale",
    ),
    (
        "a scale that is not a number",
        |s| tensor(s, "c_s").raw_data = f32::NAN.to_le_bytes().to_vec(),
        "scale",
    ),
    (
        "three scales",
        |s| {
            let scale = tensor(s, "x_s");
            scale.dims = vec![3];
            scale.raw_data = 1f32.to_le_bytes().repeat(3);
        },
        "3 scales",
    ),
    (
        "a cycle",
        |s| node(s, "Conv").input[0] = "p_q".to_owned(),
        "made of itself",
    ),
    (
        "an input that nothing makes",
        |s| node(s, "Conv").input[0] = "nowhere".to_owned(),
        "nothing makes",
    ),
    (
        "a tensor that is made twice",
        |s| node(s, "MaxPool").output[0] = "c".to_owned(),
        "more than once",
    ),
    ("no inputs", |s| node(s, "Conv").input.clear(), ""),
    (
        "no outputs",
        |s| node(s, "MaxPool").output.clear(),
        "nothing makes",
    ),
    (
        "an operator of nobody's",
        |s| node(s, "Conv").domain = "my.own".to_owned(),
        "my.own",
    ),
    (
        "an operator that is not there",
        |s| node(s, "MaxPool").op_type = "Nothing".to_owned(),
        "",
    ),
    (
        "attributes without a type",
        |s| node(s, "MaxPool").attribute[0].r#type = 77,
        "",
    ),
];

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int.into(),
        i: value,
        ..AttributeProto::default()
    }
}

#[test]
fn absurd() {
    let (manifest, onnx) = small().finish(&["p_q"]);
    assert!(survives(&manifest, &onnx), "as it is");
    for (name, change, expected) in ABSURD {
        let mut sketch = small();
        change(&mut sketch);
        let (manifest, onnx) = sketch.finish(&["p_q"]);
        let reason = refused(&manifest, &onnx);
        assert!(
            reason.contains(expected),
            "{name}: {reason:?} does not say {expected:?}"
        );
    }
}

#[test]
fn absurd_but_harmless() {
    // What has a meaning, if a strange one, is run.
    let changes: [(&str, Change); 3] = [
        ("a zero point at the end of its range", |s| {
            tensor(s, "c_z").raw_data = vec![0x80]
        }),
        ("a scale so large that all is zero", |s| {
            tensor(s, "c_s").raw_data = 1e30f32.to_le_bytes().to_vec()
        }),
        ("a scale so small that all saturates", |s| {
            tensor(s, "c_s").raw_data = 1e-30f32.to_le_bytes().to_vec()
        }),
    ];
    for (name, change) in changes {
        let mut sketch = small();
        change(&mut sketch);
        let (manifest, onnx) = sketch.finish(&["p_q"]);
        assert!(survives(&manifest, &onnx), "{name}");
    }
}

#[test]
fn constants_that_would_be_huge() {
    let makers: [(&str, Change); 6] = [
        ("of a shape", |s| {
            s.integers("shape", &[4], &[1, 1 << 13, 1 << 13, 1 << 13]);
            s.node("ConstantOfShape", "shape", "huge", &[]);
        }),
        ("tiled", |s| {
            s.reals("one", &[1, 1, 1, 1], &[1.0]);
            s.integers("times", &[4], &[1, 1 << 20, 1 << 10, 1 << 10]);
            s.node("Tile", "one times", "huge", &[]);
        }),
        ("expanded", |s| {
            s.reals("one", &[1, 1, 1, 1], &[1.0]);
            s.integers("to", &[4], &[1 << 10, 1 << 10, 1 << 10, 8]);
            s.node("Expand", "one to", "huge", &[]);
        }),
        ("a range", |s| {
            for (name, value) in [("start", 0), ("limit", i64::MAX), ("step", 1)] {
                s.integers(name, &[], &[value]);
            }
            s.node("Range", "start limit step", "numbers", &[]);
            s.node("Cast", "numbers", "huge", &[("to", Value::Int(1))]);
        }),
        ("padded", |s| {
            s.reals("one", &[1, 1, 1, 1], &[1.0]);
            s.integers("pads", &[8], &[0, 1 << 16, 1 << 16, 1 << 16, 0, 0, 0, 0]);
            s.node("Pad", "one pads", "huge", &[]);
        }),
        ("joined with itself", |s| {
            s.reals("huge0", &[1, 16], &[1.0; 16]);
            for index in 0..40 {
                let name = format!("huge{index}");
                let next = if index == 39 {
                    "huge".to_owned()
                } else {
                    format!("huge{}", index + 1)
                };
                s.node(
                    "Concat",
                    &format!("{name} {name}"),
                    &next,
                    &[("axis", Value::Int(1))],
                );
            }
        }),
    ];
    for (name, make) in makers {
        let mut sketch = small();
        make(&mut sketch);
        sketch.node("Add", "p_q huge", "y", &[]);
        let (manifest, onnx) = sketch.finish(&["y"]);
        assert!(!survives(&manifest, &onnx), "{name}");
    }
}

#[test]
fn many_constants_that_together_are_huge() {
    let mut sketch = small();
    sketch.reals("n0", &[1 << 18], &vec![1.0; 1 << 18]);
    let count = 8000;
    for index in 0..count {
        sketch.node("Neg", &format!("n{index}"), &format!("n{}", index + 1), &[]);
    }
    sketch.node("Add", &format!("p_q n{count}"), "y", &[]);
    let (manifest, onnx) = sketch.finish(&["y"]);
    assert!(!survives(&manifest, &onnx));
}

#[test]
fn activations_that_would_be_huge() {
    let mut sketch = small();
    let mut last = "p_q".to_owned();
    for index in 0..12 {
        let scales = format!("scales{index}");
        sketch.reals(&scales, &[4], &[1.0, 1.0, 64.0, 64.0]);
        let next = format!("large{index}");
        sketch.node("Resize", &format!("{last} - {scales}"), &next, &[]);
        last = next;
    }
    let (manifest, onnx) = sketch.finish(&[&last]);
    assert!(!survives(&manifest, &onnx));
}

#[test]
fn long_chains() {
    // Each of them is no more than it says, and there are many.
    let chains: [(&str, &[(&str, Value)]); 5] = [
        ("Relu", &[]),
        ("Sigmoid", &[]),
        ("Softmax", &[]),
        ("MaxPool", &[("kernel_shape", Value::Ints(&[1, 1]))]),
        ("Erf", &[]),
    ];
    for (op_type, attributes) in chains {
        for symbolic in [false, true] {
            let mut sketch = Sketch::default();
            let side = if symbolic { "w" } else { "8" };
            sketch.input("x", &["1", "3", side, "8"]);
            let x = sketch.pair("x", 0.01, 0);
            let weight = sketch.weight("w", &[4, 3, 1, 1], 0.01);
            sketch.node("Conv", &format!("{x} {weight}"), "n0", &[]);
            let count = 2000;
            for index in 0..count {
                sketch.node(
                    op_type,
                    &format!("n{index}"),
                    &format!("n{}", index + 1),
                    attributes,
                );
            }
            let (manifest, onnx) = sketch.finish(&[&format!("n{count}")]);
            survives(&manifest, &onnx);
        }
    }
}

#[test]
fn dimensions_nested_in_each_other() {
    let mut sketch = Sketch::default();
    sketch.input("x", &["1", "3", "w", "8"]);
    let x = sketch.pair("x", 0.01, 0);
    let weight = sketch.weight("w", &[4, 3, 1, 1], 0.01);
    sketch.node("Conv", &format!("{x} {weight}"), "n0", &[]);
    let count = 1500;
    for index in 0..count {
        let attributes = [
            ("kernel_shape", Value::Ints(&[2, 1])),
            ("strides", Value::Ints(&[2, 1])),
            ("pads", Value::Ints(&[1, 0, 0, 0])),
        ];
        sketch.node(
            "MaxPool",
            &format!("n{index}"),
            &format!("n{}", index + 1),
            &attributes,
        );
    }
    let (manifest, onnx) = sketch.finish(&[&format!("n{count}")]);
    survives(&manifest, &onnx);
}

#[test]
fn graphs_nested_in_each_other() {
    let mut graph = GraphProto::default();
    for _ in 0..40 {
        let attribute = AttributeProto {
            name: "then_branch".to_owned(),
            r#type: AttributeType::Graph.into(),
            g: Some(graph),
            ..AttributeProto::default()
        };
        let node = NodeProto {
            op_type: "If".to_owned(),
            output: vec!["y".to_owned()],
            attribute: vec![attribute],
            ..NodeProto::default()
        };
        graph = GraphProto {
            node: vec![node],
            ..GraphProto::default()
        };
    }
    let manifest = small().manifest(&["y"]);
    let onnx = common::model(graph).encode_to_vec();
    let reason = refused(&manifest, &onnx);
    assert!(
        reason.contains("graphs within graphs") || reason.contains("recursion"),
        "{reason}"
    );
}

#[test]
fn other_files() {
    let (manifest, _) = pattern("conv-3x3");
    for bytes in [
        &b""[..],
        b"\0",
        b"PK\x03\x04",
        b"\x08",
        &[0xff; 4096],
        &[0x3a; 4096],
    ] {
        assert!(
            Graph::load(&manifest, bytes).is_err(),
            "{:?}",
            &bytes[..bytes.len().min(8)]
        );
    }
    // A graph of no nodes, and no graph.
    for model in [common::model(GraphProto::default()), ModelProto::default()] {
        assert!(Graph::load(&manifest, &model.encode_to_vec()).is_err());
    }
    let mut old = common::model(GraphProto::default());
    old.opset_import[0].version = 99;
    let reason = refused(&manifest, &old.encode_to_vec());
    assert!(reason.contains("operator set 99"), "{reason}");
}

#[test]
fn a_program_of_another_format() {
    let (manifest, onnx) = pattern(SEEDS[0]);
    let graph = Graph::load(&manifest, &onnx).expect("a pattern");
    let parts = graph.parts().expect("a program");
    let other = [&[parts.program[0] + 1], &parts.program[1..]].concat();
    for (program, expected) in [(&other[..], "program format"), (&[], "an empty program")] {
        let error = Graph::from_parts(&manifest, program, parts.weights.clone());
        let message = error.map(|_| ()).expect_err("not of this format");
        assert!(message.to_string().contains(expected), "{message}");
    }
}

#[test]
fn program_bytes_changed() {
    let start = Instant::now();
    let (mut tried, mut ran) = (0, 0);
    let seeds = SEEDS.map(|name| {
        let (manifest, onnx) = pattern(name);
        let graph = Graph::load(&manifest, &onnx).expect("a pattern");
        (manifest, graph.parts().expect("a program"))
    });
    for seed in 0..20_000 {
        for (manifest, parts) in &seeds {
            let mut random = Random::new(seed);
            let (mut program, mut weights) = (parts.program.clone(), parts.weights.clone());
            for _ in 0..=random.below(3) {
                let at = random.below(program.len());
                match random.below(if program.is_empty() { 0 } else { 6 }) {
                    _ if program.is_empty() => (),
                    0 => program[at] ^= 1 << random.below(8),
                    1 => program[at] = *random.of(&[0, 1, 2, 0x7f, 0x80, 0xff]),
                    2 => drop(program.remove(at)),
                    3 => program.insert(at, random.below(256) as u8),
                    4 => program.truncate(at),
                    _ => weights.truncate(random.below(weights.len())),
                }
            }
            tried += 1;
            if let Ok(graph) = Graph::from_parts(manifest, &program, weights) {
                let graph = graph.with_isa(*random.of(&Isa::available()));
                ran += usize::from(run(manifest, &graph).is_ok());
            }
        }
        if start.elapsed() > TIME {
            break;
        }
    }
    println!("{ran} of {tried} ran");
    assert!(ran < tried, "what was changed is what was read");
}
