//! `ephemera gpu test`: every model on every GPU against the processor -> agreement, times, memory.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ephemera_engine::{Graph, Manifest, Model, Tensor};
use serde::Serialize;

use super::inputs::{self, Inputs};
use super::nvml;
use crate::models;
use crate::nn::device::Device;
use crate::nn::gpu::{self, Gpu, GpuSettings};

/// Least share of an output's places that must agree.
const LEAST_AGREEMENT: f64 = 0.995;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// A row for each model on each GPU.
    pub rows: Vec<Row>,
}

/// One model on one GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `cuda:` and its number.
    pub device: String,
    /// The model's name.
    pub model: String,
    /// Sets of inputs that it ran on.
    pub inputs: usize,
    /// Share of places whose answer is the processor's: of recognisers the characters read, of classifiers the highest class, of maps the
    /// side of one half.
    pub agreement: f64,
    /// Mean of the absolute differences of all values.
    pub difference_mean: f64,
    /// From the request to the answer of the first run, which starts the worker and loads the graph, in milliseconds.
    pub first_ms: f64,
    /// Median of the later runs, in milliseconds.
    pub median_ms: f64,
    /// The same of the int8 graph on this processor, on one thread.
    pub processor_ms: f64,
    /// What the worker has taken after the runs, in bytes.
    pub memory_bytes: Option<u64>,
}

/// Runs all models.
///
/// # Errors
///
/// No GPU, a model that cannot be read, a run that fails.
pub fn check(settings: &GpuSettings) -> Result<Report> {
    let gpus = gpu::found(settings)?;
    if gpus.is_empty() {
        let reason = nvml::visible().err();
        bail!(reason.unwrap_or_else(|| "the settings leave no GPU".to_owned()));
    }
    check_on(settings, &gpus)
}

/// The same on these devices.
///
/// # Errors
///
/// A model that cannot be read, a run that fails.
pub fn check_on(settings: &GpuSettings, gpus: &[Arc<Gpu>]) -> Result<Report> {
    let mut rows = Vec::new();
    for name in names(&settings.models)? {
        let folder = settings.models.join(&name);
        let model = models::read(&folder).with_context(|| format!("model `{name}`"))?;
        let graph = Graph::load(&model.manifest, &model.onnx)?;
        let sets = inputs::inputs(&folder, &model.manifest)?;
        let expected = sets.iter().map(|set| timed(|| on_processor(&graph, set)));
        let expected: Vec<(f64, Inputs)> = expected.collect::<Result<_>>()?;
        for gpu in gpus {
            let row = compare(gpu, &model.manifest, &sets, &expected)
                .with_context(|| format!("model `{name}` on {}", gpu.label()))?;
            rows.push(row);
        }
    }
    Ok(Report { rows })
}

