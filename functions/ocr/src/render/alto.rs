//! ALTO 4.2, the XML of libraries and archives.

use std::fmt::Write;

use super::Asked;
use super::markup::{Escaped, known_language};
use super::walk::{self, LineView, WordView};
use crate::Reading;
use crate::page::Bounds;

pub(super) fn answer(reading: &Reading, asked: Asked<'_>) -> String {
    let mut out = String::new();
    write(&mut out, reading, asked).expect("a string takes everything");
    out
}

fn write(out: &mut String, reading: &Reading, asked: Asked<'_>) -> std::fmt::Result {
    let (width, height) = (reading.page.width, reading.page.height);
    let page = [0, 0, width, height];
    let number = reading.page.number;
    writeln!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-2.xsd" SCHEMAVERSION="4.2">
<Description>
<MeasurementUnit>pixel</MeasurementUnit>
<OCRProcessing ID="OCR_1">
<ocrProcessingStep>
<processingStepSettings>{}</processingStepSettings>
<processingSoftware>
<softwareName>ephemera</softwareName>
<softwareVersion>{}</softwareVersion>
</processingSoftware>
</ocrProcessingStep>
</OCRProcessing>
</Description>
<Layout>
<Page ID="page_1" PHYSICAL_IMG_NR="{number}" WIDTH="{width}" HEIGHT="{height}">
<PrintSpace{}>"#,
        Escaped(&reading.model),
        crate::VERSION,
        placed(page),
    )?;
    // Numbers go through the whole page, so that every id is there once.
    let (mut lines, mut words) = (0, 0);
    for (block, view) in (1..).zip(walk::blocks(reading)) {
        let place = placed(view.bounds);
        let language = known_language(view.language(asked.tag));
        let language = language.map_or(String::new(), |tag| format!(" LANG=\"{tag}\""));
        writeln!(out, r#"<TextBlock ID="block_{block}"{place}{language}>"#)?;
        for line in &view.lines {
            lines += 1;
            let (place, baseline) = (placed(line.bounds), baseline(line));
            writeln!(
                out,
                r#"<TextLine ID="line_{lines}"{place} BASELINE="{baseline}">"#
            )?;
            let mut before: Option<&WordView<'_>> = None;
            for word in &line.words {
                if let Some(before) = before {
                    writeln!(out, "<SP{}/>", placed(gap(before, word)))?;
                }
                before = Some(word);
                words += 1;
                let place = placed(word.bounds);
                let confidence = super::rounded(word.confidence);
                let content = Escaped(word.content);
                writeln!(
                    out,
                    r#"<String ID="string_{words}"{place} WC="{confidence}" CONTENT="{content}"/>"#
                )?;
            }
            writeln!(out, "</TextLine>")?;
        }
        writeln!(out, "</TextBlock>")?;
    }
    writeln!(out, "</PrintSpace>\n</Page>\n</Layout>\n</alto>")
}

