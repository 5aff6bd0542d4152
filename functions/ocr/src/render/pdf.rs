//! Searchable PDF: the page's image, and its words in front of it, invisible, so that they can be selected, searched and
//! copied.
//!
//! A JPEG or PNG file goes in as it was sent, turned by the page's description where a camera was held sideways; anything
//! else as a JPEG of the picture that was read. Words are set in a font without outlines, stretched so that each takes the
//! place that its print takes.

mod font;
mod image;

use std::collections::BTreeMap;

use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, TextRenderingMode, UnicodeCmap};
use pdf_writer::{Content, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use ephemera_vision::{Region, dpi};

use super::Asked;
use super::markup::known_language;
use super::walk::{self, BASELINE, LineView, WordView};
use crate::Reading;
use font::ADVANCE;
use image::Picture;

/// Resolution of a file that does not tell any: what offices scan with. Nothing but the size of the sheet depends on it.
const DEFAULT_DPI: f64 = 300.0;
/// What cameras and programs write that know of no paper: it is believed up to a sheet of this length, A3's in inches.
const SCREEN_DPI: [f64; 2] = [72.0, 96.0];
const MAX_SCREEN_INCHES: f64 = 16.6;
/// Points of a PDF's default unit in an inch.
const POINTS_PER_INCH: f64 = 72.0;
/// The longest side that readers must show, in points (ISO 32000-1, annex C).
const MAX_SIDE_POINTS: f64 = 14_400.0;
/// Room for what is written around the image; grows when it is not enough.
const TEXT_BYTES: usize = 256 << 10;

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENTS: Ref = Ref::new(4);
const IMAGE: Ref = Ref::new(5);
const FONT: Ref = Ref::new(6);
const CID_FONT: Ref = Ref::new(7);
const FONT_DESCRIPTOR: Ref = Ref::new(8);
const FONT_FILE: Ref = Ref::new(9);
const TO_UNICODE: Ref = Ref::new(10);
const INFO: Ref = Ref::new(11);

const IMAGE_NAME: Name<'static> = Name(b"Im1");
const FONT_NAME: Name<'static> = Name(b"F1");
const FONT_FILE_NAME: Name<'static> = Name(b"GlyphLessFont");
const CID_SYSTEM: SystemInfo<'static> = SystemInfo {
    registry: Str(b"Adobe"),
    ordering: Str(b"Identity"),
    supplement: 0,
};

pub(super) fn answer(reading: &Reading, asked: Asked<'_>) -> Vec<u8> {
    let page = &reading.page;
    let file = Picture::of_file(asked.image)
        .filter(|picture| picture.upright_size() == (page.width, page.height));
    // A file shows all of the page, the pixels that were read only their region.
    let (picture, part) = match file {
        Some(picture) => (picture, Region::whole((page.width, page.height))),
        None => (Picture::of_pixels(&page.pixels), page.region),
    };

    let sides = (f64::from(page.width), f64::from(page.height));
    let longest = sides.0.max(sides.1);
    let scale = POINTS_PER_INCH / resolution(dpi(asked.image, page.number), longest);
    let scale = scale.min(MAX_SIDE_POINTS / longest);
    let sheet = Sheet {
        width: sides.0 * scale,
        height: sides.1 * scale,
        scale,
    };

    let mut letters = Letters::default();
    let content = sheet.content(reading, &picture, part, &mut letters);

    // Room for all of it at once: growing would copy the image.
    let mut pdf = Pdf::with_capacity(picture.data.len() + content.len() + TEXT_BYTES);
    let mut catalog = pdf.catalog(CATALOG);
    catalog.pages(PAGES);
    if let Some(tag) = known_language(asked.tag) {
        catalog.lang(TextStr(tag));
    }
    catalog.finish();
    let producer = format!("ephemera {}: {}", crate::VERSION, reading.model);
    pdf.document_info(INFO).producer(TextStr(&producer));
    pdf.pages(PAGES).kids([PAGE]).count(1);
    let mut page = pdf.page(PAGE);
    page.parent(PAGES)
        .media_box(Rect::new(0.0, 0.0, sheet.width as f32, sheet.height as f32))
        .contents(CONTENTS);
    let mut resources = page.resources();
    resources.x_objects().pair(IMAGE_NAME, IMAGE);
    resources.fonts().pair(FONT_NAME, FONT);
    resources.finish();
    page.finish();
    pdf.stream(CONTENTS, &content);
    picture.write(&mut pdf, IMAGE);
    letters.write(&mut pdf);
    pdf.finish()
}

