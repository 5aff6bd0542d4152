//! `ephemera build`: functions and models -> components with the models inside, precompiled for this machine.
//!
//! Each step is skipped when nothing it reads has changed: Cargo decides for the module, a stamp beside the component for the snapshot,
//! the precompiled file's own name for the compilation. Files appear whole or not at all, and one process builds at a time.
//!
//! A function has two builds ([`Placement`]): with its models inside, and, much smaller, with their descriptions alone. The second comes with
//! the lowered graphs in a file of their own, for the device that runs them.

mod placement;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use wasmparser::{Validator, WasmFeatures};

pub use placement::Placement;

use crate::config::{Function, Project};
use crate::digest::{Inputs, Sha256Hex, engine_key, sha256};
use crate::image::{self, DEFAULT_DENSE_BYTES, Image};
use crate::models::Bundle;
use crate::progress::Progress;
use crate::runtime::{DENSE_BYTES, compiler};
use crate::{cargo, files, foreign, imports, models, module, snapshot, targets, variables};

/// Goes into every stamp: raise it when this crate makes other bytes of the same inputs.
const RECIPE: u32 = 3;

/// A function, built.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Artifact {
    /// The function's name in the manifest.
    pub name: String,
    /// The component with its models loaded: what is deployed.
    pub component: PathBuf,
    /// The same, compiled for this machine and this version of the engine.
    pub precompiled: PathBuf,
    /// The component before its models were loaded: what a snapshot is compared with.
    pub unloaded: PathBuf,
    /// The lowered graphs, as a stream of models, where they are not inside.
    pub graphs: Option<PathBuf>,
    /// What is in it.
    pub report: Report,
}

/// What a component is and asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Size of the component's file.
    pub component_bytes: u64,
    /// Memory images of its modules.
    pub images: Vec<Image>,
    /// Interfaces it imports, with versions.
    pub imports: Vec<String>,
}

/// Builds the functions `names`, or all of them if none is named.
///
/// # Errors
///
/// An unknown name, and whatever a step reports: missing tools, code that does not compile, models that are not what they claim, a
/// component that could not be started from its image or would not run under Spin 3.
pub fn build(project: &Project, names: &[String], progress: &Progress) -> Result<Vec<Artifact>> {
    build_as(Placement::Guest, project, names, progress)
}

/// The same, with the models where `placement` says.
///
/// # Errors
///
/// As [`build`].
pub fn build_as(
    placement: Placement,
    project: &Project,
    names: &[String],
    progress: &Progress,
) -> Result<Vec<Artifact>> {
    let functions = project.select(names)?;
    functions
        .into_iter()
        .map(|function| {
            let placement = placement.possible(function);
            build_one(placement, project, &placement.of(function), progress)
                .with_context(|| format!("building `{}`", function.name))
        })
        .collect()
}

/// The function as it was last built; precompiles it if that was on another machine.
///
/// # Errors
///
/// It was never built, or is no component of ours.
pub fn open(function: &Function, progress: &Progress) -> Result<Artifact> {
    open_as(Placement::Guest, function, progress)
}

/// The same, with the models where `placement` says.
///
/// # Errors
///
/// As [`open`], and graphs that are not those that the component was built with.
pub fn open_as(placement: Placement, function: &Function, progress: &Progress) -> Result<Artifact> {
    let placement = placement.possible(function);
    let function = &*placement.of(function);
    let component = std::fs::read(&function.source)
        .with_context(|| format!("`{}` is not built: run `ephemera build`", function.name))?;
    if function.package.is_none() {
        return open_foreign(function, &component, progress);
    }
    // Without the lock: files appear whole, and who wants what is there need not wait for what is being made.
    let report = inspect(placement, &component, function)?;
    // Built before it had any, it would run with all its settings at their defaults: a service with a key would be open.
    let asks = |import: &String| import.starts_with(variables::INTERFACE);
    ensure!(
        function.variables.is_empty() || report.imports.iter().any(asks),
        "`{}` was built before it had variables: run `ephemera build`",
        function.name
    );
    if placement == Placement::Host {
        check_graphs(function)?;
    }
    finish(placement, function, &component, report, progress)
}

/// Whether the graphs on disk are those of the component's build.
fn check_graphs(function: &Function) -> Result<()> {
    let stamp = std::fs::read(stamp_path(function)).context("reading what was built")?;
    let stamp: Stamp = serde_json::from_slice(&stamp).context("reading what was built")?;
    let graphs = std::fs::read(graphs_path(function)).context("reading the lowered graphs")?;
    ensure!(
        stamp.graphs == Some(sha256(&graphs)),
        "the lowered graphs of `{}` are not those of its build: run `ephemera build`",
        function.name
    );
    Ok(())
}

