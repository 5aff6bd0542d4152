//! Files -> [`Input`]: which frames are looked at, decoded, resized and laid out one at a time.
//!
//! In: the files as they were sent. Out: the model's tensor, so that memory does not grow with the clip.

use ephemera_engine::{Dim, InputSpec, Tensor};
use ephemera_video::{Clip, Kind, Limits, Rgb, spread};
use ephemera_vision::resize_bilinear;

use crate::{Deadline, Error};

/// Bytes of a pixel, RGB.
const CHANNELS: usize = 3;

/// The clip that a model was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many frames; at least 1.
    pub frames: usize,
    /// Width and height of a frame in pixels; at least 1.
    pub side_px: usize,
}

impl Shape {
    /// The shape of an input `[1, 3, T, S, S]`; `None` for any other.
    pub fn of(input: &InputSpec) -> Option<Shape> {
        let fixed = |dim: &Dim| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Symbolic(_) => None,
        };
        let extents: Option<Vec<usize>> = input.shape.iter().map(fixed).collect();
        let &[1, CHANNELS, frames, height, width] = extents.as_deref()? else {
            return None;
        };
        let sound = frames > 0 && height > 0 && height == width;
        sound.then_some(Shape {
            frames,
            side_px: width,
        })
    }

    fn frame_bytes(self) -> usize {
        self.side_px * self.side_px * CHANNELS
    }
}

/// What the model looks at. Only made from a clip's frames.
#[derive(Debug)]
pub struct Input {
    /// `[1, T, S, S, 3] u8`: RGB, top row first, oldest frame first.
    pub(crate) tensor: Tensor,
    /// Where it comes from.
    pub frames: Frames,
}

/// Which frames of a clip were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// How many the clip has.
    pub total: usize,
    /// Which of them, from 0, oldest first; repeated where the clip has too few. Those that were decoded: of a long clip they may be
    /// others than those that are spread evenly over it, see [`Clip::sample`].
    pub sampled: Vec<usize>,
    /// What the clip came as.
    pub kind: Kind,
}

impl Input {
    /// Opens the clip in `files` and reads the frames that a model of this `shape` looks at.
    ///
    /// A frame of any size is resized to `S` x `S` px without keeping its proportions, as in training.
    ///
    /// # Errors
    /// [`Error::Clip`]; [`Error::Timeout`] when a frame is decoded after the deadline.
    pub fn read(
        files: Vec<Vec<u8>>,
        shape: Shape,
        limits: &Limits,
        deadline: &Deadline<'_>,
    ) -> Result<Input, Error> {
        let clip = Clip::open(files, limits)?;
        let (kind, total) = (clip.kind(), clip.frames());
        let planned = spread(total, shape.frames);
        let mut pixels = Vec::with_capacity(shape.frames * shape.frame_bytes());
        // A frame that stands there several times is decoded once.
        let mut wanted = planned.clone();
        wanted.dedup();
        let mut places = planned.chunk_by(|a, b| a == b);
        let mut sampled = Vec::with_capacity(planned.len());
        clip.sample(&wanted, |index, frame: Rgb| {
            deadline.check()?;
            let frame = resize_bilinear(&frame, shape.side_px, shape.side_px);
            for _ in places.next().unwrap_or_default() {
                pixels.extend_from_slice(&frame.data);
                sampled.push(index);
            }
            Ok::<(), Error>(())
        })?;
        let Shape { frames, side_px } = shape;
        let tensor = Tensor::u8(&[1, frames, side_px, side_px, CHANNELS], pixels)?;
        let frames = Frames {
            total,
            sampled,
            kind,
        };
        Ok(Input { tensor, frames })
    }
}

#[cfg(test)]
mod tests {
    use ephemera_engine::Data;

    use super::*;

    #[test]
    fn the_frames_that_are_named_are_those_that_were_looked_at() {
        // Twenty frames, of which decoding begins at 0 and 10. The last one alone would take more than two.
        let clip = include_bytes!("../../video/tests/clips/high.mp4");
        let limits = Limits {
            max_decoded_pixels: 2 * 64 * 48,
            ..Limits::default()
        };
        let read = |frames, limits: &Limits| {
            let shape = Shape { frames, side_px: 8 };
            let deadline = Deadline::start(None, None);
            Input::read(vec![clip.to_vec()], shape, limits, &deadline).expect("a clip")
        };
        assert_eq!(read(2, &Limits::default()).frames.sampled, [0, 19]);
        let input = read(2, &limits);
        assert_eq!(input.frames.sampled, [0, 10]);
        let all = read(20, &Limits::default()).tensor;
        let frame = |tensor: &Tensor, i: usize| match &tensor.data {
            Data::U8(bytes) => bytes[i * 8 * 8 * 3..][..8 * 8 * 3].to_vec(),
            Data::F32(_) => panic!("not pixels"),
        };
        assert_eq!(frame(&input.tensor, 0), frame(&all, 0));
        assert_eq!(frame(&input.tensor, 1), frame(&all, 10));
    }
}
