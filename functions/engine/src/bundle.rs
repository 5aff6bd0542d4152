//! The stream that a snapshot is made from: an uncompressed tar with `<name>/model.toml` before `<name>/model.onnx`.
//!
//! One model is in memory at a time, because what is live while loading becomes part of every request's memory.

use std::io::Read;

use crate::{Error, Graph, Manifest};

/// Largest ONNX file; no function's memory would hold what a larger one becomes.
const MAX_FILE_BYTES: usize = 1 << 28;

/// Loads every model in `stream`, in order.
///
/// # Errors
/// [`Error::Bundle`] when an entry is unexpected or cut short, [`Error::Manifest`] and [`Error::Load`] from the models.
pub fn load(stream: impl Read) -> Result<Vec<(Manifest, Graph)>, Error> {
    let mut archive = tar::Archive::new(stream);
    let mut models = vec![];
    let mut manifest: Option<Manifest> = None;
    for entry in archive.entries().map_err(bundle_error)? {
        let mut entry = entry.map_err(bundle_error)?;
        let path = entry
            .path()
            .map_err(bundle_error)?
            .to_string_lossy()
            .into_owned();
        match (path.rsplit('/').next(), manifest.take()) {
            (Some("model.toml"), None) => {
                let mut text = String::new();
                entry.read_to_string(&mut text).map_err(bundle_error)?;
                manifest = Some(Manifest::parse(&text)?);
            }
            (Some("model.onnx"), Some(manifest)) => {
                let bytes = usize::try_from(entry.size()).unwrap_or(0);
                if bytes > MAX_FILE_BYTES {
                    return Err(Error::Bundle(format!(
                        "{path:?} has {bytes} bytes, limit is {MAX_FILE_BYTES}"
                    )));
                }
                let weights = Vec::with_capacity(bytes);
                let mut onnx = Vec::with_capacity(bytes);
                entry.read_to_end(&mut onnx).map_err(bundle_error)?;
                let graph = Graph::load_into(&manifest, onnx, weights)?;
                models.push((manifest, graph));
            }
            (_, manifest) => {
                let expected = if manifest.is_some() {
                    "model.onnx"
                } else {
                    "model.toml"
                };
                return Err(Error::Bundle(format!("expected {expected}, got {path:?}")));
            }
        }
    }
    match manifest {
        None => Ok(models),
        Some(manifest) => Err(Error::Bundle(format!(
            "{}: model.onnx is missing",
            manifest.name
        ))),
    }
}

fn bundle_error(error: std::io::Error) -> Error {
    Error::Bundle(error.to_string())
}
