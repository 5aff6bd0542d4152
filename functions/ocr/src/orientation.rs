//! Page, lines -> how the text is turned; page, line -> its text, whichever way it runs.
//!
//! The recogniser tells by itself: upside down it is unsure of what it reads. On 500 rendered lines in 17 languages its mean
//! confidence was the higher one for the right direction on all 418 lines of seven characters or more, and on 94 % of the
//! shorter ones ("u" turned is "n"). PP-OCR's small 180-degree classifier was right on 96 % of the former and 88 % of the
//! latter, so there is none here. An upright page pays nothing: the one line that shows it is upright is not read again.

use ephemera_vision::{Point, Quad};

use crate::Error;
use crate::choice::{Choice, Chosen};
use crate::detect::Line;
use crate::pose::{Rotation, length};
use crate::recognise::Text;

/// Reads lines of one page.
pub(crate) struct Reader<'a> {
    choice: Choice<'a>,
    /// What was read to find out how the page is turned.
    known: Vec<(Quad, Option<Chosen>)>,
}

/// From this confidence a line of [`SURE_CHARACTERS`] stands upright: of lines that are turned one in a hundred reaches 0.83,
/// of those that are not nineteen in twenty reach 0.94.
const SURE: f32 = 0.92;
/// Shorter text can read as something else when it is turned.
const SURE_CHARACTERS: usize = 8;
/// Most lines that are read both ways to find out how a page is turned.
const MAX_PROBES: usize = 5;
/// Fewer characters than this, in all probes, do not turn a page.
const MIN_EVIDENCE: f32 = 6.0;
/// A line of this many times its height has some fourteen letters. The shortest of those that have as much show the page's
/// direction, then the longest of the others.
const PROBE_RATIO: f32 = 8.0;
/// A box this many times as high as it is wide holds a line that runs down or up the page, or one narrow character. PP-OCR's
/// ratio.
const UPRIGHT_RATIO: f32 = 1.5;
/// From here on it is not a character.
const COLUMN_RATIO: f32 = 3.0;
/// Below this confidence a line is tried the other way round. Of upright lines one in a hundred lies below, of turned ones
/// of seven characters or more 97.
const DOUBTFUL: f32 = 0.85;
/// The other way must be better by this much,
const MIN_GAIN: f32 = 0.08;
/// and give at least this many characters: a single one is often another one upside down.
const MIN_TURNED_CHARACTERS: usize = 4;
/// Before a line is read another way, as much of it as this many heights is: some fourteen letters.
const TRIAL_HEIGHTS: f32 = 8.0;
/// A line that is shorter than so many of these is read at once.
const TRIAL_RATIO: f32 = 2.0;
/// Lines below this confidence are dropped. PP-OCR's `drop_score`.
const MIN_CONFIDENCE: f32 = 0.5;
/// A line with fewer characters than one in this many heights is in a script that the recogniser does not know, as a rule;
/// Latin print has two to three a height, set wide still one.
const SPARSE_HEIGHTS: f32 = 3.0;
/// Such a line is dropped below this confidence.
const MIN_SPARSE_CONFIDENCE: f32 = 0.9;

impl<'a> Reader<'a> {
    /// A reader of one page by the packs of `choice`.
    pub(crate) fn new(choice: Choice<'a>) -> Self {
        Reader {
            choice,
            known: Vec::new(),
        }
    }

    /// How the page is turned, from the lines that were found on it as it is.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Output`].
    pub(crate) fn rotation(&mut self, lines: &[Line]) -> Result<Rotation, Error> {
        let (mut level, mut upright) = (0.0, 0.0);
        for line in lines {
            let (across, down) = sides(&line.quad);
            // Quads with sides that are no numbers count for neither.
            if down >= COLUMN_RATIO * across {
                upright += down;
            } else if across >= down {
                level += across;
            }
        }
        let quarter = upright > level;
        let mut probes: Vec<(f32, Quad)> = lines
            .iter()
            .map(|line| {
                let (across, down) = sides(&line.quad);
                if quarter {
                    (down / across.max(1.0), runs_down(&line.quad))
                } else {
                    (across / down.max(1.0), line.quad)
                }
            })
            .collect();
        // Equals stay in their order.
        probes.sort_by(
            |(a, _), (b, _)| match (*a >= PROBE_RATIO, *b >= PROBE_RATIO) {
                (true, true) => a.total_cmp(b),
                (false, false) => b.total_cmp(a),
                (a, b) => b.cmp(&a),
            },
        );
        self.probe(&probes, quarter)
    }

