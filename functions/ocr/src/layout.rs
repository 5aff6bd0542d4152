//! Lines -> blocks in reading order.
//!
//! Lines that stand close together, side by side or one below the other, form a block; a block's lines run from top to
//! bottom and left to right. Blocks follow each other so that what is above comes first and a left column is finished
//! before the one to its right begins.
//!
//! Left to others: what a block is (every one is a paragraph), and pages that are turned or deeply nested.

use ephemera_vision::Quad;

use crate::recognise::Text;

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

/// Lines that belong together, in reading order.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Rows from top to bottom; in each, lines from left to right.
    pub rows: Vec<Vec<ReadLine>>,
}

/// Lines side by side belong together up to this gap, in line heights: wider than any space between words, narrower
/// than the gutter between columns.
const MAX_GAP_IN_ROW: f32 = 1.5;
/// Lines below each other belong together up to this gap, in line heights. Leading is about half a line's height;
/// a skipped line is more than a whole one.
const MAX_GAP_BETWEEN_ROWS: f32 = 0.75;
/// Lines below each other are of one block when neither is more than this many times as high: a heading stands alone.
const MAX_HEIGHT_RATIO: f32 = 1.6;
/// Lines overlap, in a direction, when they share this part of the shorter one's extent.
const MIN_OVERLAP: f32 = 0.4;

impl Block {
    /// Lines in reading order.
    pub fn lines(&self) -> impl Iterator<Item = &ReadLine> {
        self.rows.iter().flatten()
    }

