//! Model folders -> the stream that a function reads while it is being snapshotted.
//!
//! Each `models/<name>/` holds `model.toml` and `model.onnx`; the ONNX file's SHA-256 must be the one the table states. Out comes one
//! uncompressed tar stream, entries `<name>/model.toml` then `<name>/model.onnx` in the order asked for, with nothing in its headers that
//! differs between machines. What the files mean is left to the guest.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::digest::{Sha256Hex, sha256};

/// Reads and checks the models `names` under `folder` (the project's `models/`) into one tar stream.
///
/// # Errors
///
/// A missing file, a table without `name` and `sha256`, a name that is not the folder's, a file that is not what its table says.
pub fn bundle(folder: &Path, names: &[String]) -> Result<Vec<u8>> {
    let mut stream = tar::Builder::new(Vec::new());
    for name in names {
        let (table, onnx) = read(folder, name).with_context(|| format!("model `{name}`"))?;
        append(&mut stream, &format!("{name}/model.toml"), &table)?;
        append(&mut stream, &format!("{name}/model.onnx"), &onnx)?;
    }
    Ok(stream.into_inner()?)
}

/// The part of `model.toml` that the host checks.
#[derive(Deserialize)]
struct Card {
    name: String,
    sha256: Sha256Hex,
}

fn read(folder: &Path, name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let file = |file: &str| {
        let path = folder.join(name).join(file);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let table = file("model.toml")?;
    let text = std::str::from_utf8(&table).context("model.toml is not UTF-8")?;
    let card: Card = toml::from_str(text).context("in model.toml")?;
    ensure!(
        card.name == name,
        "model.toml: expected the folder's name, got `{}`",
        card.name
    );

    let onnx = file("model.onnx")?;
    let actual = sha256(&onnx);
    ensure!(
        card.sha256 == actual,
        "model.onnx: expected SHA-256 {} from model.toml, got {actual}",
        card.sha256
    );
    Ok((table, onnx))
}

fn append(stream: &mut tar::Builder<Vec<u8>>, path: &str, data: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    stream
        .append_data(&mut header, path, data)
        .with_context(|| format!("adding {path} to the stream"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// SHA-256 of `abc`, from FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn model(folder: &Path, name: &str, table: &str, onnx: &[u8]) {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a writable folder");
        std::fs::write(folder.join("model.toml"), table).expect("a writable folder");
        std::fs::write(folder.join("model.onnx"), onnx).expect("a writable folder");
    }

    #[test]
    fn models_follow_each_other_in_the_order_asked_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["a", "b"] {
            let table = format!("name = \"{name}\"\nsha256 = \"{ABC}\"\nother = 1\n");
            model(folder.path(), name, &table, b"abc");
        }
        let names = ["b".to_owned(), "a".to_owned()];
        let stream = bundle(folder.path(), &names).expect("both are good");
        assert_eq!(stream, bundle(folder.path(), &names).expect("again"));

        let mut seen = Vec::new();
        for entry in tar::Archive::new(&stream[..]).entries().expect("a stream") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).expect("data");
            seen.push((path, data.len()));
        }
        let table_bytes = 9 + 11 + 64 + 2 + 10;
        let expected = [
            ("b/model.toml", table_bytes + 1),
            ("b/model.onnx", 3),
            ("a/model.toml", table_bytes + 1),
            ("a/model.onnx", 3),
        ];
        let expected = expected.map(|(path, bytes)| (path.to_owned(), bytes));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_model_that_is_not_what_its_table_says_is_refused() {
        let cases = [
            ("name = \"m\"", "missing field `sha256`"),
            (&format!("name = \"m\"\nsha256 = \"{ABC}\""), "got "),
            (&format!("name = \"n\"\nsha256 = \"{ABC}\""), "got `n`"),
            ("name = \"m\"\nsha256 = \"12\"", "64 hexadecimal digits"),
        ];
        for (table, expected) in cases {
            let folder = tempfile::tempdir().expect("a temporary folder");
            model(folder.path(), "m", table, b"abd");
            let error = bundle(folder.path(), &["m".into()]).expect_err(table);
            let error = format!("{error:#}");
            assert!(error.contains(expected), "expected `{expected}` in {error}");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(bundle(folder.path(), &["absent".into()]).is_err());
    }
}
