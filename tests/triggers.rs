//! Functions as jobs: started by messages of Redis, or as commands. Their answers are those of the same functions over HTTP.

mod command;
mod foreign;
mod interface;
mod listeners;
mod messages;

use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use ephemera::build::{self, Artifact};
use ephemera::config::Project;
use ephemera::progress::Progress;
use serde_json::Value;

use crate::runners::{self, Asked};

const PAGE: &str = "tests/cases/ocr/clean-page/request.png";

/// The folder of the jobs' manifest.
fn folder() -> PathBuf {
    runners::root().join("functions/jobs")
}

/// The jobs' project, with `replace`d texts in its manifest.
fn project(replace: &[(&str, &str)]) -> Result<Project> {
    let mut text = std::fs::read_to_string(folder().join("spin.toml"))?;
    for (old, new) in replace {
        assert!(text.contains(old), "the manifest has `{old}`");
        text = text.replace(old, new);
    }
    Project::parse(&text, &folder())
}

static OCR_JOBS: LazyLock<Artifact> = LazyLock::new(|| built("ocr-jobs"));
static OCR_COMMAND: LazyLock<Artifact> = LazyLock::new(|| built("ocr-command"));
static GAIT_COMMAND: LazyLock<Artifact> = LazyLock::new(|| built("gait-command"));

/// One of its components. Cargo compiles the package anew when its features change, so each is asked for once.
fn built(name: &str) -> Artifact {
    let built = project(&[]).and_then(|project| {
        let mut artifacts = build::build(&project, &[name.to_owned()], &Progress::stderr())?;
        artifacts.pop().context("one is built")
    });
    built.unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

/// What the function answers to a file over HTTP.
fn over_http(target: &str, file: &str, media_type: &str) -> Result<String> {
    let body = std::fs::read(runners::root().join(file))?;
    let answer = runners::native(&Asked {
        method: "POST",
        target: target.to_owned(),
        headers: vec![("content-type", media_type.to_owned())],
        body,
    })?;
    assert_eq!(answer.status, 200);
    Ok(String::from_utf8(answer.body)?)
}

/// The text of a report's answer.
fn text(report: &Value) -> &str {
    report["answer"]["text"].as_str().unwrap_or_default()
}

#[test]
fn components_of_jobs_ask_what_the_manifest_of_http_says() -> Result<()> {
    for (name, path) in ephemera_jobs::PATHS {
        let run = runners::PROJECT.function(name)?.run.as_ref();
        assert_eq!(run.context("it takes files")?.path, path);
    }
    Ok(())
}
