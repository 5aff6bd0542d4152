//! Graphs without their quantisation, on the processor, read lines as another runtime reads them in the f32 graph that they were made from, and
//! the lines of `tests/cases` as the int8 graph does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ephemera::models::{self, Folder};
use ephemera_engine::{Graph, Model, Precision, RealGraph, Tensor};
use ephemera_vision::{Filter, Options, Rgb, decode, resize};

/// Least share of characters that must be the same.
const LEAST_AGREEMENT: f64 = 0.995;

/// Lines of a case that are read at most, so that it takes seconds.
const LINES_PER_CASE: usize = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn recogniser() -> Result<Folder> {
    models::read(&root().join("models/ocr-recogniser-latin"))
}

fn real(folder: &Folder) -> Result<RealGraph> {
    Ok(RealGraph::load(
        &folder.manifest,
        &folder.onnx,
        Precision::F32,
        "cpu",
    )?)
}

/// What a graph reads in a line of 48 px, which is filled up with mid-grey as the function does.
fn read(graph: &dyn Model, characters: &[String], line: &Rgb) -> Result<String> {
    let width = line.width.next_multiple_of(8).max(16);
    let mut pixels = vec![];
    for y in 0..line.height {
        pixels.extend(line.row(y));
        pixels.resize((y + 1) * width * 3, 128);
    }
    let input = Tensor::u8(&[1, line.height, width, 3], pixels)?;
    let outputs = graph.run(&[("x", input)])?;
    let logits = outputs[0].1.as_f32().context("f32")?;
    let mut text = String::new();
    let mut before = 0;
    for step in logits.chunks_exact(characters.len() + 1) {
        let best = (0..step.len()).fold(0, |b, at| if step[at] > step[b] { at } else { b });
        if best != before && best > 0 {
            text += &characters[best - 1];
        }
        before = best;
    }
    Ok(text)
}

#[test]
fn lines_are_read_as_onnxruntime_reads_them_in_f32() -> Result<()> {
    let folder = recogniser()?;
    let graph = real(&folder)?;
    let check = root().join("models/ocr-recogniser-latin/check");
    let list = std::fs::read(check.join("check.json"))?;
    let list: serde_json::Value = serde_json::from_slice(&list)?;
    let lines = list["lines"].as_array().context("lines")?;
    ensure!(lines.len() >= 20, "{} lines", lines.len());
    for line in lines {
        let file = std::fs::read(check.join(line["file"].as_str().context("a file")?))?;
        let picture = decode(&file, &Options::new(usize::MAX))?;
        let text = read(&graph, &folder.manifest.characters, &picture.rgb)?;
        assert_eq!(text, line["f32"].as_str().context("f32")?);
    }
    Ok(())
}

/// The lines of a case's page that were found and hold nothing but `characters`, cut out and made 48 px high.
fn case_lines(folder: &Path, characters: &[String]) -> Result<Vec<Rgb>> {
    let expected = std::fs::read(folder.join("expected.json"))?;
    let expected: serde_json::Value = serde_json::from_slice(&expected)?;
    let entries = std::fs::read_dir(folder)?.flatten();
    let request = entries
        .map(|entry| entry.path())
        .find(|path| path.file_stem().is_some_and(|stem| stem == "request"));
    let page = std::fs::read(request.context("a request")?)?;
    let page = decode(&page, &Options::new(usize::MAX))?.rgb;
    let mut lines = vec![];
    for row in expected["bounding_boxes"]
        .as_str()
        .context("boxes")?
        .lines()
    {
        let sides: Option<Vec<usize>> = row.split('\t').take(4).map(|n| n.parse().ok()).collect();
        let Some(&[x1, y1, x2, y2]) = sides.as_deref() else {
            continue;
        };
        // What another pack read says nothing here.
        let text = row.split('\t').nth(4).unwrap_or_default();
        let mut letters = text.chars().map(String::from);
        if !letters.all(|letter| characters.contains(&letter)) {
            continue;
        }
        let (x2, y2) = (x2.min(page.width), y2.min(page.height));
        // What stands upright is not a line as it lies here.
        if x1 >= x2 || y1 >= y2 || y2 - y1 > x2 - x1 {
            continue;
        }
        let rows = (y1..y2).map(|y| &page.row(y)[x1 * 3..x2 * 3]);
        let pixels = rows.flatten().copied().collect();
        let cut = Rgb::new(x2 - x1, y2 - y1, pixels).context("a line")?;
        let width = (cut.width * 48 / cut.height).max(16);
        lines.push(resize(&cut, width, 48, Filter::Triangle));
    }
    let step = lines.len().div_ceil(LINES_PER_CASE).max(1);
    Ok(lines.into_iter().step_by(step).collect())
}

#[test]
fn lines_of_the_cases_are_read_as_in_int8() -> Result<()> {
    let folder = recogniser()?;
    let characters = &folder.manifest.characters;
    let real = real(&folder)?;
    let int8 = Graph::load(&folder.manifest, &folder.onnx)?;
    let (mut edits, mut count) = (0, 0);
    for entry in std::fs::read_dir(root().join("tests/cases/ocr"))? {
        let case = entry?.path();
        // Its line is not as it is cut out here.
        if case.ends_with("upside-down-line") {
            continue;
        }
        for line in case_lines(&case, characters)? {
            let expected = read(&int8, characters, &line)?;
            edits += strsim::levenshtein(&expected, &read(&real, characters, &line)?);
            count += expected.chars().count();
        }
    }
    let agreement = 1.0 - edits as f64 / count as f64;
    println!("{:.3} % of {count} characters agree", agreement * 100.0);
    assert!(
        count > 1000 && agreement >= LEAST_AGREEMENT,
        "{agreement:.4} of {count}"
    );
    Ok(())
}
