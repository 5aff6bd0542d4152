//! `ephemera sample`: a clip -> frames spread evenly over it, as picture files that a function takes.
//!
//! ffmpeg decodes what our own decoder does not; both number frames as they are shown. The frames are resized as the gait function
//! resizes them, so that it sees the same numbers whether it gets the clip or the frames.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use ephemera_video::{Clip, Limits, spread};
use ephemera_vision::{Rgb, resize_bilinear};

use crate::files;

/// Longest clip that our own decoder is given, in bytes: it holds all of it.
const MAX_CLIP_BYTES: u64 = 1 << 30;

/// Longest side of a frame, in pixels; nothing that records video has a longer one.
const MAX_SIDE_PX: usize = 16_384;

/// Who decodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Decoder {
    /// ffmpeg if it is installed, else our own.
    #[default]
    Auto,
    /// ffmpeg.
    Ffmpeg,
    /// Our own, which the functions have too.
    Own,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// How many frames; fewer come of a shorter clip.
    pub frames: usize,
    /// Width and height of the frames in pixels; as they are without.
    pub side_px: Option<usize>,
    /// Who decodes.
    pub decoder: Decoder,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// Frames of the clip.
    pub total: usize,
    /// Which of them were taken, ascending.
    pub indices: Vec<usize>,
    /// Where each lies.
    pub files: Vec<PathBuf>,
    /// Who decoded.
    pub decoder: Decoder,
}

/// Writes frames of `clip` below the folder `out`, as `frame-00.png` and so on.
///
/// # Errors
///
/// A clip that the decoder does not take, a missing ffmpeg that was asked for, a folder that cannot be written to.
pub fn sample(clip: &Path, out: &Path, sampling: &Sampling) -> Result<Sampled> {
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    // Beside frames of another clip, or of more of them, these would be taken for one clip.
    ensure!(
        !out.join(frame_name(0)).exists(),
        "{} holds frames already",
        out.display()
    );
    let mut writer = Writer {
        folder: out,
        side_px: sampling.side_px,
        files: vec![],
    };
    let frames = sampling.frames;
    let (decoder, (total, indices)) = match sampling.decoder {
        Decoder::Ffmpeg => {
            let total = count_with_ffmpeg(clip)?;
            let taken = with_ffmpeg(clip, total, frames, &mut writer)?;
            (Decoder::Ffmpeg, taken)
        }
        Decoder::Own => (Decoder::Own, with_our_own(clip, frames, &mut writer)?),
        Decoder::Auto => with_either(clip, frames, &mut writer)?,
    };
    Ok(Sampled {
        total,
        indices,
        files: writer.files,
        decoder,
    })
}

/// How many frames a clip has, and which were taken.
type Taken = (usize, Vec<usize>);

/// By ffmpeg where it is installed and knows the clip; archives of pictures it does not.
fn with_either(clip: &Path, frames: usize, writer: &mut Writer<'_>) -> Result<(Decoder, Taken)> {
    if has_ffmpeg()
        && let Ok(total) = count_with_ffmpeg(clip)
    {
        let taken = with_ffmpeg(clip, total, frames, writer)?;
        return Ok((Decoder::Ffmpeg, taken));
    }
    Ok((Decoder::Own, with_our_own(clip, frames, writer)?))
}

/// Indices of the frames to take. A clip that is too short gives all it has: what takes the frames repeats the last.
fn wanted(total: usize, frames: usize) -> Vec<usize> {
    let mut indices = spread(total, frames);
    indices.dedup();
    indices
}

fn with_our_own(clip: &Path, frames: usize, writer: &mut Writer<'_>) -> Result<Taken> {
    let bytes = files::read_at_most(clip, MAX_CLIP_BYTES)
        .with_context(|| format!("reading {}", clip.display()))?;
    let clip = Clip::open(vec![bytes], &generous())?;
    let total = clip.frames();
    let indices = wanted(total, frames);
    clip.sample(&indices, |_, frame| writer.write(&frame))?;
    Ok((total, indices))
}

/// A program of one's own has more room and time than a function on a platform: frames of any size that is recorded, and two hours of
/// 1920 x 1080 at 30 frames a second.
fn generous() -> Limits {
    Limits {
        max_side_px: MAX_SIDE_PX as u32,
        max_frame_pixels: 1 << 27,
        max_decode_bytes: 1 << 30,
        max_decoded_pixels: 1 << 39,
        max_entry_bytes: MAX_CLIP_BYTES,
        ..Limits::default()
    }
}

