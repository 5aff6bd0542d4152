//! What can be wrong with a picture. Whose fault it is, is for the function to say: all of these are the caller's.

use crate::{Format, Region};

/// Why bytes did not become pixels.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes belong to no format that is read here.
    #[error("not a jpeg, png, tiff, webp, bmp or gif image")]
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
    /// The header announces a side or an area over [`crate::Limits`].
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
    /// Decoding this variant would take more than [`crate::Limits`] allow.
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
    /// The file has no such page.
    #[error("page {asked} is not there, the file has {pages}")]
    Page {
        /// What was asked for, from 1.
        asked: u32,
        /// How many there are.
        pages: u32,
    },
    /// The region is empty, or not inside the picture.
    #[error(
        "region {},{},{},{} is empty or not inside the image of {width} x {height} px",
        region.x, region.y, region.width, region.height
    )]
    Region {
        /// What was asked for.
        region: Region,
        /// Width of the upright picture.
        width: u32,
        /// Height of the upright picture.
        height: u32,
    },
}
