//! Blocks -> the bytes of an answer, one file per format.

mod kalanjiyam;
mod surya;
mod text;

use crate::Reading;
use crate::http::HttpAnswer;
use crate::request::{Engine, Format};

/// What the caller named, echoed in the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) engine: Engine,
    /// As the caller wrote it.
    pub(crate) language: &'a str,
    /// The same as a BCP-47 tag.
    pub(crate) tag: &'a str,
}

/// Writes a reading in the format that was asked for.
pub(crate) fn render(reading: &Reading, asked: Asked<'_>, format: Format) -> HttpAnswer {
    match format {
        Format::Kalanjiyam => HttpAnswer::json(200, &kalanjiyam::answer(reading, asked)),
        Format::Surya => HttpAnswer::json(200, &surya::answer(reading)),
        Format::Text => HttpAnswer::text(text::answer(reading)),
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
    use crate::layout::{Block, ReadLine};
    use crate::page::Page;
    use crate::pose::{Pose, Rotation};
    use crate::recognise::Text;

    pub(crate) const ASKED: Asked<'static> = Asked {
        engine: Engine::Ephemera,
        language: "eng",
        tag: "en",
    };

    /// Two lines of one block on a page that was shrunk by half.
    pub(crate) fn reading() -> Reading {
        let line = |content: &str, top: f32, confidence: f32| {
            let quad = [(1.0, top), (9.0, top), (9.0, top + 4.0), (1.0, top + 4.0)]
                .map(|(x, y)| Point { x, y });
            ReadLine {
                quad,
                level: quad,
                text: Text {
                    content: content.to_owned(),
                    confidence,
                    positions: vec![0.5; content.chars().count()],
                },
            }
        };
        let rows = vec![
            vec![line("He said", 2.0, 0.98)],
            vec![line("\"no\"", 7.0, 0.876_54)],
        ];
        Reading {
            page: Page {
                pixels: Rgb::filled(10, 12, [255; 3]),
                width: 20,
                height: 24,
            },
            pose: Pose::new(Rotation::Upright, 10, 12),
            blocks: vec![Block { rows }],
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
