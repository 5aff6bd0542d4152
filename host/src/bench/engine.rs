//! How fast graphs run: ours in the sandbox and natively, beside tract and onnxruntime, on one thread each.
//!
//! All runners of a case take turns, round by round, each time in a process or an instance of its own that runs once to warm up. So what
//! else the machine does hits all of them alike, and a ratio is worth more than a time. Everything that is made lies in `target/bench`.

mod cases;
mod files;
mod print;
pub mod probe;
mod python;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use print::print;

use super::median;
use crate::progress::Progress;
use cases::Case;
use files::{Files, Workshop};
use probe::Probe;
use python::Python;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runner {
    /// Ours in WebAssembly, with relaxed vectors.
    WasmRelaxed,
    /// Ours in WebAssembly, with the vectors that every engine has.
    WasmSimd128,
    /// Ours, on the quickest instructions of this machine.
    Native,
    /// tract in WebAssembly, on the f32 graph.
    TractF32Wasm,
    /// tract, on the f32 graph.
    TractF32Native,
    /// onnxruntime, on the f32 graph.
    OrtF32,
    /// onnxruntime, on the int8 graph.
    OrtInt8,
}

impl Runner {
    /// Its name on the command line and in reports.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no runner is hidden");
        value.get_name().to_owned()
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::WasmRelaxed | Self::WasmSimd128 | Self::Native)
    }
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of cases; all of them if none is named.
    pub cases: Vec<String>,
    /// All of them if none is named.
    pub runners: Vec<Runner>,
    /// How often each runner has its turn, at least once.
    pub rounds: u32,
    /// Whether to time our runners step by step as well.
    pub profile: bool,
    /// The interpreter that has onnxruntime; without it, the tools' own environment, which is made if it is not there.
    pub python: Option<PathBuf>,
}

/// One runner on one case.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The model and the shape of its first input.
    pub case: String,
    /// What ran it.
    pub runner: Runner,
    /// Median of the rounds' medians, in milliseconds.
    pub median_ms: f64,
    /// The fastest run, in milliseconds.
    pub min_ms: f64,
    /// Timed runs in all.
    pub runs: u32,
    /// Work of the int8 graph over the median, in 10^9 multiply-accumulates a second; unknown for a graph without an integer form.
    pub gmac_per_s: Option<f64>,
    /// Linear memory of the instance, or the most that was resident of the process.
    pub peak_bytes: u64,
    /// Time of each step, for our runners, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Step>>,
}

/// One step of a lowered graph, timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The graph's node that it comes from.
    pub name: String,
    /// What it does, and in which form.
    pub op: String,
    /// Shape of the result as stored, channels last.
    pub output: Vec<usize>,
    /// Multiplications that are added up.
    pub macs: u64,
    /// Median, in milliseconds.
    pub median_ms: f64,
}

/// What one process or instance says of its runs.
#[derive(Debug, Clone, Deserialize)]
pub struct Measured {
    /// Median, in milliseconds.
    pub median_ms: f64,
    /// The fastest run, in milliseconds.
    pub min_ms: f64,
    /// Linear memory, or the most that was resident.
    pub peak_bytes: u64,
    /// Of the outputs' bits; onnxruntime does not say.
    pub hash: Option<String>,
    /// Time of each step, if it was asked for.
    pub steps: Option<Vec<Step>>,
}

/// Measures, in the project at `root`. What cannot be measured on this machine is left out, and the reason noted.
///
/// # Errors
///
/// An unknown case, a program that cannot be built or fails, or nothing left to measure.
pub fn run(root: &Path, options: &Options, progress: &Progress) -> Result<Vec<Row>> {
    let cases = cases::select(&options.cases)?;
    let runners = match options.runners.as_slice() {
        [] => Runner::value_variants(),
        named => named,
    };
    let contest = Contest::prepare(root, &cases, runners, options, progress)?;
    let mut rows = Vec::new();
    for case in cases {
        rows.extend(
            contest
                .run(case, runners, options, progress)
                .with_context(|| case.name())?,
        );
    }
    ensure!(!rows.is_empty(), "there is nothing left to measure");
    Ok(rows)
}

/// The programs that take part, as far as they are wanted.
struct Contest {
    workshop: Workshop,
    /// Or why there is none.
    python: Result<Python, String>,
    wasm: Option<Probe>,
    wasm_tract: Option<Probe>,
    native: Option<Probe>,
}

