//! Bytes of a clip in, its frames out.
//!
//! In: what a request sent, one file or several, of any kind. Out: the frames at given indices as upright [`Rgb`] pictures at full
//! size, one at a time, so that memory does not grow with the clip. Everything here is arithmetic on memory: no file, no clock, no
//! randomness, and the same bits on every target.
//!
//! ```text
//! kind.rs         first bytes -> Kind
//! clip.rs         files       -> Clip      how many frames there are; then those that are wanted, in order
//! picture.rs      bytes       -> Rgb       one picture file, by ephemera-vision
//! mjpeg.rs        bytes       -> ranges    where each JPEG of a stream lies
//! animation.rs    bytes       -> Rgb       GIF, WebP, PNG: frames drawn over each other (canvas.rs)
//! mp4.rs          bytes       -> Movie     where the samples of a video track lie, and their order
//! avc.rs          samples     -> Rgb       H.264: what has to be decoded, and that
//! zip.rs, tar.rs  bytes       -> Entry     pictures of an archive, in the natural order of their names (names.rs)
//! spread.rs       counts      -> indices   frames spread evenly over a clip
//! ```
//!
//! Left to others: the frames' size and what they mean.
#![forbid(unsafe_code)]

mod animation;
mod avc;
mod canvas;
mod clip;
mod error;
mod kind;
mod limits;
mod mjpeg;
mod mp4;
mod names;
mod picture;
mod spread;
mod tar;
mod zip;

pub use clip::Clip;
pub use ephemera_vision::Rgb;
pub use error::Error;
pub use kind::Kind;
pub use limits::Limits;
pub use names::compare as natural_order;
pub use spread::spread;
