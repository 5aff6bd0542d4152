//! Recognition packs: who reads what, what a build with fewer of them is, pages in Devanagari turned and as PDF.

use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ephemera::build;
use ephemera::progress::Progress;

use crate::binary;
use crate::cases::character_error_rate;
use crate::runners::{self, Asked};

fn case(name: &str) -> PathBuf {
    runners::root().join("tests/cases/ocr").join(name)
}

/// A case's request, with another query.
fn asked(name: &str, query: &str, accept: &str) -> Result<Asked> {
    let mut asked = Asked::file(&case(name).join("request.png"), accept)?;
    asked.target += query;
    Ok(asked)
}

fn truth(name: &str) -> Result<String> {
    let path = case(name).join("text.txt");
    std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

#[test]
fn languages_that_no_pack_reads_are_refused_with_the_packs() -> Result<()> {
    for (name, run) in runners::ALL {
        for language in ["ta", "tam", "hi+ru", "sa-Telu"] {
            let asked = asked("single-word", &format!("?language={language}"), "*/*")?;
            let answer = run(&asked)?;
            let body = String::from_utf8(answer.body)?;
            assert_eq!(answer.status, 422, "{language} by {name}: {body}");
            for part in [
                language.split('+').next_back().unwrap_or(""),
                "latin (af ",
                "devanagari (sa ",
            ] {
                ensure!(body.contains(part), "{language} by {name}: {body}");
            }
        }
    }
    Ok(())
}

#[test]
fn each_language_is_read_by_its_pack() -> Result<()> {
    // (case, language, the packs that ran, the first block's language)
    for (name, language, packs, tag) in [
        ("single-word", "en", "ocr-recogniser-latin", "en"),
        ("single-word", "sa", "ocr-recogniser-devanagari", "und"),
        (
            "single-word",
            "devanagari",
            "ocr-recogniser-devanagari",
            "und",
        ),
        (
            "single-word",
            "ocr-recogniser-latin",
            "ocr-recogniser-latin",
            "und",
        ),
        ("devanagari-line", "auto", "ocr-recogniser-devanagari", "hi"),
        ("devanagari-line", "san", "ocr-recogniser-devanagari", "sa"),
        ("devanagari-line", "nep", "ocr-recogniser-devanagari", "ne"),
        (
            "devanagari-line",
            "hin+eng",
            "ocr-recogniser-devanagari",
            "hi",
        ),
        (
            "two-scripts-page",
            "hi+en",
            "ocr-recogniser-latin+ocr-recogniser-devanagari",
            "en",
        ),
    ] {
        let answer = runners::native(&asked(name, &format!("?language={language}"), "*/*")?)?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let model = answer["model"].as_str().context("a model")?;
        let names: Vec<&str> = model
            .split('+')
            .filter_map(|m| m.split('@').next())
            .collect();
        assert_eq!(
            names[1..].join("+"),
            packs,
            "{name}, language={language}: {model}"
        );
        assert_eq!(answer["blocks"][0]["language"], tag, "{name}, {language}");
    }
    Ok(())
}

#[test]
fn pages_in_devanagari_are_read_however_they_lie() -> Result<()> {
    let page = image::open(case("sanskrit-verse").join("request.png"))?.to_luma8();
    let truth = truth("sanskrit-verse")?;
    for (about, turned) in [
        ("upside down", image::imageops::rotate180(&page)),
        ("its top to the right", image::imageops::rotate90(&page)),
        ("its top to the left", image::imageops::rotate270(&page)),
    ] {
        let mut png = Cursor::new(Vec::new());
        turned.write_to(&mut png, image::ImageFormat::Png)?;
        let mut asked = Asked::post("image/png", "text/plain", png.into_inner());
        for query in ["", "?language=sa"] {
            asked.target = format!("/v1/ocr{query}");
            let text = String::from_utf8(runners::native(&asked)?.body)?;
            let rate = character_error_rate(&truth, &text);
            ensure!(rate <= 0.03, "{about}{query}: CER {rate:.4}\n{text}");
        }
    }
    Ok(())
}

#[test]
fn text_behind_a_pdf_is_in_the_order_it_is_read() -> Result<()> {
    if !binary::has("pdftotext") && Command::new("pdftotext").arg("-v").output().is_err() {
        return binary::skip("pdftotext (poppler-utils) is not there");
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("page.pdf");
    for name in ["sanskrit-verse", "two-scripts-page"] {
        let plain = runners::native(&asked(name, "", "text/plain")?)?.body;
        std::fs::write(
            &path,
            runners::native(&asked(name, "", "application/pdf")?)?.body,
        )?;
        let shown = Command::new("pdftotext")
            .arg("-raw")
            .arg(&path)
            .arg("-")
            .output()?;
        let words = |bytes: Vec<u8>| -> Result<Vec<String>> {
            let text = String::from_utf8(bytes)?;
            Ok(text.split_whitespace().map(str::to_owned).collect())
        };
        assert_eq!(words(shown.stdout)?, words(plain)?, "{name}");
    }
    Ok(())
}

#[test]
fn a_build_has_the_packs_that_are_asked_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut project = runners::project();
    let names = ["ocr".to_owned()];
    let one = ["ocr-recogniser-devanagari", "ocr-detector"].map(str::to_owned);
    project.take_models(&names, &one)?;
    let function = project.functions.get_mut("ocr").context("the function")?;
    function.source = folder.path().join("ocr.wasm");
    let built = build::build(&project, &names, &Progress::stderr())?;
    let (small, whole) = (&built[0].report, &runners::artifact("ocr").report);
    eprintln!(
        "one pack: component {} bytes, memory {:?}; all: {} bytes, {:?}",
        small.component_bytes, small.images, whole.component_bytes, whole.images
    );
    // The other pack's weights alone are three million bytes.
    ensure!(small.component_bytes + 2_000_000 < whole.component_bytes);
    Ok(())
}

/// Highest error rate of the real samples, which no pack was made for: a character of a short line may be wrong.
const MAX_SAMPLE_CER: f64 = 0.1;

#[test]
fn a_known_line_in_devanagari_is_read() -> Result<()> {
    let path = runners::root().join("../shared/samples/ocr/devanagari_rec.png");
    if !path.exists() {
        // The samples are no part of the project: that they are missing is no failure, in CI neither.
        eprintln!("skipped: ../shared/samples/ocr/devanagari_rec.png is not there");
        return Ok(());
    }
    for language in ["auto", "hi"] {
        let mut asked = Asked::file(&path, "text/plain")?;
        asked.target += &format!("?language={language}");
        let text = String::from_utf8(runners::native(&asked)?.body)?;
        let rate = character_error_rate("आज मौसम अच्छा है।", &text);
        ensure!(rate <= MAX_SAMPLE_CER, "{language}: CER {rate:.4}\n{text}");
    }
    Ok(())
}
