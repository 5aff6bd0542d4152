#![no_main]

mod common;

use ephemera_video::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if let Some(name) = file.get_mut(4..8) {
        name.copy_from_slice(b"ftyp");
    }
    common::run(file, &[Kind::Mp4]);
});