    /// Whether text stands as `probes` have it or the other way round. `probes`: length in heights, and corners; of lines
    /// that run down the page when `quarter` is set, else to the right.
    fn probe(&mut self, probes: &[(f32, Quad)], quarter: bool) -> Result<Rotation, Error> {
        let (given, other) = if quarter {
            (Rotation::Clockwise90, Rotation::Clockwise270)
        } else {
            (Rotation::Upright, Rotation::Half)
        };
        // Summed over the probes: characters, and confidence times characters either way.
        let (mut characters, mut forth, mut back) = (0.0, 0.0, 0.0);
        for (_, quad) in probes.iter().take(MAX_PROBES) {
            let read = self.read(quad)?;
            self.known.push((*quad, read.clone()));
            let (confidence, count) = weigh(read.as_ref());
            if confidence >= SURE && count >= SURE_CHARACTERS && !contested(read.as_ref()) {
                return Ok(given);
            }
            let turned = self.read(&half_turn(quad))?;
            let (other_confidence, other_count) = weigh(turned.as_ref());
            if other_confidence >= SURE
                && other_count >= SURE_CHARACTERS
                && !contested(turned.as_ref())
            {
                return Ok(other);
            }
            let weight = count.max(other_count) as f32;
            characters += weight;
            forth += confidence * weight;
            back += other_confidence * weight;
        }
        let turned = forth.max(back) >= MIN_CONFIDENCE * characters && characters >= MIN_EVIDENCE;
        Ok(if turned && back > forth {
            other
        } else if turned || !quarter {
            given
        } else {
            // Upright boxes that say nothing either way.
            Rotation::Upright
        })
    }

    /// Takes into account what there is to read: all lines of the page.
    pub(crate) fn expect(&mut self, lines: &[Line]) {
        let along = lines.iter().map(|line| {
            let (across, down) = sides(&line.quad);
            if across >= down {
                line.quad
            } else {
                runs_down(&line.quad)
            }
        });
        self.choice.expect(&along.collect::<Vec<_>>());
    }

    /// Reads one line; `None` when nothing in it is legible. `line`: its corners as the page is turned. Returns the corners
    /// clockwise from the start of the text, too.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Output`].
    pub(crate) fn line(&mut self, line: &Line) -> Result<Option<(Quad, Chosen)>, Error> {
        let (across, down) = sides(&line.quad);
        let (column, narrow) = (down >= UPRIGHT_RATIO * across, down < COLUMN_RATIO * across);
        let quads: &[Quad] = match (column, narrow) {
            (false, _) => &[line.quad, half_turn(&line.quad)],
            (true, true) => &[line.quad, runs_down(&line.quad), runs_up(&line.quad)],
            (true, false) => &[runs_down(&line.quad), runs_up(&line.quad)],
        };
        let mut best: Option<(Quad, Chosen)> = None;
        for quad in quads {
            if let Some((_, best)) = &best
                && !self.promises_more(quad, best.text.confidence)?
            {
                continue;
            }
            let read = self.read(quad)?;
            let (confidence, count) = weigh(read.as_ref());
            let disputed = contested(read.as_ref());
            let (to_beat, needed) = match &best {
                None => (0.0, 0),
                Some((_, best)) if column => (best.text.confidence, 0),
                Some((_, best)) if best.contested => (best.text.confidence, MIN_TURNED_CHARACTERS),
                Some((_, best)) => (best.text.confidence + MIN_GAIN, MIN_TURNED_CHARACTERS),
            };
            if let Some(read) = read.filter(|_| confidence > to_beat && count >= needed) {
                best = Some((*quad, read));
            }
            if confidence >= DOUBTFUL && !disputed {
                break;
            }
        }
        Ok(best.filter(|(quad, read)| legible(quad, &read.text)))
    }

    /// Whether a line that was read one way may be surer this way: a long one is tried at its beginning.
    fn promises_more(&self, quad: &Quad, confidence: f32) -> Result<bool, Error> {
        let (length, height) = sides(quad);
        if length < TRIAL_RATIO * TRIAL_HEIGHTS * height {
            return Ok(true);
        }
        let share = TRIAL_HEIGHTS * height / length;
        let [a, b, c, d] = *quad;
        let part = |from: Point, to: Point| Point {
            x: from.x + (to.x - from.x) * share,
            y: from.y + (to.y - from.y) * share,
        };
        let beginning = [a, part(a, b), part(d, c), d];
        Ok(self.choice.try_out(&beginning)? > confidence)
    }

    fn read(&mut self, quad: &Quad) -> Result<Option<Chosen>, Error> {
        match self.known.iter().find(|(known, _)| known == quad) {
            Some((_, read)) => Ok(read.clone()),
            None => self.choice.read(quad),
        }
    }
}

/// Whether a text is worth answering.
fn legible(quad: &Quad, text: &Text) -> bool {
    let (length, height) = sides(quad);
    let sparse = length > SPARSE_HEIGHTS * height * text.content.chars().count() as f32;
    text.confidence
        >= if sparse {
            MIN_SPARSE_CONFIDENCE
        } else {
            MIN_CONFIDENCE
        }
}

