//! What can be wrong with a picture. Whose fault it is, is for the function to say: all of these are the caller's.

use crate::Format;

/// Why bytes did not become pixels.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes belong to no format that is read here.
    #[error("not a jpeg, png or tiff image")]
    NotAnImage,
    /// A known format in a variant that is not read here, such as arithmetic coding.
    #[error("{format} variant not supported: {reason}")]
    Unsupported {
        /// The format that the first bytes announce.
        format: Format,
        /// What the decoder has no code for.
        reason: String,
    },
    /// The file ends before the picture does.
    #[error("{format} image is truncated")]
    Truncated {
        /// The format that the first bytes announce.
        format: Format,
    },
    /// The file breaks its format's rules.
    #[error("{format} image is corrupt: {reason}")]
    Corrupt {
        /// The format that the first bytes announce.
        format: Format,
        /// Which rule, in the decoder's words.
        reason: String,
    },
    /// The header announces a picture without pixels.
    #[error("image of {width} x {height} px has no pixels")]
    ZeroSize {
        /// Announced width.
        width: u32,
        /// Announced height.
        height: u32,
    },
    /// The header announces a side over [`crate::MAX_SIDE_PX`] or an area over [`crate::MAX_PIXELS`].
    #[error(
        "image of {width} x {height} px, limits are {max_side_px} px a side and {max_pixels} px in all"
    )]
    TooLarge {
        /// Announced width.
        width: u32,
        /// Announced height.
        height: u32,
        /// Longest side accepted.
        max_side_px: u32,
        /// Largest area accepted.
        max_pixels: u64,
    },
    /// Decoding this variant would take more than [`crate::MAX_DECODE_BYTES`].
    #[error("decoding {width} x {height} px takes {needed_bytes} bytes, limit is {limit_bytes}")]
    TooHeavy {
        /// Announced width.
        width: u32,
        /// Announced height.
        height: u32,
        /// What the decoder's buffers would take.
        needed_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
}
