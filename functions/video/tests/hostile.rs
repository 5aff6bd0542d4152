//! Files that mean harm, or were cut off: an error with a sentence, never a panic, and little memory.

use std::sync::{Mutex, PoisonError};

use ephemera_video::{Clip, Error, Kind, Limits, natural_order};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;

/// One test at a time, since the counters are shared.
static TURN: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Runs `f` and returns the most bytes that it held at once.
fn peak<T>(f: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = f();
    (result, ALLOCATOR.peak_usage() - before)
}

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Opens and samples from the first frame to the last, and returns how many there are.
fn run(bytes: &[u8], limits: &Limits) -> Result<usize, Error> {
    let clip = Clip::open(vec![bytes.to_vec()], limits)?;
    let frames = clip.frames();
    let indices: Vec<usize> = (0..16).map(|i| i * (frames - 1) / 15).collect();
    clip.sample(&indices, |_, _| Ok::<(), Error>(()))?;
    Ok(frames)
}

/// Where the body of the first box of this name starts.
fn body(bytes: &[u8], name: &[u8]) -> usize {
    let at = bytes.windows(4).position(|w| w == name);
    at.unwrap_or_else(|| panic!("no {}", name.escape_ascii())) + 4
}

/// `high.mp4` with a number in the body of a box.
fn forged(name: &[u8], at: usize, value: u32) -> Vec<u8> {
    let mut bytes = file("clips/high.mp4");
    let at = body(&bytes, name) + at;
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// The same with the size in a box's header.
fn sized(name: &[u8], size: u32) -> Vec<u8> {
    let mut bytes = file("clips/high.mp4");
    let at = body(&bytes, name) - 8;
    bytes[at..at + 4].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// A ZIP archive of one entry, deflated, that says it unpacks to `bytes`.
fn zip(name: &str, packed: &[u8], bytes: u32, flags: u16) -> Vec<u8> {
    let name = name.as_bytes();
    let [length, packed_bytes] = [name.len() as u16, packed.len() as u16];
    let sizes = [u32::from(packed_bytes).to_le_bytes(), bytes.to_le_bytes()].concat();
    let common = |out: &mut Vec<u8>| {
        out.extend([20, 0]);
        out.extend(flags.to_le_bytes());
        out.extend([8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(&sizes);
        out.extend(length.to_le_bytes());
        out.extend([0, 0]);
    };
    let mut out = b"PK\x03\x04".to_vec();
    common(&mut out);
    out.extend(name);
    out.extend(packed);
    let start = out.len() as u32;
    out.extend(b"PK\x01\x02\x14\0");
    common(&mut out);
    out.extend([0; 10]);
    out.extend(0u32.to_le_bytes());
    out.extend(name);
    let size = out.len() as u32 - start;
    out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// Deflate's best: `bytes` zeros.
fn deflated_zeros(bytes: usize) -> Vec<u8> {
    use std::io::Write;
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..bytes / 4096 {
        out.write_all(&[0; 4096]).expect("memory is written to");
    }
    out.finish().expect("memory is written to")
}

#[test]
fn every_attack_gets_a_sentence_and_no_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let gif = |side: [u8; 4]| {
        let mut bytes = b"GIF89a".to_vec();
        bytes.extend(side);
        bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2c, 0, 0, 0, 0]);
        bytes.extend(side);
        bytes.extend([0, 2, 2, 0x44, 1, 0, 0x3b]);
        bytes
    };
    let mut overlapping = zip("a.png", b"x", 1, 0);
    // A second record for the same entry.
    let at = overlapping
        .windows(4)
        .position(|w| w == b"PK\x01\x02")
        .expect("a record");
    let end = overlapping
        .windows(4)
        .position(|w| w == b"PK\x05\x06")
        .expect("an end");
    let record = overlapping[at..end].to_vec();
    overlapping.splice(end..end, record.clone());
    let end = end + record.len();
    overlapping[end + 8] = 2;
    overlapping[end + 10] = 2;
    let size = (2 * record.len() as u32).to_le_bytes();
    overlapping[end + 12..end + 16].copy_from_slice(&size);
    let mut hours = forged(b"stts", 8, 216_000);
    // Sizes: all the same, for two hours at 30 frames a second.
    let at = body(&hours, b"stsz");
    hours[at + 4..at + 8].copy_from_slice(&50u32.to_be_bytes());
    hours[at + 8..at + 12].copy_from_slice(&216_000u32.to_be_bytes());
    let mut many = hours.clone();
    many[at + 8..at + 12].copy_from_slice(&u32::MAX.to_be_bytes());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "a file is empty"),
        ("text", b"hello, world".to_vec(), "not a clip"),
        ("box of no size", sized(b"tkhd", 0), "box mdia is missing"),
        (
            "box shorter than its header",
            sized(b"mdia", 7),
            "shorter than its header",
        ),
        (
            "box longer than the file",
            sized(b"moov", 1 << 30),
            "ends behind",
        ),
        (
            "no movie",
            b"\0\0\0\x08ftyp\0\0\0\x08free".to_vec(),
            "box moov is missing",
        ),
        (
            "a picture in boxes",
            b"\0\0\0\x10ftypheic\0\0\0\0".to_vec(),
            "HEIF",
        ),
        (
            "sizes without room",
            forged(b"stsz", 8, 1 << 20),
            "room for 20",
        ),
        (
            "sizes with little room",
            forged(b"stsz", 8, 21),
            "room for 20",
        ),
        ("more sizes than a table holds", many, "4294967295 frames"),
        ("two hours of nothing", hours, "samples, but chunks for"),
        (
            "times without room",
            forged(b"stts", 4, 1 << 28),
            "room for",
        ),
        (
            "offsets without room",
            forged(b"ctts", 4, u32::MAX),
            "room for",
        ),
        (
            "chunks without room",
            forged(b"stco", 4, u32::MAX),
            "room for",
        ),
        (
            "runs without room",
            forged(b"stsc", 4, u32::MAX),
            "room for",
        ),
        (
            "fewer times than samples",
            forged(b"stts", 8, 3),
            "times for 3",
        ),
        ("no chunk", forged(b"stco", 4, 0), "chunks for 0"),
        (
            "samples behind the end",
            forged(b"stco", 8, 1 << 20),
            "behind the end of the file",
        ),
        (
            "edits without room",
            forged(b"elst", 4, 1 << 30),
            "room for",
        ),
        (
            "an edit behind the end",
            forged(b"elst", 12, 1 << 30),
            "shows no frame",
        ),
        ("a second without ticks", forged(b"mdhd", 12, 0), "no ticks"),
        (
            "a zip bomb as announced",
            zip("a.png", &deflated_zeros(40 * MIB), 1 << 30, 0),
            "limit is 10485760",
        ),
        (
            "a zip bomb as packed",
            zip("a.png", &deflated_zeros(40 * MIB), 1000, 0),
            "announced length",
        ),
        ("an encrypted entry", zip("a.png", b"x", 1, 1), "encrypted"),
        (
            "a zip without pictures",
            zip("a.txt", b"x", 1, 0),
            "no pictures",
        ),
        (
            "a zip without entries",
            b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            "no pictures",
        ),
        (
            "an empty entry",
            zip("a.png", &[3, 0], 0, 0),
            "file is empty",
        ),
        (
            "a zip with a long name",
            zip(&"1x".repeat(600), b"x", 1, 0),
            "a name of 1200 bytes",
        ),
        ("a zip cut off", b"PK\x03\x04\0\0".to_vec(), "truncated"),
        ("entries that share bytes", overlapping, "share bytes"),
        ("a gif of 65535 x 65535", gif([0xff; 4]), "65535 x 65535"),
        ("a gif without pixels", gif([0; 4]), "no pixels"),
        (
            "a gif without frames",
            b"GIF89a\x01\0\x01\0\0\0\0\x3b".to_vec(),
            "no frame",
        ),
    ];
    for (name, bytes, expected) in cases {
        let (result, peak) = peak(|| run(&bytes, &Limits::default()));
        let message = result
            .err()
            .unwrap_or_else(|| panic!("{name}: no error"))
            .to_string();
        assert!(message.contains(expected), "{name}: {message}");
        // The copy that is handed over, and little beside it.
        let spare = if name.contains("zip") { MIB } else { 4 * MIB };
        assert!(peak < bytes.len() + spare, "{name}: {peak} bytes");
    }
}

