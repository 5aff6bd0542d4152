//! Page, line -> the line's text.
//!
//! The line is cut out, straightened and scaled to the recogniser's height; the recogniser gives a score per character
//! for each step of some pixels; repeated winners are merged and blanks dropped (CTC, Graves et al. 2006).

mod marks;
mod pieces;
mod spelling;
mod strays;
mod words;

use std::borrow::Cow;

use ephemera_vision::{Quad, Rgb, crop};

use crate::Error;
use crate::pack::{Geometry, Pack};
use crate::page::Page;
use crate::pose::length;
pub(crate) use spelling::{Custom, with_straight_quotes};
pub use words::Word;
use words::{Glyph, words};

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The characters, without space at either end.
    pub content: String,
    /// Mean probability of the characters, 0..=1.
    pub confidence: f32,
    /// Where each character of `content` is: the position along the line, 0..=1, of the middle of its step; of a mark, its base's.
    pub positions: Vec<f32>,
    /// What stands between its spaces, in order.
    pub words: Vec<Word>,
}

impl Text {
    /// The same with other letters: `content` has as many characters, and its spaces where they were.
    pub(crate) fn respell(&mut self, content: String) {
        debug_assert_eq!(content.chars().count(), self.content.chars().count());
        let mut letters = content.chars().filter(|c| !c.is_whitespace());
        for word in &mut self.words {
            let count = word.content.chars().count();
            word.content = letters.by_ref().take(count).collect();
        }
        self.content = content;
    }
}

/// A line that was read, and how surely.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recognised {
    pub(crate) text: Text,
    /// The lowest probability of a character.
    pub(crate) faintest: f32,
    /// The characters that were read with [`SURE_CHARACTER`] or more, in order.
    pub(crate) sure: String,
}

/// From this probability on a character counts as seen, where its presence decides something.
const SURE_CHARACTER: f32 = 0.9;
/// The widest input: 50 times the height. Memory grows with it; longer lines are read in pieces.
const MAX_WIDTH_PX: usize = 2400;
/// The widest input where time counts: natively a column of 2400 px takes 1.4 times as long as one of 800 px, whose values fit the
/// caches.
const QUICK_WIDTH_PX: usize = 800;
/// The longest line, 500 times the height, which is some 1,500 letters. What seems longer is no text; it is squeezed.
const MAX_LINE_PX: usize = 24_000;
/// Fills the rest of the last step: the value that normalisation takes to zero (the mean is 128 / 255), as in training.
const PADDING: u8 = 128;

/// How a line is laid before the recogniser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manner {
    /// The part of its natural width that it is read at, 0..=1, which takes as much of the time.
    squeeze: f32,
    /// The widest input.
    piece_px: usize,
}

impl Manner {
    /// As it is, and in one piece if that is not too long: letters that are hard to read get the context they need.
    pub const CAREFUL: Manner = Manner {
        squeeze: 1.0,
        piece_px: MAX_WIDTH_PX,
    };

    /// Squeezed, and in short pieces: enough for print that is read surely.
    pub fn quick(squeeze: f32) -> Manner {
        Manner {
            squeeze,
            piece_px: QUICK_WIDTH_PX,
        }
    }

    /// Whether a line is read as it would be with care.
    pub(crate) fn is_careful(self, natural_px: f32) -> bool {
        self.squeeze == 1.0 && natural_px <= self.piece_px as f32 || self == Manner::CAREFUL
    }
}

