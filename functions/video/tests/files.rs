//! Animations, archives and streams as other programs write them: `files/`, made by `make_files.py`.

use ephemera_video::{Clip, Error, Kind, Limits, Rgb};
use ephemera_vision::{Options, decode};

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn open(files: Vec<Vec<u8>>) -> Result<Clip, Error> {
    Clip::open(files, &Limits::default())
}

fn sample(clip: Clip, indices: &[usize]) -> Result<Vec<Rgb>, Error> {
    let last = clip.frames() - 1;
    let (mut numbers, mut frames) = (Vec::new(), Vec::new());
    clip.sample(indices, |index, frame| {
        numbers.push(index);
        frames.push(frame);
        Ok::<(), Error>(())
    })?;
    let expected: Vec<usize> = indices.iter().map(|&i| i.min(last)).collect();
    assert_eq!(numbers, expected);
    Ok(frames)
}

#[test]
fn animations_are_what_others_make_of_them() {
    // The largest difference in levels: how halves are rounded, and how chroma of lossy pictures is spread. It was 0.
    let cases = [
        ("keep.gif", Kind::Gif, 6, 0),
        ("clear.gif", Kind::Gif, 6, 0),
        ("restore.gif", Kind::Gif, 6, 0),
        ("one.gif", Kind::Gif, 1, 0),
        ("lossless.webp", Kind::WebP, 6, 1),
        ("opaque.webp", Kind::WebP, 6, 0),
        ("lossy.webp", Kind::WebP, 6, 12),
        ("keep.apng", Kind::Apng, 6, 0),
        ("clear.apng", Kind::Apng, 6, 0),
        ("restore.apng", Kind::Apng, 6, 0),
        ("replace.apng", Kind::Apng, 6, 1),
        ("opaque.apng", Kind::Apng, 6, 0),
        ("extra.apng", Kind::Apng, 5, 0),
    ];
    let mut wrong = Vec::new();
    for (name, kind, count, levels) in cases {
        let clip = open(vec![file(name)]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((clip.kind(), clip.frames()), (kind, count), "{name}");
        let all: Vec<usize> = (0..count).collect();
        let frames = sample(clip, &all).unwrap_or_else(|e| panic!("{name}: {e}"));
        let actual: Vec<u8> = frames.into_iter().flat_map(|frame| frame.data).collect();
        let expected = decode(&file(&format!("{name}.png")), &Options::new(4096));
        let expected = expected.expect("a picture").rgb.data;
        assert_eq!(actual.len(), expected.len(), "{name}");
        let differences = actual.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        let most = differences.max().unwrap_or(0);
        println!("{name}: {most}");
        if most > levels {
            wrong.push((name, most));
        }
        // The last alone, and twice.
        let last = sample(open(vec![file(name)]).expect(name), &[count - 1, count]).expect(name);
        let frame_bytes = actual.len() / count;
        for frame in last {
            assert_eq!(frame.data, actual[actual.len() - frame_bytes..], "{name}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Frames of one colour each, red 20 times their number, give or take what JPEG does.
fn check_colours(name: &str, frames: &[Rgb], numbers: &[u8]) {
    let reds: Vec<u8> = frames.iter().map(|frame| frame.at(12, 8)[0]).collect();
    assert_eq!(reds.len(), numbers.len(), "{name}");
    for (red, number) in reds.iter().zip(numbers) {
        assert!(red.abs_diff(20 * number) <= 3, "{name}: {reds:?}");
    }
}

#[test]
fn archives_and_streams_are_in_order() {
    for (name, kind) in [
        ("stored.zip", Kind::Zip),
        ("deflated.zip", Kind::Zip),
        ("streamed.zip", Kind::Zip),
        ("gnu.tar", Kind::Tar),
        ("pax.tar", Kind::Tar),
        ("ustar.tar", Kind::Tar),
        ("joined.mjpeg", Kind::Mjpeg),
        ("multipart.mjpeg", Kind::Mjpeg),
    ] {
        let clip = open(vec![file(name)]).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((clip.kind(), clip.frames()), (kind, 6), "{name}");
        let frames = sample(clip, &[0, 1, 2, 3, 4, 5, 9]).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_colours(name, &frames, &[0, 1, 2, 3, 4, 5, 5]);
    }
}

#[test]
fn a_saved_multipart_stream_is_a_clip() {
    for head in ["--frame\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"] {
        let bytes = [head.as_bytes(), &file("multipart.mjpeg")].concat();
        let clip = open(vec![bytes]).unwrap_or_else(|e| panic!("{head}: {e}"));
        assert_eq!((clip.kind(), clip.frames()), (Kind::Mjpeg, 6), "{head}");
        check_colours(head, &sample(clip, &[0, 5]).expect(head), &[0, 5]);
    }
}

#[test]
fn an_end_inside_a_zips_comment_is_none() {
    let mut bytes = file("stored.zip");
    // An end of an archive without entries.
    let comment = [&b"PK\x05\x06"[..], &[0; 18], b"!"].concat();
    let length = bytes.len() - 2;
    bytes[length..].copy_from_slice(&(comment.len() as u16).to_le_bytes());
    bytes.extend(comment);
    let frames = sample(open(vec![bytes]).expect("a zip"), &[0, 5]).expect("frames");
    check_colours("zip", &frames, &[0, 5]);
}

#[test]
fn pictures_are_frames_in_the_order_sent() {
    let parts = file("joined.mjpeg");
    let starts: Vec<usize> = (0..parts.len() - 2)
        .filter(|&i| parts[i..i + 3] == [0xff, 0xd8, 0xff])
        .collect();
    assert_eq!(starts.len(), 6);
    let picture =
        |i: usize| parts[starts[i]..starts.get(i + 1).copied().unwrap_or(parts.len())].to_vec();
    // Of several kinds and sizes; of an animation the first frame.
    let files = vec![
        picture(4),
        file("keep.gif.png"),
        picture(1),
        file("one.gif"),
    ];
    let clip = open(files).expect("pictures");
    assert_eq!((clip.kind(), clip.frames()), (Kind::Pictures, 4));
    let frames = sample(clip, &[0, 1, 2, 3]).expect("pictures");
    let sizes: Vec<(usize, usize)> = frames.iter().map(|f| (f.width, f.height)).collect();
    assert_eq!(sizes, [(24, 16), (24, 96), (24, 16), (24, 16)]);
    check_colours("pictures", &[frames[0].clone(), frames[2].clone()], &[4, 1]);
    let one = open(vec![picture(2)]).expect("a picture");
    assert_eq!((one.kind(), one.frames()), (Kind::Pictures, 1));
    check_colours("one", &sample(one, &[0; 3]).expect("a picture"), &[2; 3]);
}

#[test]
fn a_corrupt_frame_matters_where_it_is_sampled() {
    let mut zip = file("stored.zip");
    // The second of them, in natural order frame2, red 20: in its pixels.
    let at = zip
        .windows(10)
        .position(|w| w == b"frame2.png")
        .expect("its name")
        + 10
        + 60;
    zip[at] ^= 0xff;
    let mut pictures: Vec<Vec<u8>> = vec![file("keep.gif.png"); 3];
    pictures[1].truncate(60);
    let cases: [(&str, Vec<Vec<u8>>); 2] = [("zip", vec![zip]), ("pictures", pictures)];
    for (name, files) in cases {
        let frames = sample(open(files.clone()).expect(name), &[0, 2]);
        assert_eq!(frames.expect(name).len(), 2, "{name}");
        let error = sample(open(files).expect(name), &[0, 1, 2]).expect_err(name);
        assert!(
            matches!(
                error,
                Error::CorruptFrame { index: 1, .. } | Error::Picture { index: 1, .. }
            ),
            "{name}: {error}"
        );
        assert!(error.to_string().starts_with("frame 1"), "{name}: {error}");
    }
}

#[test]
fn what_the_receiver_says_comes_back() {
    let clip = open(vec![file("keep.gif")]).expect("a clip");
    let mut seen = 0;
    let result = clip.sample(&[0, 1, 2], |_, _| {
        seen += 1;
        if seen == 2 {
            Err(Error::NotAClip)
        } else {
            Ok(())
        }
    });
    assert!(matches!(result, Err(Error::NotAClip)));
    assert_eq!(seen, 2);
}
