//! The page -> zones in reading order: single columns, and tables.
//!
//! A gutter is a vertical strip that no line crosses, between the lines that do: with lines on both sides of it, filled
//! like text. The highest gutter divides its surroundings into what is above, left, right and below, in this order, and
//! each part is divided again. So a column is finished before the one to its right begins, and what spans columns parts
//! the page into bands. Lines that only stand side by side, as labels and values do, are no columns: their rows are kept.

use super::extent::Extent;
use super::piece::Piece;

/// A part of the page that is read from top to bottom.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Zone {
    /// Lines, in no order.
    Column(Vec<usize>),
    /// Lines of a table, in no order.
    Table(Vec<usize>),
}

/// How far a line may reach over a gutter and still belong to one side of it, in body heights: the detector's boxes are
/// not that exact, and a page number can stand in the middle.
const OVERHANG: f32 = 1.2;
/// Narrowest gutter, in body heights. Boxes are wider than their text by a third of that on each side, so a gutter of one
/// line height is 0.3 to 0.5 wide here.
const MIN_GUTTER: f32 = 0.15;
/// Narrowest gutter between columns of fewer than [`MIN_LINES`] lines.
const MIN_SHORT_GUTTER: f32 = 1.0;
const MIN_LINES: usize = 4;
/// Of so many lines one may reach into the gutter.
const LINES_PER_INTRUDER: usize = 20;
/// Columns of text are at least so wide, in body heights.
const MIN_COLUMN: f32 = 5.0;
/// Half of the lines of a column of text are at least this share of its longest ones.
const MIN_FILL: f32 = 0.7;
/// Lines stand side by side when their middles differ by at most this, in body heights.
const SAME_ROW: f32 = 0.3;
/// From this share of lines with one beside them, two columns are rows of a grid.
const GRID: f32 = 0.7;
/// A last line follows its paragraph within this distance from middle to middle, in body heights,
const MAX_PITCH: f32 = 1.5;
/// begins at its margin, give or take so many,
const SAME_MARGIN: f32 = 0.5;
/// and is so many times further from what is below.
const LAST_LINE: f32 = 1.25;
/// or has letters so many times as high.
const LARGER: f32 = 1.25;
/// Divisions within divisions; bounds the time that a page of noise takes.
const MAX_DEPTH: usize = 16;

/// A line, or a table as a whole.
struct Unit {
    extent: Extent,
    zone: Result<usize, usize>,
}

/// Divides the lines `members` into zones in reading order. `tables`: lines, of which none is in `members`.
pub(super) fn zones(
    pieces: &[Piece],
    body: f32,
    members: &[usize],
    tables: &[Vec<usize>],
) -> Vec<Zone> {
    let lines = members.iter().map(|&line| Unit {
        extent: pieces[line].extent,
        zone: Ok(line),
    });
    let tables_whole = tables.iter().enumerate().map(|(i, lines)| Unit {
        extent: Extent::around(lines.iter().map(|&line| pieces[line].extent)),
        zone: Err(i),
    });
    let mut units: Vec<Unit> = lines.chain(tables_whole).collect();
    units.sort_by(|a, b| {
        (a.extent.middle_y().total_cmp(&b.extent.middle_y()))
            .then(a.extent.left.total_cmp(&b.extent.left))
    });
    let mut zones = Vec::new();
    divide(
        &units.iter().collect::<Vec<_>>(),
        body,
        MAX_DEPTH,
        &mut |part| {
            let mut column = Vec::new();
            for unit in part {
                match unit.zone {
                    Ok(line) => column.push(line),
                    Err(table) => {
                        if !column.is_empty() {
                            zones.push(Zone::Column(std::mem::take(&mut column)));
                        }
                        zones.push(Zone::Table(tables[table].clone()));
                    }
                }
            }
            if !column.is_empty() {
                zones.push(Zone::Column(column));
            }
        },
    );
    zones
}

/// Calls `leaf` with each undivided part, in reading order. `units` are sorted from top to bottom.
fn divide(units: &[&Unit], body: f32, depth: usize, leaf: &mut impl FnMut(&[&Unit])) {
    let gutter = if depth > 0 {
        highest_gutter(units, body)
    } else {
        None
    };
    let Some(gutter) = gutter else {
        return leaf(units);
    };
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for &unit in &units[gutter.first..gutter.end] {
        match gutter.side(unit) {
            Side::Left => left.push(unit),
            // Nothing in a run crosses its gutter.
            Side::Right | Side::Across => right.push(unit),
        }
    }
    for part in [&units[..gutter.first], &left, &right, &units[gutter.end..]] {
        if !part.is_empty() {
            divide(part, body, depth - 1, leaf);
        }
    }
}

enum Side {
    Left,
    Right,
    Across,
}

/// A strip between columns.
struct Gutter {
    /// Where the column to its right begins.
    x: f32,
    overhang: f32,
    /// The units beside it, from top to bottom.
    first: usize,
    end: usize,
    /// How far both columns stand side by side, and how far apart.
    height: f32,
    width: f32,
}

