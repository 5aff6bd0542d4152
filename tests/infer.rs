//! The Open Inference Protocol over the built-in models: every folder of `cases/infer/`, the same bytes from every runner; what is no
//! request, refused in the protocol's form.
//!
//! `UPDATE_CASES=1` writes `expected.json` and `expected.bin` anew; `outside/requests.py` makes the requests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::runners::{self, Asked};

/// Linear memory of a request of `cases/infer`.
const MAX_PEAK_BYTES: u64 = 40 << 20;

fn folders() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/infer");
    let entries = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
    let mut folders = entries.collect::<Result<Vec<_>>>()?;
    folders.sort();
    ensure!(
        folders.len() >= 3,
        "expected at least 3 cases, got {}",
        folders.len()
    );
    Ok(folders)
}

/// JSON, and binary data behind it, to a model.
pub(crate) fn asked(model: &str, json: &[u8], binary: Option<&[u8]>) -> Asked {
    let mut asked = Asked {
        target: format!("/v2/models/{model}/infer"),
        ..Asked::post("application/json", "*/*", json.to_vec())
    };
    if let Some(binary) = binary {
        asked.body.extend_from_slice(binary);
        let length = ("inference-header-content-length", json.len().to_string());
        asked.headers.push(length);
        asked.headers[0].1 = "application/octet-stream".to_owned();
    }
    asked
}

pub(crate) fn get(target: &str) -> Asked {
    Asked {
        method: "GET",
        target: target.to_owned(),
        headers: vec![],
        body: vec![],
    }
}

fn case(folder: &Path) -> Result<Asked> {
    let model = std::fs::read_to_string(folder.join("model.txt"))?;
    let json = std::fs::read(folder.join("request.json"))?;
    let binary = folder.join("request.bin");
    let binary = binary
        .exists()
        .then(|| std::fs::read(&binary))
        .transpose()?;
    Ok(asked(model.trim(), &json, binary.as_deref()))
}

/// Where the JSON of an answer ends.
fn json_bytes(body: &[u8]) -> Result<usize> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    values.next().context("JSON")??;
    Ok(values.byte_offset())
}

#[test]
fn every_runner_gives_the_expected_bytes() -> Result<()> {
    for folder in folders()? {
        let asked = case(&folder)?;
        let (head, tail) = (folder.join("expected.json"), folder.join("expected.bin"));
        if std::env::var_os("UPDATE_CASES").is_some() {
            let body = runners::native(&asked)?.body;
            let (json, binary) = body.split_at(json_bytes(&body)?);
            std::fs::write(&head, json)?;
            if !binary.is_empty() {
                std::fs::write(&tail, binary)?;
            }
        }
        let mut expected = std::fs::read(&head)?;
        let json_length = expected.len();
        if tail.exists() {
            expected.extend(std::fs::read(&tail)?);
        }
        let media = match expected.len() == json_length {
            true => "application/json",
            false => "application/octet-stream",
        };
        for (name, run) in runners::ALL {
            let about = || format!("{} by {name}", folder.display());
            let answer = run(&asked).with_context(about)?;
            let said = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]);
            assert_eq!(answer.status, 200, "{}: {said}", about());
            assert_eq!(answer.content_type, media, "{}", about());
            assert!(answer.body == expected, "{}: {said}", about());
            if name == "native" {
                continue;
            }
            let peak = answer.peak_bytes.with_context(about)?;
            eprintln!("{}: {:.1} MiB", about(), peak as f64 / f64::from(1 << 20));
            assert!(peak <= MAX_PEAK_BYTES, "{}: {peak} bytes", about());
        }
    }
    Ok(())
}

#[test]
fn a_clip_is_answered_alike_by_every_runner() -> Result<()> {
    let pixels = 16 * 224 * 224 * 3;
    let clip: Vec<u8> = (0..pixels).map(|at: usize| (at / 7 % 251) as u8).collect();
    let condition: Vec<u8> = (0..768)
        .flat_map(|at| (at as f32 / 768.0).to_le_bytes())
        .collect();
    let request = json!({
        "inputs": [
            {"name": "clip", "datatype": "UINT8", "shape": [1, 16, 224, 224, 3], "parameters": {"binary_data_size": clip.len()}},
            {"name": "condition", "datatype": "FP32", "shape": [1, 768], "parameters": {"binary_data_size": condition.len()}},
        ],
    });
    let binary = [clip, condition].concat();
    let asked = asked(
        "gait-student",
        request.to_string().as_bytes(),
        Some(&binary),
    );
    let mut bodies = vec![];
    for (name, run) in runners::ALL {
        let answer = run(&asked)?;
        let said = String::from_utf8(answer.body)?;
        assert_eq!(answer.status, 200, "{name}: {said}");
        let peak = answer.peak_bytes.unwrap_or(0);
        eprintln!(
            "gait-student by {name}: {:.1} MiB",
            peak as f64 / f64::from(1 << 20)
        );
        assert!(peak <= 64 << 20, "{name}: {peak} bytes");
        bodies.push(said);
    }
    assert_eq!(bodies[0], bodies[1]);
    assert_eq!(bodies[0], bodies[2]);
    let answer: Value = serde_json::from_str(&bodies[0])?;
    assert_eq!(answer["outputs"][0]["shape"], json!([1, 9]));
    Ok(())
}

