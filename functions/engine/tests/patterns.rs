//! Graphs that other tools quantised, one folder of `patterns/` for each operator pattern: they run as steps of ours, and
//! agree with onnxruntime.
//!
//! `patterns/<name>/`: `model.onnx`, `model.toml`, `case.toml`, and the tensors as raw little-endian f32. A new folder is a
//! new test; `models/tools/patterns.py` makes them.

use std::path::{Path, PathBuf};

use ephemera_engine::{Graph, Isa, Manifest, Model, Tensor};
use serde::Deserialize;

/// How far an output may lie from onnxruntime's, in steps of the output's quantisation: sums in another order round to
/// another byte now and then, and never to the one after.
const STEP_TOL: f32 = 1.001;

#[derive(Deserialize)]
struct Case {
    inputs: Vec<Given>,
    outputs: Vec<Expected>,
}

#[derive(Deserialize)]
struct Given {
    name: String,
    shape: Vec<usize>,
}

#[derive(Deserialize)]
struct Expected {
    name: String,
    shape: Vec<usize>,
    step: f32,
}

/// One folder, read.
struct Pattern {
    name: String,
    manifest: Manifest,
    graph: Graph,
    inputs: Vec<(String, Tensor)>,
    /// With the step of each.
    outputs: Vec<(String, Tensor, f32)>,
}

impl Pattern {
    fn read(folder: &Path) -> Result<Self, String> {
        let path = |file: &str| folder.join(file);
        let text = |file: &str| std::fs::read_to_string(path(file)).map_err(|e| e.to_string());
        let case: Case = toml::from_str(&text("case.toml")?).map_err(|e| e.to_string())?;
        let manifest = Manifest::parse(&text("model.toml")?).map_err(|e| e.to_string())?;
        let onnx = std::fs::read(path("model.onnx")).map_err(|e| e.to_string())?;
        let graph = Graph::load(&manifest, &onnx).map_err(|e| format!("{e:?}"))?;
        let tensor = |kind: &str, name: &str, shape: &[usize]| {
            let bytes =
                std::fs::read(path(&format!("{kind}.{name}.f32"))).map_err(|e| e.to_string())?;
            let values = bytes
                .as_chunks()
                .0
                .iter()
                .map(|&chunk| f32::from_le_bytes(chunk));
            Tensor::f32(shape, values.collect()).map_err(|e| e.to_string())
        };
        let given = |given: Given| {
            Ok((
                given.name.clone(),
                tensor("input", &given.name, &given.shape)?,
            ))
        };
        let expected = |expected: Expected| {
            let tensor = tensor("output", &expected.name, &expected.shape)?;
            Ok((expected.name, tensor, expected.step))
        };
        Ok(Self {
            name: folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            manifest,
            graph,
            inputs: case
                .inputs
                .into_iter()
                .map(given)
                .collect::<Result<_, String>>()?,
            outputs: case
                .outputs
                .into_iter()
                .map(expected)
                .collect::<Result<_, String>>()?,
        })
    }

    fn given(&self) -> Vec<(&str, Tensor)> {
        let inputs = self.inputs.iter();
        inputs
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect()
    }

    /// What each step does, in order.
    fn steps(&self) -> Result<Vec<String>, String> {
        let report = self
            .graph
            .report(&self.given())
            .map_err(|e| format!("{e:?}"))?;
        Ok(report.into_iter().map(|step| step.op).collect())
    }

