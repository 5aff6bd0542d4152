//! `ephemera build --model`: an ONNX file from anywhere -> a project that serves it by the Open Inference Protocol v2.
//!
//! ```text
//! source.rs   path              -> bytes of one self-contained file
//! (engine)    bytes             -> Signature       inputs and outputs; or which operator cannot be run
//! files.rs    Signature         -> model.toml, README.md, spin.toml
//! (build.rs)  models/, functions/infer -> the component
//! trial.rs    component, shapes -> a request that it answers, and the memory that it took
//! ```
//!
//! The function's code is compiled from the workspace of `ephemera`; what comes out needs neither it nor a compiler.

mod files;
mod source;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ephemera_engine::Signature;

use crate::build::{self, Artifact, Placement};
use crate::config::{Function, Limits, Project};
use crate::digest::sha256;
use crate::models;
use crate::progress::Progress;
use crate::shapes::Shape;

/// The package that serves any model.
const PACKAGE: &str = "ephemera-infer";

/// Its component's name in the project that is written: one that every host takes, whatever the model is called.
pub const COMPONENT: &str = "infer";

/// While the component is tried, it may take all that a 32-bit memory can.
const TRIAL_LIMITS: Limits = Limits {
    memory_bytes: 4095 << 20,
    timeout: Duration::from_secs(600),
    cpu: Duration::from_secs(600),
    answer_bytes: 1 << 30,
};

/// What to build.
#[derive(Debug)]
pub struct Outside<'a> {
    /// The ONNX file.
    pub onnx: &'a Path,
    /// What the model is to be called; the file's name if not given.
    pub name: Option<&'a str>,
    /// The folder of the project; `target/ephemera/<name>` in the workspace if not given.
    pub out: Option<&'a Path>,
    /// Inputs that are to have one shape only.
    pub shapes: &'a [Shape],
    /// Where `functions/infer` is.
    pub workspace: &'a Path,
}

/// A project that serves one model.
#[derive(Debug)]
pub struct Made {
    /// The model's name.
    pub name: String,
    /// The project's manifest.
    pub manifest: PathBuf,
    /// What of the model runs in tract, and why; nothing for one in int8 throughout.
    pub in_tract: Vec<String>,
    /// A command to try it with, in the project's folder; `{url}` stands for where it is served.
    pub example: String,
    /// The ceiling of a request, in MiB.
    pub memory_mib: u32,
    /// The component.
    pub artifact: Artifact,
}

/// Builds it.
///
/// # Errors
///
/// A file that is no model, or one that tract cannot run: the operator is named. Whatever [`build::build`] reports.
pub fn make(outside: &Outside, progress: &Progress) -> Result<Made> {
    let workspace = workspace(outside.workspace)?;
    let name = match outside.name {
        Some(name) => checked_name(name)?,
        None => name_of(outside.onnx)?,
    };
    let file = outside.onnx.display();
    let (original, onnx) = source::read(outside.onnx)?;
    let fixed = outside.shapes.iter();
    let fixed = fixed.map(|shape| (shape.name.as_str(), shape.extents.as_slice()));
    let fixed: Vec<_> = fixed.collect();
    let signature = Signature::read(&onnx, &fixed).with_context(|| {
        let advice = match fixed.is_empty() {
            true => " (an input's shape can be fixed by `--input NAME=1x3x224x224`)",
            false => "",
        };
        format!("{file} cannot be run{advice}")
    })?;

    let root = outside.out.map(Path::to_owned);
    let root = root.unwrap_or_else(|| workspace.join("target/ephemera").join(&name));
    check_ours(&root)?;
    let folder = root.join("models").join(&name);
    let model = files::Model {
        name: &name,
        file: outside.onnx,
        original: sha256(&original),
        stored: sha256(&onnx),
        signature: &signature,
    };
    drop(original);
    crate::files::write_atomic(&folder.join("model.onnx"), &onnx)?;
    drop(onnx);
    crate::files::write_atomic(&folder.join("model.toml"), model.manifest().as_bytes())?;
    // Whether tract takes it is found out before anything is compiled.
    let bundle = models::bundle(&root.join("models"), std::slice::from_ref(&name))
        .with_context(|| format!("{file} cannot be run"))?;
    let in_tract = bundle.in_tract.clone();

    let mut function = function(&root, &name);
    let artifact = build::build_with(Placement::Guest, &workspace, &function, &bundle, progress)?;
    let trial = trial::run(&artifact, &function, &signature, progress)?;
    function.limits.memory_bytes = (trial.memory_mib as usize) << 20;
    let file = root.join(trial.request.file());
    crate::files::write_atomic(&file, &trial.request.body)?;
    let example = trial.request.command(&name);
    let card = model.card(&in_tract, &example, trial.memory_mib);
    crate::files::write_atomic(&folder.join("README.md"), card.as_bytes())?;
    let manifest = root.join("spin.toml");
    let text = model.project(&example, trial.memory_mib);
    crate::files::write_atomic(&manifest, text.as_bytes())?;
    // What was written must be what `up` reads.
    Project::open(&manifest).context("reading what was written")?;
    Ok(Made {
        name,
        manifest,
        in_tract,
        example,
        memory_mib: trial.memory_mib,
        artifact,
    })
}

