//! Model folders -> the stream that a function reads while it is being snapshotted.
//!
//! Each `models/<name>/` holds `model.toml`, `model.onnx` and the files of the tables that `model.toml` names; each file's SHA-256 must be
//! the one stated there. The graphs are lowered here, so that neither ONNX nor what imports it has to be in a function. Out comes one
//! uncompressed tar stream, in the order asked for: `<name>/model.toml`, the files of its tables, then `<name>/program` and `<name>/weights`, or, for a graph of which something runs in tract,
//! `<name>/model.onnx`. Nothing in its headers differs between machines.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ephemera_engine::{Graph, Manifest, Parts};

use crate::digest::{Sha256Hex, sha256};

/// Models on their way into a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The tar stream.
    pub stream: Vec<u8>,
    /// The same without the graphs, for a function whose graphs run outside of it.
    pub descriptions: Vec<u8>,
    /// What of them runs in tract, in words. If it is anything, the function must be built with its feature `tract`.
    pub in_tract: Vec<String>,
}

/// A model's folder, read and checked.
#[derive(Debug)]
pub struct Folder {
    /// The bytes of `model.toml`.
    pub table: Vec<u8>,
    /// What they say, and the values of the tables that they name.
    pub manifest: Manifest,
    /// The files of those tables, in the manifest's order: their names and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// The bytes of `model.onnx`.
    pub onnx: Vec<u8>,
}

/// Reads, checks and lowers the models `names` under `folder` (the project's `models/`) into one tar stream.
///
/// # Errors
///
/// Everything [`read`] refuses, and a graph that neither the lowering nor tract takes.
pub fn bundle(folder: &Path, names: &[String]) -> Result<Bundle> {
    let mut models = Vec::new();
    for name in names {
        let lowered = read(&folder.join(name)).and_then(lower);
        models.push(lowered.with_context(|| format!("model `{name}`"))?);
    }
    pack(&models)
}