/// Pixels per inch of the paper. `told`: what the file says.
fn resolution(told: Option<f64>, longest_px: f64) -> f64 {
    told.filter(|dpi| !SCREEN_DPI.contains(dpi) || longest_px <= dpi * MAX_SCREEN_INCHES)
        .unwrap_or(DEFAULT_DPI)
}

/// The page in points.
struct Sheet {
    width: f64,
    height: f64,
    /// Points per pixel.
    scale: f64,
}

impl Sheet {
    /// `part`: what of the page `picture` shows, in pixels.
    fn content(
        &self,
        reading: &Reading,
        picture: &Picture<'_>,
        part: Region,
        letters: &mut Letters,
    ) -> Vec<u8> {
        let mut content = Content::new();
        let [left, top, width, height] =
            [part.x, part.y, part.width, part.height].map(|side| f64::from(side) * self.scale);
        let bottom = self.height - top - height;
        let [a, b, c, d, e, f] = picture.placement();
        let across = [a * width, b * height, c * width, d * height];
        content.save_state();
        content.transform(matrix(across, [left + e * width, bottom + f * height]));
        content.x_object(IMAGE_NAME);
        content.restore_state();

        content.begin_text();
        content.set_text_rendering_mode(TextRenderingMode::Invisible);
        for block in walk::blocks(reading) {
            for line in &block.lines {
                self.line(&mut content, line, letters);
            }
        }
        content.end_text();
        content.finish().into_vec()
    }

    fn line(&self, content: &mut Content, line: &LineView<'_>, letters: &mut Letters) {
        for (i, word) in line.words.iter().enumerate() {
            let set = Setting::of(word, self);
            content.set_font(FONT_NAME, set.size as f32);
            content.set_text_matrix(set.matrix);
            show(content, letters, word.content, set.width, set.size);
            // The space takes what is between two words, so that a selection has no holes and the words come apart.
            if let Some(next) = line.words.get(i + 1) {
                let gap = distance(word.corners[1], next.corners[0]) * self.scale;
                show(content, letters, " ", gap, set.size);
            }
        }
    }

    fn point(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        // A PDF's y axis points up.
        [x * self.scale, self.height - y * self.scale]
    }
}

/// How a word is set.
struct Setting {
    matrix: [f32; 6],
    /// Of the font, whose ascent and descent together are as high as the line.
    size: f64,
    /// Of the word.
    width: f64,
}

impl Setting {
    fn of(word: &WordView<'_>, sheet: &Sheet) -> Setting {
        let [a, b, _, d] = word.corners;
        // Nothing is thinner than a pixel, so that nothing is divided by zero.
        let height = distance(a, d).max(1.0) * sheet.scale;
        let width = distance(a, b).max(1.0) * sheet.scale;
        let (a, b, d) = (sheet.point(a), sheet.point(b), sheet.point(d));
        let length = distance(a, b);
        let (cos, sin) = if length > 0.0 {
            ((b[0] - a[0]) / length, (b[1] - a[1]) / length)
        } else {
            (1.0, 0.0)
        };
        let start: [f64; 2] = std::array::from_fn(|i| a[i] + (d[i] - a[i]) * BASELINE);
        Setting {
            matrix: matrix([cos, sin, -sin, cos], start),
            size: height / font::HEIGHT,
            width,
        }
    }
}

/// Shows text so that it is `width` points wide.
fn show(content: &mut Content, letters: &mut Letters, text: &str, width: f64, size: f64) {
    let codes = letters.codes(text);
    let natural = (codes.len() / 2) as f64 * size * f64::from(ADVANCE) / 1000.0;
    // In percent; not zero, which some readers take for one hundred.
    let stretch = (100.0 * width / natural).max(0.1);
    content.set_horizontal_scaling(stretch as f32);
    content.show(Str(&codes));
}