/// A component of others, precompiled: nothing is loaded into it.
fn open_foreign(function: &Function, file: &[u8], progress: &Progress) -> Result<Artifact> {
    let component = foreign::component(file, function.is_command())?;
    let report = Report {
        component_bytes: component.len() as u64,
        images: image::images(&component)?,
        imports: foreign::imports(&component, &function.spin)?,
    };
    let mut artifact = finish(Placement::Guest, function, &component, report, progress)?;
    // Nothing was loaded, so there is no other state to compare it with.
    artifact.unloaded = function.source.clone();
    Ok(artifact)
}

fn build_one(
    placement: Placement,
    project: &Project,
    function: &Function,
    progress: &Progress,
) -> Result<Artifact> {
    let name = &function.name;
    if function.package.is_none() {
        if let Some(build) = &function.spin.build {
            progress.note(&format!("{name}: {}", build.command.join("; ")));
            foreign::build(&project.root, build)?;
        }
        return open_as(placement, function, progress);
    }
    let models = models::bundle(&project.workspace().join("models"), &function.models)?;
    build_with(placement, project.workspace(), function, &models, progress)
}

/// Builds `function`, whose package is in `workspace`, around `models`.
///
/// # Errors
///
/// As [`build`]; a function without a package.
pub fn build_with(
    placement: Placement,
    workspace: &Path,
    function: &Function,
    models: &Bundle,
    progress: &Progress,
) -> Result<Artifact> {
    let name = &function.name;
    let package = function.package.as_deref();
    let package = package.with_context(|| format!("`{name}` has no package"))?;
    targets::ensure(workspace, progress)?;
    progress.note(&format!("{name}: compiling {package}"));
    let features = features(placement, function, models, progress);
    // Before Cargo: one package compiled with other features for another function has its module at the same place.
    let core = {
        let shared = workspace.join("target/ephemera");
        let _lock = files::lock(&shared, || progress.note("waiting for another build"))?;
        let core = cargo::build(workspace, package, &features)?;
        std::fs::read(&core).with_context(|| format!("reading {}", core.display()))?
    };
    let _lock = lock(function, progress)?;
    let inside = match placement {
        Placement::Guest => &models.stream,
        Placement::Host => &models.descriptions,
    };
    let inputs = Inputs::default()
        .with(&RECIPE.to_le_bytes())
        .with(engine_key(&compiler()?).as_bytes())
        .with(module::ADAPTER)
        .with(&core)
        .with(inside)
        .hash();
    let graphs = (placement == Placement::Host).then_some(&models.stream);

    if let Some((component, report)) = fresh(function, &inputs, graphs) {
        progress.note(&format!("{name}: unchanged, {}", report.line()));
        return finish(placement, function, &component, report, progress);
    }

    let step = progress.step(match function.models.as_slice() {
        [] => format!("{name}: no models to load"),
        models => format!("{name}: loading {}", models.join(", ")),
    });
    let unloaded = module::to_component(&core)?;
    // A function without models may well have nothing to load, and then starts as it was compiled.
    let component = match function.models.is_empty() && !snapshot::loads(&unloaded)? {
        true => unloaded.clone(),
        false => snapshot::snapshot(&unloaded, inside.clone())?,
    };
    let report = inspect(placement, &component, function)?;
    files::write_atomic(&unloaded_path(function), &unloaded)?;
    if let Some(graphs) = graphs {
        files::write_atomic(&graphs_path(function), graphs)?;
    }
    files::write_atomic(&function.source, &component)?;
    // Last, so that a stamp never speaks of files that are not there.
    let stamp = Stamp {
        inputs,
        component: sha256(&component),
        graphs: graphs.map(|graphs| sha256(graphs)),
        report: report.clone(),
    };
    files::write_atomic(&stamp_path(function), &serde_json::to_vec_pretty(&stamp)?)?;
    step.done(&report.line());
    finish(placement, function, &component, report, progress)
}

