//! Every folder of `cases/`: one request, one answer, the same bytes from every runner, and text that is what was printed.
//!
//! `UPDATE_CASES=1` writes `expected.json` anew; `text.txt`, the truth, is the renderer's and is never touched here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::runners::{self, Asked};

/// Highest character error rate of a case: the largest page is read at half its size.
const MAX_CER: f64 = 0.02;

fn folders() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/ocr");
    let entries = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
    let mut folders = entries.collect::<Result<Vec<_>>>()?;
    folders.sort();
    ensure!(
        folders.len() >= 6,
        "expected at least 6 cases, got {}",
        folders.len()
    );
    Ok(folders)
}

fn request(folder: &Path) -> Result<PathBuf> {
    let candidates =
        ["png", "jpg", "tif", "webp"].map(|extension| folder.join(format!("request.{extension}")));
    candidates
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| format!("{}: no request", folder.display()))
}

/// The request of a case, with what `query.txt` asks.
fn asked(folder: &Path, accept: &str) -> Result<Asked> {
    let mut asked = Asked::file(&request(folder)?, accept)?;
    let query = folder.join("query.txt");
    if query.exists() {
        asked.target += &format!("?{}", std::fs::read_to_string(query)?.trim());
    }
    Ok(asked)
}

#[test]
fn every_runner_gives_the_expected_bytes() -> Result<()> {
    for folder in folders()? {
        let asked = asked(&folder, "application/json")?;
        let expected = folder.join("expected.json");
        if std::env::var_os("UPDATE_CASES").is_some() {
            std::fs::write(&expected, runners::native(&asked)?.body)?;
        }
        let expected = std::fs::read_to_string(&expected)
            .with_context(|| format!("{}", expected.display()))?;
        for (name, run) in runners::ALL {
            let answer = run(&asked).with_context(|| format!("{} by {name}", folder.display()))?;
            assert_eq!(answer.status, 200, "{} by {name}", folder.display());
            assert_eq!(
                answer.content_type,
                "application/json",
                "{} by {name}",
                folder.display()
            );
            assert_eq!(
                String::from_utf8(answer.body)?,
                expected,
                "{} by {name}",
                folder.display()
            );
        }
    }
    Ok(())
}

#[test]
fn texts_are_what_was_printed() -> Result<()> {
    for folder in folders()? {
        let truth = std::fs::read_to_string(folder.join("text.txt"))?;
        let answer = runners::host(&asked(&folder, "text/plain")?)?;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (200, "text/plain; charset=utf-8")
        );
        let text = String::from_utf8(answer.body)?;
        let rate = character_error_rate(&truth, &text);
        ensure!(
            rate <= MAX_CER,
            "{}: CER {rate:.4}\nexpected:\n{truth}\ngot:\n{text}",
            folder.display()
        );
    }
    Ok(())
}

#[test]
fn every_format_is_the_same_from_every_runner() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/ocr/two-column-page");
    for (accept, begins) in [
        ("text/plain", "A history"),
        ("text/tab-separated-values", "level\tpage_num\t"),
        ("text/vnd.hocr+html", "<?xml"),
        ("application/alto+xml", "<?xml"),
        ("application/pdf", "%PDF-"),
    ] {
        let asked = asked(&folder, accept)?;
        let expected = runners::native(&asked)?;
        assert_eq!(expected.status, 200, "{accept}");
        assert!(
            expected.content_type.starts_with(accept),
            "{}",
            expected.content_type
        );
        assert!(expected.body.len() > 1000, "{accept}");
        let start = String::from_utf8_lossy(&expected.body[..40]).into_owned();
        assert!(start.starts_with(begins), "{accept}: {start}");
        for (name, run) in runners::ALL {
            let answer = run(&asked)?;
            assert_eq!(
                answer.content_type, expected.content_type,
                "{accept} by {name}"
            );
            assert!(answer.body == expected.body, "{accept} by {name}");
        }
    }
    Ok(())
}

/// Edits per character of the truth, whitespace counted once. An empty truth allows no character at all.
pub(crate) fn character_error_rate(truth: &str, text: &str) -> f64 {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (truth, text) = (plain(truth), plain(text));
    strsim::levenshtein(&truth, &text) as f64 / truth.chars().count().max(1) as f64
}

#[test]
fn character_error_rate_counts_edits() {
    for (truth, text, expected) in [
        ("ab cd", "ab\n cd\n", 0.0),
        ("abcd", "abxd", 0.25),
        ("abcd", "", 1.0),
        ("", "", 0.0),
        ("", "ab", 2.0),
    ] {
        assert_eq!(
            character_error_rate(truth, text),
            expected,
            "{truth:?} and {text:?}"
        );
    }
}

#[test]
fn every_shape_of_answer_has_its_fields() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/ocr/single-word");
    let mut asked = Asked::file(&request(&folder)?, "*/*")?;
    asked.target += "?engine=surya&language=en";
    let answer: serde_json::Value = serde_json::from_slice(&runners::host(&asked)?.body)?;
    assert_eq!(answer["engine"], "surya");
    assert_eq!(answer["source_type"], "scan");
    let boxes: serde_json::Value =
        serde_json::from_str(answer["bounding_boxes"].as_str().context("a string")?)?;
    assert_eq!(
        boxes[0]["text"],
        answer["text"].as_str().context("a text")?.trim()
    );
    let id = answer["blocks"][0]["id"].as_str().context("an id")?;
    assert!(
        id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );

    asked.target = "/v1/ocr?format=surya".to_owned();
    let answer: serde_json::Value = serde_json::from_slice(&runners::host(&asked)?.body)?;
    let line = &answer["text_lines"][0];
    assert_eq!(line["polygon"].as_array().map(Vec::len), Some(4));
    assert_eq!(line["bbox"].as_array().map(Vec::len), Some(4));
    assert!(
        line["confidence"]
            .as_f64()
            .is_some_and(|confidence| confidence > 0.5)
    );
    Ok(())
}
