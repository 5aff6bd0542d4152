//! The first bytes of a file -> what kind of clip it is.
//!
//! File names and declared content types are not looked at: they are often wrong, the signature is not.

use std::fmt;

use ephemera_vision::Format;

use crate::{animation, mjpeg};

/// What a clip came as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// MP4, MOV or another ISO base media file (ISO/IEC 14496-12).
    Mp4,
    /// JPEG pictures one behind the other, perhaps as parts of a `multipart/x-mixed-replace` stream.
    Mjpeg,
    /// GIF, animated or not.
    Gif,
    /// Animated WebP.
    WebP,
    /// Animated PNG.
    Apng,
    /// Pictures in a ZIP archive.
    Zip,
    /// Pictures in a TAR archive.
    Tar,
    /// Picture files, one or several.
    Pictures,
}

impl Kind {
    /// The kind of a file sent alone, if it is any.
    pub(crate) fn sniff(bytes: &[u8]) -> Option<Kind> {
        match Format::sniff(bytes) {
            Some(Format::Gif) => return Some(Kind::Gif),
            Some(Format::Jpeg) if mjpeg::is_stream(bytes) => return Some(Kind::Mjpeg),
            Some(Format::WebP) if animation::is_webp(bytes) => return Some(Kind::WebP),
            Some(Format::Png) if animation::is_apng(bytes) => return Some(Kind::Apng),
            Some(_) => return Some(Kind::Pictures),
            None => {}
        }
        // The second is an archive without entries.
        if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
            return Some(Kind::Zip);
        }
        // POSIX and GNU headers have it in the same place.
        if bytes.get(257..262) == Some(b"ustar") {
            return Some(Kind::Tar);
        }
        if mjpeg::is_multipart(bytes) {
            return Some(Kind::Mjpeg);
        }
        // Old QuickTime files begin with other boxes than `ftyp`.
        let name = bytes.get(4..8)?;
        let starts = [
            b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot",
        ];
        starts
            .iter()
            .any(|start| name == *start)
            .then_some(Kind::Mp4)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Mp4 => "mp4",
            Kind::Mjpeg => "mjpeg",
            Kind::Gif => "gif",
            Kind::WebP => "webp",
            Kind::Apng => "apng",
            Kind::Zip => "zip",
            Kind::Tar => "tar",
            Kind::Pictures => "pictures",
        })
    }
}