impl Gutter {
    fn side(&self, unit: &Unit) -> Side {
        let Extent { left, right, .. } = unit.extent;
        if left < self.x - self.overhang && right > self.x + self.overhang {
            Side::Across
        } else if unit.extent.middle_x() < self.x {
            Side::Left
        } else {
            Side::Right
        }
    }
}

fn highest_gutter(units: &[&Unit], body: f32) -> Option<Gutter> {
    let mut best: Option<Gutter> = None;
    // A gutter ends where the column to its right begins, which is where some line does.
    let mut edges: Vec<f32> = units.iter().map(|unit| unit.extent.left).collect();
    edges.sort_by(f32::total_cmp);
    edges.dedup();
    for x in edges {
        let mut first = 0;
        for end in 0..=units.len() {
            let mut gutter = Gutter {
                x,
                overhang: OVERHANG * body,
                first,
                end,
                height: 0.0,
                width: 0.0,
            };
            let crossed = end == units.len() || matches!(gutter.side(units[end]), Side::Across);
            if !crossed {
                continue;
            }
            first = end + 1;
            gutter.first += usize::from(gutter.starts_below_a_last_line(units, body));
            if gutter.measure(units, body) {
                let better = best.as_ref().is_none_or(|best| {
                    // The same gutter is found from several edges; the wider is the whole of it.
                    gutter.height > best.height + 0.5 * body
                        || (gutter.height > best.height - 0.5 * body && gutter.width > best.width)
                });
                if better {
                    best = Some(gutter);
                }
            }
        }
    }
    best
}

impl Gutter {
    /// Whether the first line of the run is the short last line of a paragraph or title that spans the columns.
    fn starts_below_a_last_line(&self, units: &[&Unit], body: f32) -> bool {
        let run = &units[self.first..self.end];
        let (Some(above), [line, next, ..]) = (self.first.checked_sub(1), run) else {
            return false;
        };
        let (above, line, next) = (&units[above].extent, &line.extent, &next.extent);
        let distance = line.middle_y() - above.middle_y();
        let high = above.height().min(line.height());
        let follows = distance <= MAX_PITCH * high.max(body)
            && (line.left - above.left).abs() <= SAME_MARGIN * body;
        // A title's second row stands close to the text, but its letters are larger.
        let apart = next.middle_y() - line.middle_y() >= LAST_LINE * distance;
        follows && (apart || high >= LARGER * next.height().max(body))
    }

    /// Fills in height and width; false where these are not two columns of text.
    fn measure(&mut self, units: &[&Unit], body: f32) -> bool {
        let run = &units[self.first..self.end];
        let (left, right): (Vec<&Unit>, Vec<&Unit>) = run
            .iter()
            .partition(|unit| matches!(self.side(unit), Side::Left));
        if left.is_empty() || right.is_empty() {
            return false;
        }
        let clear = self.x - MIN_GUTTER * body;
        let (inside, reaching): (Vec<&Unit>, Vec<&Unit>) =
            left.iter().partition(|unit| unit.extent.right <= clear);
        let intruders =
            reaching.len() + right.iter().filter(|unit| unit.extent.left < clear).count();
        if intruders * LINES_PER_INTRUDER > run.len() || inside.is_empty() {
            return false;
        }
        let around = |units: &[&Unit]| Extent::around(units.iter().map(|unit| unit.extent));
        let (around_left, around_right) = (around(&left), around(&right));
        self.width = self.x - around(&inside).right;
        self.height = around_left.shared_y(&around_right);
        let beside = |units: &[&Unit], other: &Extent| {
            units
                .iter()
                .filter(|unit| unit.extent.shared_y(other) > 0.0)
                .count()
        };
        let lines = beside(&left, &around_right).min(beside(&right, &around_left));
        let table = run.iter().any(|unit| unit.zone.is_err());
        if self.height < 1.5 * body || (lines < 2 && !table) {
            return false;
        }
        if lines < MIN_LINES && self.width < MIN_SHORT_GUTTER * body {
            return false;
        }
        let text = is_text(&left, body) && is_text(&right, body);
        text || !is_grid(&left, &right, body)
    }
}

/// Whether lines are as wide and as full as those of a column of text.
fn is_text(units: &[&Unit], body: f32) -> bool {
    if units.iter().any(|unit| unit.zone.is_err()) {
        return true;
    }
    let mut widths: Vec<f32> = units.iter().map(|unit| unit.extent.width()).collect();
    widths.sort_by(f32::total_cmp);
    let middle = widths[widths.len() / 2];
    // The longest may be a heading that hangs over; one line in ten is let off.
    let longest = widths[widths.len() - 1 - widths.len() / 10];
    middle >= MIN_COLUMN * body && middle >= MIN_FILL * longest
}

/// Whether most lines of the shorter side have one beside them on the other.
fn is_grid(left: &[&Unit], right: &[&Unit], body: f32) -> bool {
    let (few, many) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    let paired = few.iter().filter(|a| {
        many.iter()
            .any(|b| (a.extent.middle_y() - b.extent.middle_y()).abs() <= SAME_ROW * body)
    });
    paired.count() as f32 >= GRID * few.len() as f32
}
