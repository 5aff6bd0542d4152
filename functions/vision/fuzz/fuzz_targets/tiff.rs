#![no_main]

mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Either byte order, classic or big, as the data begin.
    let signature: &[u8] = match data.first() {
        Some(b'M') if data.get(3) == Some(&43) => b"MM\0+",
        Some(b'M') => b"MM\0*",
        _ if data.get(2) == Some(&43) => b"II+\0",
        _ => b"II*\0",
    };
    common::run(signature, data);
});