fn has_ffmpeg() -> bool {
    ["ffmpeg", "ffprobe"].iter().all(|tool| {
        let version = Command::new(tool)
            .arg("-version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// `total`: how many frames the clip has.
fn with_ffmpeg(clip: &Path, total: usize, frames: usize, writer: &mut Writer<'_>) -> Result<Taken> {
    let indices = wanted(total, frames);
    let picked: Vec<String> = indices.iter().map(|i| format!("eq(n\\,{i})")).collect();
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(of_file(clip))
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-vf"])
        .arg(format!("select={}", picked.join("+")))
        // Of 10 bits as well: a picture of 16 would follow without.
        .args(["-pix_fmt", "rgb24", "-f", "image2pipe", "-c:v", "ppm", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting ffmpeg")?;
    let mut child = Ended(child);
    let mut pictures = BufReader::new(child.0.stdout.take().context("ffmpeg's output")?);
    let mut seen = 0;
    while let Some(frame) = read_ppm(&mut pictures)? {
        writer.write(&frame)?;
        seen += 1;
    }
    let status = child.0.wait().context("waiting for ffmpeg")?;
    ensure!(status.success(), "ffmpeg ended with {status}");
    let expected = indices.len();
    ensure!(
        seen == expected,
        "expected {expected} frames of ffmpeg, got {seen}"
    );
    Ok((total, indices))
}

/// A process that does not outlive its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Frames of the first video track, decoded to be counted: containers are often wrong about it.
fn count_with_ffmpeg(clip: &Path) -> Result<usize> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(of_file(clip))
        .stdin(Stdio::null())
        .output()
        .context("starting ffprobe")?;
    let problems = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ffprobe: {}", problems.trim());
    let said = String::from_utf8_lossy(&output.stdout);
    let count = said.lines().next().unwrap_or_default();
    let count = count.trim_matches([',', ' ']).parse().unwrap_or(0);
    ensure!(count > 0, "ffprobe finds no video frame in it");
    Ok(count)
}

/// The file, under a name that is not taken for an option or another protocol.
fn of_file(clip: &Path) -> std::ffi::OsString {
    let mut name = std::ffi::OsString::from("file:");
    name.push(clip);
    name
}

/// The next binary PPM of a stream of them: `P6`, width, height and 255, each after white space, then the pixels.
fn read_ppm(stream: &mut impl BufRead) -> Result<Option<Rgb>> {
    if stream.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut fields = vec![];
    while fields.len() < 4 {
        let mut field = vec![];
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte).context("a picture's header")?;
            if byte[0].is_ascii_whitespace() {
                break;
            }
            ensure!(field.len() < 10, "a picture's header is too long");
            field.push(byte[0]);
        }
        if !field.is_empty() {
            fields.push(String::from_utf8_lossy(&field).into_owned());
        }
    }
    let [magic, width, height, most] = fields.as_slice() else {
        bail!("a picture's header: expected 4 fields");
    };
    ensure!(
        magic == "P6" && most == "255",
        "expected a P6 picture of 255 levels, got {magic} of {most}"
    );
    let side = |text: &String| {
        let side = text.parse::<usize>().unwrap_or(0);
        ensure!(
            (1..=MAX_SIDE_PX).contains(&side),
            "expected 1 to {MAX_SIDE_PX} pixels, got {text}"
        );
        Ok(side)
    };
    let (width, height) = (side(width)?, side(height)?);
    let mut data = vec![0; width * height * 3];
    stream.read_exact(&mut data).context("a picture's pixels")?;
    Ok(Rgb::new(width, height, data))
}

/// Names whose numbers count by their value, however many there are.
fn frame_name(index: usize) -> String {
    format!("frame-{index:02}.png")
}

/// Writes frames as files, one after the other.
struct Writer<'a> {
    folder: &'a Path,
    side_px: Option<usize>,
    files: Vec<PathBuf>,
}

impl Writer<'_> {
    fn write(&mut self, frame: &Rgb) -> Result<()> {
        let resized = self.side_px.map(|side| resize_bilinear(frame, side, side));
        let frame = resized.as_ref().unwrap_or(frame);
        let file = self.folder.join(frame_name(self.files.len()));
        let writing = || format!("writing {}", file.display());
        std::fs::write(&file, png(frame)?).with_context(writing)?;
        self.files.push(file);
        Ok(())
    }
}

fn png(picture: &Rgb) -> Result<Vec<u8>> {
    let side = |px: usize| u32::try_from(px).context("a side of a picture");
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, side(picture.width)?, side(picture.height)?);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.data)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_follow_one_another_in_a_stream() {
        let stream = b"P6\n2 1\n255\nabcdefP6 1 1\n255\nxyz";
        let mut stream = stream.as_slice();
        let first = read_ppm(&mut stream).expect("whole").expect("one");
        assert_eq!((first.width, first.height), (2, 1));
        assert_eq!(first.data, b"abcdef");
        let second = read_ppm(&mut stream).expect("whole").expect("another");
        assert_eq!(second.data, b"xyz");
        assert!(read_ppm(&mut stream).expect("the end").is_none());
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        for stream in [
            &b"P5\n1 1\n255\nx"[..],
            b"P6\n1 1\n65535\nxyzxyz",
            b"P6\n0 1\n255\n",
            b"P6\n99999 1\n255\n",
            b"P6\n2 1\n255\nabc",
            b"P6\n2",
            b"P6\n12345678901 1\n255\n",
        ] {
            assert!(read_ppm(&mut &*stream).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn a_short_clip_gives_what_it_has() {
        for (total, frames, expected) in [
            (1, 4, &[0][..]),
            (3, 4, &[0, 1, 2]),
            (4, 4, &[0, 1, 2, 3]),
            (10, 4, &[0, 3, 6, 9]),
        ] {
            assert_eq!(wanted(total, frames), expected);
        }
    }
}
