//! Blocks -> the bytes of an answer, one file per format.

mod alto;
mod hocr;
mod kalanjiyam;
mod markup;
mod pdf;
mod surya;
mod text;
mod tsv;
mod walk;

use crate::Reading;
use crate::request::{Engine, Format};
use ephemera_http::HttpAnswer;

/// What the caller named, echoed in the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) engine: Engine,
    /// As the caller wrote it.
    pub(crate) language: &'a str,
    /// The same as a BCP-47 tag.
    pub(crate) tag: &'a str,
    /// Whether the words are wanted where they are not part of the format.
    pub(crate) words: bool,
    /// The file as it was sent, for the format that shows it; empty for the others.
    pub(crate) image: &'a [u8],
}

/// Writes a reading in the format that was asked for.
pub(crate) fn render(reading: &Reading, asked: Asked<'_>, format: Format) -> HttpAnswer {
    let media = format.media_type();
    match format {
        Format::Kalanjiyam => HttpAnswer::json(200, &kalanjiyam::answer(reading, asked)),
        Format::Surya => HttpAnswer::json(200, &surya::answer(reading)),
        Format::Text => HttpAnswer::document(media, text::answer(reading)),
        Format::Tsv => HttpAnswer::document(media, tsv::answer(reading)),
        Format::Hocr => HttpAnswer::document(media, hocr::answer(reading, asked)),
        Format::Alto => HttpAnswer::document(media, alto::answer(reading, asked)),
        Format::Pdf => HttpAnswer::document(media, pdf::answer(reading, asked)),
    }
}

/// A probability with as many digits as mean something.
fn rounded(probability: f32) -> f64 {
    (f64::from(probability) * 1e4).round() / 1e4
}

#[cfg(test)]
pub(crate) mod samples {
    //! One page for the tests of every format.

    use ephemera_vision::{Point, Rgb};

    use super::*;
    use crate::layout::{Block, Kind, ReadLine};
    use crate::page::Page;
    use crate::pose::{Pose, Rotation};
    use crate::recognise::{Text, Word};

    pub(crate) const ASKED: Asked<'static> = Asked {
        engine: Engine::Ephemera,
        language: "eng",
        tag: "en",
        words: false,
        image: &[],
    };

    /// Two lines of one block on a page that was shrunk by half.
    pub(crate) fn reading() -> Reading {
        let quad = |left: f32, right: f32, top: f32| {
            let bottom = top + 4.0;
            [(left, top), (right, top), (right, bottom), (left, bottom)]
                .map(|(x, y)| Point { x, y })
        };
        let line = |words: &[(&str, f32, f32)], top: f32, confidence: f32| {
            let contents: Vec<&str> = words.iter().map(|word| word.0).collect();
            let content = contents.join(" ");
            let words = words.iter().map(|&(content, left, right)| Word {
                content: content.to_owned(),
                confidence,
                quad: quad(left, right, top),
            });
            ReadLine {
                quad: quad(1.0, 9.0, top),
                level: quad(1.0, 9.0, top),
                text: Text {
                    positions: vec![0.5; content.chars().count()],
                    content,
                    confidence,
                    words: words.collect(),
                },
            }
        };
        let rows = vec![
            vec![line(&[("He", 1.0, 3.0), ("said", 4.0, 9.0)], 2.0, 0.98)],
            vec![line(&[("\"no\"", 1.5, 8.5)], 7.0, 0.876_54)],
        ];
        Reading {
            page: Page::whole(Rgb::filled(10, 12, [255; 3]), 20, 24),
            pose: Pose::new(Rotation::Upright, 10, 12),
            blocks: vec![Block {
                kind: Kind::Paragraph,
                rows,
            }],
            model: "detector@1+recogniser@2".to_owned(),
        }
    }

    /// The page with nothing on it.
    pub(crate) fn blank() -> Reading {
        Reading {
            blocks: Vec::new(),
            ..reading()
        }
    }

    #[test]
    fn probabilities_keep_four_digits() {
        let cases = [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.876_54, "0.8765"),
            (0.999_96, "1.0"),
            (0.1, "0.1"),
        ];
        for (value, expected) in cases {
            assert_eq!(
                serde_json::to_string(&rounded(value)).expect("a number"),
                expected
            );
        }
    }
}