/// Reads one line; `None` when there is nothing in it. `quad`: corners in the page's pixels, clockwise from the start of the
/// text.
///
/// # Errors
/// [`Error::Model`], [`Error::Output`].
pub(crate) fn recognise(
    pack: &Pack,
    page: &Page,
    quad: &Quad,
    manner: Manner,
    custom: Custom,
) -> Result<Option<Recognised>, Error> {
    let form = pack.geometry;
    let picture = straighten(&page.pixels, quad, form.height_px, manner.squeeze);
    let mut glyphs: Vec<Glyph<'_>> = Vec::new();
    let mut between_words = false;
    for piece in pieces::pieces(&picture, manner.piece_px, form) {
        // The picture is needed again, to find the words' edges in it; it is small beside what running the model takes.
        let input = pieces::input(&picture, &piece.columns, form);
        let steps = input.width / form.step_px;
        let scores = pack.network.run(input)?;
        let classes = pack.characters.len() + 1;
        let scores = pack.network.expect_f32(&scores, &[1, steps, classes])?;
        let read = decode(scores, &pack.characters, form.step_px);
        append(&mut glyphs, read, piece.columns.start, between_words);
        between_words = piece.ends_word;
    }
    let ink = words::ink(&picture, picture.width);
    let glyphs = spelling::spelt(glyphs, custom);
    let glyphs = strays::without_strays(glyphs, &ink, form.height_px);
    Ok(recognised(&glyphs, &ink, quad, form))
}

/// What was read of a line, with its words.
fn recognised(
    glyphs: &[Glyph<'_>],
    ink: &[bool],
    quad: &Quad,
    form: Geometry,
) -> Option<Recognised> {
    let text = text(glyphs, form.step_px, ink.len())?;
    let read = || glyphs.iter().filter(|glyph| !glyph.is_space());
    let sure = read().filter(|glyph| glyph.probability >= SURE_CHARACTER);
    Some(Recognised {
        text: Text {
            words: words(glyphs, ink, quad, form.height_px),
            ..text
        },
        faintest: read().map(|glyph| glyph.probability).fold(1.0, f32::min),
        sure: sure.map(|glyph| glyph.content.as_ref()).collect(),
    })
}

/// Appends what a piece says that begins at a line's column `start`. `between_words`: whether a word ends there, so that one
/// space belongs there, which neither side need have seen.
fn append<'a>(line: &mut Vec<Glyph<'a>>, piece: Vec<Glyph<'a>>, start: usize, between_words: bool) {
    let last = line.last().map(|last| (last.is_space(), last.probability));
    let moved = piece.into_iter().map(|glyph| Glyph {
        columns: glyph.columns.start + start..glyph.columns.end + start,
        ..glyph
    });
    match last {
        Some((true, _)) => line.extend(moved.skip_while(Glyph::is_space)),
        Some((false, probability)) if between_words => {
            let mut moved = moved.peekable();
            if moved.peek().is_some_and(|first| !first.is_space()) {
                line.push(Glyph {
                    content: Cow::Borrowed(" "),
                    columns: start..start,
                    // It was not read; the mean of the line is to stay what it is.
                    probability,
                    classes: 1,
                });
            }
            line.extend(moved);
        }
        _ => line.extend(moved),
    }
}

/// Width of a line that keeps its proportions, at this height.
pub(crate) fn natural_px(quad: &Quad, height_px: usize) -> f32 {
    let [a, b, _, d] = *quad;
    height_px as f32 * length(a, b) / length(a, d).max(1.0)
}

/// Cuts a line out: its picture at the recogniser's height, as wide as the line.
pub(crate) fn straighten(page: &Rgb, quad: &Quad, height_px: usize, squeeze: f32) -> Rgb {
    // Casts saturate: whatever the corners are, the width is within its limits.
    let wanted = (natural_px(quad, height_px) * squeeze).ceil() as usize;
    let width = wanted.clamp(1, MAX_LINE_PX);
    crop(page, quad, width, height_px, width, PADDING)
}

/// Picks the best character of each step and merges repeats. `scores`: `[steps, classes] f32`, before softmax; class 0 is
/// the blank.
fn decode<'a>(scores: &[f32], characters: &'a [String], step_px: usize) -> Vec<Glyph<'a>> {
    let mut glyphs: Vec<Glyph<'_>> = Vec::new();
    let mut previous = 0;
    for (step, scores) in scores.chunks_exact(characters.len() + 1).enumerate() {
        let best = argmax(scores);
        if best != 0 {
            match glyphs.last_mut().filter(|_| best == previous) {
                Some(glyph) => glyph.columns.end = (step + 1) * step_px,
                None => glyphs.push(Glyph {
                    content: Cow::Borrowed(&characters[best - 1]),
                    columns: step * step_px..(step + 1) * step_px,
                    probability: probability(scores, best),
                    classes: 1,
                }),
            }
        }
        previous = best;
    }
    glyphs
}

