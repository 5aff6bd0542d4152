//! The page's upper and lower edge -> running headers and page numbers.
//!
//! The topmost row is an edge when a blank line or more parts it from the rest and it is no larger than the text; the
//! lowest one only when it also has a page number, because letters end in short lines.

use super::extent::Extent;
use super::piece::{Piece, is_digit};
use super::{Kind, ReadLine};

/// Pages with fewer lines have no edges: a note begins with what it is about.
const MIN_LINES: usize = 12;
/// The edge's middle is at least this far from the next line's, in body heights.
const MIN_DISTANCE: f32 = 1.6;
/// And at least so many times the usual distance of lines.
const MIN_DISTANCE_IN_ROWS: f32 = 1.4;
/// Most letters of a row at the edge, in body heights.
const MAX_THICKNESS: f32 = 1.2;
const MAX_CHARACTERS: usize = 90;
/// Lines are of one row when they share this part of the lower one's height.
const SAME_ROW: f32 = 0.5;

/// Lines at the edges, from left to right, and what they are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Edges {
    pub(super) top: Vec<(usize, Kind)>,
    pub(super) bottom: Vec<(usize, Kind)>,
}

/// Finds the edges of a page.
pub(super) fn edges(lines: &[ReadLine], pieces: &[Piece], body: f32, pitch: f32) -> Edges {
    if lines.len() < MIN_LINES {
        return Edges::default();
    }
    let text = |line: usize| lines[line].text.content.as_str();
    let top = edge(pieces, body, pitch, 1.0);
    let mut bottom = edge(pieces, body, pitch, -1.0);
    if !bottom.iter().any(|&line| is_page_number(text(line))) {
        bottom.clear();
    }
    let kinds = |row: Vec<usize>| {
        let words = row
            .iter()
            .filter(|&&line| !is_page_number(text(line)))
            .collect::<Vec<_>>();
        // Dictionaries name the first and the last word of the page above its columns.
        let catchwords = words.len() >= 2 && words.iter().all(|&&line| !text(line).contains(' '));
        row.iter()
            .map(|&line| {
                let kind = match is_page_number(text(line)) {
                    true => Kind::PageNumber,
                    false if catchwords => Kind::ColumnHeader,
                    false => Kind::RunningHeader,
                };
                (line, kind)
            })
            .collect()
    };
    Edges {
        top: kinds(top),
        bottom: kinds(bottom),
    }
}

/// The outermost row in a direction, 1 for the top and -1 for the bottom; empty if it is none of an edge.
fn edge(pieces: &[Piece], body: f32, pitch: f32, down: f32) -> Vec<usize> {
    let depth = |extent: &Extent| down * extent.middle_y();
    let Some(outermost) = pieces
        .iter()
        .min_by(|a, b| depth(&a.extent).total_cmp(&depth(&b.extent)))
    else {
        return Vec::new();
    };
    let (mut row, rest): (Vec<usize>, Vec<usize>) =
        (0..pieces.len()).partition(|&i| pieces[i].extent.overlap_y(&outermost.extent) >= SAME_ROW);
    let innermost = row
        .iter()
        .map(|&i| depth(&pieces[i].extent))
        .fold(f32::MIN, f32::max);
    let least = (MIN_DISTANCE * body).max(MIN_DISTANCE_IN_ROWS * pitch);
    let apart = rest
        .iter()
        .all(|&i| depth(&pieces[i].extent) - innermost >= least);
    let small = row
        .iter()
        .all(|&i| pieces[i].thickness <= MAX_THICKNESS * body);
    let characters: usize = row.iter().map(|&i| pieces[i].characters).sum();
    if !apart || !small || characters > MAX_CHARACTERS {
        return Vec::new();
    }
    row.sort_by(|&a, &b| pieces[a].extent.left.total_cmp(&pieces[b].extent.left));
    row
}

/// Whether a line is the number of a page: `17`, `- 17 -`, `xiv`, `Page 17`, `17/20`, `17 of 20`, `१७`. A number between dandas is a
/// verse's.
pub(super) fn is_page_number(text: &str) -> bool {
    if text.contains(['।', '॥']) {
        return false;
    }
    const WORDS: [&str; 10] = [
        "page", "seite", "pagina", "página", "strona", "p", "s", "of", "von", "de",
    ];
    let parts: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_lowercase)
        .collect();
    let number = |part: &str| part.chars().count() <= 4 && part.chars().all(is_digit);
    let roman = |part: &str| part.len() <= 8 && part.bytes().all(|b| b"ivxlc".contains(&b));
    let numbers = parts.iter().filter(|part| number(part)).count();
    let others = || parts.iter().filter(|part| !number(part));
    match numbers {
        0 => parts.len() == 1 && roman(&parts[0]) && parts[0].len() > 1,
        1 | 2 => others().all(|part| WORDS.contains(&part.as_str())) && parts.len() <= 4,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_numbers_have_few_shapes() {
        let cases = [
            ("17", true),
            ("- 17 -", true),
            ("xiv", true),
            ("Page 17", true),
            ("17/20", true),
            ("१७", true),
            ("- १७ -", true),
            ("॥ १७ ॥", false),
            ("१७ ।", false),
            ("Seite 3 von 12", true),
            ("12345", false),
            ("Chapter 17", false),
            ("1.2.3", false),
            ("i", false),
            ("mild", false),
            ("", false),
            ("...", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_page_number(text), expected, "{text}");
        }
    }
}
