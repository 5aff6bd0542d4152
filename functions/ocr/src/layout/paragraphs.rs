//! The lines of a column -> groups that belong together.
//!
//! Lines become rows; a group ends where the distance to the next row is larger than usual, where the letters' size
//! jumps, and where a first line is indented, a hanging indent begins, or a short line ends a sentence in justified text.

use super::ReadLine;
use super::extent::{Extent, median};
use super::piece::Piece;

/// Rows that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// From top to bottom; in each, lines from left to right.
    pub(super) rows: Vec<Vec<usize>>,
    /// Whether its rows have cells.
    pub(super) grid: bool,
    /// From the middle of the row above it in the column to that of its first row, in units of the usual distance; 0 for
    /// the first group.
    pub(super) distance_above: f32,
}

/// Lines are of one row when they share this part of the lower one's height.
const SAME_ROW: f32 = 0.5;
/// Lines of one row belong together up to this gap, in line heights: wider than any space between words, narrower than
/// what parts cells.
const MAX_GAP_IN_ROW: f32 = 1.5;
/// A paragraph ends where the next row is further away than this many times the usual distance.
const MAX_DISTANCE: f32 = 1.3;
/// Rows further apart than this many times the page's usual distance tell nothing about their column's.
const MAX_PITCH: f32 = 1.8;
/// A paragraph ends where the height of the letters' boxes changes by this ratio. Boxes of equal letters differ by up to
/// 1.4, as they have ascenders and descenders or not.
const MAX_HEIGHT_RATIO: f32 = 1.5;
/// Letters are larger than the body's from this ratio on.
const LARGE: f32 = 1.22;
/// Least indentation, in body heights: half an em or more, where boxes are exact to a third.
const MIN_INDENT: f32 = 0.5;
/// Rows are centred on each other when their middles differ by at most this, in body heights.
const CENTRED: f32 = 0.25;
/// Text is justified when this share of its rows ends at the right margin.
const JUSTIFIED: f32 = 0.6;
/// A row that leaves this share of the column empty is a last one.
const SHORT: f32 = 0.25;

/// Groups a column's lines. `pitch`: of the page, for columns too short to have one.
pub(super) fn groups(
    lines: &[ReadLine],
    pieces: &[Piece],
    body: f32,
    pitch: f32,
    column: &[usize],
) -> Vec<Group> {
    let rows = rows(pieces, column);
    let own = distances(pieces, pitch, &rows);
    let pitch = if own.len() >= 4 {
        median(own).unwrap_or(pitch)
    } else {
        pitch
    };
    let column = Column {
        lines,
        pieces,
        body,
        around: Extent::around(column.iter().map(|&line| pieces[line].extent)),
        extents: rows
            .iter()
            .map(|row| Extent::around(row.iter().map(|&line| pieces[line].extent)))
            .collect(),
        rows: &rows,
    };
    let mut groups: Vec<Group> = Vec::new();
    let mut start = 0;
    while start < rows.len() {
        let distance = |row: usize| match row {
            0 => 0.0,
            _ => (column.extents[row].middle_y() - column.extents[row - 1].middle_y()) / pitch,
        };
        let mut end = start + 1;
        while end < rows.len()
            && distance(end) <= MAX_DISTANCE * column.scale(end - 1, end)
            && column.is_grid(end) == column.is_grid(start)
            && column.alike(end - 1, end)
        {
            end += 1;
        }
        let above = distance(start);
        if column.is_grid(start) && end == start + 1 {
            // Two texts that happen to stand side by side.
            for (i, part) in column.parts(start).into_iter().enumerate() {
                groups.push(Group {
                    rows: vec![part],
                    grid: false,
                    distance_above: if i == 0 { above } else { 0.0 },
                });
            }
        } else if column.is_grid(start) {
            groups.push(Group {
                rows: rows[start..end].to_vec(),
                grid: true,
                distance_above: above,
            });
        } else {
            for (first, end) in column.paragraphs(start, end) {
                groups.push(Group {
                    rows: rows[first..end].to_vec(),
                    grid: false,
                    distance_above: distance(first),
                });
            }
        }
        start = end;
    }
    groups
}

