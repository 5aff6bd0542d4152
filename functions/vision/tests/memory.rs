//! Pictures of a hundred million pixels, with a counting allocator: what decoding takes stays far under what a request
//! may take, and what would not is refused before it is decoded.

use std::sync::{Mutex, PoisonError};

use ephemera_vision::{Error, Limits, Options, Region, decode};
use peak_alloc::PeakAlloc;

/// One test at a time, since the counters are shared.
static TURN: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs `f` and returns the most bytes that it held at once.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = f();
    (result, ALLOCATOR.peak_usage() - before)
}

const SIDE: u16 = 10_000;
const MIB: usize = 1 << 20;
/// A page of 2048 x 2048 px, as it leaves.
const PAGE: usize = 12 * MIB;

/// Bits to bytes, uppermost first, filled up with ones, 0xff stuffed.
#[derive(Default)]
struct Scan {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Scan {
    fn put(&mut self, value: u32, bits: u32) {
        for i in (0..bits).rev() {
            self.held = self.held << 1 | (value >> i & 1);
            self.count += 1;
            if self.count == 8 {
                self.bytes.push(self.held as u8);
                if self.held == 0xff {
                    self.bytes.push(0);
                }
                (self.held, self.count) = (0, 0);
            }
        }
    }

    fn end(mut self) -> Vec<u8> {
        while self.count > 0 {
            self.put(1, 1);
        }
        self.bytes
    }
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&[0xff, marker], &length[..], body].concat()
}

/// Tables and frame of a YCbCr picture at 4:2:0. Codes: 0 for "no more" or a difference of none, 10 for a value of four
/// bits; with quantisers of 4.
fn jpeg_head(frame: u8, side: u16) -> Vec<u8> {
    let mut quantisers = vec![0u8];
    quantisers.extend([4; 64]);
    let mut counts = [0u8; 16];
    counts[..2].copy_from_slice(&[1, 1]);
    let table = |class: u8| [&[class], &counts[..], &[0, 4]].concat();
    let [high, low] = side.to_be_bytes();
    let components = [1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
    [
        vec![0xff, 0xd8],
        segment(0xdb, &quantisers),
        segment(0xc4, &table(0x00)),
        segment(0xc4, &table(0x10)),
        segment(
            frame,
            &[&[8, high, low, high, low, 3], &components[..]].concat(),
        ),
    ]
    .concat()
}

fn mcus(side: u16) -> usize {
    usize::from(side).div_ceil(16).pow(2)
}

/// Vertical stripes, two MCUs in turn brighter and darker.
fn baseline(side: u16) -> Vec<u8> {
    let mut scan = Scan::default();
    for mcu in 0..mcus(side) {
        for block in 0..6 {
            if block == 0 {
                // +15 and -15 of a coefficient, times 4, over 8: some seven levels.
                scan.put(0b10, 2);
                scan.put(if mcu % 2 == 0 { 15 } else { 0 }, 4);
            } else {
                scan.put(0, 1);
            }
            scan.put(0, 1);
        }
    }
    let header = [3, 1, 0, 2, 0, 3, 0, 0, 63, 0];
    [
        jpeg_head(0xc0, side),
        segment(0xda, &header),
        scan.end(),
        vec![0xff, 0xd9],
    ]
    .concat()
}

/// The same with its first coefficients in one pass, and `passes` that have nothing for the others.
fn progressive(side: u16, passes: usize) -> Vec<u8> {
    let mut scan = Scan::default();
    for mcu in 0..mcus(side) {
        scan.put(0b10, 2);
        scan.put(if mcu % 2 == 0 { 15 } else { 0 }, 4);
        scan.put(0, 5);
    }
    let mut out = [
        jpeg_head(0xc2, side),
        segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 0, 0]),
        scan.end(),
    ]
    .concat();
    let blocks = usize::from(side).div_ceil(8).pow(2);
    for _ in 0..passes {
        let mut scan = Scan::default();
        for _ in 0..blocks {
            scan.put(0, 1);
        }
        out.extend(segment(0xda, &[1, 1, 0, 1, 63, 0]));
        out.extend(scan.end());
    }
    out.extend([0xff, 0xd9]);
    out
}

