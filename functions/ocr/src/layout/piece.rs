//! What layout knows of a line: where it stands once the page is upright, how large it is, what kind of characters it has.

use super::ReadLine;
use super::extent::Extent;
use crate::pose::slope;

/// A line as layout sees it; index `i` of a list is line `i`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// On the page turned upright.
    pub(super) extent: Extent,
    /// Height of the letters' box, in pixels, whatever the tilt.
    pub(super) thickness: f32,
    /// How many characters it says.
    pub(super) characters: usize,
    /// Whether half of its letters and digits, or more, are digits.
    pub(super) numeric: bool,
}

/// Lines below each other are at least and at most so many body heights apart; a typewriter skips two.
const MIN_PITCH: f32 = 0.4;
const MAX_PITCH: f32 = 4.0;
/// In body heights, where no line stands below another.
const DEFAULT_PITCH: f32 = 1.25;

impl Piece {
    /// The pieces of a page, and its body height: the median thickness, each line weighed by its characters. In pixels,
    /// at least 1.
    pub(super) fn all(lines: &[ReadLine]) -> (Vec<Piece>, f32) {
        // What the level frame leaves of it: slopes too small to turn the page for, which still move the ends of its rows.
        let skew = slope(lines.iter().map(|line| line.level)).unwrap_or(0.0);
        let pieces: Vec<Piece> = lines.iter().map(|line| Piece::new(line, skew)).collect();
        let mut heights: Vec<(f32, usize)> = pieces
            .iter()
            .map(|piece| (piece.thickness, piece.characters))
            .collect();
        heights.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: usize = heights.iter().map(|&(_, characters)| characters).sum();
        let mut below = 0;
        let body = heights.iter().find(|&&(_, characters)| {
            below += characters;
            2 * below >= total
        });
        (pieces, body.map_or(1.0, |&(height, _)| height.max(1.0)))
    }

    fn new(line: &ReadLine, skew: f32) -> Piece {
        // A shear both ways: for slopes this small the same as a turn, but for a scale that no ratio here sees.
        let quad = line.level.map(|mut at| {
            // Zero is added because it turns a negative zero, which `total_cmp` tells apart, into the other one.
            (at.x, at.y) = (at.x + skew * at.y + 0.0, at.y - skew * at.x + 0.0);
            at
        });
        let [a, b, _, d] = line.level;
        let length = |dx: f32, dy: f32| (dx * dx + dy * dy).sqrt();
        let (across, down) = (length(b.x - a.x, b.y - a.y), length(d.x - a.x, d.y - a.y));
        let extent = Extent::of(&quad);
        let digits = line.text.content.chars().filter(|&c| is_digit(c)).count();
        let letters = line
            .text
            .content
            .chars()
            .filter(|c| c.is_alphabetic())
            .count();
        Piece {
            extent,
            thickness: across.min(down),
            characters: line.text.content.chars().count(),
            numeric: digits > 0 && digits >= letters,
        }
    }
}

/// A digit of ours or of Devanagari.
pub(super) fn is_digit(c: char) -> bool {
    matches!(c, '0'..='9' | '०'..='९')
}

/// The usual distance from a line's middle to that of the next one below, in pixels.
pub(super) fn usual_pitch(pieces: &[Piece], body: f32) -> f32 {
    let below = |piece: &Piece| {
        let a = piece.extent;
        let distances = pieces.iter().filter_map(|other| {
            let b = other.extent;
            let distance = b.middle_y() - a.middle_y();
            let over = a.shared_x(&b) > 0.5 * a.width().min(b.width());
            (over && (MIN_PITCH * body..=MAX_PITCH * body).contains(&distance)).then_some(distance)
        });
        distances.min_by(f32::total_cmp)
    };
    let mut distances: Vec<f32> = pieces.iter().filter_map(below).collect();
    distances.sort_by(f32::total_cmp);
    // Not the median: on a page of few lines half of the distances can be those between paragraphs.
    let usual = distances.get(distances.len() * 3 / 10).copied();
    usual.unwrap_or(DEFAULT_PITCH * body)
}