/// The folders of `models` that hold a model, in order.
fn names(models: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(models).context("reading models/")?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().join("model.toml").is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

fn on_processor(graph: &Graph, set: &Inputs) -> Result<Inputs> {
    let given = set.iter();
    let given: Vec<(&str, Tensor)> = given.map(|(n, t)| (n.as_str(), t.clone())).collect();
    Ok(graph.run(&given)?)
}

fn compare(
    gpu: &Arc<Gpu>,
    manifest: &Manifest,
    sets: &[Inputs],
    expected: &[(f64, Inputs)],
) -> Result<Row> {
    let mut tally = Tally::default();
    let first = sets.first().context("inputs")?.clone();
    let (first_ms, _) = timed(|| Ok(gpu.run(&manifest.name, first)?))?;
    let mut times = Vec::new();
    for (set, (_, expected)) in sets.iter().zip(expected) {
        // The first run of a shape chooses algorithms.
        gpu.run(&manifest.name, set.clone())?;
        let (ms, outputs) = timed(|| Ok(gpu.run(&manifest.name, set.clone())?))?;
        times.push(ms);
        for ((name, ours), (_, theirs)) in outputs.iter().zip(expected) {
            tally
                .add(&manifest.characters, ours, theirs)
                .with_context(|| format!("output `{name}`"))?;
        }
    }
    Ok(Row {
        device: gpu.label().to_owned(),
        model: manifest.name.clone(),
        inputs: sets.len(),
        agreement: tally.agreement(),
        difference_mean: tally.difference_mean(),
        first_ms,
        median_ms: median(times),
        processor_ms: median(expected.iter().map(|(ms, _)| *ms).collect()),
        memory_bytes: gpu.used_bytes(),
    })
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let made = run()?;
    Ok((start.elapsed().as_secs_f64() * 1e3, made))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Differences of outputs.
#[derive(Debug, Default)]
struct Tally {
    places: u64,
    equal: u64,
    values: u64,
    difference: f64,
}

impl Tally {
    /// # Errors
    /// Shapes that differ, or values that are none.
    fn add(&mut self, characters: &[String], ours: &Tensor, theirs: &Tensor) -> Result<()> {
        let (Some(a), Some(b)) = (ours.as_f32(), theirs.as_f32()) else {
            bail!("expected f32");
        };
        if ours.shape != theirs.shape {
            bail!("expected shape {:?}, got {:?}", theirs.shape, ours.shape);
        }
        if a.iter().any(|value| !value.is_finite()) {
            bail!("a value is not finite");
        }
        let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
        self.difference += differences.sum::<f64>();
        self.values += a.len() as u64;
        let classes = ours.shape.last().copied().unwrap_or(1).max(1);
        let (places, equal) = match *ours.shape.as_slice() {
            _ if !characters.is_empty() && classes == characters.len() + 1 => {
                let [a, b] = [a, b].map(|logits| read(logits, characters));
                let places = b.chars().count().max(1);
                (places, places.saturating_sub(strsim::levenshtein(&a, &b)))
            }
            [_, 1, _, _] => {
                let same = a.iter().zip(b).filter(|&(&a, &b)| (a > 0.5) == (b > 0.5));
                (a.len(), same.count())
            }
            _ => {
                let pairs = a.chunks(classes).zip(b.chunks(classes));
                let same = pairs.filter(|(a, b)| highest(a) == highest(b));
                (a.len() / classes, same.count())
            }
        };
        self.places += places as u64;
        self.equal += equal as u64;
        Ok(())
    }

    fn agreement(&self) -> f64 {
        self.equal as f64 / self.places.max(1) as f64
    }

    fn difference_mean(&self) -> f64 {
        self.difference / self.values.max(1) as f64
    }
}

fn highest(values: &[f32]) -> usize {
    (0..values.len()).fold(
        0,
        |best, at| if values[at] > values[best] { at } else { best },
    )
}

/// The highest class of each step, repeats and blanks left out.
fn read(logits: &[f32], characters: &[String]) -> String {
    let mut text = String::new();
    let mut before = 0;
    for step in logits.chunks_exact(characters.len() + 1) {
        let best = highest(step);
        if best != before && best > 0 {
            text.push_str(&characters[best - 1]);
        }
        before = best;
    }
    text
}

impl Report {
    /// Whether every model agrees with the processor as far as it must.
    pub fn agrees(&self) -> bool {
        let enough = |row: &Row| row.agreement >= LEAST_AGREEMENT;
        self.rows.iter().all(enough)
    }

    /// Prints a table, or one JSON object.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn print(&self, json: bool, out: &mut impl Write) -> Result<()> {
        if json {
            return Ok(writeln!(out, "{}", serde_json::to_string(self)?)?);
        }
        for row in &self.rows {
            let memory = row.memory_bytes.map(|bytes| format!("{} MiB", bytes >> 20));
            writeln!(
                out,
                "{:<8} {:<24} {:>3} inputs  {:>7.3} % agree  mean difference {:.5}  first {:>8.1} ms  then {:>7.2} ms  processor {:>7.2} ms  {}",
                row.device,
                row.model,
                row.inputs,
                row.agreement * 100.0,
                row.difference_mean,
                row.first_ms,
                row.median_ms,
                row.processor_ms,
                memory.unwrap_or_else(|| "memory unknown".to_owned())
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::f32(shape, values.to_vec()).expect("a tensor")
    }

    #[test]
    fn classes_and_maps_are_counted_by_place() {
        let mut tally = Tally::default();
        let steps = |values: &[f32]| tensor(&[1, 2, 3], values);
        let ours = steps(&[0.0, 1.0, 0.5, 2.0, 0.0, 0.0]);
        let theirs = steps(&[0.0, 0.5, 1.0, 1.0, 0.0, 0.0]);
        tally.add(&[], &ours, &theirs).expect("the same shape");
        assert_eq!((tally.places, tally.equal), (2, 1));
        assert_eq!(tally.difference_mean(), 2.0 / 6.0);
        let map = |values: &[f32]| tensor(&[1, 1, 1, 2], values);
        let mut tally = Tally::default();
        let (ours, theirs) = (map(&[0.6, 0.4]), map(&[0.9, 0.6]));
        tally.add(&[], &ours, &theirs).expect("the same shape");
        assert_eq!(tally.agreement(), 0.5);
    }

    #[test]
    fn recognisers_are_compared_by_what_they_read() {
        let characters = ["a", "b"].map(str::to_owned);
        let steps = |classes: &[usize]| {
            let one = |&class: &usize| [0, 1, 2].map(|at| f32::from(at == class));
            let values: Vec<f32> = classes.iter().flat_map(one).collect();
            tensor(&[1, classes.len(), 3], &values)
        };
        // `aab` and `ab`, whatever steps their letters take: one of two letters is wrong.
        let (ours, theirs) = (steps(&[1, 0, 1, 1, 2]), steps(&[1, 1, 2, 2, 0]));
        let mut tally = Tally::default();
        let added = tally.add(&characters, &ours, &theirs);
        added.expect("the same shape");
        assert_eq!((tally.places, tally.equal), (2, 1));
    }

    #[test]
    fn other_shapes_and_no_numbers_are_errors() {
        let one = tensor(&[1, 2], &[0.0, 1.0]);
        for other in [
            tensor(&[2, 1], &[0.0, 1.0]),
            tensor(&[1, 2], &[f32::NAN, 1.0]),
        ] {
            assert!(Tally::default().add(&[], &other, &one).is_err());
        }
    }
}
