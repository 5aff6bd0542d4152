//! Models from outside, `outside/*.onnx`: built as `ephemera build --model` does, served by our host and by `wasmtime serve`, compared
//! with the engine in this process and with onnxruntime, and asked by a client that is not ours.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use ephemera::build::Artifact;
use ephemera::config::Project;
use ephemera::models;
use ephemera::outside::{Made, Outside, make};
use ephemera::progress::Progress;
use ephemera_http::{Function, HttpRequest};
use ephemera_infer::Infer;
use serde_json::{Value, json};

use crate::infer::{asked, get};
use crate::runners::{self, Answered, Asked, Host, Wasmtime, over_http};

/// A quantised model and one in f32, by the folder of the project that is made of each.
const MODELS: [&str; 2] = ["shapes-int8", "words-f32"];

/// onnxruntime sums in another order, and rounds halves of a step to the other side now and then. f32 differs by the order alone.
const TOLERANCES: [f64; 2] = [0.02, 1e-6];

/// A model, served.
struct Served {
    made: Made,
    folder: PathBuf,
    native: Infer,
    host: Host,
    wasmtime: Wasmtime,
}

static SERVED: LazyLock<HashMap<&str, Served>> = LazyLock::new(|| {
    let serve = |name| {
        (
            name,
            serve(name).unwrap_or_else(|error| panic!("{name}: {error:#}")),
        )
    };
    MODELS.into_iter().map(serve).collect()
});

fn file(name: &str) -> PathBuf {
    runners::root().join("tests/outside").join(name)
}

fn serve(name: &'static str) -> Result<Served> {
    let onnx = file(&format!("{name}.onnx"));
    // Kept, so that a second run finds it unchanged.
    let folder = runners::root().join("target/ephemera/outside").join(name);
    let outside = Outside {
        onnx: &onnx,
        name: None,
        out: Some(&folder),
        shapes: &[],
        workspace: &runners::root(),
    };
    let made = make(&outside, &Progress::stderr())?;
    let project = Project::open(&made.manifest)?;
    let bundle = models::bundle(&folder.join("models"), std::slice::from_ref(&made.name))?;
    Ok(Served {
        native: Infer::load(bundle.stream.as_slice())?,
        host: Host::start(project, std::slice::from_ref(&made.artifact)),
        wasmtime: Wasmtime::start_at(made.artifact.component.clone()),
        folder,
        made,
    })
}