/// Rows from top to bottom, each from left to right.
pub(super) fn rows(pieces: &[Piece], lines: &[usize]) -> Vec<Vec<usize>> {
    let mut lines = lines.to_vec();
    let extent = |line: usize| pieces[line].extent;
    lines.sort_by(|&a, &b| {
        (extent(a).middle_y().total_cmp(&extent(b).middle_y()))
            .then(extent(a).left.total_cmp(&extent(b).left))
    });
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for line in lines {
        let fits = |row: &&mut Vec<usize>| {
            // Lines one above the other are two rows, however their boxes overlap.
            row.iter().all(|&other| {
                let (a, b) = (extent(line), extent(other));
                a.overlap_y(&b) >= SAME_ROW && a.shared_x(&b) <= 0.5 * a.width().min(b.width())
            })
        };
        match rows.last_mut().filter(fits) {
            Some(row) => row.push(line),
            None => rows.push(vec![line]),
        }
    }
    for row in &mut rows {
        row.sort_by(|&a, &b| extent(a).left.total_cmp(&extent(b).left));
    }
    rows
}

/// From row to row, where they follow each other closely.
fn distances(pieces: &[Piece], pitch: f32, rows: &[Vec<usize>]) -> Vec<f32> {
    let middle =
        |row: &[usize]| Extent::around(row.iter().map(|&line| pieces[line].extent)).middle_y();
    rows.windows(2)
        .map(|two| middle(&two[1]) - middle(&two[0]))
        .filter(|&distance| distance <= MAX_PITCH * pitch)
        .collect()
}

struct Column<'a> {
    lines: &'a [ReadLine],
    pieces: &'a [Piece],
    body: f32,
    around: Extent,
    rows: &'a [Vec<usize>],
    extents: Vec<Extent>,
}

