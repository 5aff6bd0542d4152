//! What can be wrong with a clip. Whose fault it is, is for the function to say: all of these are the caller's.

use crate::Kind;

/// What a caller can do whose clip is not read here.
const HINT: &str = "send frames instead: `ephemera sample CLIP --frames 16 --out DIR` makes them";

/// Why bytes did not become frames.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was sent, or an empty file: 400.
    #[error("no clip: {0}")]
    Empty(&'static str),
    /// The first bytes belong to nothing that is read here: 415.
    #[error(
        "not a clip: neither mp4 or mov, nor jpeg, png, webp, gif, bmp or tiff pictures, nor a zip or tar archive of them; {HINT}"
    )]
    NotAClip,
    /// One of several files is not a picture: 415.
    #[error("file {index} of {count} is not a picture; send one clip, or pictures")]
    NotAPicture {
        /// Which one, from 0.
        index: usize,
        /// How many were sent.
        count: usize,
    },
    /// A known kind with something inside that is not read here, such as another codec: 415.
    #[error("{kind} clip not supported: {reason}; {HINT}")]
    Unsupported {
        /// What the first bytes announce.
        kind: Kind,
        /// What there is no code for.
        reason: String,
    },
    /// The file breaks its kind's rules, or ends too early: 400.
    #[error("{kind} clip is corrupt: {reason}")]
    Corrupt {
        /// What the first bytes announce.
        kind: Kind,
        /// Which rule.
        reason: String,
    },
    /// A frame that is wanted breaks its format's rules: 400.
    #[error("frame {index} is corrupt: {reason}")]
    CorruptFrame {
        /// Which one, from 0, in presentation order.
        index: usize,
        /// Which rule.
        reason: String,
    },
    /// A frame that is a picture file of its own did not become pixels: the status of its cause.
    #[error("frame {index}: {source}")]
    Picture {
        /// Which one, from 0.
        index: usize,
        /// Why.
        source: ephemera_vision::Error,
    },
    /// More frames or entries than [`crate::Limits`] allow: 413.
    #[error("{count} frames, limit is {limit}")]
    TooManyFrames {
        /// How many are announced.
        count: u64,
        /// How many may be.
        limit: usize,
    },
    /// A side or an area over [`crate::Limits`]: 413.
    #[error(
        "frames of {width} x {height} px, limits are {max_side_px} px a side and {max_pixels} px in all; {HINT}"
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
    /// Decoding would take more memory than [`crate::Limits`] allow: 413.
    #[error("decoding takes {needed_bytes} bytes, limit is {limit_bytes}; {HINT}")]
    TooHeavy {
        /// What the decoder's buffers would take.
        needed_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
    /// Getting at the wanted frames would take more decoding than [`crate::Limits`] allow: 413.
    #[error(
        "{needed_pixels} pixels to decode for the wanted frames, limit is {limit_pixels}; {HINT}"
    )]
    TooLong {
        /// Pixels of all frames that would have to be decoded.
        needed_pixels: u64,
        /// How many may be.
        limit_pixels: u64,
    },
    /// A file in an archive is larger than [`crate::Limits`] allow: 413.
    #[error("frame {index} unpacks to {bytes} bytes, limit is {limit_bytes}")]
    EntryTooLarge {
        /// Which one, from 0.
        index: usize,
        /// Bytes announced.
        bytes: u64,
        /// How many may be.
        limit_bytes: u64,
    },
}

impl Error {
    pub(crate) fn corrupt(kind: Kind, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            kind,
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(kind: Kind, reason: impl Into<String>) -> Error {
        Error::Unsupported {
            kind,
            reason: reason.into(),
        }
    }
}
