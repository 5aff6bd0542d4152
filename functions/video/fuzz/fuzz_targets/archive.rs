#![no_main]

mod common;

use ephemera_video::Kind;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    match file.first() {
        Some(b'P') => {
            if let Some(name) = file.get_mut(..4) {
                name.copy_from_slice(b"PK\x03\x04");
            }
        }
        _ => {
            if let Some(name) = file.get_mut(257..262) {
                name.copy_from_slice(b"ustar");
            }
        }
    }
    common::run(file, &[Kind::Zip, Kind::Tar]);
});