/// What the function is compiled with, beyond its defaults, to take `models` and to ask for its variables.
fn features<'f>(
    placement: Placement,
    function: &'f Function,
    models: &Bundle,
    progress: &Progress,
) -> Vec<&'f str> {
    for part in &models.in_tract {
        progress.note(&format!("{}: {part}", function.name));
    }
    let inside = placement == Placement::Guest;
    let wanted = [
        (inside && !models.in_tract.is_empty(), "tract"),
        (!inside, "wasi-nn"),
        (!function.variables.is_empty(), "variables"),
    ];
    let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted);
    let own = function.features.iter().map(String::as_str);
    own.chain(wanted.map(|(_, feature)| feature)).collect()
}

fn lock(function: &Function, progress: &Progress) -> Result<std::fs::File> {
    let folder = function
        .source
        .parent()
        .context("a component has a folder")?;
    files::lock(folder, || progress.note("waiting for another build"))
}

/// What the component on disk was made of.
#[derive(Serialize, Deserialize)]
struct Stamp {
    inputs: Sha256Hex,
    component: Sha256Hex,
    /// Of the lowered graphs, where they are not inside.
    #[serde(default)]
    graphs: Option<Sha256Hex>,
    report: Report,
}

/// The component on disk, if it is what `inputs` would give again, and `graphs` lie beside it.
fn fresh(
    function: &Function,
    inputs: &Sha256Hex,
    graphs: Option<&Vec<u8>>,
) -> Option<(Vec<u8>, Report)> {
    let stamp = std::fs::read(stamp_path(function)).ok()?;
    let stamp: Stamp = serde_json::from_slice(&stamp).ok()?;
    let component = std::fs::read(&function.source).ok()?;
    let same = stamp.inputs == *inputs
        && stamp.component == sha256(&component)
        && stamp.graphs == graphs.map(|graphs| sha256(graphs))
        && graphs.is_none_or(|graphs| {
            std::fs::read(graphs_path(function)).is_ok_and(|on_disk| on_disk == *graphs)
        })
        && unloaded_path(function).is_file();
    same.then_some((component, stamp.report))
}

/// Validates `component` and refuses what would run badly or not at all.
fn inspect(placement: Placement, component: &[u8], function: &Function) -> Result<Report> {
    Validator::new_with_features(WasmFeatures::default())
        .validate_all(component)
        .context("the component does not validate")?;
    let images = image::images(component)?;
    for image in &images {
        ensure!(
            image.copy_on_write(DENSE_BYTES),
            "the memory image would be copied for every request: {image:?}"
        );
        ensure!(
            image.memory_bytes <= function.limits.memory_bytes as u64,
            "the function starts with {} bytes of memory, memory_mib allows {}",
            image.memory_bytes,
            function.limits.memory_bytes
        );
    }
    Ok(Report {
        component_bytes: component.len() as u64,
        images,
        imports: imports::checked(component, placement, function)?,
    })
}

impl Report {
    /// Whether every image is mapped copy-on-write by hosts with Wasmtime's own settings, such as Spin.
    pub fn maps_everywhere(&self) -> bool {
        let mapped = |image: &Image| image.copy_on_write(DEFAULT_DENSE_BYTES);
        self.images.iter().all(mapped)
    }

    fn line(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let sum = |field: fn(&Image) -> u64| self.images.iter().map(field).sum();
        let mapped = if self.maps_everywhere() {
            "mapped copy-on-write"
        } else {
            "COPIED FOR EVERY REQUEST by hosts with Wasmtime's default settings"
        };
        format!(
            "{:.1} MiB, image {:.1} MiB ({:.1} MiB of data) in {:.1} MiB of memory, {mapped}, {} imports",
            mib(self.component_bytes),
            mib(sum(|image| image.span_bytes)),
            mib(sum(|image| image.data_bytes)),
            mib(sum(|image| image.memory_bytes)),
            self.imports.len(),
        )
    }
}

fn finish(
    placement: Placement,
    function: &Function,
    component: &[u8],
    report: Report,
    progress: &Progress,
) -> Result<Artifact> {
    Ok(Artifact {
        name: function.name.clone(),
        component: function.source.clone(),
        precompiled: precompile(&function.name, &function.source, component, progress)?,
        unloaded: unloaded_path(function),
        graphs: (placement == Placement::Host).then(|| graphs_path(function)),
        report,
    })
}