    /// Runs on every instruction set.
    fn compare(mut self) -> Result<(), String> {
        if let Some(reason) = self.graph.float_reason() {
            return Err(format!("in tract: {reason}"));
        }
        let mut first: Option<Vec<(String, Tensor)>> = None;
        for isa in Isa::available() {
            self.graph = self.graph.with_isa(isa);
            let actual = self
                .graph
                .run(&self.given())
                .map_err(|e| format!("{e:?}"))?;
            if first.get_or_insert_with(|| actual.clone()) != &actual {
                return Err(format!("other bits on {}", isa.name()));
            }
        }
        let actual = first.unwrap_or_default();
        for ((name, expected, step), (_, actual)) in self.outputs.iter().zip(&actual) {
            if expected.shape != actual.shape {
                return Err(format!(
                    "{name}: expected shape {:?}, got {:?}",
                    expected.shape, actual.shape
                ));
            }
            let (Some(expected), Some(actual)) = (expected.as_f32(), actual.as_f32()) else {
                return Err(format!("{name} is not f32"));
            };
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                let difference = (expected - actual).abs() / step;
                if difference.is_nan() || difference > STEP_TOL {
                    return Err(format!(
                        "{name}[{index}]: expected {expected}, got {actual}, {difference} steps apart"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn patterns() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patterns")
}

/// Patterns that compute in f32 between two quantisations, and what does.
const IN_F32: [(&str, &[&str]); 13] = [
    (
        "block-attention",
        &["matmul f32", "softmax f32", "matmul f32"],
    ),
    ("block-detection-head", &["add f32", "mul f32"]),
    (
        "block-transformer",
        &[
            "layer norm f32",
            "matmul f32",
            "softmax f32",
            "matmul f32",
            "layer norm f32",
        ],
    ),
    ("layer-normalization", &["layer norm f32"]),
    ("matmul-broadcast", &["matmul f32"]),
    ("matmul-constant-left", &["matmul f32"]),
    ("matmul-two-inputs", &["matmul f32"]),
    ("matmul-two-inputs-u8", &["matmul f32"]),
    // The value is none of those that the input's bytes stand for.
    ("pad-value", &[]),
    ("reduce-max-channels", &["max f32"]),
    ("reduce-mean-channels", &["mean f32"]),
    ("softmax", &["softmax f32"]),
    ("softmax-channels", &["softmax f32"]),
];

/// What the steps of a pattern begin with, apart from those at its border and those that only move elements.
const FORMS: [(&str, &[&str]); 67] = [
    ("add", &["add i8"]),
    ("add-broadcast", &["add i8, broadcast"]),
    // A function of each byte is in the table that makes the output, or in the step before.
    ("add-constant-per-channel", &[]),
    ("add-residual-relu", &["conv 3x3", "conv 3x3", "add i8"]),
    ("average-pool-3x3-pads-count", &["conv 1x1", "mean pool i8"]),
    (
        "block-inverted-residual-u8",
        &["conv 1x1", "depthwise conv 3x3", "conv 1x1", "add i8"],
    ),
    (
        "block-squeeze-excite",
        &[
            "depthwise conv 3x3 i8 x i8 + table",
            "mean pool i8",
            "conv 1x1",
            "conv 1x1 i8 x i8 + table",
            "mul i8",
        ],
    ),
    (
        "block-two-branch-head",
        &[
            "conv 1x1x1",
            "mean pool i8",
            "conv 1",
            "concat of 2 i8",
            "conv 1",
            "conv 1",
        ],
    ),
    ("clip-inside", &["conv 1x1"]),
    ("clip-relu6", &["conv 1x1"]),
    ("concat-channels", &["concat of 2 i8"]),
    ("concat-height", &["concat of 2 i8"]),
    ("conv-1d", &["conv 3"]),
    (
        "conv-3d-relu-max-pool",
        &["conv 3x3x3 i8 x i8 + max pool 1x2x2"],
    ),
    ("conv-max-pool", &["conv 3x3 i8 x i8 + max pool 2x2"]),
    ("conv-max-pool-1d", &["conv 3 i8 x i8 + max pool 2"]),
    ("conv-max-pool-3d", &["conv 2x3x3 i8 x i8 + max pool 2x2x2"]),
    (
        "conv-max-pool-groups",
        &["conv in 2 groups 3x3 i8 x i8 + max pool 2x2"],
    ),
    (
        "conv-max-pool-overlapping",
        &["conv 3x3", "max pool i8, windows overlap"],
    ),
    ("conv-max-pool-padded", &["conv 3x3 i8 x i8 + max pool 3x3"]),
    (
        "conv-max-pool-table",
        &["conv 3x3 i8 x i8 + max pool 2x2 inside + table"],
    ),
    ("max-pool-2x2", &["conv 1x1 i8 x i8 + max pool 2x2"]),
    ("conv-3x3-per-channel", &["conv 3x3"]),
    ("conv-batch-normalization", &["conv 3x3"]),
    ("conv-depthwise-3x3", &["depthwise conv 3x3"]),
    ("conv-groups-4", &["conv in 4 groups 3x3"]),
    ("conv-relu", &["conv 3x3"]),
    ("conv-transpose-2x2", &["transposed conv 1x1"]),
    ("conv-transpose-3x3", &["conv 3x3"]),
    ("dropout", &["conv 1x1"]),
    ("gelu", &["conv 1"]),
    ("gemm", &["conv 1"]),
    ("gemm-per-channel", &["conv 1"]),
    ("gemm-untransposed", &["conv 1"]),
    ("global-max-pool", &["conv 1x1", "max pool i8"]),
    ("hard-swish-after-conv", &["conv 1x1"]),
    ("leaky-relu", &[]),
    ("matmul-constant-per-channel", &["conv 1"]),
    ("mul-gate", &["mul i8"]),
    ("pad-conv", &["conv 1x1", "conv 3x3"]),
    ("prelu", &[]),
    ("reduce-mean-drop-axes", &["conv 1x1", "mean pool i8"]),
    ("resize-linear", &["conv 1x1", "resize i8"]),
    ("resize-nearest", &["conv 1x1", "repeat [2, 2] i8"]),
    (
        "resize-nearest-half-pixel",
        &["conv 1x1", "repeat [2, 2] i8"],
    ),
    ("slice-channels", &["conv 1x1", "slice"]),
    (
        "split-concat",
        &["conv 1x1", "slice", "slice", "concat of 2 i8"],
    ),
    ("sub", &["add i8"]),
    ("swish", &["conv 1x1"]),
    (
        "torch-fake-quant-conv-relu",
        &["conv 3x3 i8 x i8 + max pool 2x2", "conv 1x1"],
    ),
    ("torch-linear", &["conv 1"]),
    ("block-channel-shuffle", &["conv 1x1", "depthwise conv 3x3"]),
    (
        "block-dense",
        &[
            "conv 1x1",
            "8 tables i8",
            "conv 3x3",
            "concat of 2 i8",
            "12 tables i8",
            "conv 3x3",
            "concat of 2 i8",
        ],
    ),
    ("conv-3x3-u8-weights", &["conv 3x3"]),
    ("conv-depthwise-u8-weights", &["depthwise conv 3x3"]),
    ("conv-transpose-depthwise", &["depthwise conv 4x4"]),
    ("conv-transpose-groups-2", &["conv in 2 groups 3x3"]),
    ("expand", &["conv 1x1", "mean pool i8", "pick"]),
    ("gather-channels", &["conv 1x1", "pick"]),
    ("gemm-transposed-input", &["conv 1"]),
    ("matmul-u8-weights", &["conv 1"]),
    ("mul-spatial", &["mul i8, broadcast"]),
    ("resize-sizes", &["conv 1x1", "pick"]),
    (
        "resize-to-shape",
        &["conv 3x3", "conv 3x3", "pick", "add i8", "conv 1x1"],
    ),
    (
        "slice-strided",
        &[
            "conv 1x1",
            "pick",
            "pick",
            "pick",
            "pick",
            "concat of 4 i8",
            "conv 3x3",
        ],
    ),
    ("tile", &["conv 1x1", "pick"]),
    ("transpose-reshape-flatten", &["conv 1x1", "conv 1"]),
];

#[test]
fn agree_with_onnxruntime() {
    each(Pattern::compare);
}

#[test]
fn stay_in_int8() {
    each(|pattern| {
        if pattern.name.starts_with("inputs-") {
            // Between its products such a graph is f32 by intent.
            return Ok(());
        }
        let steps = pattern.steps()?;
        let reals = steps
            .iter()
            .filter(|op| op.ends_with(" f32") && *op != "i8 to f32");
        let reals: Vec<&str> = reals.map(String::as_str).collect();
        let named = IN_F32.iter().find(|(name, _)| *name == pattern.name);
        if reals != named.map_or(&[][..], |(_, ops)| ops) {
            return Err(format!("computes in f32: {steps:?}"));
        }
        let count = |what: &str| steps.iter().filter(|op| *op == what).count();
        let (read, made) = (count("f32 to i8"), count("i8 to f32"));
        let expected = (pattern.inputs.len(), pattern.outputs.len());
        if named.is_none() && (read, made) != expected {
            return Err(format!("leaves int8 on the way: {steps:?}"));
        }
        Ok(())
    });
}

#[test]
fn are_fused() {
    for (name, _) in FORMS.iter().chain(&IN_F32) {
        assert!(patterns().join(name).is_dir(), "no pattern {name}");
    }
    each(|pattern| {
        let Some((_, expected)) = FORMS.iter().find(|(name, _)| *name == pattern.name) else {
            return Ok(());
        };
        let border = |op: &&String| {
            let moves = op.starts_with("transpose [") || *op == "reshape";
            moves || *op == "f32 to i8" || *op == "i8 to f32"
        };
        let steps = pattern.steps()?;
        let steps: Vec<&String> = steps.iter().filter(|op| !border(op)).collect();
        let same = steps.len() == expected.len()
            && steps
                .iter()
                .zip(*expected)
                .all(|(op, expected)| op.starts_with(expected));
        if same {
            Ok(())
        } else {
            Err(format!("expected {expected:?}, got {steps:?}"))
        }
    });
}

#[test]
fn come_back_from_bytes() {
    each(|pattern| {
        let parts = pattern.graph.parts().ok_or("there are no bytes")?;
        let graph = Graph::from_parts(&pattern.manifest, &parts.program, parts.weights);
        let before = pattern
            .graph
            .run(&pattern.given())
            .map_err(|e| format!("{e:?}"))?;
        let after = graph
            .and_then(|graph| graph.run(&pattern.given()))
            .map_err(|e| format!("{e:?}"))?;
        if before == after {
            Ok(())
        } else {
            Err("other bits".to_owned())
        }
    });
}

/// Runs `check` on every pattern, and reports all that fail.
fn each(check: impl Fn(Pattern) -> Result<(), String>) {
    let folders = std::fs::read_dir(patterns()).expect("patterns/ is part of the sources");
    let mut folders: Vec<PathBuf> = folders
        .map(|entry| entry.expect("a folder").path())
        .collect();
    folders.sort();
    let mut failures = vec![];
    for folder in &folders {
        if let Err(reason) = Pattern::read(folder).and_then(&check) {
            let name = folder.file_name().unwrap_or_default().display();
            failures.push(format!("{name}: {reason}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        folders.len(),
        failures.join("\n")
    );
}
