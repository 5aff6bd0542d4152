//! Characters with the steps they were read in, and the line's picture -> words with their places on the page.
//!
//! A step is some pixels wide and says where a character is, not where its ink begins and ends. So steps only tell between which
//! characters a word ends; where exactly is read off the picture: the widest blank between two words parts them, and the
//! line's ends are where its ink ends.

use std::borrow::Cow;
use std::ops::Range;

use ephemera_vision::{Point, Quad, Rgb};

/// A word of a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// Its characters; no space among them.
    pub content: String,
    /// Mean probability of the characters, 0..=1.
    pub confidence: f32,
    /// Corners in the page's pixels, clockwise from where the word's top left is when it is read: as wide as the word,
    /// as high as the line.
    pub quad: Quad,
}

/// A character as it was read, with the marks on it once it is spelt (see spelling.rs).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glyph<'a> {
    /// What a class stands for, usually one character; or a letter and its marks.
    pub(super) content: Cow<'a, str>,
    /// Columns of the line's picture: of the steps in which it won, without a break.
    pub(super) columns: Range<usize>,
    /// Its probability in the first of them; the mean of several classes.
    pub(super) probability: f32,
    /// How many classes it was read as.
    pub(super) classes: usize,
}

impl Glyph<'_> {
    pub(super) fn is_space(&self) -> bool {
        self.content.trim().is_empty()
    }

    /// The middle of its steps, a column of the line's picture.
    fn column(&self, width: usize) -> usize {
        ((self.columns.start + self.columns.end) / 2).min(width)
    }
}

/// A column of a line's picture has ink when its pixels differ by this part of the line's whole contrast: more than the
/// noise of a scan, less than a thin stroke that lies between two columns.
const INK_CONTRAST: f32 = 0.3;
/// Rows left out at the top and at the bottom, parts of the height: lines above and below reach into them.
const MARGIN_PART: usize = 8;
/// A blank as wide as this, parts of the height, ends a line: about twice the space between its letters, so that what
/// stands beside the line is not taken for a part of its first or last word.
const END_GAP_PART: usize = 4;