impl Column<'_> {
    /// A row in parts that belong together.
    fn parts(&self, row: usize) -> Vec<Vec<usize>> {
        let mut parts: Vec<Vec<usize>> = Vec::new();
        for &line in &self.rows[row] {
            let piece = &self.pieces[line];
            let near = parts
                .last()
                .and_then(|part| part.last())
                .is_some_and(|&last| {
                    let last = &self.pieces[last];
                    let high = last.thickness.max(piece.thickness);
                    piece.extent.left - last.extent.right <= MAX_GAP_IN_ROW * high
                });
            match parts.last_mut() {
                Some(part) if near => part.push(line),
                _ => parts.push(vec![line]),
            }
        }
        parts
    }

    fn is_grid(&self, row: usize) -> bool {
        self.parts(row).len() > 1
    }

    fn thickness(&self, row: usize) -> f32 {
        let heights = self.rows[row]
            .iter()
            .map(|&line| self.pieces[line].thickness);
        heights.fold(1.0, f32::max)
    }

    /// How much further than usual two rows are apart for the size of their letters; 1 if that is the body's.
    fn scale(&self, a: usize, b: usize) -> f32 {
        let ratio = self.thickness(a).min(self.thickness(b)) / self.body;
        if ratio >= LARGE { ratio } else { 1.0 }
    }

    fn alike(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.thickness(a), self.thickness(b));
        a.max(b) <= MAX_HEIGHT_RATIO * a.min(b)
    }

    /// Divides rows that follow each other at the usual distance; returns first and end of each part.
    fn paragraphs(&self, start: usize, end: usize) -> Vec<(usize, usize)> {
        let hanging = self.is_hanging(start, end);
        let mut parts = Vec::new();
        let mut first = start;
        for row in start + 1..end {
            let begins = if hanging {
                self.indent(row) < MIN_INDENT
            } else {
                self.is_indented(row, end) || self.ends(row - 1, start, end)
            };
            if begins {
                parts.push((first, row));
                first = row;
            }
        }
        parts.push((first, end));
        parts
    }

    /// How far a row begins from the column's left edge, in body heights.
    fn indent(&self, row: usize) -> f32 {
        (self.extents[row].left - self.around.left) / self.body
    }

    /// Whether first lines begin at the margin and the others do not, as in bibliographies.
    fn is_hanging(&self, start: usize, end: usize) -> bool {
        let indented: Vec<bool> = (start..end)
            .map(|row| self.indent(row) >= MIN_INDENT)
            .collect();
        let count = indented.iter().filter(|&&indented| indented).count();
        let lefts: Vec<f32> = (start..end)
            .map(|row| self.indent(row))
            .filter(|&indent| indent >= MIN_INDENT)
            .collect();
        // The indented rows stand below each other: centred lines do not.
        let Some(usual) = median(lefts.clone()) else {
            return false;
        };
        let aligned = lefts
            .iter()
            .filter(|&left| (left - usual).abs() <= MIN_INDENT)
            .count();
        let listed = (start..end)
            .zip(&indented)
            .filter(|&(_, &indented)| !indented)
            .all(|(row, _)| self.is_listed(row));
        !indented[0]
            && count < end - start
            && (listed || (end - start >= 4 && count * 2 > end - start))
            && aligned * 10 >= count * 9
    }

    /// Whether a row begins with the mark of a list's item: `-`, `•`, `3.`, `b)`.
    fn is_listed(&self, row: usize) -> bool {
        let text = self.rows[row]
            .first()
            .map_or("", |&line| self.lines[line].text.content.as_str());
        let mark = text.split(' ').next().unwrap_or("");
        match mark.strip_suffix(['.', ')', ':']) {
            Some(label) => {
                !label.is_empty()
                    && label.len() <= 3
                    && label.bytes().all(|b| b.is_ascii_alphanumeric())
            }
            None => ["-", "–", "—", "•", "*", "·"].contains(&mark),
        }
    }

    /// Whether a row begins further right than the one above and the one below.
    fn is_indented(&self, row: usize, end: usize) -> bool {
        let left = |row: usize| self.extents[row].left;
        let further = |other: usize| left(row) - left(other) >= MIN_INDENT * self.body;
        // Of two first lines in a row, the upper one is a whole paragraph.
        let above = further(row - 1)
            || (self.indent(row) >= MIN_INDENT && self.is_alone(row - 1) && self.is_alone(row));
        let below = row + 1 >= end || further(row + 1) || self.is_alone(row);
        let on = |other: usize| {
            (self.extents[row].middle_x() - self.extents[other].middle_x()).abs()
                <= CENTRED * self.body
        };
        let centred = on(row - 1) && (row + 1 >= end || on(row + 1));
        above && below && !centred
    }

    /// Whether a row is indented and short: a paragraph of one line.
    fn is_alone(&self, row: usize) -> bool {
        self.indent(row) >= MIN_INDENT && self.is_short(row)
    }

    fn is_short(&self, row: usize) -> bool {
        self.around.right - self.extents[row].right > SHORT * self.around.width()
    }

    /// Whether a paragraph of justified text ends with a row: it is short, ends a sentence, and the next one begins one.
    fn ends(&self, row: usize, start: usize, end: usize) -> bool {
        let full = (start..end)
            .filter(|&row| self.around.right - self.extents[row].right <= self.body)
            .count();
        let text = |row: usize, last: bool| {
            let line = if last {
                self.rows[row].last()
            } else {
                self.rows[row].first()
            };
            line.map_or("", |&line| self.lines[line].text.content.as_str())
        };
        full as f32 >= JUSTIFIED * (end - start) as f32
            && self.is_short(row)
            && text(row, true).ends_with(['.', '!', '?', ':', '…', '»', '”', '"', ')', '।', '॥'])
            && !text(row + 1, false).starts_with(char::is_lowercase)
    }
}