fn placed(bounds: Bounds) -> String {
    let ([left, top, ..], [width, height]) = (bounds, walk::size(bounds));
    format!(r#" HPOS="{left}" VPOS="{top}" WIDTH="{width}" HEIGHT="{height}""#)
}

/// What lies between a word and the next one of its line, whichever way that runs: nothing where they touch.
fn gap(before: &WordView<'_>, after: &WordView<'_>) -> Bounds {
    let [start, end, end_below, _] = before.corners;
    let [next, _, _, next_below] = after.corners;
    let (along, on) = (step(start, end), step(end, next));
    let (far, far_below) = if along[0] * on[0] + along[1] * on[1] > 0.0 {
        (next, next_below)
    } else {
        (end, end_below)
    };
    walk::bounds(&[end, far, far_below, end_below])
}

fn step(from: [f64; 2], to: [f64; 2]) -> [f64; 2] {
    [to[0] - from[0], to[1] - from[1]]
}

/// Two points, `x,y x,y`.
fn baseline(line: &LineView<'_>) -> String {
    let [[x1, y1], [x2, y2]] = line.baseline.map(|point| point.map(f64::round));
    format!("{x1},{y1} {x2},{y2}")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ASKED, blank, reading};
    use super::*;

    #[test]
    fn every_level_has_its_place() {
        let answer = answer(&reading(), ASKED);
        let layout = answer.split_once("<Layout>\n").expect("a layout").1;
        let expected = r#"<Page ID="page_1" PHYSICAL_IMG_NR="1" WIDTH="20" HEIGHT="24">
<PrintSpace HPOS="0" VPOS="0" WIDTH="20" HEIGHT="24">
<TextBlock ID="block_1" HPOS="2" VPOS="4" WIDTH="16" HEIGHT="18" LANG="en">
<TextLine ID="line_1" HPOS="2" VPOS="4" WIDTH="16" HEIGHT="8" BASELINE="2,10 18,10">
<String ID="string_1" HPOS="2" VPOS="4" WIDTH="4" HEIGHT="8" WC="0.98" CONTENT="He"/>
<SP HPOS="6" VPOS="4" WIDTH="2" HEIGHT="8"/>
<String ID="string_2" HPOS="8" VPOS="4" WIDTH="10" HEIGHT="8" WC="0.98" CONTENT="said"/>
</TextLine>
<TextLine ID="line_2" HPOS="2" VPOS="14" WIDTH="16" HEIGHT="8" BASELINE="3,20 17,20">
<String ID="string_3" HPOS="3" VPOS="14" WIDTH="14" HEIGHT="8" WC="0.8765" CONTENT="&quot;no&quot;"/>
</TextLine>
</TextBlock>
</PrintSpace>
</Page>
</Layout>
</alto>
"#;
        assert_eq!(layout, expected);
        assert!(answer.contains("<processingStepSettings>detector@1+recogniser@2<"));
    }

    #[test]
    fn a_blank_page_is_a_page() {
        let answer = answer(&blank(), ASKED);
        assert!(answer.contains("HEIGHT=\"24\">\n</PrintSpace>"), "{answer}");
        assert!(!answer.contains("LANG"));
    }

    /// A word along (x1, y1) -> (x2, y2), 8 px high.
    fn word([x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> WordView<'static> {
        let length = ((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1)).sqrt();
        let (down_x, down_y) = (-8.0 * (y2 - y1) / length, 8.0 * (x2 - x1) / length);
        let corners = [
            [x1, y1],
            [x2, y2],
            [x2 + down_x, y2 + down_y],
            [x1 + down_x, y1 + down_y],
        ];
        WordView {
            content: "a",
            confidence: 1.0,
            bounds: walk::bounds(&corners),
            corners,
        }
    }

    #[test]
    fn spaces_of_turned_lines_had_wrong_measures() {
        // (the line, the word before, the one after, what lies between)
        let cases = [
            (
                "right",
                [2.0, 4.0],
                [6.0, 4.0],
                [8.0, 4.0],
                [18.0, 4.0],
                [6, 4, 8, 12],
            ),
            // The text's top is at the right, so its lower side is 8 px to the left.
            (
                "down",
                [20.0, 5.0],
                [20.0, 15.0],
                [20.0, 18.0],
                [20.0, 30.0],
                [12, 15, 20, 18],
            ),
            (
                "up",
                [20.0, 30.0],
                [20.0, 20.0],
                [20.0, 16.0],
                [20.0, 5.0],
                [20, 16, 28, 20],
            ),
            (
                "left",
                [50.0, 40.0],
                [30.0, 40.0],
                [26.0, 40.0],
                [5.0, 40.0],
                [26, 32, 30, 40],
            ),
            (
                "touching",
                [2.0, 4.0],
                [9.0, 4.0],
                [8.0, 4.0],
                [18.0, 4.0],
                [9, 4, 9, 12],
            ),
            (
                "touching, up",
                [20.0, 30.0],
                [20.0, 15.0],
                [20.0, 16.0],
                [20.0, 5.0],
                [20, 15, 28, 15],
            ),
        ];
        for (name, start, end, next, last, expected) in cases {
            assert_eq!(
                gap(&word(start, end), &word(next, last)),
                expected,
                "{name}"
            );
        }
    }
}
