//! Every variant that pages come in, as other programs write it: `tests/files`, made by `make_files.py`.

use ephemera_vision::{Limits, Options, Region, Rgb, decode};
use proptest::prelude::*;

const WIDTH: usize = 20;
const HEIGHT: usize = 12;

/// What a file shows, pixel by pixel.
type Picture = fn(usize, usize) -> [u8; 3];

fn bilevel(x: usize, y: usize) -> [u8; 3] {
    [if (x * x + 3 * y) % 7 < 3 { 0 } else { 255 }; 3]
}

fn grey(x: usize, _: usize) -> [u8; 3] {
    [x as u8 * 12; 3]
}

fn colour(x: usize, y: usize) -> [u8; 3] {
    [x as u8 * 12, y as u8 * 20, 128]
}

fn palette(x: usize, y: usize) -> [u8; 3] {
    [(x / 8) as u8 * 100, (y / 8) as u8 * 200, 50]
}

fn clear(x: usize, y: usize) -> [u8; 3] {
    if x < 10 {
        [x as u8 * 12, y as u8 * 20, 0]
    } else {
        [255; 3]
    }
}

fn grey_clear(x: usize, y: usize) -> [u8; 3] {
    if x < 10 { grey(x, y) } else { [255; 3] }
}

/// Cyan, magenta, no yellow, a little black.
fn inks(x: usize, y: usize) -> [u8; 3] {
    [x * 12, y * 20, 0].map(|ink| ((255 - ink) as f32 * 225.0 / 255.0).round() as u8)
}

/// Turned to the right: the column of the stored picture is the row of the upright one, the row counted from the right.
fn colour_right(x: usize, y: usize) -> [u8; 3] {
    colour(y, HEIGHT - 1 - x)
}

fn colour_left(x: usize, y: usize) -> [u8; 3] {
    colour(WIDTH - 1 - y, x)
}

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The largest difference between a picture's samples and what is expected.
fn difference(rgb: &Rgb, expected: Picture) -> i32 {
    let pixels = (0..rgb.height).flat_map(|y| (0..rgb.width).map(move |x| (x, y)));
    pixels
        .flat_map(|(x, y)| {
            let (actual, expected) = (rgb.at(x, y), expected(x, y));
            (0..3).map(move |i| (i32::from(actual[i]) - i32::from(expected[i])).abs())
        })
        .max()
        .expect("a picture has pixels")
}

/// What JPEG at this quality may change, and what 4:2:0 and 4:2:2 may beside it.
const JPEG: i32 = 5;
const JPEG_SUBSAMPLED: i32 = 13;

const FILES: &[(&str, Picture, i32)] = &[
    ("grey.jpg", grey, JPEG),
    ("colour-444.jpg", colour, JPEG),
    ("colour-422.jpg", colour, JPEG_SUBSAMPLED),
    ("colour-420.jpg", colour, JPEG_SUBSAMPLED),
    ("progressive-444.jpg", colour, JPEG),
    ("progressive-420.jpg", colour, JPEG_SUBSAMPLED),
    ("progressive-grey.jpg", grey, JPEG),
    ("rgb.jpg", colour, JPEG),
    ("cmyk.jpg", inks, JPEG),
    ("restarts.jpg", colour, JPEG_SUBSAMPLED),
    ("colour-411.jpg", colour, 3 * JPEG_SUBSAMPLED),
    ("colour-440.jpg", colour, JPEG_SUBSAMPLED),
    ("colour-odd.jpg", colour, JPEG_SUBSAMPLED),
    ("colour-third.jpg", colour, 2 * JPEG_SUBSAMPLED),
    ("colour-scans.jpg", colour, JPEG_SUBSAMPLED),
    ("progressive-restarts.jpg", colour, JPEG_SUBSAMPLED),
    ("bilevel.png", bilevel, 0),
    ("grey.png", grey, 0),
    ("colour.png", colour_right, 0),
    ("clear.png", clear, 0),
    ("palette.png", palette, 0),
    ("wide.png", grey, 0),
    ("grey-alpha.png", grey_clear, 0),
    ("interlaced.png", colour, 0),
    ("interlaced-wide.png", colour, 0),
    ("colour-wide.png", colour, 0),
    ("bilevel-raw.tif", bilevel, 0),
    ("bilevel-group3.tif", bilevel, 0),
    ("bilevel-group3-2d.tif", bilevel, 0),
    ("bilevel-group4.tif", bilevel, 0),
    ("bilevel-group4-reversed.tif", bilevel, 0),
    ("bilevel-group4-strips.tif", bilevel, 0),
    ("bilevel-tiff_ccitt.tif", bilevel, 0),
    ("bilevel-packbits.tif", bilevel, 0),
    ("bilevel-tiff_lzw.tif", bilevel, 0),
    ("bilevel-tiff_adobe_deflate.tif", bilevel, 0),
    ("bilevel-tiles.tif", bilevel, 0),
    ("grey-lzw.tif", grey, 0),
    ("grey-predicted.tif", grey, 0),
    ("grey-jpeg.tif", grey, JPEG),
    ("wide.tif", grey, 0),
    ("wide-predicted.tif", grey, 0),
    ("colour-lzw.tif", colour, 0),
    ("colour-predicted.tif", colour, 0),
    ("colour-planes.tif", colour, 0),
    ("colour-tiles.tif", colour, 0),
    ("colour-jpeg.tif", colour, JPEG_SUBSAMPLED),
    ("colour-jpeg-tiles.tif", colour, JPEG_SUBSAMPLED),
    ("big.tif", colour, 0),
    ("clear.tif", clear, 0),
    ("palette-lzw.tif", palette, 0),
    ("cmyk-lzw.tif", inks, 1),
    ("turned.tif", colour_left, 0),
    ("lossy.webp", colour, JPEG_SUBSAMPLED),
    ("lossless.webp", colour_right, 0),
    ("clear.webp", clear, 0),
    ("colour.bmp", colour, 0),
    ("grey.bmp", grey, 0),
    ("bilevel.bmp", bilevel, 0),
    ("palette.bmp", palette, 0),
    ("palette.gif", palette, 0),
    ("bilevel.gif", bilevel, 0),
    ("frames.gif", palette, 0),
];

