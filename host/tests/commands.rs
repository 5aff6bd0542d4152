//! `ephemera model inspect` and `ephemera bench engine`, as they are on the command line.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

#[test]
fn inspecting_a_committed_model_lists_integer_steps_only() -> Result<()> {
    for (model, input) in [
        ("ocr-detector", "x=1x3x64x96"),
        ("ocr-recogniser-latin", "x=1x3x48x64"),
    ] {
        let output = ephemera(&["model", "inspect", model, "--input", input, "--json"])?;
        let report: Value = serde_json::from_slice(&succeeded(output)?)?;
        assert_eq!(report["form"], "int8", "{model}");
        assert_eq!(report["inputs"][0], input);
        let steps = report["steps"].as_array().context("steps")?;
        assert!(steps.len() > 50, "{model}: {} steps", steps.len());
        for key in ["macs", "weight_bytes", "arena_bytes"] {
            assert!(report[key].as_u64() > Some(0), "{model}: {key}");
        }
        let table = succeeded(ephemera(&["model", "inspect", model])?)?;
        assert!(String::from_utf8(table)?.lines().count() > steps.len());
    }
    Ok(())
}

#[test]
fn what_is_no_model_is_refused_by_name_and_by_path() -> Result<()> {
    for (model, says) in [
        ("no-such-model", "no model `no-such-model`"),
        ("models/tools", "model.toml"),
        ("no/such/folder", "no model at no/such/folder"),
    ] {
        let output = ephemera(&["model", "inspect", model])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{model}");
        assert!(said.contains(says), "{model}: {said}");
    }
    let shapes = ephemera(&["model", "inspect", "ocr-detector", "--input", "y=1x3x64x64"])?;
    assert!(String::from_utf8_lossy(&shapes.stderr).contains("no input `y`"));
    Ok(())
}

#[test]
fn our_runners_are_measured_without_python() -> Result<()> {
    let output = ephemera(&[
        "bench",
        "engine",
        "--rounds",
        "1",
        "--case",
        "recogniser-48x320",
        "--runner",
        "wasm-relaxed",
        "--runner",
        "wasm-simd128",
        "--profile",
        "--json",
    ])?;
    let lines = String::from_utf8(succeeded(output)?)?;
    let rows: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let runners: Vec<_> = rows.iter().map(|row| &row["runner"]).collect();
    assert_eq!(runners, ["wasm-relaxed", "wasm-simd128"]);
    for row in &rows {
        assert_eq!(row["case"], "recogniser-48x320");
        for key in ["median_ms", "min_ms", "gmac_per_s", "peak_bytes", "runs"] {
            assert!(row[key].as_f64() > Some(0.0), "{key} in {row}");
        }
        assert!(row["steps"].as_array().context("steps")?.len() > 50);
    }
    Ok(())
}

/// Before anything is built, so that nobody waits for it.
#[test]
fn a_device_that_cannot_be_had_is_said_at_once() -> Result<()> {
    let up = ["up", "--no-build", "--device"];
    // More GPUs than any machine has.
    for (arguments, says) in [
        (&["cuda:99"][..], "cuda:99 cannot be used"),
        (&["cuda:0", "--disable-gpu"], "DISABLE_GPU is true"),
        (&["gpu"], "expected guest, cpu, auto or cuda:N"),
        (
            &["cpu", "--disable-gpu=maybe"],
            "expected `true` or `false`",
        ),
    ] {
        let output = ephemera(&[&up[..], arguments].concat())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    Ok(())
}

/// As Compose passes on what a file of settings has as `VARIABLE=`.
#[test]
fn an_empty_variable_is_one_that_is_not_set() -> Result<()> {
    const SHARED: [&str; 7] = [
        "SURYA_GPU_DEVICE",
        "SURYA_GPU_MEMORY_FRACTION",
        "SURYA_GPU_MAX_MEMORY_MB",
        "SURYA_GPU_ALLOW_GROWTH",
        "DISABLE_GPU",
        "EPHEMERA_MEMORY_BUDGET",
        "EPHEMERA_METRICS_LISTEN",
    ];
    const UP: [&str; 4] = [
        "WORKERS",
        "EPHEMERA_LISTEN",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_SERVICE_NAME",
    ];
    const JOBS: [&str; 6] = [
        "REDIS_URL",
        "CELERY_WORKER_CONCURRENCY",
        "CELERY_WORKER_PREFETCH_MULTIPLIER",
        "CELERY_WORKER_MAX_MEMORY_PER_CHILD",
        "CELERY_WORKER_MAX_TASKS_PER_CHILD",
        "CELERY_TASK_ACKS_LATE",
    ];
    let run = |arguments: &[&str], variables: &[&str], value: &str| -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ephemera"));
        let command = command.args(["--manifest", "no/such/spin.toml"]);
        let set = variables.iter().map(|name| (name, value));
        let output = command.args(arguments).envs(set).output()?;
        assert!(!output.status.success(), "{arguments:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, own) in [
        (&["up", "--no-build"][..], &UP[..]),
        (&["jobs", "--inbox", "in", "--out", "out"], &JOBS),
        (&["run", "ocr", "page.png"], &[]),
        (&["build"], &[]),
        (&["gpu", "test"], &[]),
    ] {
        let variables = [&SHARED[..], own].concat();
        let said = run(arguments, &variables, "")?;
        assert!(said.contains("no/such/spin.toml"), "{arguments:?}: {said}");
    }
    // What is not empty is looked at, for each of them that not every text is good for.
    let free = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"];
    for name in SHARED.iter().chain(&UP).filter(|name| !free.contains(name)) {
        let said = run(&["up", "--no-build"], &[name], "\u{1F600}")?;
        assert!(said.contains("invalid value"), "{name}: {said}");
    }
    Ok(())
}

#[test]
fn the_doctor_names_what_is_missing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("spin.toml");
    let arguments = |manifest: &Path| -> Result<Output> {
        let manifest = manifest.to_str().context("a path in UTF-8")?;
        ephemera(&[
            "--manifest",
            manifest,
            "doctor",
            "--json",
            "--listen",
            "127.0.0.1:0",
        ])
    };
    let missing = arguments(&manifest)?;
    assert_eq!(missing.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&missing.stdout)?;
    assert_eq!(report["ok"], false);
    let checks = report["checks"].as_array().context("checks")?;
    let named = |name: &str| checks.iter().find(|check| check["name"] == name);
    let check = named("manifest").context("the manifest is looked at")?;
    assert_eq!(check["state"], "missing");
    assert!(
        check["fix"]
            .as_str()
            .context("a fix")?
            .contains("--manifest")
    );
    for name in ["cargo", "processor", "control group", "GPU", "address"] {
        let check = named(name).with_context(|| format!("{name} is looked at"))?;
        assert!(!check["found"].as_str().context("found")?.is_empty());
    }
    // What was found wrong has a fix.
    for check in checks {
        let wrong = check["state"] == "missing" || check["state"] == "warning";
        assert_eq!(wrong, check["fix"].is_string(), "{check}");
    }
    Ok(())
}

#[test]
fn health_fails_where_nobody_listens() -> Result<()> {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let output = ephemera(&["health", "--address", &free.to_string()])?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}

fn ephemera(arguments: &[&str]) -> Result<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Command::new(env!("CARGO_BIN_EXE_ephemera"))
        .args(arguments)
        .current_dir(root.context("host/ is in the repository")?)
        .output()
        .context("running ephemera")
}

fn succeeded(output: Output) -> Result<Vec<u8>> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(output.stdout)
}
