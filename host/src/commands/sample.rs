//! `ephemera sample`: frames spread evenly over a clip.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use ephemera::sample::{self, Decoder};

#[derive(Args)]
pub(crate) struct Sample {
    /// The clip.
    clip: PathBuf,
    /// How many frames.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    frames: u16,
    /// The folder that they are written to.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Width and height of the frames in pixels: what the gait network looks at.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u16).range(1..=4096))]
    size: u16,
    /// Leave the frames as large as they are.
    #[arg(long, conflicts_with = "size")]
    full: bool,
    /// Who decodes.
    #[arg(long, value_enum, default_value_t)]
    decoder: Decoder,
}

pub(crate) fn sample(options: &Sample) -> Result<()> {
    let sampling = sample::Sampling {
        frames: options.frames.into(),
        side_px: (!options.full).then_some(options.size.into()),
        decoder: options.decoder,
    };
    let sampled = sample::sample(&options.clip, &options.out, &sampling)?;
    let by = match sampled.decoder {
        Decoder::Ffmpeg => "ffmpeg",
        Decoder::Auto | Decoder::Own => "the built-in decoder",
    };
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} of {} frames by {by}: {:?}",
        sampled.files.len(),
        sampled.total,
        sampled.indices
    )?;
    Ok(())
}
