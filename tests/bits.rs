//! The same bits from every form of the kernels: each instruction set of this machine, and both of the sandbox.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ephemera::bench::engine::probe::{Probe, Profile};
use ephemera::models;
use ephemera::progress::Progress;
use ephemera_engine::{Graph, Isa};

use crate::runners;

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
        ("ocr-detector", "x=1x3x320x320"),
    ] {
        let model = models::read(&root.join("models").join(name))?;
        let parts = Graph::load(&model.manifest, &model.onnx)?.parts();
        let parts = parts.with_context(|| format!("{name} runs in tract"))?;
        let weights: Vec<u8> = parts.weights.iter().map(|w| w.cast_unsigned()).collect();
        let mut arguments = vec!["--input".to_owned(), input.to_owned()];
        for (option, file, bytes) in [
            ("--manifest", "model.toml", &model.table),
            ("--graph", "program", &parts.program),
            ("--weights", "weights", &weights),
        ] {
            let path = folder.path().join(format!("{name}.{file}"));
            std::fs::write(&path, bytes)?;
            arguments.extend([option.to_owned(), path.display().to_string()]);
        }
        let mut hashes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (probe, isa) in &forms {
            let isa_argument = ["--isa".to_owned(), (*isa).to_owned()];
            let arguments = [&arguments[..], &isa_argument].concat();
            let measured = probe
                .measure(&arguments)
                .with_context(|| format!("{name}, {isa}"))?;
            hashes
                .entry(measured.hash.context("a hash")?)
                .or_default()
                .push(isa);
        }
        assert_eq!(hashes.len(), 1, "{name}: {hashes:?}");
    }
    Ok(())
}
