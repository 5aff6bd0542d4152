//! The files that runners read: shipped models as they are, lowered, and in f32; other networks from the tools.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use ephemera_engine::{Graph, Manifest};

use super::Runner;
use super::cases::Case;
use super::python::Python;
use crate::digest::Inputs;
use crate::progress::Progress;
use crate::{files, models, shapes};

/// Where files are made.
pub(super) struct Workshop {
    models: PathBuf,
    lowered: PathBuf,
    /// What the tools made. The folder is named after the tools, so that other tools make it anew.
    made: PathBuf,
}

/// One case's files.
pub(super) struct Files {
    manifest: PathBuf,
    /// The QDQ graph.
    pub(super) int8: PathBuf,
    /// The graph that it was made from; it may not be there.
    f32: PathBuf,
    /// The lowered graph, or what of it runs in tract.
    lowered: Result<Lowered, String>,
    /// Multiply-accumulates of one run of the int8 graph; unknown if it has no integer form.
    pub(super) macs: Option<u64>,
}

struct Lowered {
    program: PathBuf,
    weights: PathBuf,
}

/// Whether a runner needs the f32 graph.
fn reads_f32(runner: Runner) -> bool {
    use Runner::{OrtF32, TractF32Native, TractF32Wasm};
    matches!(runner, OrtF32 | TractF32Native | TractF32Wasm)
}

/// Whether anything of this is made by the tools or runs in Python.
pub(super) fn wants_python(cases: &[&Case], runners: &[Runner]) -> bool {
    let made = cases.iter().any(|case| !case.shipped);
    made || runners
        .iter()
        .any(|&r| reads_f32(r) || r == Runner::OrtInt8)
}

impl Workshop {
    /// In the project at `root`.
    ///
    /// # Errors
    ///
    /// The tools cannot be read, the folder cannot be made.
    pub(super) fn new(root: &Path) -> Result<Self> {
        let bench = root.join("target/bench");
        let made = bench.join(format!("models-{}", tools_hash(root)?));
        std::fs::create_dir_all(&made).with_context(|| format!("making {}", made.display()))?;
        Ok(Self {
            models: root.join("models"),
            lowered: bench.join("lowered"),
            made,
        })
    }

    /// The folders that hold all files, for a sandbox to read.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        vec![self.models.clone(), self.lowered.clone(), self.made.clone()]
    }

    /// Makes what `runners` need for `cases` and is not there yet.
    ///
    /// # Errors
    ///
    /// The tools fail.
    pub(super) fn make(
        &self,
        python: &Python,
        cases: &[&Case],
        runners: &[Runner],
        progress: &Progress,
    ) -> Result<()> {
        let f32 = runners.iter().any(|&runner| reads_f32(runner));
        let missing = |case: &Case| {
            let files = [self.int8(case), self.f32(case)];
            (!case.shipped || f32) && files.iter().any(|file| !file.is_file())
        };
        let wanted = cases.iter().filter(|case| missing(case));
        let mut names: Vec<&str> = wanted.map(|case| case.model).collect();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let step = progress.step(format!("making {}", names.join(", ")));
        python.make_models(&self.made, &names)?;
        step.done("made");
        Ok(())
    }

    /// The files of `case`, its graph lowered.
    ///
    /// # Errors
    ///
    /// A file that is not there or is no model.
    pub(super) fn files(&self, case: &Case) -> Result<Files> {
        let manifest = match case.shipped {
            true => self.models.join(case.model).join("model.toml"),
            false => self.made.join(format!("{}.toml", case.model)),
        };
        let int8 = self.int8(case);
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("reading {}", path.display()))
        };
        let parsed = Manifest::parse(&String::from_utf8(read(&manifest)?)?)?;
        let graph = Graph::load(&parsed, &read(&int8)?)
            .with_context(|| format!("lowering {}", case.model))?;
        let report = graph.report(&shapes::zeros(&parsed, &case.shapes())?)?;
        Ok(Files {
            lowered: self.lowered(case, &graph)?,
            f32: self.f32(case),
            macs: (!report.is_empty()).then(|| report.iter().map(|step| step.macs).sum()),
            manifest,
            int8,
        })
    }

    fn int8(&self, case: &Case) -> PathBuf {
        match case.shipped {
            true => self.models.join(case.model).join("model.onnx"),
            false => self.made.join(format!("{}.int8.onnx", case.model)),
        }
    }

    fn f32(&self, case: &Case) -> PathBuf {
        self.made.join(format!("{}.f32.onnx", case.model))
    }

    fn lowered(&self, case: &Case, graph: &Graph) -> Result<Result<Lowered, String>> {
        let Some(parts) = graph.parts() else {
            return Ok(Err(models::in_tract(graph).join("; ")));
        };
        let folder = self.lowered.join(case.model);
        let lowered = Lowered {
            program: folder.join("program"),
            weights: folder.join("weights"),
        };
        let weights: Vec<u8> = parts.weights.iter().map(|w| w.cast_unsigned()).collect();
        files::write_atomic(&lowered.program, &parts.program)?;
        files::write_atomic(&lowered.weights, &weights)?;
        Ok(Ok(lowered))
    }
}

impl Files {
    /// The f32 graph.
    ///
    /// # Errors
    ///
    /// It was not made.
    pub(super) fn f32(&self) -> Result<&Path> {
        let made = self.f32.is_file();
        made.then_some(self.f32.as_path())
            .with_context(|| format!("{} was not made", self.f32.display()))
    }

    /// What the probe is told to run the lowered graph.
    ///
    /// # Errors
    ///
    /// Some of it runs in tract.
    pub(super) fn for_ours(&self) -> Result<Vec<String>> {
        let lowered = self
            .lowered
            .as_ref()
            .map_err(|reason| anyhow!("{reason}"))?;
        let files = [
            ("--manifest", &self.manifest),
            ("--graph", &lowered.program),
            ("--weights", &lowered.weights),
        ];
        Ok(arguments(&files))
    }

    /// What the probe is told to run the f32 graph in tract.
    ///
    /// # Errors
    ///
    /// The f32 graph was not made.
    pub(super) fn for_tract(&self) -> Result<Vec<String>> {
        self.f32()?;
        let files = [("--manifest", &self.manifest), ("--graph", &self.f32)];
        let mut arguments = arguments(&files);
        arguments.push("--float".to_owned());
        Ok(arguments)
    }
}

fn arguments(files: &[(&str, &PathBuf)]) -> Vec<String> {
    let pair = |(name, path): &(&str, &PathBuf)| [(*name).to_owned(), path.display().to_string()];
    files.iter().flat_map(pair).collect()
}

/// Digits that differ whenever the tools do.
fn tools_hash(root: &Path) -> Result<String> {
    let folder = root.join("models/tools");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut scripts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "py") {
            scripts.push(path);
        }
    }
    scripts.sort();
    let mut inputs = Inputs::default();
    for path in scripts {
        inputs = inputs.with(&std::fs::read(path)?);
    }
    Ok(inputs.hash().short().to_owned())
}
