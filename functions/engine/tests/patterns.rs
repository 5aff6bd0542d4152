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

    fn named(name: &str) -> Self {
        Self::read(&patterns().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
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

    /// Runs on every instruction set; returns the greatest difference, in steps.
    fn compare(mut self) -> Result<f32, String> {
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
        let mut greatest = 0.0f32;
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
                // Also what is not a number.
                if !(difference <= STEP_TOL) {
                    return Err(format!(
                        "{name}[{index}]: expected {expected}, got {actual}, {difference} steps apart"
                    ));
                }
                greatest = greatest.max(difference);
            }
        }
        Ok(greatest)
    }
}

fn patterns() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patterns")
}

#[test]
fn agree_with_onnxruntime() {
    let folders = std::fs::read_dir(patterns()).expect("patterns/ is part of the sources");
    let mut folders: Vec<PathBuf> = folders
        .map(|entry| entry.expect("a folder").path())
        .collect();
    folders.sort();
    let mut failures = vec![];
    for folder in &folders {
        let compared = Pattern::read(folder).and_then(|pattern| {
            let steps = pattern.steps()?;
            let difference = pattern.compare()?;
            println!(
                "{:40} {difference:.2} {steps:?}",
                folder.file_name().unwrap_or_default().display()
            );
            Ok(())
        });
        if let Err(reason) = compared {
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