fn matrix([a, b, c, d]: [f64; 4], [e, f]: [f64; 2]) -> [f32; 6] {
    // Five digits are a hundredth of a pixel on the largest page, and `+ 0.0` makes no "-0".
    [a, b, c, d, e, f].map(|v| ((v * 1e5).round() / 1e5 + 0.0) as f32)
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    (dx * dx + dy * dy).sqrt()
}

/// The characters of a page and the codes they are shown by: glyphs of the font, numbered in order of appearance.
#[derive(Default)]
struct Letters {
    glyphs: BTreeMap<char, u16>,
}

impl Letters {
    /// Two bytes for each character.
    fn codes(&mut self, text: &str) -> Vec<u8> {
        let mut codes = Vec::with_capacity(text.len() * 2);
        for c in text.chars() {
            let next = self.glyphs.len() + 1;
            let glyph = match self.glyphs.get(&c) {
                Some(&glyph) => glyph,
                // 65,535 is the highest code; after that many different characters more are shown as nothing.
                None => u16::try_from(next)
                    .inspect(|&glyph| {
                        self.glyphs.insert(c, glyph);
                    })
                    .unwrap_or(0),
            };
            codes.extend(glyph.to_be_bytes());
        }
        codes
    }

    fn write(&self, pdf: &mut Pdf) {
        pdf.type0_font(FONT)
            .base_font(FONT_FILE_NAME)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(CID_FONT)
            .to_unicode(TO_UNICODE);
        pdf.cid_font(CID_FONT)
            .subtype(CidFontType::Type2)
            .base_font(FONT_FILE_NAME)
            .system_info(CID_SYSTEM)
            .font_descriptor(FONT_DESCRIPTOR)
            .default_width(f32::from(ADVANCE))
            .cid_to_gid_map_predefined(Name(b"Identity"));
        let (ascent, descent) = (f32::from(font::ASCENT), f32::from(font::DESCENT));
        pdf.font_descriptor(FONT_DESCRIPTOR)
            .name(FONT_FILE_NAME)
            .flags(FontFlags::FIXED_PITCH | FontFlags::SYMBOLIC)
            .bbox(Rect::new(0.0, descent, f32::from(ADVANCE), ascent))
            .italic_angle(0.0)
            .ascent(ascent)
            .descent(descent)
            .cap_height(ascent)
            .stem_v(80.0)
            .font_file2(FONT_FILE);
        let file = font::without_outlines(u16::try_from(self.glyphs.len()).unwrap_or(u16::MAX));
        let length = i32::try_from(file.len()).expect("a font of 65,535 glyphs has 256 KiB");
        pdf.stream(FONT_FILE, &file).pair(Name(b"Length1"), length);
        let mut cmap = UnicodeCmap::<u16>::new(Name(b"ToUnicode"), CID_SYSTEM);
        let mut by_glyph: Vec<(u16, char)> = self.glyphs.iter().map(|(&c, &g)| (g, c)).collect();
        by_glyph.sort_unstable();
        for (glyph, c) in by_glyph {
            cmap.pair(glyph, c);
        }
        pdf.cmap(TO_UNICODE, &cmap.finish());
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ASKED, blank, reading};
    use super::*;

    fn text(pdf: &[u8]) -> String {
        String::from_utf8_lossy(pdf).into_owned()
    }

