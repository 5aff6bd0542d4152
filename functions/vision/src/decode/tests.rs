//! Tiny pictures in every variant that pages come in, and broken ones.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use proptest::prelude::*;

use super::*;

/// Red, green / blue, white: `[2, 2, 3]`.
const CORNERS: [u8; 12] = [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255];

fn encode(
    format: ImageFormat,
    colour: ExtendedColorType,
    width: u32,
    height: u32,
    data: &[u8],
) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut out, data, width, height, colour, format)
        .expect("a valid picture");
    out.into_inner()
}

/// An orientation tag as the sole entry of a TIFF structure, as Exif has it.
fn exif(orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    tiff
}

fn jpeg(width: u32, height: u32, orientation: Option<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut out, 100);
    if let Some(orientation) = orientation {
        encoder
            .set_exif_metadata(exif(orientation))
            .expect("jpeg carries exif");
    }
    // Left half black, right half white.
    let data: Vec<u8> = (0..width * height)
        .map(|i| if i % width < width / 2 { 0 } else { 255 })
        .collect();
    encoder
        .write_image(&data, width, height, ExtendedColorType::L8)
        .expect("a valid picture");
    out
}

/// A classic little-endian TIFF of one strip. `tags`: (tag, type 3 = u16 or 4 = u32, value), ascending.
fn tiff(tags: &[(u16, u16, u32)], strip: &[u8]) -> Vec<u8> {
    let strip_at = 8 + 2 + 12 * (tags.len() as u32 + 2) + 4;
    let mut all: Vec<(u16, u16, u32)> = tags.to_vec();
    all.extend([(273, 4, strip_at), (279, 4, strip.len() as u32)]);
    all.sort_unstable();
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    out.extend((all.len() as u16).to_le_bytes());
    for (tag, kind, value) in all {
        out.extend(tag.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    out.extend([0; 4]);
    out.extend(strip);
    out
}

fn bilevel(compression: u32, photometric: u32, strip: &[u8]) -> Vec<u8> {
    let tags = [
        (256, 4, 2),
        (257, 4, 2),
        (258, 3, 1),
        (259, 3, compression),
        (262, 3, photometric),
        (277, 3, 1),
        (278, 4, 2),
    ];
    tiff(&tags, strip)
}

#[test]
fn lossless_variants_by_hand() {
    let grey = [0u8, 85, 170, 255];
    let grey_rgb: Vec<u8> = grey.iter().flat_map(|&v| [v; 3]).collect();
    let black_white: Vec<u8> = [0, 255, 255, 0].iter().flat_map(|&v: &u8| [v; 3]).collect();
    let wide: Vec<u8> = grey
        .iter()
        .flat_map(|&v| (u16::from(v) * 257).to_ne_bytes())
        .collect();
    let clear: Vec<u8> = CORNERS
        .chunks(3)
        .enumerate()
        .flat_map(|(i, p)| [p[0], p[1], p[2], if i == 0 { 0 } else { 255 }])
        .collect();
    let over_white: Vec<u8> = [&[255; 3], &CORNERS[3..]].concat();
    let (png, tif) = (ImageFormat::Png, ImageFormat::Tiff);
    let cases: Vec<(&str, Vec<u8>, &[u8])> = vec![
        (
            "png rgb",
            encode(png, ExtendedColorType::Rgb8, 2, 2, &CORNERS),
            &CORNERS,
        ),
        (
            "png grey",
            encode(png, ExtendedColorType::L8, 2, 2, &grey),
            &grey_rgb,
        ),
        (
            "png 16 bit",
            encode(png, ExtendedColorType::L16, 2, 2, &wide),
            &grey_rgb,
        ),
        (
            "png transparent",
            encode(png, ExtendedColorType::Rgba8, 2, 2, &clear),
            &over_white,
        ),
        ("png palette", PALETTE_PNG.to_vec(), &CORNERS),
        (
            "tiff rgb",
            encode(tif, ExtendedColorType::Rgb8, 2, 2, &CORNERS),
            &CORNERS,
        ),
        (
            "tiff grey",
            encode(tif, ExtendedColorType::L8, 2, 2, &grey),
            &grey_rgb,
        ),
        (
            "tiff 16 bit",
            encode(tif, ExtendedColorType::L16, 2, 2, &wide),
            &grey_rgb,
        ),
        // Rows 01 and 10, most significant bit first, 1 = white (photometric 1) or 1 = black (photometric 0).
        ("tiff bilevel", bilevel(1, 1, &[0x40, 0x80]), &black_white),
        (
            "tiff bilevel, white is zero",
            bilevel(1, 0, &[0x80, 0x40]),
            &black_white,
        ),
        // CCITT G4 (T.6), white is zero. Row 1, black-white: horizontal mode 001, white run 0 = 00110101, black run
        // 1 = 010; then vertical 0 = 1 to the edge. Row 2, white-black: changes of the row above lie at 0 and 1;
        // vertical right 1 = 011 (at 1), vertical 0 = 1 at the edge. End of block.
        (
            "tiff g4",
            bilevel(
                4,
                0,
                &[
                    0b0010_0110,
                    0b1010_1010,
                    0b1110_0000,
                    0b0000_0010,
                    0b0000_0000,
                    0b0010_0000,
                ],
            ),
            &black_white,
        ),
        // The same picture with black as zero, so that the code's black is white: vertical left 1 = 010 and vertical 0
        // in row 1; vertical left 1 twice and vertical 0 in row 2.
        (
            "tiff g4, black is zero",
            bilevel(
                4,
                1,
                &[
                    0b0101_0100,
                    0b1010_0000,
                    0b0000_0010,
                    0b0000_0000,
                    0b0010_0000,
                ],
            ),
            &black_white,
        ),
    ];
    for (name, bytes, expected) in cases {
        let picture = decode(&bytes, &Options::new(2048)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (picture.original_width, picture.original_height),
            (2, 2),
            "{name}"
        );
        assert_eq!(picture.rgb.data, expected, "{name}");
    }
}

/// Red, green / blue, white with 2 bits a pixel and a palette of four, as a third-party encoder wrote it.
const PALETTE_PNG: &[u8] = include_bytes!("../../tests/palette.png");

#[test]
fn jpeg_follows_the_orientation_tag() {
    // 16 x 8, left half black. (tag, width, height, a pixel that is black, one that is white)
    let cases = [
        (None, 16, 8, (2, 4), (13, 4)),
        (Some(1), 16, 8, (2, 4), (13, 4)),
        (Some(3), 16, 8, (13, 4), (2, 4)),
        // Turned clockwise to be upright: the left half ends up on top.
        (Some(6), 8, 16, (4, 2), (4, 13)),
        (Some(8), 8, 16, (4, 13), (4, 2)),
    ];
    for (tag, width, height, black, white) in cases {
        let picture = decode(&jpeg(16, 8, tag), &Options::new(2048)).expect("a valid picture");
        assert_eq!(
            (picture.original_width, picture.original_height),
            (width, height),
            "{tag:?}"
        );
        assert_eq!(
            (picture.rgb.width, picture.rgb.height),
            (width as usize, height as usize),
            "{tag:?}"
        );
        assert!(picture.rgb.at(black.0, black.1)[0] < 8, "{tag:?}");
        assert!(picture.rgb.at(white.0, white.1)[0] > 247, "{tag:?}");
    }
}

/// `png` with an eXIf chunk in front of the first one of type `before`.
fn with_exif(png: &[u8], orientation: u8, before: &[u8; 4]) -> Vec<u8> {
    let at = png
        .windows(4)
        .position(|kind| kind == before)
        .expect("the chunk")
        - 4;
    let exif = [b"eXIf".as_slice(), &exif(orientation)].concat();
    let length = (exif.len() as u32 - 4).to_be_bytes();
    let sum = crc(&exif).to_be_bytes();
    [&png[..at], &length, &exif, &sum, &png[at..]].concat()
}

#[test]
fn png_with_its_orientation_behind_the_pixels_was_not_turned() {
    let png = encode(
        ImageFormat::Png,
        ExtendedColorType::L8,
        3,
        1,
        &[0, 128, 255],
    );
    for before in [b"IDAT", b"IEND"] {
        // Turned clockwise to be upright: the left pixel ends up on top.
        let file = with_exif(&png, 6, before);
        let picture = decode(&file, &Options::new(2048)).expect("a valid picture");
        assert_eq!((picture.rgb.width, picture.rgb.height), (1, 3));
        let column: Vec<u8> = (0..3).map(|y| picture.rgb.at(0, y)[0]).collect();
        assert_eq!(column, [0, 128, 255], "{before:?}");
    }
    // The first of two counts.
    let file = with_exif(&with_exif(&png, 6, b"IEND"), 1, b"IDAT");
    let picture = decode(&file, &Options::new(2048)).expect("a valid picture");
    assert_eq!((picture.rgb.width, picture.rgb.height), (3, 1));
}

#[test]
fn jpeg_without_its_last_marker_was_refused() {
    let files: [(&str, &[u8]); 6] = [
        ("420", include_bytes!("../../tests/files/colour-420.jpg")),
        (
            "scans",
            include_bytes!("../../tests/files/colour-scans.jpg"),
        ),
        ("restarts", include_bytes!("../../tests/files/restarts.jpg")),
        ("grey", include_bytes!("../../tests/files/grey.jpg")),
        (
            "progressive",
            include_bytes!("../../tests/files/progressive-420.jpg"),
        ),
        ("cmyk", include_bytes!("../../tests/files/cmyk.jpg")),
    ];
    for (name, file) in files {
        let whole = decode(file, &Options::new(2048))
            .expect("a valid picture")
            .rgb;
        assert!(file.ends_with(b"\xff\xd9"), "{name}");
        let data = file.len() - 2;
        for kept in [data + 1, data] {
            let picture = decode(&file[..kept], &Options::new(2048));
            assert_eq!(
                picture.unwrap_or_else(|e| panic!("{name}: {e}")).rgb,
                whole,
                "{name}"
            );
        }
        // The last byte can be no more than bits to fill it up; four more cannot.
        for kept in [data - 5, file.len() / 2] {
            let error = decode(&file[..kept], &Options::new(2048)).expect_err("cut");
            assert!(
                matches!(error, Error::Truncated { .. }),
                "{name}, {kept}: {error}"
            );
        }
    }
}

#[test]
fn progressive_jpeg_without_its_last_scans_is_cut() {
    let file = include_bytes!("../../tests/files/progressive-420.jpg");
    let scans: Vec<usize> = (0..file.len() - 1)
        .filter(|&at| file[at..at + 2] == [0xff, 0xda])
        .collect();
    assert!(scans.len() > 5);
    // In front of the tables of the last scan, where it has some.
    let last = scans[scans.len() - 1];
    let tables = (scans[scans.len() - 2] + 2..last).find(|&at| file[at..at + 2] == [0xff, 0xc4]);
    let error = decode(&file[..tables.unwrap_or(last)], &Options::new(2048)).expect_err("cut");
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
}

#[test]
fn large_pictures_shrink_and_keep_their_original_size() {
    let picture = decode(&jpeg(300, 200, Some(6)), &Options::new(100)).expect("a valid picture");
    assert_eq!(
        (picture.original_width, picture.original_height),
        (200, 300)
    );
    assert_eq!((picture.rgb.width, picture.rgb.height), (67, 100));
}

/// A GIF's header, and one frame of that size.
fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut out = b"GIF89a".to_vec();
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    out.extend(&sides);
    out.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    out.extend([0x2c, 0, 0, 0, 0]);
    out.extend(sides);
    out.extend([0, 2, 2, 0x4c, 0x01, 0, 0x3b]);
    out
}

/// A BMP's header for one bit a pixel.
fn bmp(width: u32, height: u32) -> Vec<u8> {
    let mut out = b"BM\0\0\0\0\0\0\0\0\x3e\0\0\0\x28\0\0\0".to_vec();
    out.extend(width.to_le_bytes());
    out.extend(height.to_le_bytes());
    out.extend([1, 0, 1, 0]);
    out.extend([0; 24]);
    out.extend([0, 0, 0, 0, 255, 255, 255, 0]);
    out.extend([0; 16]);
    out
}

/// A lossless WebP's header: a signature byte, 14 bits a side less one, alpha, version.
fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut out = b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f".to_vec();
    out.extend(((width - 1) | (height - 1) << 14).to_le_bytes());
    out.extend([0; 5]);
    out
}