#[test]
fn cut_anywhere_it_is_an_error_or_fewer_frames() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for name in [
        "clips/high.mp4",
        "clips/faststart.mp4",
        "clips/fragments.mp4",
        "files/keep.gif",
        "files/lossy.webp",
        "files/keep.apng",
        "files/deflated.zip",
        "files/ustar.tar",
        "files/joined.mjpeg",
    ] {
        let whole = file(name);
        let frames = run(&whole, &Limits::default()).expect(name);
        for length in (0..whole.len()).step_by(1 + whole.len() / 400) {
            match run(&whole[..length], &Limits::default()) {
                Ok(left) => assert!(left <= frames, "{name} at {length}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_clip() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // The same picture 6 and 600 times.
    let one = file("files/joined.mjpeg");
    let many = one.repeat(100);
    let (_, few) = peak(|| run(&one, &Limits::default()).expect("frames"));
    let (count, lots) = peak(|| run(&many, &Limits::default()).expect("frames"));
    assert_eq!(count, 600);
    let grown = lots - many.len() - (few - one.len());
    // Where each lies.
    assert!(grown < 600 * 64, "{grown} bytes");
}

/// Transparent, `width` x `height`, and two frames of one pixel.
fn small_frames_on_a_large_canvas(kind: Kind, width: u16, height: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    if kind == Kind::Gif {
        let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[0; 6]).expect("memory");
        for _ in 0..2 {
            let frame = gif::Frame::from_indexed_pixels(1, 1, vec![0], None);
            encoder.write_frame(&frame).expect("memory");
        }
        drop(encoder);
        return bytes;
    }
    let mut encoder = png::Encoder::new(&mut bytes, width.into(), height.into());
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(2, 0).expect("two frames");
    encoder.set_sep_def_img(true).expect("an animation");
    let mut writer = encoder.write_header().expect("memory");
    let pixels = vec![0; usize::from(width) * usize::from(height) * 4];
    writer.write_image_data(&pixels).expect("memory");
    for _ in 0..2 {
        writer.set_frame_dimension(1, 1).expect("a pixel");
        writer.write_image_data(&[0; 4]).expect("memory");
    }
    writer.finish().expect("memory");
    bytes
}

#[test]
fn an_animation_takes_no_more_memory_than_was_counted() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let canvas = 1000 * 700;
    for (kind, bytes_per_pixel) in [(Kind::Gif, 7), (Kind::Apng, 11)] {
        let bytes = small_frames_on_a_large_canvas(kind, 1000, 700);
        let counted = canvas * bytes_per_pixel + 8;
        let limits = |max_decode_bytes| Limits {
            max_decode_bytes,
            ..Limits::default()
        };
        let (frames, peak) = peak(|| run(&bytes, &limits(counted)));
        assert_eq!(frames.expect("enough"), 2, "{kind}");
        let spare = peak.abs_diff(counted as usize + bytes.len());
        assert!(spare < MIB / 2, "{kind}: {peak} bytes, counted {counted}");
        let error = run(&bytes, &limits(counted - 1)).expect_err("too little");
        assert!(matches!(error, Error::TooHeavy { .. }), "{kind}: {error}");
    }
}

#[test]
fn comparing_names_takes_no_memory() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = |last: &str| "12x".repeat(300) + last;
    let (short, long) = (name("2"), name("10"));
    let (order, peak) = peak(|| natural_order(&short, &long));
    assert_eq!((order, peak), (std::cmp::Ordering::Less, 0));
}

