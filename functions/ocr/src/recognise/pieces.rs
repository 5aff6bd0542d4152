//! A line that is too long for one run of the recogniser -> pieces that it is read in.
//!
//! A line is cut where its picture has the widest blank around even parts, which is between two words as a rule. Columns are
//! compared by how much ink they have, not by whether they have any, so that an underline does not hide the blanks above it.

use std::ops::Range;

use ephemera_vision::Rgb;

use super::PADDING;
use crate::ink::Ink;
use crate::pack::Geometry;

/// A part of a line's picture that is read on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its columns; the first one begins a step.
    pub(super) columns: Range<usize>,
    /// Whether it ends between two words.
    pub(super) ends_word: bool,
}

/// A blank of this width, parts of the height, is between two words: letters of one are closer, also where a line is squeezed.
const WORD_GAP_PART: usize = 8;
/// How far from an even part's end a cut may lie, parts of the widest piece.
const REACH_PART: usize = 4;

/// Cuts a line's picture into pieces of at most `widest` columns, which hold a whole input.
pub(super) fn pieces(picture: &Rgb, widest: usize, form: Geometry) -> Vec<Piece> {
    let (width, multiple) = (picture.width, form.multiple_px);
    let mut pieces = Vec::new();
    let mut start = 0;
    if width > widest {
        let ink = ink(picture);
        while width - start > widest {
            let left = width - start;
            // Of even parts, room is left to move their ends; but no further than that as many parts hold the rest.
            let parts = left.div_ceil(widest - widest / REACH_PART / 2);
            let (even, reach) = (left / parts, widest / REACH_PART);
            let needed = left.saturating_sub((parts - 1) * widest) + multiple;
            let from = start + even.saturating_sub(reach).max(needed);
            let to = start + (even + reach).min(widest).max(needed + 1);
            let blank = widest_blank(&ink, from..to);
            let middle = blank.start + blank.len() / 2;
            // On a step, and so that something is left on both sides.
            let cut = ((middle + multiple / 2) / multiple * multiple)
                .clamp(start + multiple, start + widest / multiple * multiple);
            pieces.push(Piece {
                columns: start..cut,
                ends_word: blank.len() >= picture.height / WORD_GAP_PART,
            });
            start = cut;
        }
    }
    pieces.push(Piece {
        columns: start..width,
        ends_word: false,
    });
    pieces
}

/// The recogniser's input for a piece: its columns, filled up to whole steps.
pub(super) fn input(picture: &Rgb, columns: &Range<usize>, form: Geometry) -> Rgb {
    let canvas = form.canvas(columns.len());
    let mut input = Rgb::filled(canvas, picture.height, [PADDING; 3]);
    for (y, row) in input.data.chunks_exact_mut(canvas * 3).enumerate() {
        let source = &picture.row(y)[columns.start * 3..columns.end * 3];
        row[..source.len()].copy_from_slice(source);
    }
    input
}

/// How many pixels of each column differ from the line's ground by half of its contrast or more.
fn ink(picture: &Rgb) -> Vec<u8> {
    let ink = Ink::of(picture);
    let mut columns = vec![0; picture.width];
    for y in 0..picture.height {
        for (column, is_ink) in columns.iter_mut().zip(ink.row(picture, y)) {
            *column += u8::from(is_ink);
        }
    }
    columns
}

/// The longest run of the columns with the least ink, the first of equals.
fn widest_blank(ink: &[u8], within: Range<usize>) -> Range<usize> {
    let least = ink[within.clone()].iter().min().copied().unwrap_or(0);
    let mut widest = within.start..within.start;
    let mut start = within.start;
    for column in within {
        // One pixel more is noise.
        if ink[column] > least + 1 {
            start = column + 1;
        } else if column + 1 - start > widest.len() {
            widest = start..column + 1;
        }
    }
    widest
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Geometry = Geometry {
        height_px: 48,
        multiple_px: 8,
        step_px: 8,
        min_width_px: 16,
    };

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

    fn cuts(picture: &Rgb, widest: usize) -> Vec<(Range<usize>, bool)> {
        let pieces = pieces(picture, widest, FORM);
        pieces
            .into_iter()
            .map(|p| (p.columns, p.ends_word))
            .collect()
    }

    #[test]
    fn lines_are_cut_where_they_are_blank() {
        // Letters of 10 px; gaps of 2 px, after every fifth one of 12.
        let words: Vec<(usize, usize)> = (0..50)
            .map(|i| i * 12 + i / 5 * 10)
            .map(|x| (x, x + 10))
            .collect();
        let line = picture(690, &words);
        // Each word takes 58 px and begins 70 px after the one before. Two parts of 345 px, the second at most 400 px wide: of
        // the blanks from 298 px on the first, 338..350, is cut in its middle.
        assert_eq!(cuts(&line, 400), [(0..344, true), (344..690, false)]);
        assert_eq!(cuts(&line, 690), [(0..690, false)]);
        // Light on dark.
        let mut dark = line.clone();
        dark.data.iter_mut().for_each(|v| *v = 255 - *v);
        assert_eq!(cuts(&dark, 400), cuts(&line, 400));
        // Underlined.
        let mut ruled = line.clone();
        ruled.data[40 * 690 * 3..42 * 690 * 3].fill(10);
        assert_eq!(cuts(&ruled, 400), cuts(&line, 400));
    }

    #[test]
    fn every_column_is_in_one_piece_of_bounded_width() {
        for (width, widest) in [
            (1000, 64),
            (1000, 400),
            (65, 64),
            (400, 400),
            (401, 400),
            (1, 64),
        ] {
            let full = [(0, width)];
            for ink in [&[][..], &full[..]] {
                let line = picture(width, ink);
                let mut end = 0;
                for piece in pieces(&line, widest, FORM) {
                    assert_eq!(
                        (piece.columns.start, end % FORM.multiple_px),
                        (end, 0),
                        "{width} {widest}"
                    );
                    assert!((1..=widest).contains(&piece.columns.len()), "{piece:?}");
                    end = piece.columns.end;
                }
                assert_eq!(end, width);
            }
        }
    }

    #[test]
    fn inputs_are_filled_up() {
        let line = picture(100, &[(0, 100)]);
        let part = input(&line, &(88..100), FORM);
        assert_eq!((part.width, part.height), (16, 48));
        let greys: Vec<u8> = part.row(25).iter().step_by(3).copied().collect();
        assert_eq!(greys, [[10; 12].as_slice(), &[PADDING; 4]].concat());
    }
}