/// A PNG of stripes.
fn png(colour: image::ExtendedColorType, channels: usize) -> Vec<u8> {
    use image::ImageEncoder;
    let side = usize::from(SIDE);
    let row: Vec<u8> = (0..side * channels)
        .map(|i| {
            if (i / channels / 100).is_multiple_of(2) {
                250
            } else {
                20
            }
        })
        .collect();
    let data = row.repeat(side);
    let mut out = Vec::new();
    image::codecs::png::PngEncoder::new_with_quality(
        &mut out,
        image::codecs::png::CompressionType::Fast,
        image::codecs::png::FilterType::Up,
    )
    .write_image(&data, SIDE.into(), SIDE.into(), colour)
    .expect("a valid picture");
    out
}

#[test]
fn a_hundred_megapixels_take_little_more_than_the_page() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    use image::ExtendedColorType::{L8, Rgb8, Rgba8};
    // What a decoder may take beside the result.
    let cases = [
        ("baseline jpeg", baseline(SIDE), 4 * MIB),
        ("progressive jpeg", progressive(SIDE, 3), 24 * MIB),
        ("grey png", png(L8, 1), 4 * MIB),
        ("rgb png", png(Rgb8, 3), 4 * MIB),
        ("rgba png", png(Rgba8, 4), 4 * MIB),
    ];
    for (name, bytes, beside) in cases {
        assert!(bytes.len() < 10 * MIB, "{name}: {} bytes", bytes.len());
        let (picture, peak) = peak(|| decode(&bytes, &Options::new(2048)));
        let picture = picture.unwrap_or_else(|e| panic!("{name}: {e}"));
        println!(
            "{name}: {} bytes, peak {:.1} MiB",
            bytes.len(),
            peak as f64 / MIB as f64
        );
        let expected = if name == "progressive jpeg" {
            1250
        } else {
            2048
        };
        assert_eq!(
            (picture.rgb.width, picture.rgb.height),
            (expected, expected),
            "{name}"
        );
        // A grey page is widened to RGB at the end.
        assert!(peak < PAGE * 4 / 3 + beside, "{name}: {peak} bytes");
        assert!(peak < 40 * MIB, "{name}: {peak} bytes");
    }
}

#[test]
fn a_region_is_read_at_full_size() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let region = Region {
        x: 5000,
        y: 3000,
        width: 2000,
        height: 1000,
    };
    let options = Options {
        region: Some(region),
        ..Options::new(2048)
    };
    for (name, bytes) in [
        ("jpeg", baseline(SIDE)),
        ("png", png(image::ExtendedColorType::L8, 1)),
    ] {
        let (picture, peak) = peak(|| decode(&bytes, &options).expect("a picture"));
        assert_eq!(
            (picture.rgb.width, picture.rgb.height),
            (2000, 1000),
            "{name}"
        );
        assert_eq!(picture.region, region, "{name}");
        assert!(peak < 2000 * 1000 * 4 + 4 * MIB, "{name}: {peak} bytes");
    }
}

#[test]
fn bombs_are_refused_before_they_are_decoded() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (huge, heavy) = (
        |e: &Error| matches!(e, Error::TooLarge { .. }),
        |e: &Error| matches!(e, Error::TooHeavy { .. }),
    );
    let small = Limits {
        max_decode_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut png = png(image::ExtendedColorType::L8, 1);
    // Height and check sum of the header chunk.
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    type Check = fn(&Error) -> bool;
    let cases: [(&str, Vec<u8>, Limits, Check); 3] = [
        ("jpeg", jpeg_head(0xc0, 30_000), Limits::default(), huge),
        ("png", png, Limits::default(), huge),
        ("progressive jpeg", progressive(SIDE, 0), small, heavy),
    ];
    for (name, mut bytes, limits, check) in cases {
        if name == "jpeg" {
            bytes.extend([0xff, 0xd9]);
        }
        let options = Options {
            limits,
            ..Options::new(2048)
        };
        let (result, peak) = peak(|| decode(&bytes, &options));
        let error = result.expect_err(name);
        assert!(check(&error), "{name}: {error}");
        assert!(peak < MIB / 4, "{name}: {peak} bytes");
    }
}