/// Joins what was read of a line that is `width` columns wide. The words are left out.
fn text(glyphs: &[Glyph<'_>], step_px: usize, width: usize) -> Option<Text> {
    let mut content = String::new();
    let mut positions = Vec::new();
    let (mut sum, mut classes) = (0.0, 0);
    for glyph in glyphs {
        // Space at the start has nothing to separate.
        if !(content.is_empty() && glyph.is_space()) {
            content.push_str(&glyph.content);
            let column = glyph.columns.start as f32 + step_px as f32 / 2.0;
            let position = (column / width as f32).min(1.0);
            // A class can stand for several characters, and a mark is where its base is; they share a place.
            positions.extend(glyph.content.chars().map(|_| position));
            sum += glyph.probability * glyph.classes as f32;
            classes += glyph.classes;
        }
    }
    content.truncate(content.trim_end().len());
    positions.truncate(content.chars().count());
    if content.is_empty() {
        return None;
    }
    Some(Text {
        content,
        confidence: sum / classes as f32,
        positions,
        words: Vec::new(),
    })
}

/// Index of the highest score, the first of equals; 0 where nothing compares.
fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = i;
        }
    }
    best
}

/// Softmax of one class that holds the maximum; `libm`'s exponential, because the standard library's differs between
/// platforms.
fn probability(scores: &[f32], best: usize) -> f32 {
    let total: f32 = scores
        .iter()
        .map(|score| libm::expf(score - scores[best]))
        .sum();
    1.0 / total
}

#[cfg(test)]
mod tests {
    use ephemera_vision::Point;

    use super::*;

    #[test]
    fn words_are_respelt_with_their_line() {
        let word = |content: &str| Word {
            content: content.to_owned(),
            confidence: 1.0,
            quad: [Point { x: 0.0, y: 0.0 }; 4],
        };
        let mut text = Text {
            content: "AB  c".to_owned(),
            confidence: 1.0,
            positions: vec![0.5; 5],
            words: vec![word("AB"), word("c")],
        };
        text.respell("ΑΒ  γ".to_owned());
        assert_eq!(
            (
                text.words[0].content.as_str(),
                text.words[1].content.as_str()
            ),
            ("ΑΒ", "γ")
        );
    }

    fn alphabet() -> Vec<String> {
        ["a", "b", " ", "ff"].map(str::to_owned).to_vec()
    }

    /// One step per digit: the class that wins, by a wide margin.
    fn scores(classes: &str) -> Vec<f32> {
        classes
            .bytes()
            .flat_map(|b| (0..5).map(move |class| if class == b - b'0' { 30.0 } else { 0.0 }))
            .collect()
    }

    #[test]
    fn repeats_merge_unless_a_blank_parts_them() {
        let cases = [
            ("11", Some("a")),
            ("101", Some("aa")),
            ("0110220", Some("ab")),
            ("1212", Some("abab")),
            ("12321", Some("ab ba")),
            ("3130", Some("a")),
            ("104", Some("aff")),
            ("000", None),
            ("303", None),
            ("", None),
        ];
        for (classes, expected) in cases {
            let alphabet = alphabet();
            let text = text(
                &decode(&scores(classes), &alphabet, 8),
                8,
                classes.len() * 8,
            );
            assert_eq!(
                text.as_ref().map(|t| t.content.as_str()),
                expected,
                "{classes}"
            );
            if let Some(text) = text {
                assert_eq!(
                    text.positions.len(),
                    text.content.chars().count(),
                    "{classes}"
                );
                assert!(text.confidence > 0.999, "{classes}");
            }
        }
    }

