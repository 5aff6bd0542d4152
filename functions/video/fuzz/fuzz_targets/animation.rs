#![no_main]

mod common;

use ephemera_video::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    let signature: &[u8] = match file.first() {
        Some(b'G') => b"GIF89a",
        Some(b'R') => b"RIFF\0\0\0\0WEBPVP8X",
        _ => b"\x89PNG\r\n\x1a\n",
    };
    if let Some(start) = file.get_mut(..signature.len()) {
        start.copy_from_slice(signature);
    }
    common::run(file, &[Kind::Gif, Kind::WebP, Kind::Apng]);
});