    /// A row of text per row of lines.
    pub fn content(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                row.iter()
                    .map(|line| line.text.content.as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        rows.join("\n")
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

/// Groups lines into blocks and puts both in reading order.
pub fn layout(lines: Vec<ReadLine>) -> Vec<Block> {
    let extents: Vec<Extent> = lines.iter().map(|line| Extent::of(&line.level)).collect();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut seen = vec![false; lines.len()];
    for start in 0..lines.len() {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut group = vec![start];
        let mut next = 0;
        while let Some(&line) = group.get(next) {
            next += 1;
            for other in 0..lines.len() {
                if !seen[other] && extents[line].belongs_with(&extents[other]) {
                    seen[other] = true;
                    group.push(other);
                }
            }
        }
        groups.push(group);
    }

    let mut lines: Vec<Option<ReadLine>> = lines.into_iter().map(Some).collect();
    let around: Vec<Extent> = groups
        .iter()
        .map(|group| Extent::around(group.iter().map(|&i| extents[i])))
        .collect();
    reading_order(&around)
        .into_iter()
        .map(|group| {
            let rows = rows(&groups[group], &extents);
            let mut take = |i: usize| lines[i].take().expect("each line is in one group");
            let rows = rows
                .into_iter()
                .map(|row| row.into_iter().map(&mut take).collect())
                .collect();
            Block { rows }
        })
        .collect()
}

/// The upright rectangle around something, in page pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extent {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

impl Extent {
    fn of(quad: &Quad) -> Extent {
        Extent::around(quad.iter().map(|p| Extent {
            left: p.x,
            top: p.y,
            right: p.x,
            bottom: p.y,
        }))
    }

    fn around(parts: impl Iterator<Item = Extent>) -> Extent {
        let nothing = Extent {
            left: f32::MAX,
            top: f32::MAX,
            right: f32::MIN,
            bottom: f32::MIN,
        };
        parts.fold(nothing, |a, b| Extent {
            left: a.left.min(b.left),
            top: a.top.min(b.top),
            right: a.right.max(b.right),
            bottom: a.bottom.max(b.bottom),
        })
    }

    fn width(&self) -> f32 {
        self.right - self.left
    }

    fn height(&self) -> f32 {
        self.bottom - self.top
    }

    /// Shares of the narrower one's width.
    fn overlap_x(&self, other: &Extent) -> f32 {
        (self.right.min(other.right) - self.left.max(other.left))
            / self.width().min(other.width()).max(1.0)
    }

    /// Shares of the lower one's height.
    fn overlap_y(&self, other: &Extent) -> f32 {
        (self.bottom.min(other.bottom) - self.top.max(other.top))
            / self.height().min(other.height()).max(1.0)
    }

    fn same_row(&self, other: &Extent) -> bool {
        self.overlap_y(other) >= MIN_OVERLAP
    }

    fn belongs_with(&self, other: &Extent) -> bool {
        let (low, high) = (
            self.height().min(other.height()),
            self.height().max(other.height()),
        );
        if high > low * MAX_HEIGHT_RATIO {
            return false;
        }
        if self.same_row(other) {
            let gap = self.left.max(other.left) - self.right.min(other.right);
            gap <= MAX_GAP_IN_ROW * high
        } else {
            let gap = self.top.max(other.top) - self.bottom.min(other.bottom);
            gap <= MAX_GAP_BETWEEN_ROWS * high && self.overlap_x(other) >= MIN_OVERLAP
        }
    }

    /// Whether this is read before `other`: it stands above it, or left of it at the same height.
    fn precedes(&self, other: &Extent) -> bool {
        if self.overlap_x(other) > 0.0 {
            self.top + self.bottom < other.top + other.bottom
        } else {
            self.left < other.left && self.overlap_y(other) > 0.0
        }
    }
}

/// Order of blocks: of those that nothing left precedes, the leftmost, then topmost.
fn reading_order(blocks: &[Extent]) -> Vec<usize> {
    let mut waiting: Vec<usize> = (0..blocks.len())
        .map(|b| {
            (0..blocks.len())
                .filter(|&a| a != b && blocks[a].precedes(&blocks[b]))
                .count()
        })
        .collect();
    let mut left: Vec<usize> = (0..blocks.len()).collect();
    let mut order = Vec::with_capacity(blocks.len());
    while !left.is_empty() {
        // Tilted blocks can precede each other in a circle; the one that waits for the fewest breaks it.
        let rank = |&b: &usize| (waiting[b], blocks[b].left, blocks[b].top);
        let next = (0..left.len())
            .min_by(|&i, &j| {
                rank(&left[i])
                    .partial_cmp(&rank(&left[j]))
                    .unwrap_or(std::cmp::Ordering::Equal)
            })
            .expect("there are blocks left");
        let block = left.remove(next);
        for &other in &left {
            if blocks[block].precedes(&blocks[other]) {
                waiting[other] -= 1;
            }
        }
        order.push(block);
    }
    order
}

/// Splits a group into rows from top to bottom, each from left to right.
fn rows(group: &[usize], extents: &[Extent]) -> Vec<Vec<usize>> {
    let mut group = group.to_vec();
    let middle = |i: usize| extents[i].top + extents[i].bottom;
    group.sort_by(|&a, &b| {
        middle(a)
            .total_cmp(&middle(b))
            .then(extents[a].left.total_cmp(&extents[b].left))
    });
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for line in group {
        // A line joins the row when it stands beside all of it: what overlaps in both directions is a row of its own.
        let fits = |row: &Vec<usize>| {
            row.iter().all(|&other| {
                let (a, b) = (&extents[line], &extents[other]);
                a.same_row(b) && a.overlap_x(b) < MIN_OVERLAP
            })
        };
        match rows.last_mut().filter(|row| fits(row)) {
            Some(row) => row.push(line),
            None => rows.push(vec![line]),
        }
    }
    for row in &mut rows {
        row.sort_by(|&a, &b| extents[a].left.total_cmp(&extents[b].left));
    }
    rows
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
            level: quad,
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
            rows: vec![vec![short, line("bcd", 20.0, 0.0, 30.0, 20.0)]],
        };
        assert!((block.confidence() - 0.8).abs() < 1e-6);
    }
}
