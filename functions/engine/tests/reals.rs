//! Graphs without their quantisation: the patterns of `patterns/` come out as with it, but for roundings; and limits that quantisation
//! stands for stay.

mod common;

use std::path::{Path, PathBuf};

use common::{Sketch, Value};
use ephemera_engine::{Manifest, Model, Precision, RealGraph, Tensor};
use serde::Deserialize;

/// How far a value may lie from the quantised graph's, in steps of the output's quantisation: half a step of rounding at each of a few
/// quantisations, made larger or smaller by the weights between them.
const STEP_TOL: f32 = 12.0;

/// The same on average.
const MEAN_STEP_TOL: f32 = 2.0;

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

/// The largest and the mean difference of a pattern's outputs, in steps.
fn differences(folder: &Path, precision: Precision) -> Result<(f32, f32), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let read = |file: &str| std::fs::read(folder.join(file)).map_err(|e| said(&e));
    let text = |file: &str| String::from_utf8(read(file)?).map_err(|e| said(&e));
    let case: Case = toml::from_str(&text("case.toml")?).map_err(|e| said(&e))?;
    let manifest = Manifest::parse(&text("model.toml")?).map_err(|e| said(&e))?;
    let reals = |kind: &str, name: &str| {
        let bytes = read(&format!("{kind}.{name}.f32"))?;
        let chunks = bytes.as_chunks().0.iter();
        Ok::<_, String>(
            chunks
                .map(|&chunk| f32::from_le_bytes(chunk))
                .collect::<Vec<f32>>(),
        )
    };
    let graph = RealGraph::load(&manifest, &read("model.onnx")?, precision, "cpu")
        .map_err(|e| format!("{e:?}"))?;
    let mut given = vec![];
    for Given { name, shape } in &case.inputs {
        let tensor = Tensor::f32(shape, reals("input", name)?).map_err(|e| said(&e))?;
        given.push((name.as_str(), tensor));
    }
    let activations = graph
        .activation_bytes(&given)
        .map_err(|e| format!("{e:?}"))?;
    if activations == 0 {
        return Err("no activations".to_owned());
    }
    let outputs = graph.run(&given).map_err(|e| format!("{e:?}"))?;
    let (mut most, mut sum, mut count) = (0f32, 0f32, 0f32);
    for (expected, (_, actual)) in case.outputs.iter().zip(&outputs) {
        if expected.shape != actual.shape {
            return Err(format!(
                "expected {:?}, got {:?}",
                expected.shape, actual.shape
            ));
        }
        let theirs = reals("output", &expected.name)?;
        for (ours, theirs) in actual.as_f32().ok_or("not f32")?.iter().zip(&theirs) {
            let difference = (ours - theirs).abs() / expected.step;
            if difference.is_nan() {
                return Err("not a number".to_owned());
            }
            most = most.max(difference);
            sum += difference;
            count += 1.0;
        }
    }
    Ok((most, sum / count))
}

fn patterns() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patterns")
}

#[test]
fn patterns_come_out_as_with_their_quantisation() {
    let entries = std::fs::read_dir(patterns()).expect("patterns");
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder").path())
        .collect();
    folders.sort();
    let mut wrong = vec![];
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        match differences(folder, Precision::F32) {
            Ok((most, mean)) if most <= STEP_TOL && mean <= MEAN_STEP_TOL => {}
            Ok((most, mean)) => wrong.push(format!("{name}: {most} steps, {mean} on average")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(folders.len() > 60, "{} patterns", folders.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn blocks_come_out_in_16_bits_too() {
    let entries = std::fs::read_dir(patterns()).expect("patterns");
    let folders = entries.map(|entry| entry.expect("a folder").path());
    let blocks: Vec<PathBuf> = folders
        .filter(|folder| {
            let name = folder.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("block-")
        })
        .collect();
    assert!(blocks.len() >= 5, "{} blocks", blocks.len());
    for folder in blocks {
        let found = differences(&folder, Precision::F16);
        // Eleven bits hold what eight bits are made from.
        let near = matches!(found, Ok((most, mean)) if most <= STEP_TOL && mean <= MEAN_STEP_TOL);
        assert!(near, "{}: {found:?}", folder.display());
    }
}

/// An input, quantised after `op_type` with this zero point and a scale of 0.1, and dequantised.
fn pair(op_type: &str, zero_point: i8) -> (Manifest, Vec<u8>) {
    let mut sketch = Sketch::default();
    sketch.input("x", &["1", "4"]);
    sketch.reals("shift", &[4], &[0.0; 4]);
    let inputs = match op_type {
        "Add" => "x shift",
        _ => "x",
    };
    sketch.node(op_type, inputs, "made", &[]);
    let real = sketch.pair("made", 0.1, zero_point);
    sketch.node("Flatten", &real, "y", &[("axis", Value::Int(1))]);
    sketch.finish(&["y"])
}

#[test]
fn limits_stay_where_an_activation_may_hide_in_them() {
    // 0.1 * (-128 - -128) = 0 and 0.1 * (127 - -128) = 25.5; the same below zero; and -12.8 to 12.7 have zero within.
    for (op_type, zero_point, expected) in [
        ("Add", -128, [0.0, 0.04, 3.0, 25.5]),
        ("Add", 127, [-25.5, 0.0, 0.0, 0.0]),
        ("Add", 0, [-100.0, 0.04, 3.0, 100.0]),
        ("Identity", -128, [-100.0, 0.04, 3.0, 100.0]),
    ] {
        let (manifest, onnx) = pair(op_type, zero_point);
        let graph = RealGraph::load(&manifest, &onnx, Precision::F32, "cpu").expect("a graph");
        let x = Tensor::f32(&[1, 4], vec![-100.0, 0.04, 3.0, 100.0]).expect("a tensor");
        let outputs = graph.run(&[("x", x)]).expect("a run");
        let actual = outputs[0].1.as_f32().expect("f32");
        let near = actual
            .iter()
            .zip(expected)
            .all(|(a, e): (&f32, f32)| (a - e).abs() < 1e-5);
        assert!(
            near,
            "{op_type} {zero_point}: expected {expected:?}, got {actual:?}"
        );
    }
}

#[test]
fn a_runtime_that_is_not_linked_is_an_error() {
    let (manifest, onnx) = pair("Add", 0);
    let error = RealGraph::load(&manifest, &onnx, Precision::F32, "abacus").expect_err("none");
    assert!(
        format!("{error:?}").contains("no runtime `abacus`"),
        "{error:?}"
    );
}
