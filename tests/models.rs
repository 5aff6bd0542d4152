//! The committed models are the files that their manifests name, and load in integers.

use anyhow::{Context, Result};
use ephemera_engine::{Graph, Manifest};

use crate::runners;

#[test]
fn every_model_has_its_hash_and_runs_in_integers() -> Result<()> {
    let folder = runners::root().join("models");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let Ok(text) = std::fs::read_to_string(path.join("model.toml")) else { continue };
        let manifest = Manifest::parse(&text).with_context(|| format!("{}", path.display()))?;
        let onnx = std::fs::read(path.join("model.onnx"))?;
        assert_eq!(ephemera::digest::sha256(&onnx).to_string(), manifest.sha256, "{}", manifest.name);
        assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(manifest.name.as_str()));
        let graph = Graph::load(&manifest, &onnx)?;
        assert_eq!(graph.float_reason(), None, "{}", manifest.name);
        seen += 1;
    }
    assert!(seen >= 2, "expected the detector and a recogniser, got {seen} models");
    Ok(())
}