#[test]
fn every_variant_shows_its_picture() {
    let mut wrong = Vec::new();
    for &(name, expected, tolerance) in FILES {
        match decode(&file(name), &Options::new(2048)) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(picture) => {
                let turned = picture.rgb.width == HEIGHT;
                let size = (picture.original_width, picture.original_height);
                let upright = if turned {
                    (HEIGHT as u32, WIDTH as u32)
                } else {
                    (WIDTH as u32, HEIGHT as u32)
                };
                assert_eq!(size, upright, "{name}");
                let off = difference(&picture.rgb, expected);
                if off > tolerance {
                    wrong.push(format!(
                        "{name}: off by {off}, expected at most {tolerance}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_region_is_that_part_of_the_whole() {
    let region = Region {
        x: 3,
        y: 2,
        width: 6,
        height: 5,
    };
    for &(name, ..) in FILES {
        let bytes = file(name);
        let whole = decode(&bytes, &Options::new(2048))
            .expect("tested above")
            .rgb;
        let options = Options {
            region: Some(region),
            ..Options::new(2048)
        };
        let part = decode(&bytes, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(part.region, region, "{name}");
        assert_eq!((part.rgb.width, part.rgb.height), (6, 5), "{name}");
        for y in 0..5 {
            for x in 0..6 {
                // What shows through transparent pixels depends on the part; here nothing in it is transparent.
                assert_eq!(part.rgb.at(x, y), whole.at(x + 3, y + 2), "{name} {x} {y}");
            }
        }
    }
}

#[test]
fn pages_are_counted_from_one() {
    let bytes = file("pages.tif");
    let page = |page| {
        decode(
            &bytes,
            &Options {
                page,
                ..Options::new(2048)
            },
        )
    };
    for (number, expected) in [(1, bilevel as Picture), (2, grey), (3, colour_left)] {
        let picture = page(number).expect("a page").rgb;
        assert_eq!(difference(&picture, expected), 0, "{number}");
    }
    for number in [0, 4, u32::MAX] {
        let message = page(number).expect_err("no such page").to_string();
        assert_eq!(
            message,
            format!("page {number} is not there, the file has 3")
        );
    }
    let one = Options {
        page: 2,
        ..Options::new(2048)
    };
    let message = decode(&file("grey.png"), &one).expect_err("one page");
    assert_eq!(message.to_string(), "page 2 is not there, the file has 1");
}

#[test]
fn regions_outside_are_refused() {
    for (x, y, width, height) in [
        (0, 0, 0, 5),
        (0, 0, 5, 0),
        (0, 0, 21, 1),
        (19, 11, 1, 2),
        (20, 0, 1, 1),
        (u32::MAX, 0, 1, 1),
        (1, 1, u32::MAX, 1),
    ] {
        let region = Region {
            x,
            y,
            width,
            height,
        };
        let options = Options {
            region: Some(region),
            ..Options::new(2048)
        };
        let error = decode(&file("grey.jpg"), &options).expect_err("outside");
        assert_eq!(
            error.to_string(),
            format!(
                "region {x},{y},{width},{height} is empty or not inside the image of 20 x 12 px"
            )
        );
    }
}

#[test]
fn scaled_decoding_shows_the_same_picture() {
    // 20 x 12 to 10, 5 and 3 px: blocks of 4, 2 and 1 px, then the resizer's rest.
    for name in ["colour-444.jpg", "progressive-420.jpg", "grey.jpg"] {
        for side in [10, 5, 3] {
            let small = decode(&file(name), &Options::new(side))
                .expect("a picture")
                .rgb;
            assert_eq!(small.width, side, "{name}");
            // The middle of the picture, which is the mean of its gradient, but for the filter's reach at the edges.
            let middle = small.at(side / 2, small.height / 2);
            let expected = ((side / 2) as f32 + 0.5) * 20.0 / side as f32 * 12.0 - 6.0;
            assert!(
                (f32::from(middle[0]) - expected).abs() < 14.0,
                "{name} {side}: {middle:?}, expected {expected}"
            );
        }
    }
}

/// Inputs that once broke a decoder, by name of the fuzz target that found them.
#[test]
fn what_fuzzing_found_is_answered() {
    let folder = format!("{}/tests/found", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(path).expect("a file");
        for max_side in [1, 64, 2048] {
            let _ = decode(&bytes, &Options::new(max_side));
        }
        count += 1;
    }
    assert!(count > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a few changed bytes and a cut do to a file, decoding it answers.
    #[test]
    fn damaged_files_never_panic(
        file_index in 0..FILES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        keep in any::<bool>(),
        page in 0..3u32,
    ) {
        let mut bytes = file(FILES[file_index].0);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !keep {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits {
            max_pixels: 1 << 20,
            max_decode_bytes: 8 << 20,
            ..Limits::default()
        };
        let options = Options { page, limits, ..Options::new(64) };
        if let Ok(picture) = decode(&bytes, &options) {
            prop_assert!(picture.rgb.width.max(picture.rgb.height) <= 64);
        }
    }
}

#[test]
fn arithmetic_coding_is_named() {
    let error = decode(&file("arithmetic.jpg"), &Options::new(64)).expect_err("not read");
    assert_eq!(
        error.to_string(),
        "jpeg variant not supported: arithmetic coding"
    );
}

#[test]
fn inks_as_ycbcr_are_turned_back() {
    // The file of four inks, its marker changed to say that the first three are YCbCr of the inverted inks.
    let mut bytes = file("cmyk.jpg");
    let marker = bytes.windows(5).position(|w| w == b"Adobe");
    bytes[marker.expect("Adobe's marker") + 11] = 2;
    let expected = |x: usize, y: usize| {
        let (luma, cb, cr) = (255.0 - 12.0 * x as f32, 127.0 - 20.0 * y as f32, 127.0f32);
        let inks = [
            luma + 1.402 * cr,
            luma - 0.344 * cb - 0.714 * cr,
            luma + 1.772 * cb,
        ];
        inks.map(|v| ((255.0 - v.clamp(0.0, 255.0)) * 225.0 / 255.0) as u8)
    };
    let picture = decode(&bytes, &Options::new(64)).expect("a picture").rgb;
    let mut most = 0;
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (actual, expected) = (picture.at(x, y), expected(x, y));
            for i in 0..3 {
                most = most.max(actual[i].abs_diff(expected[i]));
            }
        }
    }
    // An error of JPEG in the chroma counts nearly twice.
    assert!(most <= 12, "off by {most}");
}

#[test]
fn every_target_has_the_same_bits() {
    // FNV-1a over the pixels of all files, whole and shrunk. A change of it says that some decoder's bits changed; that
    // it is the same in WebAssembly is what counts.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for &(name, ..) in FILES {
        for side in [2048, 11, 5] {
            let picture = decode(&file(name), &Options::new(side)).expect("tested above");
            for byte in picture.rgb.data {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    assert_eq!(hash, PIXELS, "{hash:#x}");
}

const PIXELS: u64 = 0xec9a_941a_04f9_b0a6;
