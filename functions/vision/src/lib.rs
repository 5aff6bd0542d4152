//! Bytes of a picture in, pixels out.
//!
//! In: the body of a request, of any kind. Out: an upright [`Rgb`] picture, shrunk to a given side, and from it
//! resized copies and straightened crops for a model's input. Everything here is arithmetic on memory: no file, no
//! clock, no randomness, and the same bits on every target (integers, or `f32`/`f64` operations that IEEE 754 rounds
//! exactly, in a fixed order).
//!
//! ```text
//! format.rs       first bytes  -> Format
//! jpeg, png, tiff, bmp
//!                 bytes        -> Rows     a row at a time, JPEG scaled down where that is enough
//! whole.rs        bytes        -> Rows     WebP, GIF and rare BMP, decoded whole
//! decode.rs       Rows         -> Picture  the wanted part, shrunk (resize.rs) and upright (orientation.rs)
//! crop.rs         Rgb, Quad    -> Rgb      a line, straightened
//! bilinear.rs     Rgb          -> Rgb      another size, as OpenCV makes it
//! density.rs      bytes        -> pixels per inch
//! ```
//!
//! Left to others: which size a model wants, what the pixels mean, and normalisation (the engine's).
#![forbid(unsafe_code)]

mod bilinear;
mod bmp;
mod crop;
mod decode;
mod density;
mod error;
mod format;
mod jpeg;
mod limits;
mod orientation;
mod pixels;
mod png;
mod resize;
mod rows;
mod tiff;
mod whole;

pub use bilinear::resize_bilinear;
pub use crop::{Point, Quad, crop};
pub use decode::{Picture, decode};
pub use density::dpi;
pub use error::Error;
pub use format::Format;
pub use limits::{Limits, Options, Region};
pub use pixels::Rgb;
pub use resize::{Filter, fit, resize};
