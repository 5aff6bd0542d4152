//! What the targets share.

use ephemera_video::{Clip, Error, Kind, Limits};

/// Opens a file and samples frames of it, within limits that keep a run short.
pub fn run(file: Vec<u8>, kinds: &[Kind]) {
    let limits = Limits {
        max_side_px: 1024,
        max_frame_pixels: 1 << 17,
        max_decode_bytes: 16 << 20,
        max_decoded_pixels: 1 << 22,
        max_frames: 1 << 12,
        max_entry_bytes: 1 << 20,
    };
    let Ok(clip) = Clip::open(vec![file], &limits) else {
        return;
    };
    if !kinds.contains(&clip.kind()) {
        return;
    }
    let frames = clip.frames();
    assert!((1..=limits.max_frames).contains(&frames));
    let indices = [0, 0, frames / 2, frames - 1, frames];
    let mut seen = 0;
    let result = clip.sample(&indices, |_, frame| {
        assert_eq!(frame.data.len(), frame.width * frame.height * 3);
        assert!((frame.width * frame.height) as u64 <= limits.max_frame_pixels);
        seen += 1;
        Ok::<(), Error>(())
    });
    assert!(result.is_err() || seen == indices.len());
}
