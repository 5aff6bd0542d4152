//! Samples of H.264 -> wanted frames, in presentation order, by the crate `rusty_h264-decoder`.

use ephemera_vision::Rgb;
use rusty_h264_decoder::{DecodeError, Decoder};

use super::Stream;
use super::colour::{Planes, Window, convert};
use super::plan::{Run, Samples, Wanted, most_held, plan};
use super::sps::Sps;
use super::units::{
    Access, IDR_SLICE, PICTURE_PARAMETERS, SEQUENCE_PARAMETERS, SLICE, Units, check_slices,
    unit_type,
};
use super::unsupported;
use crate::mp4::{Movie, Sample};
use crate::{Error, Limits};

/// Decodes the frames at `indices`, which ascend, and hands them out.
pub(crate) fn sample<E: From<Error>>(
    movie: &Movie,
    file: &[u8],
    indices: impl Iterator<Item = usize>,
    limits: &Limits,
    mut each: impl FnMut(usize, Rgb) -> Result<(), E>,
) -> Result<(), E> {
    let wanted: Vec<Wanted> = indices
        .map(|index| Wanted {
            index,
            sample: movie.order[index] as usize,
        })
        .collect();
    let Some(last) = wanted.iter().map(|wanted| wanted.sample).max() else {
        return Ok(());
    };
    let stream = &movie.stream;
    let access = |sample: &Sample| match bytes(file, sample) {
        Some(bytes) => Access::of(bytes, stream.length_bytes),
        // It is an error once it is needed, which it may not be.
        None => Access {
            sync: false,
            reference: true,
        },
    };
    let samples = Samples::new(movie.samples[..=last].iter().map(access));
    let pixels = stream.sps.pixels();
    let runs = plan(&samples, &movie.order, &wanted, pixels, limits)?;
    let held = runs.iter().map(most_held).max().unwrap_or(0) as u64;
    limits.check_bytes(stream.decoder_bytes() + held * pixels * 3 / 2)?;
    let mut frames = Frames {
        movie,
        file,
        decoder: Decoder::new(),
        unit: Vec::new(),
    };
    for run in &runs {
        frames.run(run, &samples, &mut each)?;
    }
    Ok(())
}

/// The bytes of a sample, if it lies in the file.
fn bytes<'a>(file: &'a [u8], sample: &Sample) -> Option<&'a [u8]> {
    let start = sample.offset as usize;
    let end = start.checked_add(sample.bytes as usize)?;
    file.get(start..end)
}

struct Frames<'a> {
    movie: &'a Movie,
    file: &'a [u8],
    decoder: Decoder,
    /// A sample as the decoder takes it, each unit behind a start code.
    unit: Vec<u8>,
}

/// A decoded frame that is still to be handed out.
struct Held {
    sample: usize,
    /// How often.
    uses: usize,
    planes: Planes,
}

impl Frames<'_> {
    /// Decodes a run. Frames wait until those have been handed out that are shown before them.
    fn run<E: From<Error>>(
        &mut self,
        run: &Run,
        samples: &Samples,
        each: &mut impl FnMut(usize, Rgb) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut queue: Vec<usize> = run.wanted.iter().map(|wanted| wanted.sample).collect();
        queue.sort_unstable();
        let mut queue = queue.chunk_by(|a, b| a == b).peekable();
        let mut shown = run.wanted.iter().peekable();
        let mut held: Vec<Held> = Vec::new();
        self.begin(run)?;
        for number in run.from.. {
            let Some(next) = queue.peek() else {
                break;
            };
            if next[0] != number {
                if samples.is_reference(number) {
                    self.decode(number)?;
                }
                continue;
            }
            held.push(Held {
                sample: number,
                uses: next.len(),
                planes: self.decode(number)?,
            });
            queue.next();
            while let Some(wanted) = shown.peek() {
                let Some(at) = held.iter().position(|held| held.sample == wanted.sample) else {
                    break;
                };
                each(wanted.index, self.show(&held[at].planes, wanted.index)?)?;
                shown.next();
                held[at].uses -= 1;
                if held[at].uses == 0 {
                    held.swap_remove(at);
                }
            }
        }
        Ok(())
    }

    /// Starts anew: nothing of what was decoded before is referred to.
    fn begin(&mut self, run: &Run) -> Result<(), Error> {
        self.unit.clear();
        self.unit
            .extend_from_slice(&self.movie.stream.parameter_sets);
        let index = run.wanted.first().map_or(0, |wanted| wanted.index);
        self.decoder
            .decode(&self.unit)
            .map(drop)
            .map_err(|error| explain(error, index))
    }

    /// Decodes a sample.
    fn decode(&mut self, number: usize) -> Result<Planes, Error> {
        // For messages; searched for only when there is one to write.
        let index = || {
            let shown = self.movie.order.iter().position(|&i| i as usize == number);
            shown.unwrap_or(number)
        };
        let fail = |reason: &str| Error::CorruptFrame {
            index: index(),
            reason: reason.to_owned(),
        };
        let stream = &self.movie.stream;
        let sample = bytes(self.file, &self.movie.samples[number]);
        let sample = sample.ok_or_else(|| fail("it lies behind the end of the file"))?;
        check_slices(sample, stream.length_bytes).map_err(fail)?;
        self.unit.clear();
        for unit in (Units {
            bytes: sample,
            length_bytes: stream.length_bytes,
        }) {
            match unit_type(unit) {
                SEQUENCE_PARAMETERS => stream.check_same(&Sps::read(unit)?)?,
                SLICE | IDR_SLICE | PICTURE_PARAMETERS => {}
                _ => continue,
            }
            self.unit.extend_from_slice(&[0, 0, 0, 1]);
            self.unit.extend_from_slice(unit);
        }
        let frame = match self.decoder.decode(&self.unit) {
            Ok(frame) => frame.ok_or_else(|| fail("its slices do not cover it"))?,
            Err(error) => return Err(explain(error, index())),
        };
        Ok(Planes {
            width: frame.width,
            height: frame.height,
            y: frame.y,
            u: frame.u,
            v: frame.v,
        })
    }

    fn show(&self, planes: &Planes, index: usize) -> Result<Rgb, Error> {
        let stream: &Stream = &self.movie.stream;
        let [left, _, top, _] = stream.sps.crop;
        let (width, height) = stream.sps.shown();
        let window = Window {
            left: left as usize,
            top: top as usize,
            width: width as usize,
            height: height as usize,
        };
        convert(planes, window, stream.colour, self.movie.turn).ok_or(Error::CorruptFrame {
            index,
            reason: "it has another size than was announced".to_owned(),
        })
    }
}

/// The decoder's words for what is wrong: coding tools that it has not are the clip's kind, the rest is damage.
fn explain(error: DecodeError, index: usize) -> Error {
    match error {
        DecodeError::Unsupported(tool)
            if !tool.starts_with("invalid") && !tool.starts_with("slice continues") =>
        {
            unsupported(format!("H.264 with {tool}"))
        }
        other => Error::CorruptFrame {
            index,
            reason: other.to_string(),
        },
    }
}
