//! The stream that a snapshot is made from: an uncompressed tar with, for each model, `<name>/model.toml`, the files of its
//! tables in their order, then `<name>/program` and `<name>/weights`, or, for a model that runs in tract, `<name>/model.onnx`.
//! Where graphs run outside the function, their descriptions are all that there is: `<name>/model.toml` and its tables.
//!
//! What is live while loading becomes part of every request's memory, so weights go straight to where they stay.

use std::io::Read;

use crate::{Error, Graph, Manifest};

/// Largest entry; no function's memory would hold what a larger one becomes.
const MAX_ENTRY_BYTES: u64 = 1 << 28;

/// Loads every model in `stream`, in order.
///
/// # Errors
/// [`Error::Bundle`] when an entry is unexpected or cut short, [`Error::Manifest`] and [`Error::Load`] from the models.
pub fn load(stream: impl Read) -> Result<Vec<(Manifest, Graph)>, Error> {
    let mut archive = tar::Archive::new(stream);
    let mut entries = archive.entries().map_err(bundle_error)?;
    let mut models = vec![];
    while let Some(manifest) = described(&mut entries)? {
        let missing = || Error::Bundle(format!("{}: the graph is missing", manifest.name));
        let (file, first) = next(&mut entries)?.ok_or_else(missing)?;
        let graph = if file == "model.onnx" {
            imported(&manifest, &read_all(first)?)?
        } else {
            expect("program", &file)?;
            let program = read_all(first)?;
            let (file, weights) = next(&mut entries)?.ok_or_else(missing)?;
            expect("weights", &file)?;
            Graph::from_parts(&manifest, &program, read_weights(weights)?)?
        };
        models.push((manifest, graph));
    }
    Ok(models)
}

/// Reads the descriptions of models whose graphs run elsewhere, in order.
///
/// # Errors
/// As [`load`], a graph included.
pub fn describe(stream: impl Read) -> Result<Vec<Manifest>, Error> {
    let mut archive = tar::Archive::new(stream);
    let mut entries = archive.entries().map_err(bundle_error)?;
    std::iter::from_fn(|| described(&mut entries).transpose()).collect()
}

/// The next model's manifest, with the values of its tables; `None` at the end of the stream.
fn described<R: Read>(entries: &mut tar::Entries<'_, R>) -> Result<Option<Manifest>, Error> {
    let Some((file, text)) = next(entries)? else {
        return Ok(None);
    };
    expect("model.toml", &file)?;
    let text = String::from_utf8(read_all(text)?)
        .map_err(|_| Error::Bundle("model.toml is not UTF-8".to_owned()))?;
    let mut manifest = Manifest::parse(&text)?;
    drop(text);
    for table in &mut manifest.tables {
        let missing = || Error::Bundle(format!("table {} is missing", table.name));
        let (file, entry) = next(entries)?.ok_or_else(missing)?;
        expect(&table.file, &file)?;
        table.fill(&read_all(entry)?)?;
    }
    Ok(Some(manifest))
}

type Entry<'a, R> = tar::Entry<'a, R>;

/// The next entry with the last part of its path.
fn next<'a, R: Read>(
    entries: &mut tar::Entries<'a, R>,
) -> Result<Option<(String, Entry<'a, R>)>, Error> {
    let Some(entry) = entries.next().transpose().map_err(bundle_error)? else {
        return Ok(None);
    };
    let path = entry.path().map_err(bundle_error)?;
    let path = path.to_string_lossy().into_owned();
    if entry.size() > MAX_ENTRY_BYTES {
        return Err(Error::Bundle(format!(
            "{path:?} has {} bytes, limit is {MAX_ENTRY_BYTES}",
            entry.size()
        )));
    }
    let file = path.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Some((file, entry)))
}

fn expect(expected: &str, file: &str) -> Result<(), Error> {
    if file == expected {
        return Ok(());
    }
    Err(Error::Bundle(format!("expected {expected}, got {file:?}")))
}

/// The whole entry, and not a byte less than it has announced.
fn read_all<R: Read>(mut entry: Entry<R>) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(entry.size() as usize);
    entry.read_to_end(&mut bytes).map_err(bundle_error)?;
    complete(bytes.len(), entry.size())?;
    Ok(bytes)
}

/// The same as signed bytes, through a small buffer.
fn read_weights<R: Read>(mut entry: Entry<R>) -> Result<Vec<i8>, Error> {
    let mut weights = Vec::with_capacity(entry.size() as usize);
    let mut buffer = [0; 4096];
    loop {
        let read = entry.read(&mut buffer).map_err(bundle_error)?;
        if read == 0 {
            break;
        }
        weights.extend(buffer[..read].iter().map(|&byte| byte as i8));
    }
    complete(weights.len(), entry.size())?;
    Ok(weights)
}

fn complete(read: usize, announced: u64) -> Result<(), Error> {
    if read as u64 == announced {
        return Ok(());
    }
    Err(Error::Bundle(format!(
        "an entry ends after {read} of {announced} bytes"
    )))
}

#[cfg(feature = "tract")]
fn imported(manifest: &Manifest, onnx: &[u8]) -> Result<Graph, Error> {
    Graph::load(manifest, onnx)
}

#[cfg(not(feature = "tract"))]
fn imported(manifest: &Manifest, _: &[u8]) -> Result<Graph, Error> {
    Err(Error::Bundle(format!(
        "{}: this function is built without tract, which the model needs",
        manifest.name
    )))
}

fn bundle_error(error: std::io::Error) -> Error {
    Error::Bundle(error.to_string())
}