/// Confidence and number of characters.
fn weigh(read: Option<&Chosen>) -> (f32, usize) {
    read.map_or((0.0, 0), |Chosen { text, .. }| {
        (text.confidence, text.content.chars().count())
    })
}

/// Whether packs disagreed about it.
fn contested(read: Option<&Chosen>) -> bool {
    read.is_some_and(|read| read.contested)
}

/// Lengths of a quad's first side and of the one that starts with it downwards.
fn sides(quad: &Quad) -> (f32, f32) {
    (length(quad[0], quad[1]), length(quad[0], quad[3]))
}

/// The same box, its text upside down.
fn half_turn(&[a, b, c, d]: &Quad) -> Quad {
    [c, d, a, b]
}

/// The same box, its text running down the page: its right side is the text's top.
fn runs_down(&[a, b, c, d]: &Quad) -> Quad {
    [b, c, d, a]
}

/// The same box, its text running up the page: its left side is the text's top.
fn runs_up(&[a, b, c, d]: &Quad) -> Quad {
    [d, a, b, c]
}

#[cfg(test)]
mod tests {
    use ephemera_vision::Rgb;

    use super::*;
    use crate::pack::Pack;
    use crate::page::Page;
    use crate::recognise::Custom;
    use crate::testing::{Answer, Fake};

    fn page() -> Page {
        Page::whole(Rgb::filled(400, 400, [255; 3]), 400, 400)
    }

    fn line(width: f32, height: f32) -> Line {
        let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
        let quad = corners.map(|(x, y)| Point { x, y });
        Line { quad, score: 0.9 }
    }

    /// The recogniser's answer to a line of `steps` steps: `characters` times "a", each with this confidence. Of two classes
    /// and the blank, the winner with the logarithm of `2 c / (1 - c)` against two zeros has the probability `c`.
    fn answer(steps: usize, characters: usize, confidence: f32) -> (Vec<usize>, Vec<f32>) {
        let winner = (2.0 * confidence / (1.0 - confidence)).ln();
        let scores = (0..steps).flat_map(|step| {
            if step % 2 == 0 && step / 2 < characters {
                [0.0, winner, 0.0]
            } else {
                [9.0, 0.0, 0.0]
            }
        });
        (vec![1, steps, 3], scores.collect())
    }

    /// The one pack of a test.
    fn packs(answers: Vec<Answer>) -> [Pack; 1] {
        [Fake::pack("ocr-recogniser-latin", &["a", "b"], answers)]
    }

    fn reader<'a>(packs: &'a [Pack], page: &'a Page) -> Reader<'a> {
        Reader::new(Choice::new(packs, &[0], page, Custom::default()))
    }

    /// Steps of a line at 48 px: of 300 x 30 px, or turned, all of its 480 px; of a column of 30 x 300 px the same.
    const STEPS: usize = 60;

    #[test]
    fn a_page_is_turned_by_what_reads_better() {
        struct Case {
            name: &'static str,
            line: Line,
            /// Characters and confidence of each reading in turn.
            readings: &'static [(usize, f32)],
            expected: Rotation,
        }
        let cases = [
            Case {
                name: "one sure line is enough",
                line: line(300.0, 30.0),
                readings: &[(10, 0.95)],
                expected: Rotation::Upright,
            },
            Case {
                name: "upside down",
                line: line(300.0, 30.0),
                readings: &[(10, 0.6), (10, 0.97)],
                expected: Rotation::Half,
            },
            Case {
                name: "neither is sure, the better wins",
                line: line(300.0, 30.0),
                readings: &[(10, 0.6), (10, 0.8)],
                expected: Rotation::Half,
            },
            Case {
                name: "too few characters turn nothing",
                line: line(300.0, 30.0),
                readings: &[(3, 0.6), (3, 0.99)],
                expected: Rotation::Upright,
            },
            Case {
                name: "noise",
                line: line(300.0, 30.0),
                readings: &[(10, 0.4), (10, 0.45)],
                expected: Rotation::Upright,
            },
            Case {
                name: "down the page",
                line: line(30.0, 300.0),
                readings: &[(10, 0.95)],
                expected: Rotation::Clockwise90,
            },
            Case {
                name: "up the page",
                line: line(30.0, 300.0),
                readings: &[(10, 0.6), (10, 0.95)],
                expected: Rotation::Clockwise270,
            },
            Case {
                name: "a tall box of noise",
                line: line(30.0, 300.0),
                readings: &[(10, 0.4), (10, 0.4)],
                expected: Rotation::Upright,
            },
            Case {
                name: "a tall box without text",
                line: line(30.0, 300.0),
                readings: &[(0, 0.9), (0, 0.9)],
                expected: Rotation::Upright,
            },
        ];
        for case in cases {
            let answers = case.readings.iter();
            let answers = answers.map(|&(characters, c)| answer(STEPS, characters, c));
            let (packs, page) = (packs(answers.collect()), page());
            let mut reader = reader(&packs, &page);
            let rotation = reader.rotation(&[case.line]).expect("the fake answers");
            assert_eq!(rotation, case.expected, "{}", case.name);
        }
    }

