//! The committed models are the files that their manifests name, and load in integers.

use anyhow::{Context, Result};
use ephemera_engine::{Graph, Manifest, Model, Tensor};

use crate::runners;

#[test]
fn every_model_has_its_hash_and_runs_in_integers() -> Result<()> {
    let folder = runners::root().join("models");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let Ok(text) = std::fs::read_to_string(path.join("model.toml")) else {
            continue;
        };
        let manifest = Manifest::parse(&text).with_context(|| format!("{}", path.display()))?;
        let onnx = std::fs::read(path.join("model.onnx"))?;
        assert_eq!(
            ephemera::digest::sha256(&onnx).to_string(),
            manifest.sha256,
            "{}",
            manifest.name
        );
        assert_eq!(
            path.file_name().and_then(|name| name.to_str()),
            Some(manifest.name.as_str())
        );
        let graph = Graph::load(&manifest, &onnx)?;
        assert_eq!(graph.float_reason(), None, "{}", manifest.name);
        seen += 1;
    }
    assert!(
        seen >= 3,
        "expected the detector, a recogniser and the gait network, got {seen} models"
    );
    Ok(())
}

/// Pixels with a probability above this are text, as the function has it.
const MASK_THRESHOLD: f32 = 0.3;

/// Lowest overlap of a check page's mask with f32's. The card's 60 pages have a mean of 0.98 and a least of 0.88; these
/// three have 0.967 to 0.984.
const MIN_OVERLAP: f64 = 0.95;

#[test]
fn the_recognisers_read_their_check_lines_as_their_cards_say() -> Result<()> {
    // (folder, what the input's width is a multiple of, in pixels)
    for (name, multiple) in [
        ("ocr-recogniser-latin", 8),
        ("ocr-recogniser-devanagari", 4),
        ("ocr-recogniser-european", 4),
    ] {
        check_lines(name, multiple).context(name)?;
    }
    Ok(())
}

fn check_lines(name: &str, multiple: u32) -> Result<()> {
    let (manifest, graph) = load(name)?;
    let folder = runners::root().join("models").join(name).join("check");
    let check: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("check.json"))?)?;
    let (mut edits, mut characters) = (0, 0);
    for line in check["lines"].as_array().context("lines")? {
        let file = line["file"].as_str().context("a file")?;
        let picture = image::open(folder.join(file))?.to_rgb8();
        let width = picture.width().next_multiple_of(multiple).max(16);
        // What the function fills a line's last step with: mid-grey.
        let mut padded = image::RgbImage::from_pixel(width, 48, image::Rgb([128; 3]));
        image::imageops::replace(&mut padded, &picture, 0, 0);
        let input = Tensor::u8(&[1, 48, width as usize, 3], padded.into_raw())?;
        let outputs = graph.run(&[(&manifest.inputs[0].name, input)])?;
        let read = greedy(&outputs[0].1, &manifest.characters)?;
        let text = line["int8"].as_str().context("int8")?;
        // Where letters are joined after reading, the list has what the classes say before.
        let classes = line["int8_classes"].as_str().unwrap_or(text);
        assert_eq!(read, classes, "{file}: not what onnxruntime reads");
        let truth = line["text"].as_str().context("text")?;
        edits += strsim::levenshtein(truth, text);
        characters += truth.chars().count();
    }
    let rate = edits as f64 / characters as f64;
    let expected = check["cer_int8"].as_f64().context("cer_int8")?;
    assert!(
        (rate - expected).abs() < 5e-5,
        "CER {rate:.4}, the card's set has {expected}"
    );
    Ok(())
}

