//! The answer of the Kalanjiyam OCR service: plain text, line boxes as a string, and blocks.

use serde::Serialize;

use super::walk::around;
use super::{Asked, rounded};
use crate::Reading;
use crate::identify;
use crate::page::Bounds;
use crate::request::Engine;

/// The answer's fields, in the order they are written.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    /// Blocks, parted by an empty line.
    text: String,
    /// Line boxes, one `x1 y1 x2 y2 text` a line, parted by tabs; for engine `surya` a JSON list in a string.
    bounding_boxes: String,
    /// The engine that was asked for.
    engine: &'static str,
    /// What ran in its place.
    model: &'a str,
    language: &'a str,
    source_type: &'static str,
    page_width: u32,
    page_height: u32,
    blocks: Vec<BlockAnswer<'a>>,
    /// Words in reading order, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    word_boxes: Option<Vec<WordBox<'a>>>,
}

#[derive(Debug, Serialize)]
struct WordBox<'a> {
    text: &'a str,
    bbox: Bounds,
    confidence: f64,
}

#[derive(Debug, Serialize)]
struct BlockAnswer<'a> {
    id: String,
    r#type: &'static str,
    bbox: Bounds,
    reading_order: usize,
    content: String,
    confidence: f64,
    /// BCP-47.
    language: &'a str,
}

pub(super) fn answer<'a>(reading: &'a Reading, asked: Asked<'a>) -> Answer<'a> {
    Answer {
        text: super::text::joined(reading),
        bounding_boxes: bounding_boxes(reading, asked.engine),
        engine: asked.engine.name(),
        model: &reading.model,
        language: asked.language,
        source_type: "scan",
        page_width: reading.page.width,
        page_height: reading.page.height,
        blocks: blocks(reading, asked.tag),
        word_boxes: asked.words.then(|| word_boxes(reading)),
    }
}

fn word_boxes(reading: &Reading) -> Vec<WordBox<'_>> {
    let words = reading.lines().flat_map(|line| &line.text.words);
    words
        .map(|word| WordBox {
            text: &word.content,
            bbox: reading.page.bounds(&word.quad),
            confidence: rounded(word.confidence),
        })
        .collect()
}

fn blocks<'a>(reading: &Reading, tag: &'a str) -> Vec<BlockAnswer<'a>> {
    reading
        .blocks
        .iter()
        .enumerate()
        .map(|(i, block)| {
            let content = block.plain();
            let lines = block.lines().map(|line| reading.page.bounds(&line.quad));
            let bbox = lines.reduce(around).expect("a block has a line");
            BlockAnswer {
                id: id(&content, bbox),
                r#type: block.kind.name(),
                bbox,
                reading_order: i + 1,
                language: identify::language(&content, tag),
                content,
                confidence: rounded(block.confidence()),
            }
        })
        .collect()
}

/// Eight hex digits that stay the same as long as the block does: FNV-1a over its box and content.
fn id(content: &str, bbox: Bounds) -> String {
    let bytes = bbox
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain(content.bytes());
    let hash = bytes.fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{hash:08x}")
}

