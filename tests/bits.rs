//! The same bits from every form of the kernels: each instruction set of this machine, and both of the sandbox.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use ephemera::bench::engine::probe::{Probe, Profile};
use ephemera::models;
use ephemera::progress::Progress;
use ephemera_engine::{Graph, Isa, Manifest};

use crate::{networks, runners};

#[test]
fn every_instruction_set_gives_the_same_bits() -> Result<()> {
    let root = runners::root();
    let folder = tempfile::tempdir()?;
    let progress = Progress::stderr();
    let native = Probe::native(&root, Profile::Dev, &progress)?;
    let wasm = Probe::wasm(&root, &[folder.path().to_owned()], &progress)?;
    let mut forms: Vec<(&Probe, &str)> = vec![(&wasm, "simd128"), (&wasm, "relaxed")];
    forms.extend(
        Isa::available()
            .into_iter()
            .map(|isa| (&native, isa.name())),
    );

    for (name, input) in [
        ("ocr-recogniser-latin", "x=1x3x48x320"),
        ("ocr-recogniser-devanagari", "x=1x3x48x320"),
        ("ocr-recogniser-european", "x=1x3x48x320"),
        ("ocr-detector", "x=1x3x320x320"),
    ] {
        let model = models::read(&root.join("models").join(name))?;
        let table = String::from_utf8_lossy(&model.table);
        let arguments = lowered(folder.path(), name, &model.manifest, &table, &model.onnx)?;
        have_one_hash(name, &forms, &arguments, &[input])?;
    }
    for network in [networks::mobilenet_v2(), networks::gait_student()] {
        let networks::Network {
            name,
            inputs,
            manifest,
            table,
            onnx,
        } = network;
        let arguments = lowered(folder.path(), name, &manifest, &table, &onnx)?;
        have_one_hash(name, &forms, &arguments, inputs)?;
    }
    Ok(())
}

/// Lowers a model into `folder`; returns the measuring program's arguments for it.
fn lowered(
    folder: &Path,
    name: &str,
    manifest: &Manifest,
    table: &str,
    onnx: &[u8],
) -> Result<Vec<String>> {
    let graph = Graph::load(manifest, onnx).with_context(|| name.to_owned())?;
    let parts = graph.parts();
    let parts = parts.with_context(|| format!("{name} runs in tract"))?;
    let weights: Vec<u8> = parts.weights.iter().map(|w| w.cast_unsigned()).collect();
    let mut arguments = vec![];
    for (option, file, bytes) in [
        ("--manifest", "model.toml", table.as_bytes()),
        ("--graph", "program", &parts.program),
        ("--weights", "weights", &weights),
    ] {
        let path = folder.join(format!("{name}.{file}"));
        std::fs::write(&path, bytes)?;
        arguments.extend([option.to_owned(), path.display().to_string()]);
    }
    Ok(arguments)
}

/// Runs a model in all `forms`, which must agree.
fn have_one_hash(
    name: &str,
    forms: &[(&Probe, &str)],
    arguments: &[String],
    inputs: &[&str],
) -> Result<()> {
    let mut hashes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (probe, isa) in forms {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--isa".to_owned(), (*isa).to_owned()]);
        for input in inputs {
            arguments.extend(["--input".to_owned(), (*input).to_owned()]);
        }
        let measured = probe
            .measure(&arguments)
            .with_context(|| format!("{name}, {isa}"))?;
        let hash = measured.hash.context("a hash")?;
        hashes.entry(hash).or_default().push(isa);
    }
    assert_eq!(hashes.len(), 1, "{name}: {hashes:?}");
    Ok(())
}