/// What every manifest that is written here begins with.
const SIGNED: &str = "# Written by `ephemera build --model`.";

/// Whether nobody else's project is at `root`, which would be written over.
fn check_ours(root: &Path) -> Result<()> {
    let manifest = root.join("spin.toml");
    let there = std::fs::read_to_string(&manifest).unwrap_or_default();
    ensure!(
        !manifest.exists() || there.starts_with(SIGNED),
        "{} is another project: expected an empty folder, or one that `ephemera build --model` made",
        root.display()
    );
    Ok(())
}

/// The function as it is while it is built and tried.
fn function(root: &Path, name: &str) -> Function {
    Function {
        name: COMPONENT.to_owned(),
        source: root.join(COMPONENT).with_extension("wasm"),
        package: Some(PACKAGE.to_owned()),
        features: Vec::new(),
        starts: Vec::new(),
        models: vec![name.to_owned()],
        limits: TRIAL_LIMITS,
        variables: Default::default(),
        spin: Default::default(),
        wasi_nn: false,
        run: None,
        example: None,
    }
}

/// The folder at or above `start` that has the function's code.
fn workspace(start: &Path) -> Result<PathBuf> {
    let start = start
        .canonicalize()
        .with_context(|| format!("resolving {}", start.display()))?;
    let mut above = start.ancestors();
    let found = above.find(|folder| folder.join("functions/infer/Cargo.toml").is_file());
    found.map(Path::to_owned).with_context(|| {
        format!(
            "no functions/infer at or above {}: the function is compiled from the workspace of ephemera, so run this in it or name its spin.toml with --manifest",
            start.display()
        )
    })
}

/// A name that can be a folder's and part of a path in a URL.
fn checked_name(name: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    ensure!(
        (1..=64).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(plain),
        "name `{name}`: expected 1 to 64 letters, digits, `-` and `_`"
    );
    Ok(name.to_owned())
}

/// The same from a file's name; what stands for nothing else becomes `-`.
fn name_of(onnx: &Path) -> Result<String> {
    let stem = onnx.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| match c.is_ascii_alphanumeric() || c == '_' {
        true => c.to_ascii_lowercase(),
        false => '-',
    };
    let name: String = stem.chars().map(plain).take(64).collect();
    checked_name(name.trim_matches('-')).context("give the model a name by --name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_give_models_their_names() {
        for (file, name) in [
            ("/m/ResNet-50.onnx", Some("resnet-50")),
            ("my model (1).onnx", Some("my-model--1")),
            ("yolo_v8.quant.onnx", Some("yolo_v8-quant")),
            ("---.onnx", None),
            ("/", None),
        ] {
            assert_eq!(name_of(Path::new(file)).ok().as_deref(), name, "{file}");
        }
        for name in ["", "-x", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_folder_without_the_function_says_what_is_needed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = workspace(folder.path()).expect_err("it is empty");
        assert!(
            error.to_string().contains("compiled from the workspace"),
            "{error}"
        );
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).expect("writable");
        std::fs::create_dir_all(folder.path().join("functions/infer")).expect("writable");
        std::fs::write(folder.path().join("functions/infer/Cargo.toml"), "").expect("writable");
        let found = workspace(&inner).expect("it is above");
        assert_eq!(found, folder.path().canonicalize().expect("it exists"));
    }
}
