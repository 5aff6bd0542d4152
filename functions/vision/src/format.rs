//! The first bytes of a file -> its format.
//!
//! File names and declared content types are not looked at: they are often wrong, the signature is not.

use std::fmt;

/// A picture format that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline or progressive (ITU-T T.81).
    Jpeg,
    /// PNG (ISO/IEC 15948).
    Png,
    /// TIFF 6.0, classic or big.
    Tiff,
    /// WebP, lossy or lossless (RFC 9649).
    WebP,
    /// Windows bitmap.
    Bmp,
    /// GIF 87a or 89a.
    Gif,
}

impl Format {
    /// The format whose signature `bytes` start with.
    pub fn sniff(bytes: &[u8]) -> Option<Format> {
        const SIGNATURES: [(&[u8], Format); 9] = [
            (b"\xff\xd8\xff", Format::Jpeg),
            (b"\x89PNG\r\n\x1a\n", Format::Png),
            (b"II*\0", Format::Tiff),
            (b"MM\0*", Format::Tiff),
            (b"II+\0", Format::Tiff),
            (b"MM\0+", Format::Tiff),
            (b"BM", Format::Bmp),
            (b"GIF87a", Format::Gif),
            (b"GIF89a", Format::Gif),
        ];
        // The length stands between a container's name and its content's.
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            return Some(Format::WebP);
        }
        SIGNATURES
            .iter()
            .find(|(signature, _)| bytes.starts_with(signature))
            .map(|&(_, format)| format)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::Tiff => "tiff",
            Format::WebP => "webp",
            Format::Bmp => "bmp",
            Format::Gif => "gif",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_signatures_only() {
        let cases: [(&[u8], Option<Format>); 12] = [
            (b"\xff\xd8\xff\xe0", Some(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0", Some(Format::Png)),
            (b"II*\0\x08\0\0\0", Some(Format::Tiff)),
            (b"MM\0*\0\0\0\x08", Some(Format::Tiff)),
            (b"", None),
            (b"\xff\xd8", None),
            (b"GIF89a", Some(Format::Gif)),
            (b"GIF88a", None),
            (b"BM", Some(Format::Bmp)),
            (b"RIFF\x04\0\0\0WEBPVP8 ", Some(Format::WebP)),
            (b"RIFF\x04\0\0\0WAVE", None),
            (b"%PDF-1.7", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Format::sniff(bytes), expected, "{bytes:?}");
        }
    }
}