#[test]
fn the_built_in_models_are_ready_and_say_what_they_take() -> Result<()> {
    for (name, run) in runners::ALL {
        let json = |path: &str| -> Result<Value> {
            let answer = run(&get(path)).with_context(|| format!("{path} by {name}"))?;
            assert_eq!(answer.status, 200, "{path} by {name}");
            Ok(serde_json::from_slice(&answer.body)?)
        };
        assert_eq!(json("/v2")?["name"], "ephemera");
        assert_eq!(json("/v2/health/live")?["live"], true);
        assert_eq!(json("/v2/health/ready")?["ready"], true);
        let pixels = json!({"name": "x", "datatype": "UINT8", "shape": [1, -1, -1, 3]});
        assert_eq!(json("/v2/models/ocr-detector")?["inputs"], json!([pixels]));
        for model in [
            "ocr-detector",
            "ocr-recogniser-latin",
            "ocr-recogniser-devanagari",
            "gait-student",
        ] {
            assert_eq!(json(&format!("/v2/models/{model}/ready"))?["ready"], true);
        }
    }
    Ok(())
}

#[test]
fn requests_that_are_none_are_explained_by_every_runner() -> Result<()> {
    let line = std::fs::read(folders()?[1].join("request.json"))?;
    let line: Value = serde_json::from_slice(&line)?;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut request = line.clone();
        change(&mut request["inputs"][0]);
        request.to_string()
    };
    let shape = |shape: Value| with(&|input| input["shape"] = shape.clone());
    let model = "ocr-recogniser-latin";
    let post = |json: &str| asked(model, json.as_bytes(), None);
    let typed = |media: &str| {
        let mut asked = post(&line.to_string());
        asked.headers[0].1 = media.to_owned();
        asked
    };
    let deep = format!(
        "{{\"inputs\":{}{}}}",
        "[".repeat(1 << 20),
        "]".repeat(1 << 20)
    );
    // 10 MiB of binary data, which is more than the activations of this model may take inside an instance; in the host there is room for them,
    // and none for the answer.
    let side = 1824;
    let page = json!({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1, side, side, 3], "parameters": {"binary_data_size": side * side * 3}}]});
    let page = asked(
        "ocr-detector",
        page.to_string().as_bytes(),
        Some(&vec![255; side * side * 3]),
    );
    for (about, asked, status, says) in [
        (
            "no such model",
            asked("tesseract", b"{}", None),
            404,
            "ocr-detector",
        ),
        ("no such path", get("/v2/models"), 404, "no such path"),
        (
            "no request",
            get("/v2/models/ocr-detector/infer"),
            405,
            "POST",
        ),
        ("text", typed("text/plain"), 415, "text/plain"),
        ("empty", post(""), 400, "not valid"),
        ("cut off", post(&line.to_string()[..999]), 400, "not valid"),
        ("deep", post(&deep), 400, "not valid"),
        (
            "another type",
            post(&with(&|input| input["datatype"] = json!("FP32"))),
            400,
            "expected UINT8, got FP32",
        ),
        (
            "another height",
            post(&shape(json!([1, 47, 64, 3]))),
            400,
            "expected shape [1, 48, 8*w, 3], got [1, 47, 64, 3]",
        ),
        (
            "another width",
            post(&shape(json!([1, 48, 63, 3]))),
            400,
            "8*w",
        ),
        ("too few", post(&shape(json!([1, 48, 72, 3]))), 400, "10368"),
        ("too many", post(&shape(json!([1, 48, 56, 3]))), 400, "8064"),
        (
            "huge",
            post(&shape(json!([1, 48, 1u64 << 62, 3]))),
            413,
            "limit",
        ),
        (
            "a header that lies",
            asked(model, line.to_string().as_bytes(), Some(b"more")),
            400,
            "expected 0",
        ),
        ("a page too large", page, 413, " bytes"),
    ] {
        for (name, run) in runners::ALL {
            let answer = run(&asked).with_context(|| format!("{about} by {name}"))?;
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, status, "{about} by {name}: {said}");
            let json: Value = serde_json::from_str(&said)?;
            let error = json["error"].as_str().context("a sentence")?;
            assert!(error.contains(says), "{about} by {name}: {error}");
        }
    }
    let next = runners::host(&post(&line.to_string()))?;
    assert_eq!(next.status, 200);
    Ok(())
}
