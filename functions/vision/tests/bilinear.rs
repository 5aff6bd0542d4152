//! `resize_bilinear` beside OpenCV: `bilinear.txt`, made by `make_bilinear.py`.

use ephemera_vision::{Rgb, resize_bilinear};

/// The upper bytes of a linear congruential generator.
fn noise(width: usize, height: usize, seed: u32) -> Rgb {
    let mut state = seed;
    let data = (0..width * height * 3)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Rgb::new(width, height, data).expect("sides are at least 1")
}

fn fnv(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn every_level_is_opencvs() {
    let lines = include_str!("bilinear.txt").lines();
    let mut cases = 0;
    for line in lines.filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [width, height, to_width, to_height, seed, expected] = fields[..] else {
            panic!("six fields: {line}");
        };
        let number = |text: &str| text.parse::<usize>().expect("a number");
        let source = noise(number(width), number(height), number(seed) as u32);
        let out = resize_bilinear(&source, number(to_width), number(to_height));
        let actual = if expected.starts_with("fnv:") {
            format!("fnv:{:016x}", fnv(&out.data))
        } else {
            out.data.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(
            actual, expected,
            "{width} x {height} to {to_width} x {to_height}"
        );
        cases += 1;
    }
    assert!(cases > 50, "{cases} cases");
}
