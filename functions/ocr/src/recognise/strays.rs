//! A line in which print was left unread -> without the marks that were read into it.
//!
//! Where a line mixes scripts, the recogniser is silent on the characters that it does not know, but now and then takes one for
//! a mark or a letter. What is left between the words that it does know is sparse: single characters with print around them
//! that nothing was read of.

use std::borrow::Cow;
use std::ops::Range;

use super::words::Glyph;

/// A gap between two characters is unread print when at least this part of its columns has ink.
const MIN_INK_SHARE: f32 = 0.5;
/// From this many heights of the line on, such a gap is more than the sides of two wide letters,
const MIN_UNREAD_HEIGHTS: f32 = 4.0 / 3.0;
/// and a line of which all such gaps take this part has characters that are not known. A line in a known script of which some
/// letters were not read has less.
const MIN_UNREAD_SHARE: f32 = 0.3;
/// A single letter or digit among unread print is kept from this probability on.
const SURE: f32 = 0.9;

/// Drops what stands alone in unread print, and puts one space where such print is left out. `ink`: which columns of the line's
/// picture have some. Lines without unread print stay as they are.
pub(super) fn without_strays<'a>(
    glyphs: Vec<Glyph<'a>>,
    ink: &[bool],
    height_px: usize,
) -> Vec<Glyph<'a>> {
    let least = (MIN_UNREAD_HEIGHTS * height_px as f32) as usize;
    let mut runs: Vec<Vec<Glyph<'a>>> = Vec::new();
    let mut unread = 0;
    let mut end = 0;
    // Spaces since the last character: they belong to a run only where it goes on behind them.
    let mut spaces = Vec::new();
    for glyph in glyphs.iter().cloned() {
        if glyph.is_space() {
            spaces.push(glyph);
            continue;
        }
        let gap = unread_columns(ink, end..glyph.columns.start);
        if gap >= least {
            unread += gap;
        }
        end = glyph.columns.end;
        match runs.last_mut().filter(|_| gap < least) {
            Some(run) => {
                run.append(&mut spaces);
                run.push(glyph);
            }
            None => {
                spaces.clear();
                runs.push(vec![glyph]);
            }
        }
    }
    unread += unread_columns(ink, end..ink.len());
    if (unread as f32) < MIN_UNREAD_SHARE * ink.len() as f32 {
        return glyphs;
    }
    runs.retain(|run| !is_stray(run));
    let mut kept: Vec<Glyph<'a>> = Vec::new();
    for run in runs {
        if let (Some(last), Some(first)) = (kept.last(), run.first()) {
            let space = Glyph {
                content: Cow::Borrowed(" "),
                columns: last.columns.end..first.columns.start,
                // It was not read; it shall not count for more than what was.
                probability: last.probability.min(first.probability),
                classes: 1,
            };
            kept.push(space);
        }
        kept.extend(run);
    }
    kept
}

/// How many columns a gap has, if they are print.
fn unread_columns(ink: &[bool], gap: Range<usize>) -> usize {
    let columns = ink.get(gap).unwrap_or(&[]);
    let inked = columns.iter().filter(|&&ink| ink).count();
    if inked as f32 >= MIN_INK_SHARE * columns.len() as f32 {
        columns.len()
    } else {
        0
    }
}

/// Marks alone, or one letter or digit that is not sure.
fn is_stray(run: &[Glyph<'_>]) -> bool {
    let of_words = |glyph: &&Glyph<'_>| glyph.content.chars().any(char::is_alphanumeric);
    let mut letters = run.iter().filter(of_words);
    match (letters.next(), letters.next()) {
        (None, _) => true,
        (Some(only), None) => only.probability < SURE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_PX: usize = 8;

    /// Characters two steps apart from `start` on.
    fn read(content: &'static str, start: usize, probability: f32) -> Vec<Glyph<'static>> {
        content
            .char_indices()
            .enumerate()
            .map(|(i, (at, c))| Glyph {
                content: Cow::Borrowed(&content[at..at + c.len_utf8()]),
                columns: (start + 2 * i) * STEP_PX..(start + 2 * i + 1) * STEP_PX,
                probability,
                classes: 1,
            })
            .collect()
    }

    fn content(glyphs: &[Glyph<'_>]) -> String {
        glyphs.iter().map(|glyph| glyph.content.as_ref()).collect()
    }

    #[test]
    fn latin_words_among_chinese_had_junk_between_them() {
        let all = vec![true; 80 * STEP_PX];
        let line = |middle: Vec<Glyph<'static>>| {
            [read("CPU", 2, 1.0), middle, read("of EP", 60, 1.0)].concat()
        };
        // (what was read between, what is left)
        let cases = [
            (read("º", 30, 0.7), "CPU of EP"),
            (read(",", 30, 0.98), "CPU of EP"),
            (read("—.,", 30, 0.98), "CPU of EP"),
            (read("H", 30, 0.7), "CPU of EP"),
            (read("H", 30, 0.95), "CPU H of EP"),
            (read("ab", 30, 0.6), "CPU ab of EP"),
            (
                [read(" ", 20, 0.6), read(",", 30, 0.98), read(" ", 40, 0.6)].concat(),
                "CPU of EP",
            ),
            // Close by, it belongs to the word.
            (read(".", 13, 0.8), "CPU. of EP"),
            (Vec::new(), "CPU of EP"),
        ];
        for (middle, expected) in cases {
            assert_eq!(
                content(&without_strays(line(middle.clone()), &all, 48)),
                expected,
                "{middle:?}"
            );
        }
    }

    #[test]
    fn wide_letters_are_not_unread_print() {
        let letters = ["W", "M", "-", "W"].iter().enumerate();
        let line: Vec<Glyph<'_>> = letters
            .map(|(i, &content)| Glyph {
                content: Cow::Borrowed(content),
                columns: (3 + 7 * i) * STEP_PX..(4 + 7 * i) * STEP_PX,
                classes: 1,
                probability: 0.8,
            })
            .collect();
        assert_eq!(
            without_strays(line.clone(), &[true; 27 * STEP_PX], 48),
            line
        );
    }

    #[test]
    fn a_wide_blank_is_not_unread_print() {
        let line = || {
            [
                read("Hinges", 2, 1.0),
                read("-", 40, 0.9),
                read("5", 70, 0.6),
            ]
            .concat()
        };
        // Ink at the characters alone.
        let mut ink = vec![false; 100 * STEP_PX];
        ink[16..120].fill(true);
        assert_eq!(without_strays(line(), &ink, 48), line());
        // A quarter of the line was not read.
        ink[12 * STEP_PX..41 * STEP_PX].fill(true);
        assert_eq!(without_strays(line(), &ink, 48), line());
        assert_eq!(without_strays(Vec::new(), &ink, 48), []);
        assert_eq!(without_strays(Vec::new(), &[], 48), []);
    }
}
