//! Lines -> blocks in reading order.
//!
//! ```text
//! layout/piece.rs       lines   -> pieces           the page turned upright, the size of its body text
//! layout/edges.rs       pieces  -> running headers, page numbers
//! layout/tables.rs      pieces  -> cells of tables
//! layout/columns.rs     pieces  -> zones            what spans the page, then column by column
//! layout/paragraphs.rs  column  -> groups           distances, indents, sizes
//! layout/kinds.rs       groups  -> their kinds      headings, captions, footnotes
//! layout/plain.rs       rows    -> running text     without the hyphens of broken words
//! ```
//!
//! What is above comes first, and a left column is finished before the one to its right begins; what spans columns parts
//! them into bands. All measures are multiples of the body's line height, so they hold for any resolution. Only
//! comparisons and the basic operations of floats are used: the order is the same on every target.
//!
//! Left to others: pages that are turned, and formulas.

mod columns;
mod edges;
mod extent;
mod kinds;
mod paragraphs;
mod piece;
mod plain;
mod tables;

use ephemera_vision::Quad;

use crate::recognise::Text;
use columns::Zone;
use kinds::Scale;
use piece::Piece;

/// A line that has been read. Its corners are in the page's pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadLine {
    /// Corners clockwise from the top left.
    pub quad: Quad,
    /// What it says.
    pub text: Text,
}

/// What a block is on its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Running text, and whatever is nothing else.
    #[default]
    Paragraph,
    /// A title, clearly larger than the text.
    Heading,
    /// A title of a part, in letters of the text's size or little more.
    Subheading,
    /// Rows of cells.
    Table,
    /// What a figure or a table shows; it begins with its number.
    Caption,
    /// A note below the text, with its mark.
    Footnote,
    /// What the upper or lower edge of every page says.
    RunningHeader,
    /// The number of the page.
    PageNumber,
    /// A catchword above a column.
    ColumnHeader,
}

impl Kind {
    /// The name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Paragraph => "paragraph",
            Kind::Heading => "heading",
            Kind::Subheading => "subheading",
            Kind::Table => "table",
            Kind::Caption => "caption",
            Kind::Footnote => "footnote",
            Kind::RunningHeader => "running-header",
            Kind::PageNumber => "page-number",
            Kind::ColumnHeader => "column-header",
        }
    }
}

/// Lines that belong together, in reading order.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Rows from top to bottom; in each, lines from left to right.
    pub rows: Vec<Vec<ReadLine>>,
}

impl Block {
    /// Lines in reading order.
    pub fn lines(&self) -> impl Iterator<Item = &ReadLine> {
        self.rows.iter().flatten()
    }

    /// As printed: a row of text per row of lines.
    pub fn content(&self) -> String {
        self.texts(" ").join("\n")
    }

    /// As running text: a row per row of lines, but a word that a hyphen breaks stands whole on its first row. The cells
    /// of a table are parted by tabs.
    pub fn plain(&self) -> String {
        match self.kind {
            Kind::Table => self.texts("\t").join("\n"),
            _ => plain::unhyphenated(&self.texts(" ")),
        }
    }

    fn texts(&self, separator: &str) -> Vec<String> {
        self.rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|line| line.text.content.as_str())
                    .collect::<Vec<_>>()
                    .join(separator)
            })
            .collect()
    }

    /// Mean of the lines' confidences, each weighed by its number of characters.
    pub fn confidence(&self) -> f32 {
        let (mut sum, mut count) = (0f32, 0f32);
        for line in self.lines() {
            let characters = line.text.positions.len() as f32;
            sum += line.text.confidence * characters;
            count += characters;
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }
}

