//! Tab-separated values with the columns of Tesseract: a row for the page, each block, paragraph, line and word.

use std::fmt::Write;

use super::walk;
use crate::Reading;
use crate::page::Bounds;

const HEADER: &str = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n";

pub(super) fn answer(reading: &Reading) -> String {
    let mut out = String::from(HEADER);
    let number = reading.page.number as usize;
    let page = [0, 0, reading.page.width, reading.page.height];
    row(&mut out, 1, [number, 0, 0, 0, 0], page, "-1\t");
    for (block, view) in (1..).zip(walk::blocks(reading)) {
        row(&mut out, 2, [number, block, 0, 0, 0], view.bounds, "-1\t");
        // A block is one paragraph.
        row(&mut out, 3, [number, block, 1, 0, 0], view.bounds, "-1\t");
        for (line, view) in (1..).zip(view.lines) {
            row(
                &mut out,
                4,
                [number, block, 1, line, 0],
                view.bounds,
                "-1\t",
            );
            for (word, view) in (1..).zip(view.words) {
                // A tab inside a word would be a column.
                let content = view.content.replace(char::is_control, " ");
                let rest = format!("{:.2}\t{content}", view.confidence * 100.0);
                row(
                    &mut out,
                    5,
                    [number, block, 1, line, word],
                    view.bounds,
                    &rest,
                );
            }
        }
    }
    out
}

/// `rest`: confidence in percent, -1 for what is not a word, and text.
fn row(out: &mut String, level: u32, numbers: [usize; 5], bounds: Bounds, rest: &str) {
    let [page, block, paragraph, line, word] = numbers;
    let ([left, top, ..], [width, height]) = (bounds, walk::size(bounds));
    writeln!(
        out,
        "{level}\t{page}\t{block}\t{paragraph}\t{line}\t{word}\t{left}\t{top}\t{width}\t{height}\t{rest}"
    )
    .expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::super::samples::{blank, reading};
    use super::*;

    #[test]
    fn rows_have_their_level_and_numbers() {
        let expected = [
            "1\t1\t0\t0\t0\t0\t0\t0\t20\t24\t-1\t",
            "2\t1\t1\t0\t0\t0\t2\t4\t16\t18\t-1\t",
            "3\t1\t1\t1\t0\t0\t2\t4\t16\t18\t-1\t",
            "4\t1\t1\t1\t1\t0\t2\t4\t16\t8\t-1\t",
            "5\t1\t1\t1\t1\t1\t2\t4\t4\t8\t98.00\tHe",
            "5\t1\t1\t1\t1\t2\t8\t4\t10\t8\t98.00\tsaid",
            "4\t1\t1\t1\t2\t0\t2\t14\t16\t8\t-1\t",
            "5\t1\t1\t1\t2\t1\t3\t14\t14\t8\t87.65\t\"no\"",
            "",
        ];
        assert_eq!(answer(&reading()), HEADER.to_owned() + &expected.join("\n"));
        let blank = answer(&blank());
        assert_eq!(blank, HEADER.to_owned() + expected[0] + "\n");
    }

    #[test]
    fn a_words_own_tab_is_no_column() {
        let mut reading = reading();
        reading.blocks[0].rows[1][0].text.words[0].content = "a\tb\nc".to_owned();
        let answer = answer(&reading);
        assert!(answer.ends_with("\ta b c\n"), "{answer}");
        assert!(answer.lines().all(|line| line.split('\t').count() == 12));
    }
}
