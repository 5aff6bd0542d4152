#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let length = (data.len().saturating_sub(8) as u32).to_le_bytes();
    common::run(&[b"RIFF", &length[..], b"WEBP"].concat(), data);
});