/// The header of a grey, interlaced PNG and the beginning of its data.
fn interlaced(width: u32, height: u32) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    // 16 bits a sample, RGBA.
    header.extend([16, 6, 0, 0, 1]);
    for chunk in [header, b"IDAT\x78\x9c".to_vec()] {
        out.extend((chunk.len() as u32 - 4).to_be_bytes());
        out.extend(&chunk);
        out.extend(crc(&chunk).to_be_bytes());
    }
    out
}

/// ISO/IEC 15948, annex D.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

#[test]
fn bad_input_is_told_apart() {
    let png = encode(ImageFormat::Png, ExtendedColorType::Rgb8, 2, 2, &CORNERS);
    let tif = encode(ImageFormat::Tiff, ExtendedColorType::Rgb8, 2, 2, &CORNERS);
    let jpg = jpeg(64, 64, None);
    // Offset of the sides in a PNG's header chunk; its check sum, wrong from then on, is not reached.
    let sized = |width: u32, height: u32| {
        let mut bytes = png.clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        bytes
    };
    let sized_jpeg = |width: u16, height: u16| {
        let mut bytes = jpg.clone();
        let frame = bytes
            .windows(2)
            .position(|w| w == [0xff, 0xc0])
            .expect("a baseline frame");
        bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        bytes
    };
    let huge_tiff = |width: u32, height: u32, bits: u32| {
        let tags = [
            (256, 4, width),
            (257, 4, height),
            (258, 3, bits),
            (259, 3, 1),
            (262, 3, 1),
            (277, 3, 1),
            (278, 4, height),
        ];
        tiff(&tags, &[0; 16])
    };
    let float_tiff = tiff(
        &[
            (256, 4, 1),
            (257, 4, 1),
            (258, 3, 32),
            (259, 3, 1),
            (262, 3, 1),
            (277, 3, 1),
            (278, 4, 1),
            (339, 3, 3),
        ],
        &[0; 4],
    );
    // A tile of 1024 x 16,384 px, eight samples of 16 bits.
    let tiled = tiff(
        &[
            (256, 4, 1024),
            (257, 4, 16_384),
            (258, 3, 16),
            (259, 3, 1),
            (262, 3, 1),
            (277, 3, 8),
            (322, 4, 1024),
            (323, 4, 16_384),
            (324, 4, 8),
            (325, 4, 8),
        ],
        &[0; 16],
    );
    let mut damaged = png.clone();
    let end = damaged.len();
    damaged[end - 20] ^= 0x55;

    type Check = fn(&Error) -> bool;
    let cases: Vec<(&str, Vec<u8>, Check)> = vec![
        ("nothing", vec![], |e| matches!(e, Error::NotAnImage)),
        ("text", b"hello, world".to_vec(), |e| {
            matches!(e, Error::NotAnImage)
        }),
        ("pdf", b"%PDF-1.7\n".to_vec(), |e| {
            matches!(e, Error::NotAnImage)
        }),
        ("png signature only", png[..8].to_vec(), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("cut png", png[..png.len() - 30].to_vec(), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("damaged png", damaged, |e| {
            matches!(e, Error::Corrupt { .. })
        }),
        ("cut tiff", huge_tiff(2000, 2000, 8), |e| {
            matches!(e, Error::Truncated { .. } | Error::Corrupt { .. })
        }),
        ("tiff signature only", tif[..4].to_vec(), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("cut jpeg", jpg[..jpg.len() - 6].to_vec(), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("cut jpeg, half", jpg[..jpg.len() / 2].to_vec(), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("jpeg signature only", jpg[..3].to_vec(), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("zero width png", sized(0, 5), |e| {
            matches!(
                e,
                Error::ZeroSize {
                    width: 0,
                    height: 5
                }
            )
        }),
        ("zero height jpeg", sized_jpeg(5, 0), |e| {
            matches!(
                e,
                Error::ZeroSize {
                    width: 5,
                    height: 0
                }
            )
        }),
        ("30,000 px a side, png", sized(30_000, 30_000), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        ("30,000 px jpeg", sized_jpeg(30_000, 30_000), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        ("30,000 px tiff", huge_tiff(30_000, 30_000, 1), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        ("over the area", sized(11_000, 10_001), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        // What is not decoded by rows is refused for its memory: four bytes a pixel twice.
        ("3,000 px gif", gif(3_000, 3_000), |e| {
            matches!(e, Error::TooHeavy { .. })
        }),
        ("65,535 px gif", gif(65_535, 1), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        ("cut bmp", bmp(5_000, 5_000), |e| {
            matches!(e, Error::Truncated { .. })
        }),
        ("20,000 px bmp", bmp(20_000, 20_000), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        ("10,000 px webp", webp(10_000, 10_000), |e| {
            matches!(e, Error::TooHeavy { .. })
        }),
        ("16,383 px webp", webp(16_383, 16_383), |e| {
            matches!(e, Error::TooLarge { .. })
        }),
        ("interlaced png", interlaced(4_000, 4_000), |e| {
            matches!(e, Error::TooHeavy { .. })
        }),
        ("tiled tiff", tiled, |e| matches!(e, Error::TooHeavy { .. })),
        ("floating point tiff", float_tiff, |e| {
            matches!(e, Error::Unsupported { .. })
        }),
    ];
    for (name, bytes, check) in cases {
        let error = decode(&bytes, &Options::new(2048)).expect_err(name);
        assert!(check(&error), "{name}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a few flipped bytes and a cut do to a file, decoding it answers.
    #[test]
    fn mutated_files_never_panic(
        kind in 0..5usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        keep in any::<bool>(),
    ) {
        let mut bytes = match kind {
            0 => jpeg(24, 16, Some(6)),
            1 => encode(ImageFormat::Png, ExtendedColorType::Rgb8, 2, 2, &CORNERS),
            2 => encode(ImageFormat::Tiff, ExtendedColorType::Rgb8, 2, 2, &CORNERS),
            3 => PALETTE_PNG.to_vec(),
            _ => bilevel(4, 0, &[0b0010_0110, 0b1010_1010, 0b1110_0000, 0b0000_0100, 0, 0b0100_0000]),
        };
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if !keep {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(picture) = decode(&bytes, &Options::new(64)) {
            prop_assert!(picture.rgb.width.max(picture.rgb.height) <= 64);
        }
    }
}