/// Groups lines into blocks and puts both in reading order. Every line is in one block.
pub fn layout(lines: Vec<ReadLine>) -> Vec<Block> {
    let (pieces, body) = Piece::all(&lines);
    let edges = edges::edges(&lines, &pieces, body);
    let mut members: Vec<usize> = (0..lines.len()).collect();
    members.retain(|line| {
        !edges
            .top
            .iter()
            .chain(&edges.bottom)
            .any(|(other, _)| other == line)
    });
    let tables = tables::tables(&pieces, body, &members);
    members.retain(|line| !tables.iter().any(|table| table.contains(line)));
    let zones = columns::zones(&pieces, body, &members, &tables);

    let scale = Scale::new(&pieces, body);
    let columns: Vec<&[usize]> = zones
        .iter()
        .filter_map(|zone| match zone {
            Zone::Column(column) => Some(column.as_slice()),
            Zone::Table(_) => None,
        })
        .collect();
    let pitch = paragraphs::usual_pitch(&pieces, body, &columns);
    let mut blocks: Vec<(Kind, Vec<Vec<usize>>)> = Vec::new();
    blocks.extend(
        edges
            .top
            .into_iter()
            .map(|(line, kind)| (kind, vec![vec![line]])),
    );
    for zone in &zones {
        match zone {
            Zone::Table(table) => blocks.push((Kind::Table, paragraphs::rows(&pieces, table))),
            Zone::Column(column) => {
                let groups = paragraphs::groups(&lines, &pieces, body, pitch, column);
                let kinds = kinds::kinds(&lines, &pieces, &scale, &groups);
                blocks.extend(
                    kinds
                        .into_iter()
                        .zip(groups.into_iter().map(|group| group.rows)),
                );
            }
        }
    }
    blocks.extend(
        edges
            .bottom
            .into_iter()
            .map(|(line, kind)| (kind, vec![vec![line]])),
    );

    let mut lines: Vec<Option<ReadLine>> = lines.into_iter().map(Some).collect();
    let mut take = |line: usize| lines[line].take().expect("each line is in one block");
    blocks
        .into_iter()
        .map(|(kind, rows)| {
            let rows = rows
                .into_iter()
                .map(|row| row.into_iter().map(&mut take).collect())
                .collect();
            Block { kind, rows }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ephemera_vision::Point;

    use super::*;

    fn line(content: &str, left: f32, top: f32, width: f32, height: f32) -> ReadLine {
        let at = |x: f32, y: f32| Point { x, y };
        let quad = [
            at(left, top),
            at(left + width, top),
            at(left + width, top + height),
            at(left, top + height),
        ];
        let positions = vec![0.5; content.chars().count()];
        ReadLine {
            quad,
            text: Text {
                content: content.to_owned(),
                confidence: 0.9,
                positions,
            },
        }
    }

    fn contents(lines: Vec<ReadLine>) -> Vec<String> {
        layout(lines).iter().map(Block::content).collect()
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(layout(Vec::new()), []);
    }

    #[test]
    fn a_skipped_line_parts_paragraphs() {
        let page = vec![
            line("c", 10.0, 100.0, 200.0, 20.0),
            line("b", 10.0, 30.0, 180.0, 20.0),
            line("a", 10.0, 2.0, 200.0, 20.0),
            line("d", 10.0, 128.0, 100.0, 20.0),
        ];
        assert_eq!(contents(page), ["a\nb", "c\nd"]);
    }

    #[test]
    fn pieces_of_a_row_join_even_when_tilted() {
        let page = vec![
            line("world", 120.0, 6.0, 80.0, 20.0),
            line("hello", 10.0, 0.0, 100.0, 20.0),
            line("below", 10.0, 28.0, 150.0, 20.0),
        ];
        assert_eq!(contents(page), ["hello world\nbelow"]);
    }

    #[test]
    fn a_heading_stands_alone() {
        let page = vec![
            line("title", 10.0, 0.0, 300.0, 40.0),
            line("text", 10.0, 50.0, 300.0, 20.0),
        ];
        assert_eq!(contents(page), ["title", "text"]);
    }

    #[test]
    fn the_left_column_is_finished_first() {
        let page = vec![
            line("title", 0.0, 0.0, 500.0, 40.0),
            line("right 1", 300.0, 60.0, 200.0, 20.0),
            line("left 1", 0.0, 64.0, 200.0, 20.0),
            line("right 2", 300.0, 86.0, 200.0, 20.0),
            line("left 2", 0.0, 90.0, 200.0, 20.0),
            // After a gap, still in the left column, below everything in the right one.
            line("left 3", 0.0, 150.0, 200.0, 20.0),
            line("foot", 0.0, 400.0, 500.0, 20.0),
        ];
        assert_eq!(
            contents(page),
            [
                "title",
                "left 1\nleft 2",
                "left 3",
                "right 1\nright 2",
                "foot"
            ]
        );
    }

    #[test]
    fn confidence_weighs_characters() {
        let mut short = line("a", 0.0, 0.0, 10.0, 20.0);
        short.text.confidence = 0.5;
        let block = Block {
            kind: Kind::Paragraph,
            rows: vec![vec![short, line("bcd", 20.0, 0.0, 30.0, 20.0)]],
        };
        assert!((block.confidence() - 0.8).abs() < 1e-6);
    }
}
