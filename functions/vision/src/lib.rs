//! Bytes of a picture in, pixels out.
//!
//! In: the body of a request, of any kind. Out: an upright [`Rgb`] picture, shrunk to a given side, and from it
//! resized copies and straightened crops for a model's input. Everything here is arithmetic on memory: no file, no
//! clock, no randomness, and the same bits on every target (integers, or `f32`/`f64` operations that IEEE 754 rounds
//! exactly, in a fixed order).
//!
//! Left to others: which size a model wants, what the pixels mean, and normalisation (the engine's).
#![forbid(unsafe_code)]

mod crop;
mod decode;
mod error;
mod format;
mod jpeg;
mod pixels;
mod resize;

pub use crop::{Point, Quad, crop};
pub use decode::{MAX_DECODE_BYTES, MAX_PIXELS, MAX_SIDE_PX, Picture, decode};
pub use error::Error;
pub use format::Format;
pub use pixels::Rgb;
pub use resize::{Filter, fit, resize};
