//! What the picture targets share.

use ephemera_vision::{Limits, Options, Region, decode};

/// Decodes `data` behind a signature, once small and once a part of it, within limits that keep a run short.
pub fn run(signature: &[u8], data: &[u8]) {
    let mut bytes = signature.to_vec();
    bytes.extend_from_slice(data.get(signature.len()..).unwrap_or_default());
    let limits = Limits {
        max_side_px: 4096,
        max_pixels: 1 << 18,
        max_decode_bytes: 8 << 20,
    };
    let last = u32::from(data.last().copied().unwrap_or(0));
    let whole = Options {
        limits,
        page: 1,
        region: None,
        max_side: 1 + last as usize,
        max_strip_side: 2 + last as usize,
    };
    let first = decode(&bytes, &whole);
    if let Ok(picture) = &first {
        assert!(picture.rgb.width.max(picture.rgb.height) <= whole.max_strip_side);
        let (x, y) = (last % picture.original_width, last % picture.original_height);
        let region = Region {
            x,
            y,
            width: (picture.original_width - x).min(9),
            height: (picture.original_height - y).min(5),
        };
        let part = Options {
            region: Some(region),
            max_side: 64,
            ..whole
        };
        // Damage can lie in what the smaller scale leaves out; it must not be a panic.
        let _ = decode(&bytes, &part);
    }
    let _ = ephemera_vision::dpi(&bytes, 1);
    let _ = decode(&bytes, &Options { page: 2, ..whole });
}
