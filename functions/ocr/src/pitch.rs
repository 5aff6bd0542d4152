//! How wide the letters of a page are and how surely they are read, and so how far its lines can be squeezed before that.
//!
//! A line takes the recogniser time by its width. Its answer has a step for every few pixels, and each character needs one, and
//! one more between two that are the same; letters of twice that width are read as surely as wider ones. Which width that is,
//! the pack says.

use crate::recognise::{Manner, Text};

/// A page is dense when its lines together have so many columns: two to three times an ordinary page in small print, and more than
/// WebAssembly reads in ten seconds.
const DENSE_COLUMNS: f32 = 160_000.0;
/// Lines are not squeezed further than by this, whatever the lines before were like.
const MIN_SQUEEZE: f32 = 0.6;
/// How many of the last lines are asked: among them is one in the page's usual letters.
const LINES: usize = 4;
/// A line tells how wide letters are when it has at least so many characters.
const MIN_CHARACTERS: usize = 12;
/// A line that was squeezed and is less sure than this is read again with care; and where one is still not, so is the next.
const SURE: f32 = 0.98;

/// The letters of the lines read so far.
#[derive(Debug, Default)]
pub(crate) struct Pitch {
    /// What letters may be squeezed to, on an ordinary page and on a dense one; see [`ephemera_engine::PackSpec`].
    letter_px: Option<[f32; 2]>,
    dense: bool,
    /// Widths of a letter on average, in the page's pixels, one for each of the last lines, the oldest first. Not in parts of the
    /// lines' heights, because boxes are tighter around some lines than around others.
    recent_px: Vec<f32>,
}

impl Pitch {
    /// Before the first line. `letter_px`: of the pack.
    pub(crate) fn new(letter_px: Option<[f32; 2]>) -> Pitch {
        Pitch {
            letter_px,
            ..Pitch::default()
        }
    }

    /// Takes into account how wide all lines of the page are together, as they are, at the recogniser's height.
    pub(crate) fn expect(&mut self, columns: f32) {
        self.dense = columns >= DENSE_COLUMNS;
    }

    /// How the next line may be read. `length_px`: of the line, in the page's pixels; `natural_px`: what it has at the recogniser's
    /// height as it is. The narrowest letters count, because a line that is squeezed too little only takes its time.
    pub(crate) fn manner(&self, length_px: f32, natural_px: f32) -> Manner {
        let Some(letter_px) = self.recent_px.iter().copied().reduce(f32::min) else {
            return Manner::CAREFUL;
        };
        let Some([ordinary_px, dense_px]) = self.letter_px else {
            return Manner::quick(1.0);
        };
        let wanted_px = if self.dense { dense_px } else { ordinary_px };
        let squeezed_px = length_px / letter_px * wanted_px;
        Manner::quick((squeezed_px / natural_px.max(1.0)).clamp(MIN_SQUEEZE, 1.0))
    }

    /// Takes a line of this length into account, in the page's pixels.
    pub(crate) fn learn(&mut self, length_px: f32, text: &Text) {
        let characters = text.content.chars().count();
        if characters < MIN_CHARACTERS {
            return;
        }
        if text.confidence < SURE {
            self.recent_px.clear();
            return;
        }
        if self.recent_px.len() == LINES {
            self.recent_px.remove(0);
        }
        self.recent_px.push(length_px / characters as f32);
    }
}

/// Whether a line that was read quickly has to be read again.
pub(crate) fn doubtful(text: Option<&Text>) -> bool {
    text.is_none_or(|text| text.confidence < SURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(characters: usize, confidence: f32) -> Text {
        Text {
            content: "a".repeat(characters),
            confidence,
            positions: Vec::new(),
            words: Vec::new(),
        }
    }

    #[test]
    fn without_a_width_of_its_own_a_pack_reads_lines_as_they_are() {
        let mut pitch = Pitch::new(None);
        assert_eq!(pitch.manner(200.0, 400.0), Manner::CAREFUL);
        pitch.learn(200.0, &line(20, 0.99));
        assert_eq!(pitch.manner(200.0, 400.0), Manner::quick(1.0));
    }

    #[test]
    fn the_narrowest_of_the_last_lines_counts() {
        let mut pitch = Pitch::new(Some([15.0, 13.0]));
        assert_eq!(pitch.manner(200.0, 400.0), Manner::CAREFUL);
        // (length, characters, confidence, squeeze for a next line of 200 px, which at the recogniser's height are 400; 0 for a
        // careful reading). Letters of 10 px: there are 20, which get 15 px each.
        let cases = [
            (200.0, 20, 0.99, 0.75),
            // Few characters say nothing, and capitals are wide.
            (50.0, 10, 0.5, 0.75),
            (300.0, 20, 0.99, 0.75),
            (120.0, 20, 0.99, 1.0),
            (160.0, 20, 0.99, 1.0),
            (300.0, 20, 0.99, 1.0),
            (300.0, 20, 0.99, 1.0),
            // The line of 6 px is the fifth last.
            (300.0, 20, 0.99, 0.9375),
            (300.0, 20, 0.99, 0.6),
            (200.0, 20, 0.97, 0.0),
            (200.0, 20, 0.99, 0.75),
        ];
        for (length, characters, confidence, squeeze) in cases {
            pitch.learn(length, &line(characters, confidence));
            let expected = if squeeze > 0.0 {
                Manner::quick(squeeze)
            } else {
                Manner::CAREFUL
            };
            assert_eq!(
                pitch.manner(200.0, 400.0),
                expected,
                "{length} {characters} {confidence}"
            );
        }
        // The same line in a box that is less tight, and one without extent.
        assert_eq!(pitch.manner(200.0, 320.0), Manner::quick(0.9375));
        assert_eq!(pitch.manner(0.0, 0.0), Manner::quick(0.6));
    }

    #[test]
    fn dense_pages_are_squeezed_further() {
        for (columns, expected) in [(98_000.0, 0.75), (300_000.0, 0.65)] {
            let mut pitch = Pitch::new(Some([15.0, 13.0]));
            pitch.expect(columns);
            pitch.learn(200.0, &line(20, 0.99));
            assert_eq!(pitch.manner(200.0, 400.0), Manner::quick(expected));
        }
    }

    #[test]
    fn what_squeezing_made_unsure_is_doubtful() {
        assert!(doubtful(None));
        assert!(doubtful(Some(&line(20, 0.97))));
        assert!(!doubtful(Some(&line(20, 0.99))));
    }
}