/// One turn of one runner.
enum Turn<'c> {
    Probe(&'c Probe, Vec<String>),
    Python(&'c Python, python::Job),
}

impl Contest {
    fn prepare(
        root: &Path,
        cases: &[&Case],
        runners: &[Runner],
        options: &Options,
        progress: &Progress,
    ) -> Result<Self> {
        let workshop = Workshop::new(root)?;
        let given = options.python.as_deref();
        let python = match files::wants_python(cases, runners) {
            true => Python::find(root, given, progress).and_then(|python| {
                workshop.make(&python, cases, runners, progress)?;
                Ok(python)
            }),
            false => Err(anyhow!("nothing needs it")),
        };
        // Who names an interpreter wants to know that it will not do.
        let python = match (python, given) {
            (Err(error), Some(_)) => return Err(error),
            (python, _) => python.map_err(|error| format!("{error:#}")),
        };

        let any = |of: &[Runner]| runners.iter().any(|runner| of.contains(runner));
        let folders = workshop.folders();
        let wasm = any(&[Runner::WasmRelaxed, Runner::WasmSimd128])
            .then(|| Probe::wasm(root, &folders, progress))
            .transpose()?;
        let native = any(&[Runner::Native, Runner::TractF32Native])
            .then(|| Probe::native(root, probe::Profile::Release, progress))
            .transpose()?;
        // Without the tools there is no graph for it, and compiling it takes long.
        let wasm_tract = (any(&[Runner::TractF32Wasm]) && python.is_ok())
            .then(|| Probe::wasm_with_tract(root, &folders, progress))
            .transpose()?;
        Ok(Self {
            workshop,
            python,
            wasm,
            wasm_tract,
            native,
        })
    }

    /// All rounds of one case.
    fn run(
        &self,
        case: &Case,
        runners: &[Runner],
        options: &Options,
        progress: &Progress,
    ) -> Result<Vec<Row>> {
        let files = match self.workshop.files(case) {
            Ok(files) => files,
            Err(reason) => {
                progress.note(&format!("skipped {}: {reason:#}", case.name()));
                return Ok(Vec::new());
            }
        };
        let mut turns = Vec::new();
        for &runner in runners {
            match self.turn(runner, case, &files) {
                Ok(turn) => turns.push((runner, turn, Vec::new())),
                Err(reason) => progress.note(&format!(
                    "skipped {} by {}: {reason:#}",
                    case.name(),
                    runner.name()
                )),
            }
        }
        let step = progress.step(format!("{}: {} rounds", case.name(), options.rounds));
        for _ in 0..options.rounds {
            for (runner, turn, measured) in &mut turns {
                measured.push(turn.take(false).with_context(|| runner.name())?);
            }
        }
        let mut rows = Vec::new();
        for (runner, turn, measured) in &turns {
            let mut row = row(case, *runner, files.macs, measured);
            if options.profile && runner.is_ours() {
                row.steps = turn.take(true).with_context(|| runner.name())?.steps;
            }
            rows.push(row);
        }
        step.done(&format!("{} runners", rows.len()));
        Ok(rows)
    }

    /// How `runner` has its turn, or why it cannot.
    fn turn(&self, runner: Runner, case: &Case, files: &Files) -> Result<Turn<'_>> {
        let (probe, mut arguments) = match runner {
            Runner::WasmRelaxed | Runner::WasmSimd128 => (&self.wasm, files.for_ours()?),
            Runner::Native => (&self.native, files.for_ours()?),
            Runner::TractF32Wasm => (&self.wasm_tract, files.for_tract()?),
            Runner::TractF32Native => (&self.native, files.for_tract()?),
            Runner::OrtF32 => return self.onnxruntime(runner, case, files.f32()?),
            Runner::OrtInt8 => return self.onnxruntime(runner, case, &files.int8),
        };
        let isa = match runner {
            Runner::WasmRelaxed => Some("relaxed"),
            Runner::WasmSimd128 => Some("simd128"),
            _ => None,
        };
        arguments.extend(isa.into_iter().flat_map(|isa| ["--isa".into(), isa.into()]));
        for shape in case.shapes() {
            arguments.extend(["--input".into(), shape.to_string()]);
        }
        arguments.extend(["--runs".into(), case.runs.to_string()]);
        let probe = probe.as_ref().context("its program was not built")?;
        Ok(Turn::Probe(probe, arguments))
    }

    fn onnxruntime(&self, runner: Runner, case: &Case, graph: &Path) -> Result<Turn<'_>> {
        let python = self.python.as_ref();
        let python = python.map_err(|reason| anyhow!("no onnxruntime: {reason}"))?;
        Ok(Turn::Python(python, python::Job::new(case, runner, graph)))
    }
}

impl Turn<'_> {
    fn take(&self, profile: bool) -> Result<Measured> {
        match self {
            Self::Probe(probe, arguments) => {
                let profile = profile.then(|| "--profile".to_owned());
                let arguments: Vec<String> = arguments.iter().cloned().chain(profile).collect();
                probe.measure(&arguments)
            }
            Self::Python(python, job) => python.measure(job),
        }
    }
}

fn row(case: &Case, runner: Runner, macs: Option<u64>, measured: &[Measured]) -> Row {
    let median_ms = median(measured.iter().map(|round| round.median_ms));
    let least = measured.iter().map(|round| round.min_ms);
    Row {
        case: case.name(),
        runner,
        median_ms,
        min_ms: least.fold(f64::INFINITY, f64::min),
        runs: case.runs * measured.len() as u32,
        gmac_per_s: macs.map(|macs| macs as f64 / median_ms / 1e6),
        peak_bytes: measured
            .iter()
            .map(|round| round.peak_bytes)
            .max()
            .unwrap_or(0),
        steps: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runners_have_the_same_name_everywhere() {
        for runner in Runner::value_variants() {
            let json = serde_json::to_value(runner).expect("a string");
            assert_eq!(json, runner.name());
        }
        let names: Vec<_> = Runner::value_variants().iter().map(|r| r.name()).collect();
        let expected = [
            "wasm-relaxed",
            "wasm-simd128",
            "native",
            "tract-f32-wasm",
            "tract-f32-native",
            "ort-f32",
            "ort-int8",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_row_is_the_median_of_its_rounds() {
        let measured = |median_ms, min_ms, peak_bytes| Measured {
            median_ms,
            min_ms,
            peak_bytes,
            hash: None,
            steps: None,
        };
        let rounds = [
            measured(4.0, 3.0, 10),
            measured(2.0, 1.5, 30),
            measured(3.0, 2.0, 20),
        ];
        let case = &cases::select(&[]).expect("all of them")[0];
        let row = row(case, Runner::Native, Some(6_000_000), &rounds);
        assert_eq!((row.median_ms, row.min_ms), (3.0, 1.5));
        assert_eq!((row.gmac_per_s, row.peak_bytes), (Some(2.0), 30));
        assert_eq!(row.runs, 3 * case.runs);
    }
}