    #[test]
    fn pieces_join_with_one_space_between_words() {
        // (left, right, whether a word ends between, the line)
        let cases = [
            ("1", "2", false, "ab"),
            ("1", "2", true, "a b"),
            ("13", "2", true, "a b"),
            ("1", "32", true, "a b"),
            ("13", "32", true, "a b"),
            ("13", "32", false, "a b"),
            // A piece in which nothing is read.
            ("", "2", true, "b"),
            ("1", "", true, "a"),
        ];
        for (left, right, between_words, expected) in cases {
            let alphabet = alphabet();
            let (left, right) = (scores(left), scores(right));
            let mut glyphs = decode(&left, &alphabet, 8);
            append(&mut glyphs, decode(&right, &alphabet, 8), 32, between_words);
            let text = text(&glyphs, 8, 64).expect("characters");
            assert_eq!(text.content, expected);
            assert!(
                glyphs
                    .iter()
                    .rev()
                    .take(1)
                    .all(|g| g.content == "a" || g.columns.start >= 32)
            );
        }
    }

    #[test]
    fn repeats_widen_a_character() {
        let alphabet = alphabet();
        let scores = scores("011022");
        for (step_px, expected) in [(8, [8..24, 32..48]), (4, [4..12, 16..24])] {
            let glyphs = decode(&scores, &alphabet, step_px);
            let spans: Vec<_> = glyphs
                .iter()
                .map(|g| (g.content.as_ref(), g.columns.clone()))
                .collect();
            let [a, b] = expected;
            assert_eq!(spans, [("a", a), ("b", b)]);
        }
    }

    #[test]
    fn confidence_is_the_mean_of_what_is_kept() {
        // Two classes: the blank and "a". ln 3 against 0 is 3/4, ln 9 against 0 is 9/10; the blank between does not
        // count, and of a repeat only the first step does.
        let (three, nine) = (3f32.ln(), 9f32.ln());
        let scores = [0.0, three, 0.0, nine, nine, 0.0, 0.0, nine];
        let text = text(&decode(&scores, &["a".to_owned()], 8), 8, 32).expect("two characters");
        assert_eq!(text.content, "aa");
        assert!(
            (text.confidence - (0.75 + 0.9) / 2.0).abs() < 1e-6,
            "{}",
            text.confidence
        );
        assert_eq!(text.positions, [0.125, 0.875]);
    }

    #[test]
    fn scores_that_do_not_compare_are_blanks() {
        assert_eq!(decode(&[f32::NAN; 10], &alphabet(), 8), []);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }

    fn quad(width: f32, height: f32) -> Quad {
        [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)].map(|(x, y)| Point { x, y })
    }

    #[test]
    fn pictures_follow_the_lines_proportions() {
        // (box, width)
        let cases = [
            (quad(96.0, 48.0), 96),
            (quad(100.0, 48.0), 100),
            (quad(100.0, 24.0), 200),
            (quad(20.0, 24.0), 40),
            (quad(2.0, 2.5), 39),
            // A narrow character stays as it is; whose business it is that a line runs down the page, see orientation.rs.
            (quad(20.0, 60.0), 16),
            (quad(2.0, 60.0), 2),
            (quad(2000.0, 2.0), 24_000),
            (quad(0.0, 0.0), 1),
            (quad(f32::NAN, 3.0), 1),
        ];
        let page = Rgb::filled(4, 4, [9; 3]);
        for (quad, width) in cases {
            let picture = straighten(&page, &quad, 48, 1.0);
            assert_eq!((picture.width, picture.height), (width, 48), "{quad:?}");
        }
    }

    #[test]
    fn a_turned_quad_is_set_upright() {
        // The text runs down the page: its left end, dark, is at the top, and its first corner at the top right.
        let pixels = (0..60)
            .flat_map(|y| [[if y < 30 { 0 } else { 255 }; 3]; 20])
            .flatten()
            .collect();
        let page = Rgb::new(20, 60, pixels).expect("a test picture is a rectangle");
        let [a, b, c, d] = quad(20.0, 60.0);
        let picture = straighten(&page, &[b, c, d, a], 48, 1.0);
        assert_eq!(picture.width, 144);
        assert_eq!(straighten(&page, &[b, c, d, a], 48, 0.75).width, 108);
        assert!(picture.at(5, 24)[0] < 5 && picture.at(144 - 5, 24)[0] > 250);
    }
}
