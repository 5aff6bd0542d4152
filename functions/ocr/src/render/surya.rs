//! The shape of Surya's own results: text lines with polygons.

use serde::Serialize;

use super::rounded;
use crate::Reading;
use crate::page::Bounds;

/// The answer's fields, in the order they are written.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    /// In reading order.
    text_lines: Vec<TextLine<'a>>,
    image_bbox: Bounds,
    /// One-based.
    page: u32,
    /// What ran.
    model: &'a str,
}

#[derive(Debug, Serialize)]
struct TextLine<'a> {
    text: &'a str,
    confidence: f64,
    /// Corners clockwise from the top left.
    polygon: [[u32; 2]; 4],
    bbox: Bounds,
}

pub(super) fn answer(reading: &Reading) -> Answer<'_> {
    let text_lines = reading
        .lines()
        .map(|line| TextLine {
            text: &line.text.content,
            confidence: rounded(line.text.confidence),
            polygon: reading.page.corners(&line.quad),
            bbox: reading.page.bounds(&line.quad),
        })
        .collect();
    Answer {
        text_lines,
        image_bbox: [0, 0, reading.page.width, reading.page.height],
        page: reading.page.number,
        model: &reading.model,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples::{blank, reading};
    use super::*;

    #[test]
    fn lines_carry_polygons() {
        let expected = json!({
            "text_lines": [
                {
                    "text": "He said",
                    "confidence": 0.98,
                    "polygon": [[2, 4], [18, 4], [18, 12], [2, 12]],
                    "bbox": [2, 4, 18, 12],
                },
                {
                    "text": "\"no\"",
                    "confidence": 0.8765,
                    "polygon": [[2, 14], [18, 14], [18, 22], [2, 22]],
                    "bbox": [2, 14, 18, 22],
                },
            ],
            "image_bbox": [0, 0, 20, 24],
            "page": 1,
            "model": "detector@1+recogniser@2",
        });
        assert_eq!(
            serde_json::to_value(answer(&reading())).expect("an answer is JSON"),
            expected
        );
        let blank = blank();
        assert_eq!(
            serde_json::to_value(answer(&blank)).expect("an answer is JSON")["text_lines"],
            json!([])
        );
    }
}
