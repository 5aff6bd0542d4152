//! The commands: under plain `wasmtime run` and in our host, with the same bytes on standard output and in files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{GAIT_COMMAND, OCR_COMMAND, PAGE, folder, over_http, text};
use crate::{binary, runners};

/// Runs `command` with `jobs` as its lines.
fn run(mut command: Command, jobs: &[String]) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting it")?;
    let mut stdin = child.stdin.take().context("standard input")?;
    let jobs = jobs.join("\n");
    // It may say something before it has read all.
    let feeding = std::thread::spawn(move || stdin.write_all(jobs.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = feeding.join();
    Ok(output)
}

fn wasmtime(component: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtime"));
    command.arg("run").args(options).arg(component);
    command.current_dir(runners::root());
    command
}

/// The reports, without the time at which each was written.
fn reports(output: &Output) -> Result<Vec<Value>> {
    let lines = output.stdout.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut report: Value = serde_json::from_slice(line)?;
            let finished = report.as_object_mut().and_then(|r| r.remove("finished"));
            finished.context("every report says when")?;
            Ok(report)
        })
        .collect()
}

fn job(id: &str, function: &str, rest: Value) -> String {
    let mut job = json!({ "version": 1, "id": id, "function": function });
    let fields = job.as_object_mut().expect("it is an object");
    fields.extend(rest.as_object().expect("an object").clone());
    job.to_string()
}

#[test]
fn a_command_answers_alike_in_both_hosts() -> Result<()> {
    let component = &OCR_COMMAND.component;
    let out = tempfile::tempdir()?;
    let place = |host: &str| out.path().join(host);
    let page = json!({ "file": "pages/request.png" });
    let jobs = [
        job("text", "ocr", json!({ "input": page })),
        job(
            "filed",
            "ocr",
            json!({ "input": page, "options": { "format": "tsv" }, "reply": { "file": "out/a/b.tsv" } }),
        ),
        String::new(),
        job(
            "gone",
            "ocr",
            json!({ "input": { "file": "pages/none.png" } }),
        ),
        job(
            "outside",
            "ocr",
            json!({ "input": { "file": "etc/passwd" } }),
        ),
        job("url", "ocr", json!({ "input": { "url": "http://a/b" } })),
        job(
            "key",
            "ocr",
            json!({ "input": page, "reply": { "key": "k" } }),
        ),
        job(
            "hook",
            "ocr",
            json!({ "input": page, "reply": { "webhook": "http://a/b" } }),
        ),
        job("other", "gait", json!({ "input": page })),
        job("late", "ocr", json!({ "input": page, "deadline": 1 })),
        job("text", "ocr", json!({ "input": { "inline": "bm8=" } })),
        r#"{"version":9,"id":"new"}"#.to_owned(),
        "no job".to_owned(),
    ];
    let pages = runners::root().join(PAGE);
    let pages = pages.parent().context("a folder")?.display().to_string();
    let folders = |host: &str| -> Result<[String; 2]> {
        std::fs::create_dir_all(place(host))?;
        Ok([
            format!("{pages}::pages"),
            format!("{}::out", place(host).display()),
        ])
    };

    let [input, output] = folders("wasmtime")?;
    let options = ["--dir", &input, "--dir", &output];
    let theirs = run(wasmtime(component, &options), &jobs)?;
    let said = String::from_utf8_lossy(&theirs.stderr);
    assert_eq!(theirs.status.code(), Some(1), "{said}");
    assert!(said.contains("job 12: not a job"), "{said}");
    assert!(said.contains("10 of 12 jobs failed"), "{said}");
    let told = reports(&theirs)?;
    assert_eq!(told.len(), 10, "{told:#?}");
    let native = over_http("/v1/ocr?format=text", PAGE, "image/png")?;
    assert_eq!(text(&told[0]), native);
    for (report, says) in told[1..].iter().zip([
        "input.file: cannot be read: no-entry",
        "input.file: not below a folder",
        "input.url: a command fetches nothing",
        "reply: a command answers on standard output",
        "reply: a command answers on standard output",
        "function: expected ocr, got `gait`",
        "its deadline has passed",
        "not a jpeg, png",
        "not a job: missing field `function`",
    ]) {
        assert_eq!(report["status"], "failed", "{report}");
        let reason = report["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(says), "expected `{says}`: {report}");
    }
    let filed = |host: &str| std::fs::read_to_string(place(host).join("a/b.tsv"));
    let native = over_http("/v1/ocr?format=tsv", PAGE, "image/png")?;
    assert_eq!(filed("wasmtime")?, native);

    let Some(ephemera) = binary::path() else {
        return binary::skip("the binary `ephemera` is not built");
    };
    let [input, output] = folders("ephemera")?;
    let mut command = Command::new(ephemera);
    command
        .arg("--manifest")
        .arg(folder().join("spin.toml"))
        .args(["up", "--no-build", "--component-id", "ocr-command"])
        .args(["--dir", &input, "--dir", &output]);
    let ours = run(command, &jobs)?;
    let said = String::from_utf8_lossy(&ours.stderr);
    assert_eq!(ours.status.code(), Some(1), "{said}");
    assert_eq!(reports(&ours)?, told);
    assert_eq!(filed("ephemera")?, native);
    Ok(())
}

#[test]
fn a_commands_memory_does_not_grow_with_its_jobs() -> Result<()> {
    let component = &OCR_COMMAND.component;
    // No picture: read, refused, and to be forgotten.
    let noise = "x".repeat(1 << 20);
    let jobs: Vec<String> = (0..40)
        .map(|number| {
            job(
                &format!("{number}"),
                "ocr",
                json!({ "input": { "inline": noise } }),
            )
        })
        .collect();
    let options = ["-W", "max-memory-size=20971520"];
    let output = run(wasmtime(component, &options), &jobs)?;
    let told = reports(&output)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.len(), jobs.len(), "{said}");
    assert!(told.iter().all(|report| report["status"] == "failed"));
    Ok(())
}

#[test]
fn gait_is_a_command_too() -> Result<()> {
    let component = &GAIT_COMMAND.component;
    let film = "tests/cases/gait/film/request.mp4";
    let options = json!({ "clinical_condition": "Normal" });
    let jobs = [job(
        "clip",
        "gait",
        json!({ "input": { "file": film }, "options": options }),
    )];
    let output = run(wasmtime(component, &["--dir", "."]), &jobs)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = reports(&output)?;
    let native = over_http("/v1/gait?clinical_condition=Normal", film, "video/mp4")?;
    // The times that it took are last.
    let answer = |text: &str| -> Result<Value> {
        let mut answer: Value = serde_json::from_str(text)?;
        let fields = answer.as_object_mut().context("an object")?;
        fields.remove("timing_ms");
        Ok(answer)
    };
    assert_eq!(answer(text(&told[0]))?, answer(&native)?);
    Ok(())
}