/// Reads and checks one model's folder.
///
/// # Errors
///
/// A missing file, a table that is no manifest, a name that is not the folder's, an ONNX file or a table's file that is not what `model.toml`
/// says.
pub fn read(folder: &Path) -> Result<Folder> {
    let file = |file: &str| {
        let path = folder.join(file);
        std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let table = file("model.toml")?;
    let text = std::str::from_utf8(&table).context("model.toml is not UTF-8")?;
    let mut manifest = Manifest::parse(text).context("in model.toml")?;
    let name = folder.file_name().unwrap_or_default();
    ensure!(
        name == manifest.name.as_str(),
        "model.toml: expected the folder's name, got `{}`",
        manifest.name
    );

    let onnx = file("model.onnx")?;
    check_digest("model.onnx", &onnx, &manifest.sha256)?;
    let mut files = Vec::new();
    for table in &mut manifest.tables {
        let bytes = file(&table.file)?;
        check_digest(&table.file, &bytes, &table.sha256)?;
        table.fill(&bytes)?;
        files.push((table.file.clone(), bytes));
    }
    Ok(Folder {
        table,
        manifest,
        files,
        onnx,
    })
}

fn check_digest(name: &str, bytes: &[u8], expected: &str) -> Result<()> {
    let actual = sha256(bytes).to_string();
    ensure!(
        expected == actual,
        "{name}: expected SHA-256 {expected} from model.toml, got {actual}"
    );
    Ok(())
}

/// What of `graph` runs in tract, in f32, and why: a sentence for each part, none for a graph that has a form of ours throughout.
pub fn in_tract(graph: &Graph) -> Vec<String> {
    let whole = graph.float_reason();
    let whole = whole.map(|reason| format!("all of it runs in tract, in f32: {reason}"));
    let steps = graph.float_steps().into_iter();
    let steps = steps.map(|step| {
        format!(
            "{} runs in tract, in f32: {}: {}",
            step.name, step.op, step.reason
        )
    });
    whole.into_iter().chain(steps).collect()
}

/// A model in the form in which a function gets it.
struct Model {
    name: String,
    table: Vec<u8>,
    files: Vec<(String, Vec<u8>)>,
    form: Form,
}

enum Form {
    Lowered(Parts),
    Onnx {
        bytes: Vec<u8>,
        in_tract: Vec<String>,
    },
}

fn lower(folder: Folder) -> Result<Model> {
    let graph = Graph::load(&folder.manifest, &folder.onnx)?;
    let form = match graph.parts() {
        Some(parts) => Form::Lowered(parts),
        None => Form::Onnx {
            bytes: folder.onnx,
            in_tract: self::in_tract(&graph),
        },
    };
    Ok(Model {
        name: folder.manifest.name,
        table: folder.table,
        files: folder.files,
        form,
    })
}

fn pack(models: &[Model]) -> Result<Bundle> {
    let mut stream = tar::Builder::new(Vec::new());
    let mut descriptions = tar::Builder::new(Vec::new());
    let mut all_in_tract = Vec::new();
    for model in models {
        let Model {
            name,
            table,
            files,
            form,
        } = model;
        for stream in [&mut stream, &mut descriptions] {
            append(stream, &format!("{name}/model.toml"), table)?;
            for (file, bytes) in files {
                append(stream, &format!("{name}/{file}"), bytes)?;
            }
        }
        let mut add =
            |file: &str, data: &[u8]| append(&mut stream, &format!("{name}/{file}"), data);
        match form {
            Form::Lowered(parts) => {
                let weights: Vec<u8> = parts.weights.iter().map(|w| w.cast_unsigned()).collect();
                add("program", &parts.program)?;
                add("weights", &weights)?;
            }
            Form::Onnx { bytes, in_tract } => {
                add("model.onnx", bytes)?;
                all_in_tract.extend(in_tract.iter().map(|part| format!("{name}: {part}")));
            }
        }
    }
    Ok(Bundle {
        stream: stream.into_inner()?,
        descriptions: descriptions.into_inner()?,
        in_tract: all_in_tract,
    })
}

/// The SHA-256 of each `model.toml` in a stream of models, by their names.
///
/// # Errors
///
/// It is no such stream.
pub fn descriptions(stream: impl Read) -> Result<BTreeMap<String, Sha256Hex>> {
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        if let Some(name) = path.strip_suffix("/model.toml") {
            let mut table = Vec::new();
            entry.read_to_end(&mut table)?;
            found.insert(name.to_owned(), sha256(&table));
        }
    }
    Ok(found)
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
    use super::*;

    /// SHA-256 of `abc`, from FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    /// A whole manifest of the model `name` whose ONNX file has this digest.
    fn table(name: &str, sha256: &str) -> String {
        format!(
            "name = \"{name}\"\nversion = \"1\"\nlicence = \"Apache-2.0\"\nsource = \"s\"\nsource_sha256 = \"0\"\n\
             sha256 = \"{sha256}\"\ntraining_data = \"none\"\n\
             inputs = [{{ name = \"x\", shape = [1] }}]\noutputs = [{{ name = \"y\", shape = [1] }}]\n"
        )
    }

    fn model(folder: &Path, name: &str, table: &str, onnx: &[u8]) {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).expect("a writable folder");
        std::fs::write(folder.join("model.toml"), table).expect("a writable folder");
        std::fs::write(folder.join("model.onnx"), onnx).expect("a writable folder");
    }

    #[test]
    fn models_follow_each_other_with_their_forms() {
        let model = |name: &str, form| Model {
            name: name.to_owned(),
            table: b"table".to_vec(),
            files: vec![("t.f32".to_owned(), b"rows".to_vec())],
            form,
        };
        let lowered = Form::Lowered(Parts {
            program: b"steps".to_vec(),
            weights: vec![-1, 1],
        });
        let onnx = Form::Onnx {
            bytes: b"onnx".to_vec(),
            in_tract: vec!["it runs in tract".to_owned()],
        };
        let models = [model("b", lowered), model("a", onnx)];
        let bundle = pack(&models).expect("all of it fits");
        assert_eq!(bundle, pack(&models).expect("again"));
        assert_eq!(bundle.in_tract, ["a: it runs in tract"]);

        let entries = |stream: &[u8]| {
            let mut seen = Vec::new();
            let mut archive = tar::Archive::new(stream);
            for entry in archive.entries().expect("a stream") {
                let mut entry = entry.expect("an entry");
                let path = entry.path().expect("a path").display().to_string();
                let mut data = Vec::new();
                entry.read_to_end(&mut data).expect("data");
                seen.push((path, data));
            }
            seen
        };
        let expected: [(&str, &[u8]); 7] = [
            ("b/model.toml", b"table"),
            ("b/t.f32", b"rows"),
            ("b/program", b"steps"),
            ("b/weights", b"\xff\x01"),
            ("a/model.toml", b"table"),
            ("a/t.f32", b"rows"),
            ("a/model.onnx", b"onnx"),
        ];
        let expected = expected.map(|(path, data)| (path.to_owned(), data.to_vec()));
        assert_eq!(entries(&bundle.stream), expected);
        let described = [0, 1, 4, 5].map(|index| expected[index].clone());
        assert_eq!(entries(&bundle.descriptions), described);
        let names = ["a", "b"].map(|name| (name.to_owned(), sha256(b"table")));
        for stream in [&bundle.stream, &bundle.descriptions] {
            let found = descriptions(stream.as_slice()).expect("a stream");
            assert_eq!(found, names.clone().into());
        }
    }

    #[test]
    fn a_model_that_is_not_what_its_table_says_is_refused() {
        let cases = [
            ("name = \"m\"".to_owned(), "missing field"),
            (table("m", ABC), "got "),
            (table("n", ABC), "got `n`"),
            (table("m", "12"), "expected SHA-256 12"),
        ];
        for (table, expected) in cases {
            let folder = tempfile::tempdir().expect("a temporary folder");
            model(folder.path(), "m", &table, b"abd");
            let error = bundle(folder.path(), &["m".into()]).expect_err(&table);
            let error = format!("{error:#}");
            assert!(error.contains(expected), "expected `{expected}` in {error}");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(bundle(folder.path(), &["absent".into()]).is_err());
    }

    #[test]
    fn a_table_is_filled_from_the_file_that_its_digest_names() {
        // Four zero bytes, one number; the digest is sha256sum's.
        const ZEROS: &str = "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119";
        let text = |sha256: &str, columns: usize| {
            let tables = format!(
                "[[tables]]\nname = \"t\"\nfile = \"t.f32\"\nsha256 = \"{sha256}\"\nrows = [\"a\"]\ncolumns = {columns}\n"
            );
            table("m", ABC) + &tables
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("m");
        model(folder.path(), "m", &text(ZEROS, 1), b"abc");
        assert!(read(&path).is_err(), "the file is missing");
        std::fs::write(path.join("t.f32"), [0; 4]).expect("a writable folder");
        let model = read(&path).expect("a whole folder");
        assert_eq!(model.files, [("t.f32".to_owned(), vec![0; 4])]);
        let found = model.manifest.table("t").and_then(|table| table.row("a"));
        assert_eq!(found, Some(&[0.0][..]));

        for (text, expected) in [
            (text(ABC, 1), "t.f32: expected SHA-256"),
            (text(ZEROS, 2), "expected 8 bytes"),
        ] {
            std::fs::write(path.join("model.toml"), text).expect("a writable folder");
            let error = format!("{:#}", read(&path).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_file_with_the_right_digest_must_still_be_a_graph() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        model(folder.path(), "m", &table("m", ABC), b"abc");
        let error = bundle(folder.path(), &["m".into()]).expect_err("no graph");
        assert!(format!("{error:#}").contains("model `m`"), "{error:#}");
    }
}