#[test]
fn the_detector_masks_its_check_pages_as_f32_does() -> Result<()> {
    let (manifest, graph) = load("ocr-detector")?;
    let folder = runners::root().join("models/ocr-detector/check");
    let check: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("check.json"))?)?;
    for page in check["pages"].as_array().context("pages")? {
        let file =
            |key: &str| Ok::<_, anyhow::Error>(folder.join(page[key].as_str().context("a file")?));
        let picture = image::open(file("file")?)?.to_rgb8();
        let mask = image::open(file("mask")?)?.to_luma8();
        assert_eq!(picture.dimensions(), mask.dimensions());
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let input = Tensor::u8(&[1, height, width, 3], picture.into_raw())?;
        let outputs = graph.run(&[(&manifest.inputs[0].name, input)])?;
        assert_eq!(outputs[0].1.shape, [1, 1, height, width]);
        let text = outputs[0]
            .1
            .as_f32()
            .context("f32")?
            .iter()
            .map(|&p| p > MASK_THRESHOLD);
        let (mut both, mut either) = (0, 0);
        for (ours, theirs) in text.zip(mask.pixels().map(|pixel| pixel.0[0] > 127)) {
            both += usize::from(ours && theirs);
            either += usize::from(ours || theirs);
        }
        let overlap = both as f64 / either as f64;
        assert!(
            overlap >= MIN_OVERLAP,
            "{}: overlap {overlap:.4}, at least {MIN_OVERLAP}",
            page["file"]
        );
    }
    Ok(())
}

/// Largest difference of a logit to onnxruntime's int8. Both round to the same integers; what differs is the picture: decoders of JPEG
/// are a level apart here and there.
const LOGIT_TOL: f64 = 0.03;

#[test]
fn the_gait_network_says_of_its_check_clips_what_its_card_says() -> Result<()> {
    let (manifest, graph) = load("gait-student")?;
    let folder = runners::root().join("models/gait-student/check");
    let check: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("check.json"))?)?;
    let conditions = manifest.table("conditions").context("a table")?;
    let clips = check["clips"].as_array().context("clips")?;
    assert!(clips.len() >= 3, "{} clips", clips.len());
    for clip in clips {
        let file = clip["file"].as_str().context("a file")?;
        // Its frames lie one below the other.
        let frames = image::open(folder.join(file))?.to_rgb8();
        assert_eq!(frames.dimensions(), (224, 16 * 224));
        let condition = clip["condition"].as_str().context("a condition")?;
        let embedding = conditions.row(condition).context("a row of the table")?;
        let outputs = graph.run(&[
            (
                "clip",
                Tensor::u8(&[1, 16, 224, 224, 3], frames.into_raw())?,
            ),
            (
                "condition",
                Tensor::f32(&[1, embedding.len()], embedding.to_vec())?,
            ),
        ])?;
        let logits = outputs[0].1.as_f32().context("f32")?;
        let expected = clip["int8"].as_array().context("int8")?;
        assert_eq!(logits.len(), expected.len());
        for (class, (ours, theirs)) in logits.iter().zip(expected).enumerate() {
            let off = (f64::from(*ours) - theirs.as_f64().context("a number")?).abs();
            assert!(off <= LOGIT_TOL, "{file}, class {class}: {off} off");
        }
    }
    Ok(())
}

fn load(name: &str) -> Result<(Manifest, Graph)> {
    let folder = runners::root().join("models").join(name);
    let mut manifest = Manifest::parse(&std::fs::read_to_string(folder.join("model.toml"))?)?;
    for table in &mut manifest.tables {
        table.fill(&std::fs::read(folder.join(&table.file))?)?;
    }
    let graph = Graph::load(&manifest, &std::fs::read(folder.join("model.onnx"))?)?;
    Ok((manifest, graph))
}

/// The highest class of each step, repeats and blanks left out.
fn greedy(logits: &Tensor, characters: &[String]) -> Result<String> {
    let classes = *logits.shape.last().context("classes")?;
    let mut text = String::new();
    let mut before = 0;
    for step in logits.as_f32().context("f32")?.chunks_exact(classes) {
        let best = (0..classes).fold(0, |best, class| {
            if step[class] > step[best] {
                class
            } else {
                best
            }
        });
        if best != before && best > 0 {
            text += &characters[best - 1];
        }
        before = best;
    }
    Ok(text)
}
