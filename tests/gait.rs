//! Every folder of `cases/gait/`: one clip, one answer, the same bytes from every runner; and what is not a clip, refused.
//!
//! `UPDATE_CASES=1` writes `expected.json` anew.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::runners::{self, Asked};

/// Linear memory of a request without H.264 to decode, and with it.
const MAX_PEAK_BYTES: (u64, u64) = (48 << 20, 64 << 20);

fn folders() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/gait");
    let entries = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path()));
    let mut folders = entries.collect::<Result<Vec<_>>>()?;
    folders.sort();
    ensure!(
        folders.len() >= 5,
        "expected at least 5 cases, got {}",
        folders.len()
    );
    Ok(folders)
}

/// The request of a case: its file, as its extension says, with the parameters in `query.txt`.
fn asked(folder: &Path) -> Result<Asked> {
    let types = [
        ("mp4", "video/mp4"),
        ("zip", "application/zip"),
        ("tar", "application/x-tar"),
        ("gif", "image/gif"),
        ("webp", "image/webp"),
        ("mjpeg", "application/octet-stream"),
        ("jpg", "image/jpeg"),
    ];
    let found = types
        .map(|(extension, kind)| (folder.join(format!("request.{extension}")), kind))
        .into_iter()
        .find(|(path, _)| path.exists());
    let (file, kind) = found.with_context(|| format!("{}: no request", folder.display()))?;
    let query = std::fs::read_to_string(folder.join("query.txt"))?;
    Ok(Asked {
        target: format!("/predict?{}", query.trim()),
        ..Asked::post(kind, "*/*", std::fs::read(file)?)
    })
}

/// An answer without the times that a sandbox's clock adds at its end.
fn untimed(answer: &str) -> String {
    match answer.split_once(",\"timing_ms\":{") {
        Some((before, _)) => format!("{before}}}"),
        None => answer.to_owned(),
    }
}

#[test]
fn every_runner_gives_the_expected_bytes() -> Result<()> {
    for folder in folders()? {
        let asked = asked(&folder)?;
        let expected = folder.join("expected.json");
        if std::env::var_os("UPDATE_CASES").is_some() {
            let said = String::from_utf8(runners::native(&asked)?.body)?;
            std::fs::write(&expected, untimed(&said))?;
        }
        let expected = std::fs::read_to_string(&expected)?;
        let film = folder.join("request.mp4").exists();
        let most = if film {
            MAX_PEAK_BYTES.1
        } else {
            MAX_PEAK_BYTES.0
        };
        for (name, run) in runners::ALL {
            let about = || format!("{} by {name}", folder.display());
            let answer = run(&asked).with_context(about)?;
            let said = String::from_utf8(answer.body)?;
            assert_eq!(answer.status, 200, "{}: {said}", about());
            assert_eq!(untimed(&said), expected, "{}", about());
            if name == "native" {
                continue;
            }
            let peak = answer.peak_bytes.with_context(about)?;
            eprintln!("{}: {:.1} MiB", about(), peak as f64 / f64::from(1 << 20));
            assert!(peak <= most, "{}: {peak} bytes, limit is {most}", about());
        }
    }
    Ok(())
}

#[test]
fn probabilities_are_probabilities() -> Result<()> {
    for folder in folders()? {
        let answer: serde_json::Value =
            serde_json::from_slice(&runners::host(&asked(&folder)?)?.body)?;
        let probabilities = answer["probabilities"].as_object().context("a map")?;
        assert_eq!(probabilities.len(), 9);
        let of = |value: &serde_json::Value| value.as_f64().expect("a number");
        let sum: f64 = probabilities.values().map(of).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        let class = answer["predicted_class"].as_str().context("a class")?;
        let most = probabilities.values().map(of).fold(0.0, f64::max);
        assert_eq!(of(&probabilities[class]), most);
        let validation = answer["clinical_validation"].to_string();
        assert!(
            validation.to_lowercase().contains("synthetic"),
            "{validation}"
        );
    }
    Ok(())
}

/// A form with frames in their order.
fn form(frames: &[&[u8]]) -> Asked {
    let mut body = vec![];
    for frame in frames {
        body.extend_from_slice(
            b"--edge\r\ncontent-disposition: form-data; name=\"frames\"; filename=\"f\"\r\n\r\n",
        );
        body.extend_from_slice(frame);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    Asked {
        target: "/predict?clinical_condition=PD_Early".to_owned(),
        ..Asked::post("multipart/form-data; boundary=edge", "*/*", body)
    }
}

#[test]
fn frames_of_a_form_are_a_clip_however_many() -> Result<()> {
    let one = std::fs::read(runners::root().join("tests/cases/gait/one-frame/request.jpg"))?;
    for (count, last) in [(1, 0), (16, 15), (500, 499)] {
        let asked = form(&vec![one.as_slice(); count]);
        let answer = runners::host(&asked)?;
        let said: serde_json::Value = serde_json::from_slice(&answer.body)?;
        assert_eq!(answer.status, 200, "{count}: {said}");
        assert_eq!(said["frames"]["total"], count);
        assert_eq!(said["frames"]["sampled"][15], last);
        let peak = answer.peak_bytes.context("a peak")?;
        assert!(peak <= MAX_PEAK_BYTES.0, "{count} frames: {peak} bytes");
    }
    Ok(())
}

#[test]
fn clips_that_are_none_are_explained_by_every_runner() -> Result<()> {
    let clip = asked(&folders()?[0])?;
    let videos = runners::root().join("functions/video/tests/clips");
    let video = |name: &str| Ok::<_, anyhow::Error>(std::fs::read(videos.join(name))?);
    let one = std::fs::read(runners::root().join("tests/cases/gait/one-frame/request.jpg"))?;
    let half = &one[..one.len() / 2];
    // The end of an archive, and nothing before it.
    let no_entries = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
    let form_of_none = Asked {
        body: b"--edge--\r\n".to_vec(),
        ..form(&[])
    };
    let film = video("high.mp4")?;
    let query = |query: &str| Asked {
        target: format!("/predict?{query}"),
        ..clip.clone()
    };
    let body = |body: &[u8]| Asked {
        body: body.to_vec(),
        ..clip.clone()
    };
    for (name, asked, status, says) in [
        ("no condition", query(""), 400, "clinical_condition"),
        (
            "empty condition",
            query("clinical_condition="),
            400,
            "clinical_condition",
        ),
        (
            "unknown condition",
            query("clinical_condition=Tired"),
            422,
            "KOA_Early",
        ),
        ("no clip", body(b"Dear Sir or Madam"), 415, ""),
        ("empty", body(b""), 400, "empty"),
        ("no frames", form_of_none, 400, "expected a file"),
        ("no entries", body(&no_entries), 400, ""),
        ("a corrupt frame", form(&[&one, half, &one]), 400, "frame 1"),
        (
            "sound alone",
            body(&video("audio.m4a")?),
            415,
            "ephemera sample",
        ),
        ("HEVC", body(&video("hevc.mp4")?), 415, "ephemera sample"),
        ("half a film", body(&film[..film.len() / 2]), 400, ""),
    ] {
        for (runner, run) in runners::ALL {
            let answer = run(&asked).with_context(|| format!("{name} by {runner}"))?;
            let said = String::from_utf8(answer.body)?;
            assert_eq!(answer.status, status, "{name} by {runner}: {said}");
            let json: serde_json::Value = serde_json::from_str(&said)?;
            let detail = json["detail"].as_str().context("a sentence")?;
            assert!(detail.contains(says), "{name} by {runner}: {detail}");
        }
    }
    Ok(())
}
