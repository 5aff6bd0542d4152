//! hOCR 1.2: XHTML whose classes and titles say what stands where.

use std::fmt::Write;

use super::Asked;
use super::markup::{Escaped, known_language};
use super::walk::{self, Direction, LineView};
use crate::Reading;
use crate::page::Bounds;

pub(super) fn answer(reading: &Reading, asked: Asked<'_>) -> String {
    let mut out = String::new();
    write(&mut out, reading, asked).expect("a string takes everything");
    out
}

fn write(out: &mut String, reading: &Reading, asked: Asked<'_>) -> std::fmt::Result {
    let language = known_language(asked.tag);
    let attribute = language.map_or(String::new(), lang);
    let blocks = walk::blocks(reading);
    let told = |block: &walk::BlockView<'_>| known_language(block.language(asked.tag)).is_some();
    let capability = match language.is_some() || blocks.iter().any(told) {
        true => " ocrp_lang",
        false => "",
    };
    writeln!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"{attribute}>
<head>
<title>OCR</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
<meta name="ocr-system" content="ephemera {}: {}"/>
<meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word{capability}"/>
<meta name="ocr-number-of-pages" content="1"/>"#,
        crate::VERSION,
        Escaped(&reading.model),
    )?;
    if let Some(tag) = language {
        writeln!(out, r#"<meta name="ocr-langs" content="{tag}"/>"#)?;
    }
    let (width, height) = (reading.page.width, reading.page.height);
    // hOCR counts the pages of a file from 0.
    let number = reading.page.number.saturating_sub(1);
    writeln!(
        out,
        r#"</head>
<body>
<div class="ocr_page" id="page_1" title="bbox 0 0 {width} {height}; ppageno {number}">"#
    )?;
    // Numbers go through the whole page, so that every id is there once.
    let (mut lines, mut words) = (0, 0);
    for (block, view) in (1..).zip(blocks) {
        let title = bbox(view.bounds);
        let attribute = known_language(view.language(asked.tag)).map_or(String::new(), lang);
        writeln!(
            out,
            r#"<div class="ocr_carea" id="block_1_{block}" title="{title}">
<p class="ocr_par" id="par_1_{block}" title="{title}"{attribute}>"#
        )?;
        for line in &view.lines {
            lines += 1;
            let (title, placed) = (bbox(line.bounds), placed(line));
            writeln!(
                out,
                r#"<span class="ocr_line" id="line_1_{lines}" title="{title}; {placed}">"#
            )?;
            for word in &line.words {
                words += 1;
                let title = bbox(word.bounds);
                let percent = (word.confidence * 100.0).round();
                let content = Escaped(word.content);
                writeln!(
                    out,
                    r#"<span class="ocrx_word" id="word_1_{words}" title="{title}; x_wconf {percent}">{content}</span>"#
                )?;
            }
            writeln!(out, "</span>")?;
        }
        writeln!(out, "</p>\n</div>")?;
    }
    writeln!(out, "</div>\n</body>\n</html>")
}

/// The attributes that name a language, HTML's and XML's.
fn lang(tag: &str) -> String {
    format!(" lang=\"{tag}\" xml:lang=\"{tag}\"")
}

fn bbox([left, top, right, bottom]: Bounds) -> String {
    format!("bbox {left} {top} {right} {bottom}")
}

/// How a line lies: its baseline, as a slope and the height above the lower left corner of its box, or where it does not
/// run from left to right, by how much it is turned counter-clockwise, in degrees.
fn placed(line: &LineView<'_>) -> String {
    let degrees = match line.direction() {
        Direction::Up => 90,
        Direction::Left => 180,
        Direction::Down => 270,
        Direction::Right => {
            let [[x1, y1], [x2, y2]] = line.baseline;
            let [left, _, _, bottom] = line.bounds.map(f64::from);
            let slope = if x2 > x1 { (y2 - y1) / (x2 - x1) } else { 0.0 };
            let offset = y1 + slope * (left - x1) - bottom;
            // No "-0.000", and no more digits than mean something.
            let (slope, offset) = (slope.clamp(-1.0, 1.0) + 0.0, offset.round() + 0.0);
            return if slope.abs() < 5e-4 {
                format!("baseline 0 {offset}")
            } else {
                format!("baseline {slope:.3} {offset}")
            };
        }
    };
    format!("textangle {degrees}")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ASKED, blank, reading};
    use super::*;

    #[test]
    fn every_level_has_its_box() {
        let answer = answer(&reading(), ASKED);
        let body = answer.split_once("<body>\n").expect("a body").1;
        let expected = r#"<div class="ocr_page" id="page_1" title="bbox 0 0 20 24; ppageno 0">
<div class="ocr_carea" id="block_1_1" title="bbox 2 4 18 22">
<p class="ocr_par" id="par_1_1" title="bbox 2 4 18 22" lang="en" xml:lang="en">
<span class="ocr_line" id="line_1_1" title="bbox 2 4 18 12; baseline 0 -2">
<span class="ocrx_word" id="word_1_1" title="bbox 2 4 6 12; x_wconf 98">He</span>
<span class="ocrx_word" id="word_1_2" title="bbox 8 4 18 12; x_wconf 98">said</span>
</span>
<span class="ocr_line" id="line_1_2" title="bbox 2 14 18 22; baseline 0 -2">
<span class="ocrx_word" id="word_1_3" title="bbox 3 14 17 22; x_wconf 88">&quot;no&quot;</span>
</span>
</p>
</div>
</div>
</body>
</html>
"#;
        assert_eq!(body, expected);
        assert!(answer.contains(r#"content="ephemera 0.1.0: detector@1+recogniser@2""#));
    }

    #[test]
    fn an_unknown_language_is_not_named() {
        let und = Asked {
            tag: "und",
            ..ASKED
        };
        let answer = answer(&blank(), und);
        assert!(!answer.contains("lang"), "{answer}");
        assert!(answer.contains("ppageno 0\">\n</div>\n</body>"));
    }

    #[test]
    fn lines_say_how_they_lie() {
        // (baseline, expected)
        let cases = [
            ([[10.0, 90.0], [110.0, 90.0]], "baseline 0 -10"),
            ([[10.0, 90.0], [110.0, 95.0]], "baseline 0.050 -10"),
            // The first word begins 20 px from the box's edge, where the baseline is 1 px higher.
            ([[30.0, 90.0], [110.0, 94.0]], "baseline 0.050 -11"),
            ([[10.0, 100.0], [110.0, 80.0]], "baseline -0.200 0"),
            ([[10.0, 90.0], [10.0, 90.0]], "baseline 0 -10"),
            ([[10.0, 90.0], [12.0, 20.0]], "textangle 90"),
            ([[10.0, 10.0], [12.0, 90.0]], "textangle 270"),
            ([[110.0, 10.0], [10.0, 12.0]], "textangle 180"),
        ];
        for (baseline, expected) in cases {
            let line = LineView {
                bounds: [10, 60, 110, 100],
                baseline,
                words: Vec::new(),
            };
            assert_eq!(placed(&line), expected, "{baseline:?}");
        }
    }
}
