#![no_main]

mod common;

use ephemera_video::Kind;

/// Clips whose boxes stay as they are.
const CLIPS: [&[u8]; 4] = [
    include_bytes!("../../tests/clips/baseline.mp4"),
    include_bytes!("../../tests/clips/main.mp4"),
    include_bytes!("../../tests/clips/weighted.mp4"),
    include_bytes!("../../tests/clips/slices.mp4"),
];

// The data are patches of the samples: where, how many bytes, the bytes.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&which, mut patches)) = data.split_first() else {
        return;
    };
    let mut file = CLIPS[usize::from(which) % CLIPS.len()].to_vec();
    let Some(start) = file.windows(4).position(|name| name == b"mdat") else {
        return;
    };
    while let Some((&[high, low, count], rest)) = patches.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(count % 64).min(rest.len()));
        let at =
            start + 4 + usize::from(u16::from_be_bytes([high, low])) % (file.len() - start - 4);
        let room = bytes.len().min(file.len() - at);
        file[at..at + room].copy_from_slice(&bytes[..room]);
        patches = rest;
    }
    common::run(file, &[Kind::Mp4]);
});
