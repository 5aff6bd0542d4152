//! Models outside the instance: small components, the same bytes, and a guest that abuses the interface.
//!
//! That every case has the same bytes through wasi-nn is checked where the cases are: it is one of the runners.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use ephemera::app::App;
use ephemera::build::{self, Placement};
use ephemera::config::Project;
use ephemera::progress::Progress;
use ephemera::serve::{Options, Server};

use crate::runners::{self, Answered, Asked, over_http};

const HOSTILE: &str = r#"
spin_manifest_version = 2
[application]
name = "hostile"
[[trigger.http]]
route = "/..."
component = "hostile"
[component.hostile]
source = "target/ephemera/hostile.wasm"
[component.hostile.tool.ephemera]
package = "ephemera-tests-nn"
models = ["gait-student"]
wasi_nn = true
memory_mib = 64
"#;

fn get(target: &str) -> Asked {
    Asked {
        method: "GET",
        target: target.to_owned(),
        ..Asked::post("", "*/*", vec![])
    }
}

#[test]
fn components_without_their_models_are_small_and_for_our_host_alone() -> Result<()> {
    let artifacts = runners::device_artifacts().iter();
    let outside: Vec<_> = artifacts.filter(|a| a.graphs.is_some()).collect();
    assert_eq!(outside.len(), 3, "ocr, gait and infer");
    for artifact in outside {
        let with_models = &runners::artifact(&artifact.name).report;
        let report = &artifact.report;
        eprintln!("{}: {report:?}", artifact.name);
        ensure!(
            report.component_bytes * 2 < with_models.component_bytes,
            "{}: {} bytes, with its models {}",
            artifact.name,
            report.component_bytes,
            with_models.component_bytes
        );
        assert!(report.maps_everywhere(), "{:?}", report.images);
        let nn = |imports: &[String]| imports.iter().any(|import| import.starts_with("wasi:nn/"));
        assert!(nn(&report.imports), "{:?}", report.imports);
        assert!(!nn(&with_models.imports), "{:?}", with_models.imports);
        // Nothing links the interface where there is no device.
        let project = Project::open(&runners::root().join("spin.toml"))?;
        assert!(App::load(project, std::slice::from_ref(artifact), 1).is_err());
    }
    Ok(())
}

#[test]
fn answers_say_where_the_models_ran() -> Result<()> {
    let word = runners::root().join("tests/cases/ocr/single-word/request.png");
    for asked in [
        Asked::file(&word, "text/plain")?,
        get("/health"),
        get("/nowhere"),
        get("/v2"),
        get("/v2/models/none"),
    ] {
        let device = |answer: Answered| answer.device.context("a header");
        assert_eq!(device(runners::host(&asked)?)?, "guest");
        assert_eq!(device(runners::device(&asked)?)?, "cpu");
    }
    Ok(())
}

#[test]
fn graphs_that_are_not_the_builds_are_refused() -> Result<()> {
    let built = &runners::device_artifacts()[0];
    let folder = tempfile::tempdir()?;
    let mut function = runners::PROJECT.function(&built.name)?.clone();
    let beside = built.component.parent().context("a folder")?;
    for entry in std::fs::read_dir(beside)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.starts_with(&format!("{}.nn", built.name)) {
            std::fs::copy(entry.path(), folder.path().join(name))?;
        }
    }
    function.source = folder.path().join(format!("{}.wasm", built.name));
    let opened = build::open_as(Placement::Host, &function, &Progress::silent())?;
    let graphs = opened.graphs.context("a path")?;
    let mut bytes = std::fs::read(&graphs)?;
    bytes[1000] ^= 1;
    std::fs::write(&graphs, bytes)?;
    let error = build::open_as(Placement::Host, &function, &Progress::silent());
    let error = error.expect_err("other graphs").to_string();
    assert!(error.contains("are not those of its build"), "{error}");
    Ok(())
}

#[test]
fn a_guest_that_abuses_the_interface_gets_reasons_and_costs_nobody_else() -> Result<()> {
    let project = Project::parse(HOSTILE, &runners::root())?;
    let artifacts = build::build_as(Placement::Host, &project, &[], &Progress::stderr())?;
    // The processor has the graphs of all functions, of which this one may use its own.
    let devices = runners::processor(runners::device_artifacts())?;
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let app = Arc::new(App::load_on(Some(&devices), project, &artifacts, 2)?);
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Options::default()
    };
    let server = executor.block_on(Server::start(Arc::clone(&app), options))?;
    let address = server.address().to_string();
    let sound = "ok: logits [1, 9] TensorType::Fp32 36 bytes";
    let wrong = "ErrorCode::InvalidArgument: graph `gait-student`: ";
    for (abuse, status, says) in [
        ("nothing", 200, sound),
        (
            "unknown-graph",
            200,
            "ErrorCode::NotFound: no graph `no-such-graph`",
        ),
        ("path-as-a-graph", 200, "ErrorCode::NotFound"),
        (
            "graph-of-another-function",
            200,
            "ErrorCode::NotFound: no graph `ocr-detector`",
        ),
        (
            "name-of-a-mebibyte",
            200,
            "ErrorCode::NotFound: no graph has a name of 1048576 bytes",
        ),
        (
            "graph-from-bytes",
            200,
            "ErrorCode::UnsupportedOperation: graphs are loaded by name",
        ),
        ("extents-that-overflow", 200, wrong),
        ("a-product-of-two-to-the-64", 200, wrong),
        ("too-few-bytes", 200, wrong),
        ("too-many-bytes", 200, wrong),
        ("another-shape", 200, wrong),
        ("no-elements", 200, wrong),
        ("no-axes", 200, wrong),
        (
            "a-million-axes",
            200,
            "expected at most 8 axes, got 1048576",
        ),
        ("reals-for-pixels", 200, "expected [1, T, H, W, 3] u8"),
        ("halves", 200, "expected elements FP32 or U8, got Fp16"),
        ("no-inputs", 200, "clip is missing"),
        ("one-input", 200, "clip is missing"),
        ("another-name", 200, "clip is missing"),
        ("an-input-twice", 200, "expected 2 tensors, got 4"),
        (
            "a-hundred-inputs",
            200,
            "expected at most 64 tensors, got 100",
        ),
        ("a-name-of-a-mebibyte", 200, wrong),
        ("sound-after-wrong", 200, sound),
        ("graphs-for-ever", 507, "more than 256 handles"),
        ("contexts-for-ever", 507, "more than 256 handles"),
        ("errors-for-ever", 507, "more than 256 handles"),
        ("tensors-for-ever", 507, "more than 256 handles"),
        ("memory-for-ever", 507, "more than 64 MiB"),
        ("memory-given-back", 200, sound),
        (
            "no-memory-to-run",
            200,
            "ErrorCode::TooLarge: inputs of these shapes need ",
        ),
        ("no-memory-to-run", 200, "; then ok: logits [1, 9]"),
        ("nothing", 200, sound),
    ] {
        let answer = over_http(&address, &get(&format!("/{abuse}")))?;
        let said = String::from_utf8(answer.body)?;
        assert_eq!(answer.status, status, "{abuse}: {said}");
        assert!(said.contains(says), "{abuse}: {said}");
        assert!(said.len() < 1000, "{abuse}: {} bytes", said.len());
        assert_eq!(answer.device.as_deref(), Some("cpu"), "{abuse}");
        assert_eq!(
            (app.runtime().live_instances(), devices.running()),
            (0, 0),
            "{abuse}"
        );
    }
    Ok(())
}
