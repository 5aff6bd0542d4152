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

/// A line that has been read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadLine {
    /// Corners in the page's pixels, clockwise from the start of its text.
    pub quad: Quad,
    /// Corners in the level frame, where the page is upright and its skew taken out (see [`crate::pose`]): all of the layout
    /// is decided there.
    pub level: Quad,
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
    let pitch = piece::usual_pitch(&pieces, body);
    let edges = edges::edges(&lines, &pieces, body, pitch);
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
    use proptest::prelude::*;

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
            level: quad,
            text: Text {
                content: content.to_owned(),
                confidence: 0.9,
                positions,
                words: Vec::new(),
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

    /// `count` lines of 20 px that touch each other, named `name 0` and so on.
    fn column(name: &str, left: f32, top: f32, width: f32, count: usize) -> Vec<ReadLine> {
        (0..count)
            .map(|i| {
                let top = top + 20.0 * i as f32;
                line(&format!("{name} {i}"), left, top, width, 20.0)
            })
            .collect()
    }

    /// First words of the blocks' rows.
    fn order(blocks: &[Block]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for line in blocks.iter().flat_map(Block::lines) {
            let name = line.text.content.split(' ').next().unwrap_or("").to_owned();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }

    fn kinds(blocks: &[Block]) -> Vec<Kind> {
        blocks.iter().map(|block| block.kind).collect()
    }

    fn turned(mut page: Vec<ReadLine>, slope: f32) -> Vec<ReadLine> {
        for at in page.iter_mut().flat_map(|line| &mut line.level) {
            (at.x, at.y) = (at.x - slope * at.y, at.y + slope * at.x);
        }
        page
    }

    #[test]
    fn columns_with_a_gutter_of_a_third_of_a_line_are_not_read_across() {
        for gutter in [6.0, 10.0, 30.0, 80.0] {
            let mut page = Vec::new();
            for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
                page.extend(column(name, i as f32 * (260.0 + gutter), 0.0, 260.0, 9));
            }
            assert_eq!(order(&layout(page.clone())), ["a", "b", "c"], "{gutter}");
            // Rows of the columns need not be level, nor the page straight.
            for line in page
                .iter_mut()
                .filter(|line| line.text.content.starts_with('b'))
            {
                line.level.iter_mut().for_each(|at| at.y += 8.0);
            }
            for slope in [-0.02, 0.0, 0.03] {
                let blocks = layout(turned(page.clone(), slope));
                assert_eq!(order(&blocks), ["a", "b", "c"], "{gutter} {slope}");
            }
        }
    }

    #[test]
    fn a_box_that_reaches_into_the_gutter_does_not_end_it() {
        let mut page = column("a", 0.0, 0.0, 260.0, 12);
        page.extend(column("b", 270.0, 0.0, 260.0, 12));
        page[17].level[0].x -= 20.0;
        page[17].level[3].x -= 20.0;
        assert_eq!(order(&layout(page)), ["a", "b"]);
    }

    #[test]
    fn what_spans_the_columns_parts_them_into_bands() {
        let mut page = vec![line("top", 100.0, 0.0, 400.0, 36.0)];
        page.extend(column("a", 0.0, 60.0, 290.0, 5));
        page.extend(column("b", 310.0, 60.0, 290.0, 5));
        page.push(line("middle", 0.0, 180.0, 600.0, 30.0));
        page.extend(column("c", 0.0, 230.0, 290.0, 5));
        page.extend(column("d", 310.0, 230.0, 290.0, 5));
        let blocks = layout(page);
        assert_eq!(order(&blocks), ["top", "a", "b", "middle", "c", "d"]);
        assert_eq!(blocks[0].kind, Kind::Heading);
    }

    #[test]
    fn the_short_last_line_of_a_spanning_paragraph_stays_with_it() {
        let mut page = vec![
            line("wide 1", 0.0, 0.0, 600.0, 20.0),
            line("wide 2", 0.0, 20.0, 600.0, 20.0),
            line("wide 3", 0.0, 40.0, 90.0, 20.0),
        ];
        page.extend(column("a", 0.0, 90.0, 290.0, 5));
        page.extend(column("b", 310.0, 90.0, 290.0, 5));
        assert_eq!(layout(page)[0].rows.len(), 3);
    }

    #[test]
    fn a_table_keeps_its_rows_beside_a_column() {
        let mut page = column("a", 0.0, 0.0, 290.0, 14);
        // The end of a paragraph, level with the table's second row.
        page[7] = line("a end", 0.0, 144.0, 70.0, 20.0);
        page.extend(column("b", 310.0, 0.0, 290.0, 4));
        for (row, place) in ["Place", "North", "South", "Island"]
            .into_iter()
            .enumerate()
        {
            let top = 120.0 + 24.0 * row as f32;
            page.push(line(place, 310.0, top, 60.0, 20.0));
            page.push(line(&format!("20{row}"), 440.0, top, 40.0, 20.0));
            page.push(line(&format!("1{row}.5"), 550.0, top, 50.0, 20.0));
        }
        let blocks = layout(page);
        assert_eq!(order(&blocks)[..3], ["a", "b", "Place"]);
        let table = blocks.last().expect("a block");
        assert_eq!(table.kind, Kind::Table);
        assert_eq!(table.content().lines().nth(1), Some("North 201 11.5"));
        assert_eq!(table.plain().lines().nth(1), Some("North\t201\t11.5"));
    }

    #[test]
    fn long_cells_belong_to_the_rows_of_numbers_beside_them() {
        let things = [
            "Hinges for the garden gate",
            "Brass screws, one hundred",
            "Paint, white, five litres",
            "Rope",
        ];
        let mut page = column("text", 0.0, 0.0, 600.0, 3);
        for (row, thing) in things.into_iter().enumerate() {
            let top = 90.0 + 26.0 * row as f32;
            page.push(line(thing, 0.0, top, 10.0 * thing.len() as f32, 20.0));
            page.push(line(&format!("{row}"), 420.0, top, 20.0, 20.0));
            page.push(line(&format!("1{row}.5"), 550.0, top, 50.0, 20.0));
        }
        page.extend(column("more", 0.0, 220.0, 600.0, 3));
        let blocks = layout(page);
        assert_eq!(
            kinds(&blocks),
            [Kind::Paragraph, Kind::Table, Kind::Paragraph]
        );
        assert_eq!(
            blocks[1].content().lines().next(),
            Some("Hinges for the garden gate 0 10.5")
        );
    }

    #[test]
    fn items_of_a_list_are_paragraphs() {
        let mut page = Vec::new();
        for i in 0..3 {
            let top = 40.0 * i as f32;
            page.push(line(&format!("{}.", i + 1), 0.0, top, 15.0, 20.0));
            page.push(line("an item that is long", 30.0, top, 270.0, 20.0));
            page.push(line("and its second row", 30.0, top + 20.0, 200.0, 20.0));
        }
        let rows: Vec<usize> = layout(page).iter().map(|block| block.rows.len()).collect();
        assert_eq!(rows, [2, 2, 2]);
    }

    #[test]
    fn labels_and_values_are_read_row_by_row() {
        let page: Vec<ReadLine> = ["Name", "Place", "Born", "Known for"]
            .into_iter()
            .enumerate()
            .flat_map(|(i, label)| {
                let top = 30.0 * i as f32;
                let width = 10.0 * label.len() as f32;
                [
                    line(label, 0.0, top, width, 20.0),
                    line("something of some length", 200.0, top, 240.0, 20.0),
                ]
            })
            .collect();
        let blocks = layout(page);
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].rows[3].len(), 2);
        assert_eq!(blocks[0].rows[3][0].text.content, "Known for");
    }

    #[test]
    fn edges_come_first_and_last() {
        let mut page = vec![
            line("A history of harbours", 0.0, 0.0, 200.0, 18.0),
            line("17", 570.0, 0.0, 30.0, 18.0),
            line("- 17 -", 290.0, 420.0, 30.0, 18.0),
        ];
        page.extend(column("a", 0.0, 60.0, 290.0, 15));
        page.extend(column("b", 310.0, 60.0, 290.0, 15));
        let blocks = layout(page);
        let expected = [
            Kind::RunningHeader,
            Kind::PageNumber,
            Kind::Paragraph,
            Kind::Paragraph,
            Kind::PageNumber,
        ];
        assert_eq!(kinds(&blocks), expected);
    }

    #[test]
    fn double_spaced_lines_are_one_paragraph() {
        let page = (0..14).map(|i| line("Typewritten words", 0.0, 46.0 * i as f32, 400.0, 18.0));
        let blocks = layout(page.collect());
        assert_eq!((blocks.len(), blocks[0].kind), (1, Kind::Paragraph));
    }

    #[test]
    fn catchwords_head_columns() {
        let mut page = vec![
            line("abate", 0.0, 0.0, 60.0, 18.0),
            line("abbey", 540.0, 0.0, 60.0, 18.0),
        ];
        page.extend(column("a", 0.0, 60.0, 290.0, 15));
        page.extend(column("b", 310.0, 60.0, 290.0, 15));
        assert_eq!(kinds(&layout(page))[..2], [Kind::ColumnHeader; 2]);
    }

    /// Left and right edge of a line.
    type Edges = (f32, f32);

    /// Rows by block of lines of 20 px, one below the other.
    fn ragged(edges: &[Edges]) -> Vec<usize> {
        let page = edges
            .iter()
            .enumerate()
            .map(|(i, &(left, right))| line("Words.", left, 20.0 * i as f32, right - left, 20.0));
        layout(page.collect())
            .iter()
            .map(|block| block.rows.len())
            .collect()
    }

    #[test]
    fn paragraphs_end_where_a_first_line_says_so() {
        let full = (0.0, 300.0);
        let cases: [(&str, &[Edges], &[usize]); 6] = [
            (
                "indented",
                &[full, full, (18.0, 300.0), full, (18.0, 300.0), full],
                &[2, 2, 2],
            ),
            (
                "the detector's noise",
                &[full, (6.0, 300.0), (0.0, 296.0), full],
                &[4],
            ),
            (
                "hanging",
                &[
                    full,
                    (20.0, 300.0),
                    (20.0, 290.0),
                    full,
                    (20.0, 280.0),
                    (20.0, 300.0),
                ],
                &[3, 3],
            ),
            (
                "centred",
                &[(50.0, 250.0), (80.0, 220.0), (10.0, 290.0), (60.0, 240.0)],
                &[4],
            ),
            (
                "short last line",
                &[full, full, (0.0, 120.0), full, full],
                &[3, 2],
            ),
            (
                "a list of short lines",
                &[(0.0, 120.0), (0.0, 300.0), (0.0, 100.0), (0.0, 90.0)],
                &[4],
            ),
        ];
        for (name, edges, expected) in cases {
            assert_eq!(ragged(edges), expected, "{name}");
        }
    }

    #[test]
    fn blocks_are_told_by_size_place_and_first_words() {
        let wide = |content: &str, top: f32, height: f32| {
            let width = content.chars().count() as f32 * height / 2.0;
            line(content, 0.0, top, width, height)
        };
        let text = "Running text of a usual length, which ends here.";
        let page = vec![
            wide("On harbours", 0.0, 40.0),
            wide(text, 60.0, 20.0),
            wide(text, 80.0, 20.0),
            wide("Methods", 130.0, 23.0),
            wide(text, 160.0, 20.0),
            wide(text, 180.0, 20.0),
            wide("Figure 2. The old harbour.", 300.0, 20.0),
            wide(text, 340.0, 20.0),
            wide(text, 360.0, 20.0),
            wide("1 A note below the text.", 420.0, 16.0),
        ];
        let expected = [
            Kind::Heading,
            Kind::Paragraph,
            Kind::Subheading,
            Kind::Paragraph,
            Kind::Caption,
            Kind::Paragraph,
            Kind::Footnote,
        ];
        assert_eq!(kinds(&layout(page)), expected);
    }

    #[test]
    fn the_order_of_the_lines_given_does_not_matter() {
        let mut page = column("a", 0.0, 60.0, 290.0, 15);
        page.extend(column("b", 310.0, 63.0, 290.0, 15));
        let expected = layout(page.clone());
        page.reverse();
        assert_eq!(layout(page), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_line_is_in_one_block(
            boxes in prop::collection::vec((0f32..500.0, 0f32..500.0, -5f32..300.0, -5f32..40.0), 0..80),
            odd in prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::MIN), Just(7.0)],
            strange in 0usize..80,
        ) {
            let mut page: Vec<ReadLine> = boxes
                .iter()
                .enumerate()
                .map(|(i, &(left, top, width, height))| line(&i.to_string(), left, top, width, height))
                .collect();
            if let Some(line) = page.get_mut(strange) {
                line.level[1].x = odd;
                line.level[2].y = odd;
            }
            let count = page.len();
            let mut seen: Vec<String> = layout(page)
                .iter()
                .flat_map(Block::lines)
                .map(|line| line.text.content.clone())
                .collect();
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), count);
        }
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
