//! Lines -> those that are cells of tables.
//!
//! A row of a table is a chain of short lines side by side; rows that follow each other and stand in the same place are a
//! table when their cells are numbers, or leave most of their columns empty.

use super::extent::{Extent, median};
use super::piece::Piece;

/// Widest cell, in body heights. Lines of text in a column are longer.
const MAX_CELL: f32 = 8.0;
/// Cells follow each other up to this gap, in body heights.
const MAX_GAP: f32 = 20.0;
/// Cells stand apart by this gap or more, in body heights.
const MIN_GAP: f32 = 0.5;
/// Rows follow each other up to this distance from middle to middle, in body heights.
const MAX_PITCH: f32 = 2.6;
/// Share of numbers among the cells right of the first column, from which rows are a table.
const MIN_NUMBERS: f32 = 0.5;
/// Cells of words fill at most this share of their columns.
const MAX_FILL: f32 = 0.5;
/// An outermost column has cells in at least this share of the rows.
const MIN_SUPPORT: f32 = 0.6;
/// A column of long cells has one in at least this share of the rows,
const MIN_LONG_CELLS: f32 = 0.75;
/// follows or precedes its neighbour up to this gap, in body heights,
const MAX_LONG_GAP: f32 = 40.0;
/// begins at one margin, give or take so many body heights,
const SAME_MARGIN: f32 = 0.5;
/// and has no line of text within so many rows above or below.
const CONTINUES: f32 = 1.15;
/// Middles of cells of one row differ by at most this, in body heights.
const SAME_ROW: f32 = 0.35;

/// Finds tables. Returns their lines, table by table, topmost first.
pub(super) fn tables(pieces: &[Piece], body: f32, members: &[usize]) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = chains(pieces, body, members);
    rows.retain(|row| row.len() >= 2);
    rows.sort_by(|a, b| {
        let top = |row: &[usize]| pieces[row[0]].extent.middle_y();
        top(a).total_cmp(&top(b))
    });
    let around = |row: &[usize]| Extent::around(row.iter().map(|&line| pieces[line].extent));
    let mut tables: Vec<Vec<Vec<usize>>> = Vec::new();
    for row in rows {
        let here = around(&row);
        let above = tables.iter_mut().find(|table| {
            let last = around(&table[table.len() - 1]);
            here.middle_y() - last.middle_y() <= MAX_PITCH * body
                && here.shared_x(&last) >= 0.6 * here.width().min(last.width())
        });
        match above {
            Some(table) => table.push(row),
            None => tables.push(vec![row]),
        }
    }
    for rows in &mut tables {
        trim(pieces, rows);
    }
    tables.retain(|rows| is_table(pieces, rows));
    for rows in &mut tables {
        widen(pieces, body, members, rows, true);
        widen(pieces, body, members, rows, false);
    }
    let mut taken = vec![false; pieces.len()];
    tables
        .into_iter()
        .map(|rows| {
            let whole = around(&rows.concat());
            // A cell that stands alone in its row, or has a second line, belongs to the table that it is in.
            let lines: Vec<usize> = members
                .iter()
                .copied()
                .filter(|&line| {
                    let extent = pieces[line].extent;
                    let inside = extent.middle_x() > whole.left
                        && extent.middle_x() < whole.right
                        && extent.middle_y() > whole.top
                        && extent.middle_y() < whole.bottom;
                    inside && !std::mem::replace(&mut taken[line], true)
                })
                .collect();
            lines
        })
        .filter(|lines| !lines.is_empty())
        .collect()
}

/// Short lines with what stands right beside them.
fn chains(pieces: &[Piece], body: f32, members: &[usize]) -> Vec<Vec<usize>> {
    let mut lines = members.to_vec();
    lines.sort_by(|&a, &b| pieces[a].extent.left.total_cmp(&pieces[b].extent.left));
    let mut chains: Vec<Vec<usize>> = Vec::new();
    // Chains whose last cell can still have a neighbour, by that cell; text ends a chain.
    let mut ended: Vec<bool> = Vec::new();
    for line in lines {
        let extent = pieces[line].extent;
        let short = extent.width() <= MAX_CELL * body;
        let before = chains
            .iter()
            .enumerate()
            .filter(|&(i, chain)| {
                let last = pieces[chain[chain.len() - 1]].extent;
                let gap = extent.left - last.right;
                !ended[i]
                    && (extent.middle_y() - last.middle_y()).abs() <= SAME_ROW * body
                    && (MIN_GAP * body..=MAX_GAP * body).contains(&gap)
            })
            .map(|(i, _)| i)
            .min_by(|&a, &b| {
                let gap =
                    |i: usize| extent.left - pieces[chains[i][chains[i].len() - 1]].extent.right;
                gap(a).total_cmp(&gap(b))
            });
        match before {
            Some(i) if short => chains[i].push(line),
            Some(i) => ended[i] = true,
            None if short => {
                chains.push(vec![line]);
                ended.push(false);
            }
            None => {}
        }
    }
    chains
}