    #[test]
    fn a_page_without_lines_is_upright() {
        let (packs, page) = (packs(vec![]), page());
        let mut reader = reader(&packs, &page);
        assert_eq!(
            reader.rotation(&[]).expect("nothing is read"),
            Rotation::Upright
        );
    }

    #[test]
    fn what_showed_the_direction_is_not_read_again() {
        // One answer for two readings: the fake has no second.
        let (packs, page) = (packs(vec![answer(STEPS, 10, 0.95)]), page());
        let mut reader = reader(&packs, &page);
        let line = line(300.0, 30.0);
        reader
            .rotation(std::slice::from_ref(&line))
            .expect("the fake answers");
        let (quad, read) = reader
            .line(&line)
            .expect("nothing is read")
            .expect("the line has text");
        assert_eq!(
            (quad, read.text.content.as_str()),
            (line.quad, "aaaaaaaaaa")
        );
    }

    #[test]
    fn a_line_is_read_as_it_runs() {
        struct Case {
            name: &'static str,
            line: Line,
            /// Steps, characters and confidence of each reading in turn.
            readings: &'static [(usize, usize, f32)],
            /// The corner where the text starts, and its length; none for a line that is dropped.
            expected: Option<(usize, usize)>,
        }
        let wide = || line(300.0, 30.0);
        let cases = [
            Case {
                name: "upright",
                line: wide(),
                readings: &[(60, 5, 0.9)],
                expected: Some((0, 5)),
            },
            Case {
                name: "upside down",
                line: wide(),
                readings: &[(60, 9, 0.6), (60, 8, 0.9)],
                expected: Some((2, 8)),
            },
            Case {
                name: "hardly better upside down",
                line: wide(),
                readings: &[(60, 9, 0.6), (60, 8, 0.65)],
                expected: Some((0, 9)),
            },
            Case {
                name: "a few characters are no proof",
                line: line(90.0, 30.0),
                readings: &[(18, 3, 0.6), (18, 3, 0.99)],
                expected: Some((0, 3)),
            },
            Case {
                name: "three characters on ten heights are a guess",
                line: wide(),
                readings: &[(60, 3, 0.8), (60, 3, 0.8)],
                expected: None,
            },
            Case {
                name: "unless they are sure",
                line: wide(),
                readings: &[(60, 3, 0.95)],
                expected: Some((0, 3)),
            },
            Case {
                // 960 px at the recogniser's height; its first 8 heights are tried.
                name: "a long one is tried upside down at its beginning",
                line: line(600.0, 30.0),
                readings: &[(120, 60, 0.6), (48, 12, 0.55)],
                expected: Some((0, 60)),
            },
            Case {
                name: "a long one upside down",
                line: line(600.0, 30.0),
                readings: &[(120, 60, 0.6), (48, 12, 0.9), (120, 40, 0.9)],
                expected: Some((2, 40)),
            },
            Case {
                name: "illegible",
                line: wide(),
                readings: &[(60, 9, 0.4), (60, 9, 0.45)],
                expected: None,
            },
            Case {
                name: "down the page",
                line: line(30.0, 300.0),
                readings: &[(60, 9, 0.9)],
                expected: Some((1, 9)),
            },
            Case {
                name: "up the page",
                line: line(30.0, 300.0),
                readings: &[(60, 9, 0.6), (60, 9, 0.7)],
                expected: Some((3, 9)),
            },
            Case {
                // 20 x 40 px: 24 px wide as a character, 96 px as a line.
                name: "a narrow character",
                line: line(20.0, 40.0),
                readings: &[(3, 1, 0.9)],
                expected: Some((0, 1)),
            },
            Case {
                name: "two characters down the page",
                line: line(20.0, 40.0),
                readings: &[(3, 1, 0.6), (12, 2, 0.9)],
                expected: Some((1, 2)),
            },
        ];
        for case in cases {
            let answers = case.readings.iter();
            let answers = answers.map(|&(steps, characters, c)| answer(steps, characters, c));
            let (packs, page) = (packs(answers.collect()), page());
            let mut reader = reader(&packs, &page);
            let read = reader.line(&case.line).expect("the fake answers");
            let expected = case
                .expected
                .map(|(corner, length)| (case.line.quad[corner], length));
            let read = read.map(|(quad, read)| (quad[0], read.text.content.len()));
            assert_eq!(read, expected, "{}", case.name);
        }
    }
}
