#![no_main]

mod common;

use ephemera_video::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let file = [b"\xff\xd8\xff", data.get(3..).unwrap_or_default()].concat();
    common::run(file, &[Kind::Mjpeg]);
});