/// Takes short lines of text beside a table out of its rows: an outermost column has cells in most rows.
fn trim(pieces: &[Piece], rows: &mut Vec<Vec<usize>>) {
    let middle = |line: usize| pieces[line].extent.middle_x();
    loop {
        let mut changed = false;
        for from_left in [true, false] {
            let end = |row: &Vec<usize>| {
                let cell = if from_left { row.first() } else { row.last() };
                cell.copied()
            };
            let outermost = rows.iter().filter_map(end).min_by(|&a, &b| {
                let order = middle(a).total_cmp(&middle(b));
                if from_left { order } else { order.reverse() }
            });
            let Some(outermost) = outermost else {
                return;
            };
            let column = pieces[outermost].extent;
            let belongs = |row: &Vec<usize>| {
                end(row).is_some_and(|cell| pieces[cell].extent.shared_x(&column) > 0.0)
            };
            let count = rows.iter().filter(|row| belongs(row)).count();
            if count as f32 >= MIN_SUPPORT * rows.len() as f32 {
                continue;
            }
            changed = true;
            for row in rows.iter_mut() {
                // The outermost cell goes even where its extent is none, so that this ends.
                if belongs(row) || end(row) == Some(outermost) {
                    row.remove(if from_left { 0 } else { row.len() - 1 });
                }
            }
            rows.retain(|row| row.len() >= 2);
        }
        if !changed {
            return;
        }
    }
}

/// Takes a column of long cells beside a table into its rows: they stand below each other, nothing else stands between
/// them, and they do not go on above or below as a column of text does.
fn widen(pieces: &[Piece], body: f32, members: &[usize], rows: &mut [Vec<usize>], to_left: bool) {
    let extent = |line: usize| pieces[line].extent;
    let beside = |row: &Vec<usize>| -> Option<usize> {
        let end = extent(*if to_left { row.first() } else { row.last() }?);
        let gap = |line: usize| {
            let (a, b) = if to_left {
                (extent(line), end)
            } else {
                (end, extent(line))
            };
            b.left - a.right
        };
        let level =
            |line: usize| (extent(line).middle_y() - end.middle_y()).abs() <= SAME_ROW * body;
        let near = |line: &usize| {
            (MIN_GAP * body..=MAX_LONG_GAP * body).contains(&gap(*line)) && level(*line)
        };
        let found = members.iter().copied().filter(near);
        found.min_by(|&a, &b| gap(a).total_cmp(&gap(b)))
    };
    let cells: Vec<Option<usize>> = rows.iter().map(beside).collect();
    let found: Vec<usize> = cells.iter().copied().flatten().collect();
    let Some(left) = median(found.iter().map(|&line| extent(line).left).collect()) else {
        return;
    };
    let aligned = |line: usize| (extent(line).left - left).abs() <= SAME_MARGIN * body;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return;
    };
    let (top, bottom) = (extent(first[0]).middle_y(), extent(last[0]).middle_y());
    let pitch = (bottom - top) / (rows.len() - 1).max(1) as f32;
    let reach = CONTINUES * pitch.max(body);
    // What stands in the column without being a cell, among the rows or where the next ones would be.
    let text = members.iter().copied().any(|line| {
        let y = extent(line).middle_y();
        aligned(line)
            && !found.contains(&line)
            && (top - reach..=bottom + reach).contains(&y)
            && !rows
                .iter()
                .any(|row| (extent(row[0]).middle_y() - y).abs() <= SAME_ROW * body)
    });
    let enough = found.len() >= 3 && found.len() as f32 >= MIN_LONG_CELLS * rows.len() as f32;
    if !enough || text || !found.iter().all(|&line| aligned(line)) {
        return;
    }
    for (row, cell) in rows.iter_mut().zip(cells) {
        if let Some(cell) = cell {
            row.insert(if to_left { 0 } else { row.len() }, cell);
        }
    }
}

fn is_table(pieces: &[Piece], rows: &[Vec<usize>]) -> bool {
    let cells = |row: &Vec<usize>| row.len() - 1;
    let count: usize = rows.iter().map(cells).sum();
    let numbers = rows
        .iter()
        .flat_map(|row| &row[1..])
        .filter(|&&line| pieces[line].numeric)
        .count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    // Two short lines side by side can be the ends of paragraphs; three rows of a word and a number cannot.
    let enough = if columns >= 3 {
        rows.len() >= 2
    } else {
        rows.len() >= 3
    };
    if enough && numbers as f32 >= MIN_NUMBERS * count as f32 {
        return true;
    }
    let (mut filled, mut wide) = (0.0, 0.0);
    for two in rows.iter().flat_map(|row| row.windows(2)) {
        let (a, b) = (pieces[two[0]].extent, pieces[two[1]].extent);
        filled += a.width();
        wide += b.left - a.left;
    }
    columns >= 3 && rows.len() >= 3 && filled <= MAX_FILL * wide
}
