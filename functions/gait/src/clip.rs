//! Files -> [`Input`]: which frames are looked at, decoded, resized and laid out one at a time.
//!
//! In: the files as they were sent. Out: the model's tensor, so that memory does not grow with the clip.

use ephemera_engine::{Dim, InputSpec, Tensor};
use ephemera_video::{Clip, Kind, Limits, Rgb};
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
    /// Which of them, from 0, oldest first; repeated where the clip has too few.
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
        let sampled = sample_indices(total, shape.frames);
        let mut pixels = Vec::with_capacity(shape.frames * shape.frame_bytes());
        // A frame that stands there several times is decoded once.
        let mut wanted = sampled.clone();
        wanted.dedup();
        let mut places = sampled.iter().peekable();
        clip.sample(&wanted, |frame: Rgb| {
            deadline.check()?;
            let frame = resize_bilinear(&frame, shape.side_px, shape.side_px);
            if let Some(index) = places.next() {
                pixels.extend_from_slice(&frame.data);
                while places.next_if_eq(&index).is_some() {
                    pixels.extend_from_slice(&frame.data);
                }
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

/// The frames to look at: `count` indices below `total`, ascending. Both are at least 1.
///
/// The contract's sampling: `numpy.linspace(0, total - 1, count)` truncated to whole numbers, in the same double-precision
/// steps as numpy takes them. A clip of fewer frames than `count` is taken whole, and its last frame repeated.
pub fn sample_indices(total: usize, count: usize) -> Vec<usize> {
    let last = total.saturating_sub(1);
    if total < count {
        return (0..count).map(|i| i.min(last)).collect();
    }
    let steps = count.saturating_sub(1);
    let step = last as f64 / steps.max(1) as f64;
    // numpy sets the last value instead of computing it.
    let inner = (0..steps).map(|i| ((i as f64 * step) as usize).min(last));
    let end = if steps == 0 { 0 } else { last };
    inner.chain([end]).take(count).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn indices_are_numpys() {
        // numpy.linspace(0, total - 1, 16).astype(int), and for shorter clips the last frame over and over.
        let cases: [(usize, [usize; 16]); 6] = [
            (1, [0; 16]),
            (5, [0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]),
            (15, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 14]),
            (16, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
            (17, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16]),
            (
                500,
                [
                    0, 33, 66, 99, 133, 166, 199, 232, 266, 299, 332, 365, 399, 432, 465, 499,
                ],
            ),
        ];
        for (total, expected) in cases {
            assert_eq!(sample_indices(total, 16), expected, "{total}");
        }
        assert_eq!(sample_indices(100, 1), [0]);
        assert_eq!(sample_indices(3, 2), [0, 2]);
        // 9.67 and 19.33 lose their fractions.
        assert_eq!(sample_indices(30, 4), [0, 9, 19, 29]);
    }

    proptest! {
        #[test]
        fn indices_ascend_from_the_first_frame_to_the_last(total in 1usize..300_000, count in 2usize..70) {
            let indices = sample_indices(total, count);
            prop_assert_eq!(indices.len(), count);
            prop_assert_eq!((indices[0], indices[count - 1]), (0, total - 1));
            prop_assert!(indices.is_sorted());
            let exact = |i: usize| i * (total - 1) / (count - 1);
            // Off by one where the exact value is whole, and never more.
            prop_assert!(total < count || (0..count).all(|i| exact(i) - indices[i] <= 1));
        }
    }
}