impl Served {
    fn ask(&self, asked: &Asked) -> Result<[(&'static str, Answered); 3]> {
        let headers: Vec<_> = asked
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let native = self.native.handle(HttpRequest {
            method: asked.method,
            target: &asked.target,
            headers: &headers,
            body: asked.body.clone(),
        });
        let content_type = native
            .headers
            .iter()
            .find(|(name, _)| *name == "content-type");
        let native = Answered {
            status: native.status,
            content_type: content_type
                .map(|(_, value)| value.clone())
                .unwrap_or_default(),
            body: native.body,
            peak_bytes: None,
            device: None,
            request_id: None,
        };
        Ok([
            ("native", native),
            ("host", over_http(&self.host.address, asked)?),
            ("wasmtime serve", over_http(&self.wasmtime.address, asked)?),
        ])
    }
}

#[test]
fn models_from_outside_answer_as_onnxruntime_does() -> Result<()> {
    for (name, tolerance) in MODELS.into_iter().zip(TOLERANCES) {
        let served = &SERVED[name];
        let text = std::fs::read(file(&format!("{name}.json")))?;
        let reference: Value = serde_json::from_slice(&text)?;
        let request = json!({"id": "r", "inputs": reference["inputs"]}).to_string();
        let answers = served.ask(&asked(name, request.as_bytes(), None))?;
        let bodies: Vec<&Vec<u8>> = answers.iter().map(|(_, answer)| &answer.body).collect();
        if served.made.in_tract.is_empty() {
            // Integers: the same bits everywhere.
            assert!(bodies.iter().all(|body| *body == bodies[0]), "{name}");
        }
        for (runner, answer) in &answers {
            let said: Value = serde_json::from_slice(&answer.body)?;
            assert_eq!(answer.status, 200, "{name} by {runner}: {said}");
            assert_eq!(said["id"], "r");
            let expected = reference["outputs"].as_array().context("outputs")?;
            for (index, expected) in expected.iter().enumerate() {
                let found = &said["outputs"][index];
                for key in ["name", "datatype", "shape"] {
                    assert_eq!(found[key], expected[key], "{name} by {runner}");
                }
                let (found, expected) = (numbers(found)?, numbers(expected)?);
                assert_eq!(found.len(), expected.len(), "{name} by {runner}");
                for (found, expected) in found.iter().zip(&expected) {
                    let apart = (found - expected).abs();
                    assert!(
                        apart <= tolerance,
                        "{name} by {runner}: {found}, onnxruntime {expected}"
                    );
                }
            }
            if let Some(peak) = answer.peak_bytes {
                eprintln!(
                    "{name} by {runner}: {:.1} MiB",
                    peak as f64 / f64::from(1 << 20)
                );
                assert!(peak <= u64::from(served.made.memory_mib) << 20);
            }
        }
    }
    assert!(SERVED["shapes-int8"].made.in_tract.is_empty());
    assert!(!SERVED["words-f32"].made.in_tract.is_empty());
    Ok(())
}

fn numbers(tensor: &Value) -> Result<Vec<f64>> {
    let data = tensor["data"].as_array().context("data")?;
    data.iter()
        .map(|number| number.as_f64().context("a number"))
        .collect()
}

#[test]
fn what_is_written_is_a_project_that_needs_nothing_else() -> Result<()> {
    for name in MODELS {
        let Served { made, folder, .. } = &SERVED[name];
        let folder_of_model = folder.join("models").join(name);
        for file in ["model.onnx", "model.toml", "README.md"] {
            ensure!(folder_of_model.join(file).is_file(), "{name}: {file}");
        }
        let inspected = ephemera::inspect::inspect(&folder_of_model, &[])?;
        let form = if made.in_tract.is_empty() {
            "int8"
        } else {
            "f32"
        };
        assert_eq!((inspected.model.as_str(), inspected.form), (name, form));
        // The request of the example is answered.
        let request = std::fs::read(folder.join("request.json"))?;
        for (runner, answer) in SERVED[name].ask(&asked(name, &request, None))? {
            assert_eq!(answer.status, 200, "{name} by {runner}");
        }
        // Building the project leaves the component as it is.
        let project = Project::open(&made.manifest)?;
        let built = ephemera::build::build(&project, &[], &Progress::silent())?;
        // By name, which has the content's hash: `target` may be a link.
        let name_of = |artifact: &Artifact| artifact.precompiled.file_name().map(ToOwned::to_owned);
        assert_eq!(name_of(&built[0]), name_of(&made.artifact));
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_and_the_next_request_is_answered() -> Result<()> {
    let words = &SERVED["words-f32"];
    let path = "/v2/models/words-f32/infer";
    let tensor = |name: &str, datatype: &str, shape: Value, data: Value| json!({"name": name, "datatype": datatype, "shape": shape, "data": data});
    let heat = tensor("heat", "FP32", json!([1]), json!([1]));
    let keep = tensor("keep", "BOOL", json!([1, 2]), json!([true, false]));
    let ids = |data: Value| tensor("words", "INT64", json!([1, 2]), data);
    for (about, inputs, status) in [
        (
            "a word less",
            json!([
                tensor("words", "INT64", json!([1, 1]), json!([1])),
                keep,
                heat
            ]),
            400,
        ),
        ("reals", json!([ids(json!([1.5, 2])), keep, heat]), 400),
        (
            "texts",
            json!([
                tensor("words", "BYTES", json!([1, 2]), json!(["a", "b"])),
                keep,
                heat
            ]),
            400,
        ),
        ("no mask", json!([ids(json!([1, 2])), heat]), 400),
        (
            "words that the table has not",
            json!([ids(json!([1, i64::MAX])), keep, heat]),
            500,
        ),
    ] {
        let request = json!({"inputs": inputs}).to_string();
        for (runner, answer) in words.ask(&asked("words-f32", request.as_bytes(), None))? {
            let said = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, status, "{about} by {runner}: {said}");
        }
        let fine = json!({"inputs": [ids(json!([1, 2])), keep, heat]}).to_string();
        for (runner, answer) in words.ask(&asked("words-f32", fine.as_bytes(), None))? {
            assert_eq!(answer.status, 200, "after {about} by {runner}");
        }
    }
    for (runner, answer) in words.ask(&get(path))? {
        assert_eq!(answer.status, 405, "{runner}");
    }
    Ok(())
}

#[test]
fn a_file_that_cannot_be_run_is_refused_by_the_name_of_its_operator() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let refused = |file: &str, bytes: &[u8]| -> Result<String> {
        let onnx = folder.path().join(file);
        std::fs::write(&onnx, bytes)?;
        let outside = Outside {
            onnx: &onnx,
            name: None,
            out: Some(&folder.path().join("out")),
            shapes: &[],
            workspace: &runners::root(),
        };
        let made = make(&outside, &Progress::silent());
        Ok(format!("{:#}", made.err().context("it is refused")?))
    };
    let onnx = std::fs::read(file("shapes-int8.onnx"))?;
    // Names in a file have their lengths before them, so another name of the same length is another operator.
    let at = onnx
        .windows(7)
        .position(|bytes| bytes == b"Flatten")
        .context("an operator")?;
    let mut unknown = onnx.clone();
    unknown[at..at + 7].copy_from_slice(b"Flutter");
    let said = refused("unknown.onnx", &unknown)?;
    assert!(said.contains("operator Flutter"), "{said}");
    let said = refused("junk.onnx", b"Dear Sir or Madam")?;
    assert!(said.contains("junk.onnx"), "{said}");
    // Its table of words is not beside it.
    let said = refused("words.onnx", &std::fs::read(file("words-f32.onnx"))?)?;
    assert!(said.contains("words-f32.data"), "{said}");
    Ok(())
}

/// `.ci/run` makes it, with `tritonclient`.
fn python() -> Option<PathBuf> {
    let python = runners::root().join("target/clients/bin/python");
    let found = python.is_file().then_some(python);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "target/clients has no python: .ci/run makes it"
    );
    found
}

#[test]
fn a_client_of_the_protocol_talks_to_our_host() -> Result<()> {
    let Some(python) = python() else {
        eprintln!("skipped: target/clients is not there (.ci/run makes it, with tritonclient)");
        return Ok(());
    };
    for name in MODELS {
        let output = Command::new(&python)
            .arg(file("client.py"))
            .args([&SERVED[name].host.address, name])
            .arg(file(&format!("{name}.json")))
            .output()
            .context("running the client")?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
    Ok(())
}