fn bounding_boxes(reading: &Reading, engine: Engine) -> String {
    #[derive(Serialize)]
    struct LineBox<'a> {
        x1: u32,
        y1: u32,
        x2: u32,
        y2: u32,
        text: &'a str,
    }
    let boxes: Vec<LineBox<'_>> = reading
        .lines()
        .map(|line| {
            let [x1, y1, x2, y2] = reading.page.bounds(&line.quad);
            LineBox {
                x1,
                y1,
                x2,
                y2,
                text: &line.text.content,
            }
        })
        .collect();
    match engine {
        Engine::Surya => serde_json::to_string(&boxes).expect("numbers and text are JSON"),
        Engine::Ephemera | Engine::Tesseract => {
            let lines: Vec<String> = boxes
                .iter()
                .map(|b| format!("{}\t{}\t{}\t{}\t{}", b.x1, b.y1, b.x2, b.y2, b.text))
                .collect();
            lines.join("\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples::{ASKED, blank, reading};
    use super::*;
    use crate::layout::Kind;

    fn value(reading: &Reading, asked: Asked<'_>) -> Value {
        serde_json::to_value(answer(reading, asked)).expect("an answer is JSON")
    }

    #[test]
    fn the_contracts_fields_are_all_there() {
        let content = "He said\n\"no\"";
        let expected = json!({
            "text": content,
            "bounding_boxes": "2\t4\t18\t12\tHe said\n2\t14\t18\t22\t\"no\"",
            "engine": "ephemera",
            "model": "detector@1+recogniser@2",
            "language": "eng",
            "source_type": "scan",
            "page_width": 20,
            "page_height": 24,
            "blocks": [{
                "id": id(content, [2, 4, 18, 22]),
                "type": "paragraph",
                "bbox": [2, 4, 18, 22],
                "reading_order": 1,
                "content": content,
                // (7 * 0.98 + 4 * 0.87654) / 11
                "confidence": 0.9424,
                "language": "en",
            }],
        });
        assert_eq!(value(&reading(), ASKED), expected);
    }

    #[test]
    fn blocks_have_whole_words_and_the_text_is_as_printed() {
        let mut page = reading();
        for (row, content) in page.blocks[0].rows.iter_mut().zip(["a mea-", "surement"]) {
            row[0].text.content = content.to_owned();
        }
        page.blocks[0].kind = Kind::Footnote;
        let answer = value(&page, ASKED);
        assert_eq!(answer["text"], "a mea-\nsurement");
        assert_eq!(answer["blocks"][0]["content"], "a measurement");
        assert_eq!(answer["blocks"][0]["type"], "footnote");
    }

    #[test]
    fn surya_boxes_are_json_in_a_string() {
        let answer = value(
            &reading(),
            Asked {
                engine: Engine::Surya,
                ..ASKED
            },
        );
        let boxes = answer["bounding_boxes"].as_str().expect("a string");
        let expected = r#"[{"x1":2,"y1":4,"x2":18,"y2":12,"text":"He said"},{"x1":2,"y1":14,"x2":18,"y2":22,"text":"\"no\""}]"#;
        assert_eq!(boxes, expected);
        assert_eq!(answer["engine"], "surya");
    }

    #[test]
    fn words_come_when_asked_for() {
        let asked = Asked {
            words: true,
            ..ASKED
        };
        let expected = json!([
            {"text": "He", "bbox": [2, 4, 6, 12], "confidence": 0.98},
            {"text": "said", "bbox": [8, 4, 18, 12], "confidence": 0.98},
            {"text": "\"no\"", "bbox": [3, 14, 17, 22], "confidence": 0.8765},
        ]);
        assert_eq!(value(&reading(), asked)["word_boxes"], expected);
        assert_eq!(value(&blank(), asked)["word_boxes"], json!([]));
    }

    #[test]
    fn a_blank_page_has_no_blocks() {
        let answer = value(&blank(), ASKED);
        assert_eq!(
            (
                &answer["text"],
                &answer["bounding_boxes"],
                &answer["blocks"]
            ),
            (&json!(""), &json!(""), &json!([]))
        );
        assert_eq!(
            value(
                &blank(),
                Asked {
                    engine: Engine::Surya,
                    ..ASKED
                }
            )["bounding_boxes"],
            "[]"
        );
    }

    #[test]
    fn ids_are_fnv_1a() {
        // Sixteen zero bytes and "a", computed by another program.
        assert_eq!(id("a", [0; 4]), FNV_OF_ZEROS_AND_A);
        assert_ne!(id("a", [0, 0, 0, 1]), id("a", [0; 4]));
    }

    const FNV_OF_ZEROS_AND_A: &str = "5472f86c";
}