    #[test]
    fn words_are_set_where_they_are_printed() {
        // 20 x 24 px at 300 dpi: 0.24 points a pixel. "He": x 2..6, y 4..12; the baseline 5.84 px below 4, at 9.84 px, 14.16
        // above the foot. The box has 1.92 points, so the font 1.28; two letters of half
        // of that take 1.28: 0.96 are wanted, and 0.48 for the gap of 2 px.
        let pdf = text(&answer(&reading(), ASKED));
        for expected in [
            "/MediaBox [0 0 4.8 5.76]",
            "3 Tr\n/F1 1.28 Tf\n1 0 0 1 0.48 3.3984 Tm\n75 Tz\n(\\000\\001\\000\\002) Tj\n",
        ] {
            assert!(pdf.contains(expected), "{expected} is not in {pdf}");
        }
        assert!(pdf.contains("/Lang (en)"));
        assert!(pdf.contains("ephemera 0.1.0: detector@1+recogniser@2"));
        // A space between "He" and "said", none at the lines' ends: three words and it.
        assert_eq!(pdf.matches(" Tj").count(), 4);
        let blank = text(&answer(&blank(), ASKED));
        assert!(!blank.contains(" Tj") && blank.contains("/Im1 Do"));
    }

    #[test]
    fn sheets_are_as_large_as_the_file_says_where_it_knows_of_paper() {
        // (what the file says, its longest side in pixels, what holds)
        let cases = [
            (None, 3508.0, 300.0),
            (Some(400.0), 3508.0, 400.0),
            (Some(72.0), 842.0, 72.0),
            (Some(96.0), 1500.0, 96.0),
            (Some(72.0), 4000.0, 300.0),
            (Some(75.0), 4000.0, 75.0),
        ];
        for (told, longest_px, expected) in cases {
            assert_eq!(
                resolution(told, longest_px),
                expected,
                "{told:?} {longest_px}"
            );
        }
    }

    #[test]
    fn a_tiff_files_resolution_was_not_looked_at() {
        // A directory of three tags: 600 dpi both ways. That it has no pixels does not matter: the page has been read.
        let mut file = b"II\x2a\0\x08\0\0\0\x02\0".to_vec();
        for tag in [282u16, 283] {
            file.extend(tag.to_le_bytes());
            file.extend(b"\x05\0\x01\0\0\0\x26\0\0\0");
        }
        file.extend(b"\0\0\0\0\x58\x02\0\0\x01\0\0\0");
        let asked = Asked {
            image: &file,
            ..ASKED
        };
        // 20 x 24 px.
        let pdf = text(&answer(&reading(), asked));
        assert!(pdf.contains("/MediaBox [0 0 2.4 2.88]"), "{pdf}");
    }

    #[test]
    fn every_character_has_a_code_and_its_way_back() {
        let mut letters = Letters::default();
        assert_eq!(letters.codes("aba😀"), [0, 1, 0, 2, 0, 1, 0, 3]);
        let mut pdf = Pdf::new();
        letters.write(&mut pdf);
        let pdf = text(&pdf.finish());
        for expected in ["<0001> <0061>", "<0002> <0062>", "<0003> <D83DDE00>"] {
            assert!(pdf.contains(expected), "{expected} is not in {pdf}");
        }
    }

    #[test]
    fn words_turn_with_their_line() {
        let sheet = Sheet {
            width: 100.0,
            height: 100.0,
            scale: 1.0,
        };
        let word = |corners: [[f64; 2]; 4]| {
            let word = WordView {
                content: "a",
                confidence: 1.0,
                bounds: [0; 4],
                corners,
            };
            let set = Setting::of(&word, &sheet);
            (set.matrix, set.size * font::HEIGHT, set.width)
        };
        // Read downwards: the first corner is the top right one.
        let down = word([[60.0, 10.0], [60.0, 40.0], [50.0, 40.0], [50.0, 10.0]]);
        assert_eq!(down, ([0.0, -1.0, 1.0, 0.0, 52.7, 90.0], 10.0, 30.0));
        // Along 3, 4.
        let tilted = word([[0.0, 0.0], [30.0, 40.0], [22.0, 46.0], [-8.0, 6.0]]);
        assert_eq!(tilted.0[..4], [0.6, -0.8, 0.8, 0.6]);
        assert_eq!((tilted.1, tilted.2), (10.0, 50.0));
        // A point.
        let nothing = word([[5.0, 5.0]; 4]);
        assert_eq!(nothing, ([1.0, 0.0, 0.0, 1.0, 5.0, 95.0], 1.0, 1.0));
    }
}