/// Splits a line at its spaces.
///
/// `ink`: which columns of the line have some; `quad`: where those lie on the page.
pub(super) fn words(
    glyphs: &[Glyph<'_>],
    ink: &[bool],
    quad: &Quad,
    height_px: usize,
) -> Vec<Word> {
    let words: Vec<&[Glyph<'_>]> = glyphs
        .split(Glyph::is_space)
        .filter(|word| !word.is_empty())
        .collect();
    let spans = spans(&words, ink, height_px / END_GAP_PART);
    words
        .into_iter()
        .zip(spans)
        .map(|(word, span)| Word {
            content: word.iter().map(|glyph| glyph.content.as_ref()).collect(),
            confidence: confidence(word),
            quad: part(quad, &span, ink.len()),
        })
        .collect()
}

/// Mean probability of what a word was read as.
fn confidence(word: &[Glyph<'_>]) -> f32 {
    let sum: f32 = word
        .iter()
        .map(|glyph| glyph.probability * glyph.classes as f32)
        .sum();
    sum / word.iter().map(|glyph| glyph.classes).sum::<usize>() as f32
}

/// The columns that each word takes, in order and without overlap. `end_gap`: a blank of so many columns ends the line.
fn spans(words: &[&[Glyph<'_>]], ink: &[bool], end_gap: usize) -> Vec<Range<usize>> {
    let width = ink.len();
    let (Some(first), Some(last)) = (
        words.first().and_then(|word| word.first()),
        words.last().and_then(|word| word.last()),
    ) else {
        return Vec::new();
    };
    // Where the previous word's right edge and the next one's left edge are.
    let gaps = words.windows(2).map(|pair| {
        let from = pair[0].last().map_or(0, |glyph| glyph.column(width));
        let to = pair[1].first().map_or(width, |glyph| glyph.column(width));
        widest_blank(ink, from..to)
    });
    let mut left = line_start(ink, first.column(width), end_gap);
    let mut spans = Vec::with_capacity(words.len());
    for gap in gaps {
        spans.push(left.min(gap.start)..gap.start);
        left = gap.end;
    }
    spans.push(left..line_end(ink, last.column(width), end_gap).max(left));
    spans
}

/// Which columns of a line's picture have ink, dark on light or light on dark.
pub(super) fn ink(picture: &Rgb, width: usize) -> Vec<bool> {
    let margin = picture.height / MARGIN_PART;
    let mut ranges = vec![(u8::MAX, u8::MIN); width];
    for y in margin..picture.height - margin {
        let row = picture.row(y).chunks_exact(3);
        for ((low, high), pixel) in ranges.iter_mut().zip(row) {
            // Green is most of the luma, and near enough to find edges by.
            *low = pixel[1].min(*low);
            *high = pixel[1].max(*high);
        }
    }
    let low = ranges.iter().map(|range| range.0).min().unwrap_or(0);
    let high = ranges.iter().map(|range| range.1).max().unwrap_or(0);
    let least = f32::from(high.saturating_sub(low)) * INK_CONTRAST;
    ranges
        .into_iter()
        .map(|(low, high)| f32::from(high.saturating_sub(low)) > least)
        .collect()
}

/// The longest run of columns without ink, the first of equals; nothing in the middle where all have some.
fn widest_blank(ink: &[bool], within: Range<usize>) -> Range<usize> {
    let middle = within.start + within.len() / 2;
    let mut widest = middle..middle;
    let mut start = within.start;
    for column in within.clone() {
        if ink[column] {
            start = column + 1;
        } else if column + 1 - start > widest.len() {
            widest = start..column + 1;
        }
    }
    widest
}

/// The first column of the ink that `column` stands in or beside.
fn line_start(ink: &[bool], column: usize, end_gap: usize) -> usize {
    let outwards = (0..column).rev();
    reach(ink, outwards, end_gap).unwrap_or_else(|| {
        // The step lies before the ink.
        let inwards = (column..ink.len()).find(|&at| ink[at]);
        inwards.unwrap_or(column)
    })
}

/// The column after the last of the ink that `column` stands in or beside.
fn line_end(ink: &[bool], column: usize, end_gap: usize) -> usize {
    let outwards = column..ink.len();
    let end = reach(ink, outwards, end_gap).map(|last| last + 1);
    end.unwrap_or_else(|| {
        let inwards = (0..column).rev().find(|&at| ink[at]);
        inwards.map_or(column, |last| last + 1)
    })
}

/// The last column with ink before a gap that ends the line.
fn reach(ink: &[bool], columns: impl Iterator<Item = usize>, end_gap: usize) -> Option<usize> {
    let mut reached = None;
    let mut blank = 0;
    for column in columns {
        if ink[column] {
            reached = Some(column);
            blank = 0;
        } else {
            blank += 1;
            if blank >= end_gap {
                break;
            }
        }
    }
    reached
}

/// The part of a line that takes these of its `width` columns.
fn part(quad: &Quad, span: &Range<usize>, width: usize) -> Quad {
    let [a, b, c, d] = *quad;
    let share = |column: usize| column as f32 / width as f32;
    let (left, right) = (share(span.start), share(span.end));
    [
        between(a, b, left),
        between(a, b, right),
        between(d, c, right),
        between(d, c, left),
    ]
}

fn between(from: Point, to: Point, share: f32) -> Point {
    Point {
        x: from.x + (to.x - from.x) * share,
        y: from.y + (to.y - from.y) * share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `steps`: of 8 px.
    fn glyph(content: &str, steps: Range<usize>) -> Glyph<'_> {
        Glyph {
            content: Cow::Borrowed(content),
            columns: steps.start * 8..steps.end * 8,
            probability: 0.5,
            classes: 1,
        }
    }

    /// A line of 48 px with ink, dark on light, in these columns.
    fn picture(width: usize, ink: &[(usize, usize)]) -> Rgb {
        let mut picture = Rgb::filled(width, 48, [250; 3]);
        for x in ink.iter().flat_map(|&(from, to)| from..to) {
            for y in 20..30 {
                picture.data[(y * width + x) * 3..][..3].fill(10);
            }
        }
        picture
    }

    fn columns(glyphs: &[Glyph<'_>], picture: &Rgb) -> Vec<(String, f32, f32)> {
        let (width, height) = (picture.width as f32, picture.height as f32);
        let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
        let quad = corners.map(|(x, y)| Point { x, y });
        words(glyphs, &ink(picture, picture.width), &quad, 48)
            .into_iter()
            .map(|word| (word.content, word.quad[0].x, word.quad[2].x))
            .collect()
    }

    #[test]
    fn blanks_in_the_picture_part_words() {
        let word = |content: &str, left: f32, right: f32| (content.to_owned(), left, right);
        struct Case<'a> {
            name: &'a str,
            glyphs: Vec<Glyph<'a>>,
            ink: Vec<(usize, usize)>,
            expected: Vec<(String, f32, f32)>,
        }
        let ab = || vec![glyph("a", 1..2), glyph(" ", 3..4), glyph("b", 5..7)];
        let cases = [
            Case {
                name: "the space's own step is off",
                glyphs: ab(),
                ink: vec![(5, 26), (38, 60)],
                expected: vec![word("a", 5.0, 26.0), word("b", 38.0, 60.0)],
            },
            Case {
                name: "a letter's inner gap is narrower than the space",
                glyphs: ab(),
                ink: vec![(5, 16), (20, 26), (38, 60)],
                expected: vec![word("a", 5.0, 26.0), word("b", 38.0, 60.0)],
            },
            Case {
                name: "no blank: half-way between the letters' steps, 12 and 48",
                glyphs: ab(),
                ink: vec![(0, 80)],
                expected: vec![word("a", 0.0, 30.0), word("b", 30.0, 80.0)],
            },
            Case {
                name: "a speck beside the line",
                glyphs: vec![glyph("a", 4..5)],
                ink: vec![(0, 3), (30, 50), (78, 80)],
                expected: vec![word("a", 30.0, 50.0)],
            },
            Case {
                name: "the steps lie beside the ink",
                glyphs: vec![glyph("a", 1..2), glyph("b", 9..10)],
                ink: vec![(20, 50)],
                expected: vec![word("ab", 20.0, 50.0)],
            },
            Case {
                name: "steps in the padding",
                glyphs: vec![glyph("a", 1..2), glyph(" ", 12..13), glyph("b", 14..15)],
                ink: vec![(5, 20)],
                expected: vec![word("a", 5.0, 20.0), word("b", 80.0, 80.0)],
            },
            Case {
                name: "spaces at the ends and in a row",
                glyphs: vec![
                    glyph(" ", 0..1),
                    glyph("a", 1..2),
                    glyph(" ", 3..4),
                    glyph("\u{3000}", 4..5),
                    glyph("b", 5..7),
                    glyph(" ", 8..9),
                ],
                ink: vec![(5, 26), (38, 60)],
                expected: vec![word("a", 5.0, 26.0), word("b", 38.0, 60.0)],
            },
            Case {
                name: "nothing",
                glyphs: vec![],
                ink: vec![],
                expected: vec![],
            },
        ];
        for case in cases {
            let actual = columns(&case.glyphs, &picture(80, &case.ink));
            assert_eq!(actual, case.expected, "{}", case.name);
        }
    }

    #[test]
    fn ink_is_found_on_a_dark_ground_and_not_in_noise() {
        // Noise of 20 on a contrast of 240.
        let mut line = picture(8, &[(2, 4)]);
        for (i, v) in line.data.iter_mut().enumerate() {
            *v = (255 - *v).saturating_add((i % 7 * 3) as u8);
        }
        let expected = [false, false, true, true, false, false, false, false];
        assert_eq!(ink(&line, 8), expected);
        // An even picture has none.
        assert_eq!(ink(&picture(3, &[]), 3), [false; 3]);
    }

    #[test]
    fn words_follow_a_tilted_line() {
        // 80 columns along (0, 0) -> (160, 40); a word in columns 20..60.
        let at = |x: f32, y: f32| Point { x, y };
        let quad = [
            at(0.0, 0.0),
            at(160.0, 40.0),
            at(152.0, 72.0),
            at(-8.0, 32.0),
        ];
        let line = picture(80, &[(20, 60)]);
        let read = words(&[glyph("a", 2..8)], &ink(&line, 80), &quad, 48);
        let expected = [
            at(40.0, 10.0),
            at(120.0, 30.0),
            at(112.0, 62.0),
            at(32.0, 42.0),
        ];
        assert_eq!(read[0].quad, expected);
        assert_eq!(read[0].confidence, 0.5);
    }
}
