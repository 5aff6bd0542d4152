//! `ephemera sample`: frames as the function takes them, the same whoever decodes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use ephemera::sample::{Decoder, Sampled, Sampling, sample};

use crate::runners;

fn film() -> PathBuf {
    runners::root().join("tests/cases/gait/film/request.mp4")
}

fn sampled(clip: &Path, out: &Path, side_px: Option<usize>, decoder: Decoder) -> Result<Sampled> {
    let sampling = Sampling {
        frames: 5,
        side_px,
        decoder,
    };
    sample(clip, out, &sampling)
}

#[test]
fn frames_are_spread_over_a_clip_and_written_in_order() -> Result<()> {
    let out = tempfile::tempdir()?;
    let done = sampled(&film(), out.path(), Some(64), Decoder::Own)?;
    assert_eq!((done.total, done.indices), (16, vec![0, 3, 7, 11, 15]));
    let names: Vec<_> = done.files.iter().map(|file| file.file_name()).collect();
    let expected = (0..5).map(|i| format!("frame-{i:02}.png"));
    assert!(
        names
            .iter()
            .zip(expected)
            .all(|(name, expected)| *name == Some(expected.as_ref()))
    );
    let first = image::open(&done.files[0])?;
    assert_eq!((first.width(), first.height()), (64, 64));
    Ok(())
}

#[test]
fn what_is_no_clip_is_an_error() -> Result<()> {
    let out = tempfile::tempdir()?;
    let none = runners::root().join("README.md");
    assert!(sampled(&none, out.path(), None, Decoder::Own).is_err());
    assert!(sampled(&out.path().join("none"), out.path(), None, Decoder::Own).is_err());
    Ok(())
}

/// Turned, cropped, edited, of another range: what a decoder can get wrong and a viewer sees.
#[test]
fn our_decoder_gives_the_frames_that_ffmpeg_gives() -> Result<()> {
    let version = Command::new("ffmpeg")
        .arg("-version")
        .stdout(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI has ffmpeg");
        eprintln!("skipped: ffmpeg is not installed");
        return Ok(());
    }
    let clips = runners::root().join("functions/video/tests/clips");
    let names = [
        "baseline.mp4",
        "high.mov",
        "turned-90.mp4",
        "edited.mp4",
        "full-range.mp4",
    ];
    for clip in names
        .map(|name| clips.join(name))
        .into_iter()
        .chain([film()])
    {
        let about = || format!("{}", clip.display());
        let (ours, theirs) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let ours = sampled(&clip, ours.path(), None, Decoder::Own).map(|done| (done, ours));
        let theirs =
            sampled(&clip, theirs.path(), None, Decoder::Ffmpeg).map(|done| (done, theirs));
        let ((ours, _a), (theirs, _b)) = (ours.with_context(about)?, theirs.with_context(about)?);
        assert_eq!(
            (ours.total, &ours.indices),
            (theirs.total, &theirs.indices),
            "{}",
            about()
        );
        for (our, their) in ours.files.iter().zip(&theirs.files) {
            let (our, their) = (image::open(our)?.to_rgb8(), image::open(their)?.to_rgb8());
            assert_eq!(our.dimensions(), their.dimensions(), "{}", about());
            let off = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b));
            let sum: u64 = our.iter().zip(their.iter()).map(off).sum();
            let mean = sum as f64 / our.len() as f64;
            assert!(mean <= 1.0, "{}: {mean} levels", about());
        }
    }
    Ok(())
}