/// Compiles `component` for this machine into a file beside `source`, unless that was done before; returns its path.
///
/// # Errors
///
/// The component does not compile, or the file cannot be written.
pub fn precompile(
    name: &str,
    source: &Path,
    component: &[u8],
    progress: &Progress,
) -> Result<PathBuf> {
    let engine = compiler()?;
    // Versions and settings of the engine lie side by side; of one engine, only the last content is kept.
    let kin = format!("{}-{}-", stem(source), engine_key(&engine));
    let path = source.with_file_name(format!("{kin}{}.cwasm", sha256(component).short()));
    if path.is_file() {
        return Ok(path);
    }
    let step = progress.step(format!("{name}: precompiling"));
    let code = engine.precompile_component(component)?;
    files::write_atomic(&path, &code).context(
        "keeping what was compiled for this processor: build on one of its kind, or where files can be written",
    )?;
    remove_kin(&path, &kin);
    step.done(&format!(
        "{:.1} MiB",
        code.len() as f64 / f64::from(1 << 20)
    ));
    Ok(path)
}

/// Removes what `path` replaces. Who has it mapped keeps it; who cannot remove it has lost some disk and nothing else.
fn remove_kin(path: &Path, kin: &str) {
    let entries = path.parent().map(std::fs::read_dir);
    for entry in entries.into_iter().flatten().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(kin) && name.ends_with(".cwasm") && entry.path() != path {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn stem(source: &Path) -> String {
    let stem = source.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn unloaded_path(function: &Function) -> PathBuf {
    function.source.with_extension("unloaded.wasm")
}

fn graphs_path(function: &Function) -> PathBuf {
    function.source.with_extension("graphs.tar")
}

fn stamp_path(function: &Function) -> PathBuf {
    function.source.with_extension("stamp.json")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Limits;

    fn function(folder: &Path) -> Function {
        Function {
            name: "f".into(),
            source: folder.join("f.wasm"),
            package: Some("f".into()),
            features: Vec::new(),
            starts: Vec::new(),
            models: Vec::new(),
            limits: Limits {
                memory_bytes: 1 << 20,
                timeout: Duration::from_secs(1),
                ..Limits::default()
            },
            variables: Default::default(),
            spin: Default::default(),
            wasi_nn: false,
            run: None,
            example: None,
        }
    }

    #[test]
    fn a_stamp_is_fresh_only_for_its_inputs_and_its_component() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let function = function(folder.path());
        let inputs = Inputs::default().with(b"1").hash();
        let report = Report {
            component_bytes: 3,
            images: Vec::new(),
            imports: Vec::new(),
        };
        let fresh = |inputs| fresh(&function, inputs, None);
        assert!(fresh(&inputs).is_none(), "nothing is built");

        let stamp = Stamp {
            inputs: inputs.clone(),
            component: sha256(b"abc"),
            graphs: None,
            report: report.clone(),
        };
        let stamp = serde_json::to_vec(&stamp).expect("a stamp is JSON");
        files::write_atomic(&stamp_path(&function), &stamp).expect("written");
        files::write_atomic(&function.source, b"abc").expect("written");
        files::write_atomic(&unloaded_path(&function), b"").expect("written");
        let expected = Some((b"abc".to_vec(), report));
        assert_eq!(fresh(&inputs), expected);

        let others = Inputs::default().with(b"2").hash();
        assert!(fresh(&others).is_none(), "other inputs");
        files::write_atomic(&function.source, b"abd").expect("written");
        assert!(fresh(&inputs).is_none(), "another component");
        files::write_atomic(&stamp_path(&function), b"{").expect("written");
        assert!(fresh(&inputs).is_none(), "a broken stamp");
    }

    /// An empty component: magic and version only.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn code_is_compiled_once_and_replaces_its_predecessor() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = folder.path().join("f.wasm");
        let silent = Progress::silent();
        let first = precompile("f", &source, EMPTY, &silent).expect("it compiles");
        let written = || {
            first
                .metadata()
                .and_then(|file| file.modified())
                .expect("it exists")
        };
        let before = written();
        assert_eq!(
            precompile("f", &source, EMPTY, &silent).expect("again"),
            first
        );
        assert_eq!(written(), before);

        // A custom section makes it another component.
        let other = [EMPTY, b"\x00\x02\x01x"].concat();
        let second = precompile("f", &source, &other, &silent).expect("it compiles");
        assert_ne!(first, second);
        assert!(second.is_file() && !first.exists());
    }

    #[test]
    fn what_is_not_a_component_is_not_opened() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let function = function(folder.path());
        let error = open(&function, &Progress::silent()).expect_err("not built");
        assert!(format!("{error:#}").contains("`f` is not built"));
        std::fs::write(&function.source, b"junk").expect("written");
        assert!(open(&function, &Progress::silent()).is_err());
    }
}
