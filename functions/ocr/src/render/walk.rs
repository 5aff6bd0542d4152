//! A reading as every format with words walks it: blocks, lines, words, in reading order and in the original's pixels.
//!
//! A row of a block is one line here, as it is one line of the plain text, whether the detector found it in one piece
//! or in several.

use crate::Reading;
use crate::identify;
use crate::layout::{Block, ReadLine};
use crate::page::{Bounds, Page};
use crate::recognise::Word;

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BlockView<'a> {
    pub(super) bounds: Bounds,
    /// At least one.
    pub(super) lines: Vec<LineView<'a>>,
}

/// A line of print.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LineView<'a> {
    pub(super) bounds: Bounds,
    /// Where the baseline begins and ends: x, y.
    pub(super) baseline: [[f64; 2]; 2],
    /// At least one.
    pub(super) words: Vec<WordView<'a>>,
}

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WordView<'a> {
    pub(super) content: &'a str,
    /// 0..=1.
    pub(super) confidence: f32,
    pub(super) bounds: Bounds,
    /// Corners clockwise from the top left of the word as it is read: x, y.
    pub(super) corners: [[f64; 2]; 4],
}

/// Where the baseline is, from the top of a line's box, in parts of its height. The median over rendered lines of 24 fonts;
/// the middle half lies within 0.025 of it.
pub(super) const BASELINE: f64 = 0.73;

/// A direction that a line is read in, in quarter turns from upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Right,
    Down,
    Left,
    Up,
}

impl LineView<'_> {
    /// The nearest quarter turn.
    pub(super) fn direction(&self) -> Direction {
        let [[x1, y1], [x2, y2]] = self.baseline;
        let (dx, dy) = (x2 - x1, y2 - y1);
        if dx.abs() >= dy.abs() {
            if dx >= 0.0 {
                Direction::Right
            } else {
                Direction::Left
            }
        } else if dy > 0.0 {
            Direction::Down
        } else {
            Direction::Up
        }
    }
}

impl BlockView<'_> {
    /// The language of its words; `requested` is the page's.
    pub(super) fn language<'t>(&self, requested: &'t str) -> &'t str {
        let words = self.lines.iter().flat_map(|line| &line.words);
        let words: Vec<&str> = words.map(|word| word.content).collect();
        identify::language(&words.join(" "), requested)
    }
}

/// The blocks of a page that have words.
pub(super) fn blocks(reading: &Reading) -> Vec<BlockView<'_>> {
    let page = &reading.page;
    let blocks = reading.blocks.iter().filter_map(|block| view(block, page));
    blocks.collect()
}

fn view<'a>(block: &'a Block, page: &Page) -> Option<BlockView<'a>> {
    let rows = block.rows.iter().filter_map(|row| line(row, page));
    let lines: Vec<LineView<'a>> = rows.collect();
    let bounds = lines.iter().map(|line| line.bounds).reduce(around)?;
    Some(BlockView { bounds, lines })
}

fn line<'a>(row: &'a [ReadLine], page: &Page) -> Option<LineView<'a>> {
    let words = row.iter().flat_map(|piece| &piece.text.words);
    let words: Vec<WordView<'a>> = words.map(|word| word_view(word, page)).collect();
    let pieces = row.iter().map(|piece| page.bounds(&piece.quad));
    let bounds = pieces.reduce(around)?;
    let [a, _, _, d] = words.first()?.corners;
    let [_, b, c, _] = words.last()?.corners;
    Some(LineView {
        bounds,
        baseline: [between(a, d), between(b, c)],
        words,
    })
}

fn word_view<'a>(word: &'a Word, page: &Page) -> WordView<'a> {
    WordView {
        content: &word.content,
        confidence: word.confidence,
        bounds: page.bounds(&word.quad),
        corners: page.points(&word.quad),
    }
}

fn between(top: [f64; 2], bottom: [f64; 2]) -> [f64; 2] {
    std::array::from_fn(|i| top[i] + (bottom[i] - top[i]) * BASELINE)
}

/// The smallest rectangle around two.
pub(super) fn around(a: Bounds, b: Bounds) -> Bounds {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

/// The smallest rectangle of whole pixels around some points of the page, each rounded.
pub(super) fn bounds(points: &[[f64; 2]]) -> Bounds {
    // Casts saturate, and points lie inside the page.
    let rounded = points.iter().map(|point| point.map(|v| v.round() as u32));
    let each = rounded.map(|[x, y]| [x, y, x, y]);
    each.reduce(around).unwrap_or_default()
}

/// Width and height.
pub(super) fn size([left, top, right, bottom]: Bounds) -> [u32; 2] {
    [right.saturating_sub(left), bottom.saturating_sub(top)]
}

#[cfg(test)]
mod tests {
    use super::super::samples::{blank, reading};
    use super::*;

    #[test]
    fn a_block_tells_its_own_language() {
        let mut reading = reading();
        let words = &mut reading.blocks[0].rows[0][0].text.words;
        let content = "the ship and the sea were with the captain".to_owned();
        words.push(Word {
            content,
            ..words[0].clone()
        });
        let blocks = blocks(&reading);
        assert_eq!(
            ["und", "de"].map(|tag| blocks[0].language(tag)),
            ["en", "de"]
        );
    }

    #[test]
    fn rows_are_lines_and_their_pieces_words() {
        let mut reading = reading();
        // The second line becomes the right piece of the first one's row.
        let second = reading.blocks[0].rows.remove(1);
        reading.blocks[0].rows[0].extend(second);
        let blocks = blocks(&reading);
        assert_eq!((blocks.len(), blocks[0].lines.len()), (1, 1));
        let line = &blocks[0].lines[0];
        assert_eq!(
            (line.bounds, blocks[0].bounds),
            ([2, 4, 18, 22], [2, 4, 18, 22])
        );
        let words: Vec<_> = line.words.iter().map(|w| (w.content, w.bounds)).collect();
        let expected = [
            ("He", [2, 4, 6, 12]),
            ("said", [8, 4, 18, 12]),
            ("\"no\"", [3, 14, 17, 22]),
        ];
        assert_eq!(words, expected);
        // 0.73 of 8 px below 4 and 14.
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let [[x1, y1], [x2, y2]] = line.baseline;
        assert!(close(x1, 2.0) && close(y1, 9.84) && close(x2, 17.0) && close(y2, 19.84));
    }

    #[test]
    fn what_has_no_words_is_left_out() {
        assert_eq!(blocks(&blank()), []);
        let mut reading = reading();
        for line in reading.blocks[0].rows.iter_mut().flatten() {
            line.text.words.clear();
        }
        assert_eq!(blocks(&reading), []);
    }

    #[test]
    fn directions_are_the_nearest_quarter_turn() {
        let cases = [
            ([10.0, 3.0], Direction::Right),
            ([10.0, -10.0], Direction::Right),
            ([-10.0, 3.0], Direction::Left),
            ([3.0, 10.0], Direction::Down),
            ([3.0, -10.0], Direction::Up),
            ([0.0, 0.0], Direction::Right),
        ];
        for (end, expected) in cases {
            let line = LineView {
                bounds: [0; 4],
                baseline: [[0.0; 2], end],
                words: Vec::new(),
            };
            assert_eq!(line.direction(), expected, "{end:?}");
        }
    }
}
