//! `ephemera run` over many files, good and bad.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use ephemera::app::App;
use ephemera::run::{self, Destination, Format, Question, Summary, Work};

use crate::runners;

/// Pages, and a file that is none, in folders.
fn scans() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let cases = runners::root().join("tests/cases/ocr");
    fs::create_dir_all(folder.path().join("inner"))?;
    for (case, to) in [
        ("single-word", "a.png"),
        ("empty-page", "inner/b.png"),
        ("single-word", "inner/c.png"),
    ] {
        let from = cases.join(case).join("request.png");
        fs::copy(&from, folder.path().join(to)).with_context(|| format!("copying {case}"))?;
    }
    fs::write(folder.path().join("bad.png"), "no picture")?;
    fs::write(folder.path().join("notes.txt"), "not looked at")?;
    Ok(folder)
}

/// What a run said, and how it went.
struct Said {
    out: String,
    problems: String,
    summary: Summary,
}

fn run(folder: &Path, format: Format, destination: Destination) -> Result<Said> {
    let project = ephemera::config::Project::open(&runners::root().join("spin.toml"))?;
    let executor = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let requests = project.function("ocr")?.run.clone().context("it has one")?;
    let work = Work {
        inputs: run::find(&[folder.to_owned()], requests.takes)?,
        question: Question::new(&requests, Some(format), &[])?,
        destination,
        jobs: 2,
    };
    let artifacts = std::slice::from_ref(runners::artifact("ocr"));
    let app = Arc::new(App::load(project, artifacts, 2)?);
    let (mut out, mut problems) = (vec![], vec![]);
    let summary = executor.block_on(run::run(&app, "ocr", work, &mut out, &mut problems))?;
    assert_eq!(app.runtime().live_instances(), 0);
    Ok(Said {
        out: String::from_utf8(out)?,
        problems: String::from_utf8(problems)?,
        summary,
    })
}

#[test]
fn a_bad_file_does_not_stop_the_others() -> Result<()> {
    let scans = scans()?;
    let out = tempfile::tempdir()?;
    let destination = Destination::Folder(out.path().to_owned());
    let said = run(scans.path(), Format::Text, destination)?;
    assert_eq!(said.summary, Summary { read: 3, failed: 1 });
    assert_eq!(said.out, "");
    let lines: Vec<&str> = said.problems.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("bad.png: ") && lines[0].contains("image"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("3 read, 1 failed in "), "{lines:?}");

    let word = fs::read_to_string(runners::root().join("tests/cases/ocr/single-word/text.txt"))?;
    for (file, expected) in [
        ("a.txt", word.trim()),
        ("inner/b.txt", ""),
        ("inner/c.txt", word.trim()),
    ] {
        let text = fs::read_to_string(out.path().join(file)).with_context(|| file.to_owned())?;
        assert_eq!(text.trim(), expected, "{file}");
    }
    assert!(!out.path().join("bad.txt").exists());
    Ok(())
}

#[test]
fn answers_are_printed_in_the_order_of_the_files_or_lie_beside_them() -> Result<()> {
    let scans = scans()?;
    let said = run(scans.path(), Format::Json, Destination::Output)?;
    let texts: Vec<String> = said
        .out
        .lines()
        .map(|line| {
            let answer: serde_json::Value = serde_json::from_str(line)?;
            Ok(answer["text"].as_str().context("a text")?.to_owned())
        })
        .collect::<Result<_>>()?;
    assert_eq!(texts.len(), 3);
    assert!(texts[0] == texts[2] && texts[1].is_empty(), "{texts:?}");

    run(scans.path(), Format::Text, Destination::Beside)?;
    let text = fs::read_to_string(scans.path().join("inner/c.txt"))?;
    assert_eq!(text.trim(), texts[0]);
    Ok(())
}