#[test]
fn too_much_work_is_refused_before_it_is_begun() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let limits = Limits {
        max_decoded_pixels: 64 * 48 * 3,
        ..Limits::default()
    };
    for name in ["clips/one-gop.mp4", "files/keep.gif"] {
        let limits = if name.ends_with("gif") {
            Limits {
                max_decoded_pixels: 24 * 16,
                ..limits
            }
        } else {
            limits
        };
        let error = run(&file(name), &limits).expect_err(name);
        assert!(matches!(error, Error::TooLong { .. }), "{name}: {error}");
    }
    let small = Limits {
        max_decode_bytes: 1000,
        ..Limits::default()
    };
    for name in [
        "clips/one-gop.mp4",
        "files/keep.gif",
        "files/lossy.webp",
        "files/keep.apng",
    ] {
        let error = run(&file(name), &small).expect_err(name);
        assert!(matches!(error, Error::TooHeavy { .. }), "{name}: {error}");
    }
}

#[test]
fn large_frames_are_refused_before_they_are_decoded() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let small = Limits {
        max_side_px: 20,
        ..Limits::default()
    };
    for name in [
        "clips/high.mp4",
        "files/keep.gif",
        "files/lossy.webp",
        "files/keep.apng",
    ] {
        let error = run(&file(name), &small).expect_err(name);
        assert!(matches!(error, Error::TooLarge { .. }), "{name}: {error}");
    }
    let error = run(&file("files/stored.zip"), &small).expect_err("zip");
    let inner = matches!(
        error,
        Error::Picture {
            index: 0,
            source: ephemera_vision::Error::TooLarge { .. }
        }
    );
    assert!(inner, "{error}");
}

/// What fuzzing found, by the name of the target.
#[test]
fn what_was_found_is_mended() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = format!("{}/tests/found", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        let (_, peak) = peak(|| run(&bytes, &Limits::default()));
        assert!(peak < 64 * MIB, "{peak} bytes");
        count += 1;
    }
    assert!(count > 0);
}

/// What mutations start from.
fn seeds() -> Vec<Vec<u8>> {
    [
        "clips/main.mp4",
        "clips/weighted.mp4",
        "clips/fragments.mp4",
        "clips/slices.mp4",
        "files/restore.gif",
        "files/lossy.webp",
        "files/restore.apng",
        "files/deflated.zip",
        "files/pax.tar",
        "files/joined.mjpeg",
    ]
    .map(file)
    .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_is_no_panic(
        which in 0usize..10,
        changes in prop::collection::vec((any::<u32>(), any::<u8>()), 1..12),
    ) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = seeds().swap_remove(which);
        for (at, value) in changes {
            let at = at as usize % bytes.len();
            bytes[at] = value;
        }
        let (_, peak) = peak(|| run(&bytes, &Limits::default()));
        prop_assert!(peak < 64 * MIB, "{peak} bytes");
    }

    #[test]
    fn noise_is_no_panic(
        start in 0usize..7,
        noise in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let starts: [&[u8]; 7] = [
            b"", b"PK\x03\x04", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\x02", b"\0\0\0\x08ftyp\0\0\x01\0moov", b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n\0\0\0\x08acTL",
        ];
        let bytes = [starts[start], &noise].concat();
        let (_, peak) = peak(|| run(&bytes, &Limits::default()));
        prop_assert!(peak < 64 * MIB, "{peak} bytes");
    }
}
