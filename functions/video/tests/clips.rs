//! MP4 and MOV as other programs write them, beside ffmpeg's frames: `clips/`, made by `make_clips.py`.

use ephemera_video::{Clip, Error, Kind, Limits, Rgb};
use ephemera_vision::{Options, decode};

/// Which frames `clips/NAME.png` holds, as far as the clip has them.
const FRAMES: [usize; 4] = [0, 3, 8, 11];

/// Mean difference to ffmpeg's frames in levels that is borne. With the version that made them it is 0.
const MEAN_LEVELS: f64 = 1.0;

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/clips/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn open(name: &str) -> Result<Clip, Error> {
    Clip::open(vec![file(name)], &Limits::default())
}

fn sample(clip: Clip, indices: &[usize]) -> Result<Vec<Rgb>, Error> {
    let mut frames = Vec::new();
    clip.sample(indices, |_, frame| {
        frames.push(frame);
        Ok::<(), Error>(())
    })?;
    Ok(frames)
}

#[test]
fn frames_are_ffmpegs() {
    // How many frames ffmpeg counts, and their sides.
    let clips: [(&str, usize, (usize, usize)); 21] = [
        ("baseline.mp4", 20, (64, 48)),
        ("main.mp4", 20, (64, 48)),
        ("high.mp4", 20, (64, 48)),
        ("high.mov", 20, (64, 48)),
        ("cropped.mp4", 20, (58, 42)),
        ("cropped-left.mp4", 20, (54, 36)),
        ("slices.mp4", 20, (64, 48)),
        ("weighted.mp4", 20, (64, 48)),
        ("open-gop.mp4", 20, (64, 48)),
        ("one-gop.mp4", 20, (64, 48)),
        ("faststart.mp4", 20, (64, 48)),
        ("vfr.mp4", 13, (64, 48)),
        ("bt709.mp4", 20, (64, 48)),
        ("full-range.mp4", 20, (64, 48)),
        ("fake-interlaced.mp4", 20, (64, 48)),
        ("fragments.mp4", 20, (64, 48)),
        ("turned-90.mp4", 20, (48, 64)),
        ("turned-180.mp4", 20, (64, 48)),
        ("turned-270.mp4", 20, (48, 64)),
        ("edited.mp4", 12, (64, 48)),
        ("in-band.mp4", 20, (64, 48)),
    ];
    let mut wrong = Vec::new();
    for (name, count, size) in clips {
        let clip = open(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((clip.kind(), clip.frames()), (Kind::Mp4, count), "{name}");
        let indices: Vec<usize> = FRAMES.into_iter().filter(|&i| i < count).collect();
        let frames = sample(clip, &indices).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(frames.len(), indices.len(), "{name}");
        assert!(frames.iter().all(|f| (f.width, f.height) == size), "{name}");
        let expected = decode(&file(&format!("{name}.png")), &Options::new(4096));
        let expected = expected.expect("a picture").rgb.data;
        let actual: Vec<u8> = frames.into_iter().flat_map(|frame| frame.data).collect();
        assert_eq!(actual.len(), expected.len(), "{name}");
        let differences = actual.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        let mean = differences.clone().map(f64::from).sum::<f64>() / actual.len() as f64;
        let most = differences.max().unwrap_or(0);
        println!("{name}: mean {mean:.3}, most {most}");
        if mean > MEAN_LEVELS {
            wrong.push((name, mean));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_frame_is_reached_from_everywhere() {
    for name in [
        "main.mp4",
        "open-gop.mp4",
        "edited.mp4",
        "fragments.mp4",
        "weighted.mp4",
    ] {
        let count = open(name).expect(name).frames();
        let all: Vec<usize> = (0..count).collect();
        let together = sample(open(name).expect(name), &all).expect(name);
        for index in all {
            let alone = sample(open(name).expect(name), &[index]).expect(name);
            assert_eq!(alone[0].data, together[index].data, "{name}: frame {index}");
        }
        // Repeated, and beyond the last.
        let repeated = sample(open(name).expect(name), &[1, 1, count, count + 9]).expect(name);
        for (frame, index) in repeated.iter().zip([1, 1, count - 1, count - 1]) {
            assert_eq!(frame.data, together[index].data, "{name}");
        }
    }
}

#[test]
fn a_frame_that_takes_anothers_place_has_its_own_number() {
    // Decoding begins at 0 and at 10. Two frames may be decoded, and 12 alone would take more.
    let limits = Limits {
        max_decoded_pixels: 2 * 64 * 48,
        ..Limits::default()
    };
    let clip = Clip::open(vec![file("high.mp4")], &limits).expect("a clip");
    let mut seen = Vec::new();
    let each = |index, frame: Rgb| {
        seen.push((index, frame.data));
        Ok::<(), Error>(())
    };
    clip.sample(&[1, 12], each).expect("two frames to begin at");
    let expected = sample(open("high.mp4").expect("a clip"), &[0, 10]).expect("a clip");
    let expected = [0, 10]
        .into_iter()
        .zip(expected.into_iter().map(|f| f.data));
    assert!(seen.into_iter().eq(expected));
}

#[test]
fn the_movies_matrix_turns_what_the_tracks_has_turned() {
    // Where the matrix lies behind the box's name, in version 0.
    const MOVIE: (&[u8; 4], usize) = (b"mvhd", 40);
    const TRACK: (&[u8; 4], usize) = (b"tkhd", 44);
    let matrix = |bytes: &[u8], (name, behind): (&[u8; 4], usize)| {
        let at = bytes.windows(4).position(|w| w == name).expect("a box");
        at + behind..at + behind + 36
    };
    let quarter = file("turned-90.mp4");
    let quarter = &quarter[matrix(&quarter, TRACK)];
    for (name, expected) in [
        ("high.mp4", "turned-90.mp4"),
        ("turned-90.mp4", "turned-180.mp4"),
        ("turned-180.mp4", "turned-270.mp4"),
        ("turned-270.mp4", "high.mp4"),
    ] {
        let mut bytes = file(name);
        let place = matrix(&bytes, MOVIE);
        bytes[place].copy_from_slice(quarter);
        let clip = Clip::open(vec![bytes], &Limits::default()).expect(name);
        let frames = sample(clip, &[3]).expect(name);
        let expected = sample(open(expected).expect(expected), &[3]).expect(expected);
        assert_eq!(frames[0].width, expected[0].width, "{name}");
        assert_eq!(frames[0].data, expected[0].data, "{name}");
    }
}

#[test]
fn what_is_not_read_says_so() {
    let cases = [
        ("hevc.mp4", "HEVC"),
        ("vp9.mp4", "VP9"),
        ("mpeg4.mp4", "MPEG-4 Visual"),
        ("ten-bit.mp4", "more than 8 bits"),
        ("chroma-422.mp4", "4:2:2"),
        ("interlaced.mp4", "interlaced"),
        ("audio.m4a", "no video track, only soun"),
    ];
    for (name, expected) in cases {
        let error = open(name).err().expect(name);
        let message = error.to_string();
        assert!(
            matches!(
                error,
                Error::Unsupported {
                    kind: Kind::Mp4,
                    ..
                }
            ),
            "{name}: {message}"
        );
        assert!(message.contains(expected), "{name}: {message}");
        assert!(message.contains("ephemera sample"), "{name}: {message}");
    }
}

#[test]
fn a_corrupt_group_matters_where_it_is_sampled() {
    let mut bytes = file("high.mp4");
    let media = bytes.windows(4).position(|name| name == b"mdat");
    let media = media.expect("media data") + 4;
    let length = u32::from_be_bytes([0, 1, 2, 3].map(|i| bytes[media - 8 + i])) as usize;
    // The second of two groups of ten frames, but for its first bytes.
    bytes[media + length * 2 / 3..media + length - 8].fill(0);
    let open = || Clip::open(vec![bytes.clone()], &Limits::default()).expect("whole boxes");
    let frames = sample(open(), &[0, 3, 9]).expect("the first group is whole");
    let whole = sample(self::open("high.mp4").expect("a clip"), &[0, 3, 9]).expect("a clip");
    assert!(frames.iter().zip(&whole).all(|(a, b)| a.data == b.data));
    match sample(open(), &[0, 19]) {
        Err(Error::CorruptFrame { index, .. }) => assert!((10..20).contains(&index), "{index}"),
        other => panic!("{:?}", other.map(|frames| frames.len())),
    }
}
