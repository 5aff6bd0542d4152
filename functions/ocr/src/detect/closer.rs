//! Where a look shows text that is too small: looks again, at a larger scale.

use ephemera_vision::{Point, Rgb, crop};

use super::{Line, Look, Placement, STRIDE_PX, look};
use crate::page::Page;
use crate::pose::{Pose, Rotation, length};
use crate::{Error, Network};

/// No input has more pixels than the glance had: memory that the glance took is then enough for all. But on a narrow page they
/// may have as many as this.
const MIN_AREA_PX: usize = 640 * 640;
/// How much larger each look is than the one before,
const STEP: f32 = 2.0;
/// and at least has to be, where the page has no more.
const MIN_STEP: f32 = 1.2;
/// Strips overlap by this much, in input pixels: a line up to this height is seen whole in one of them.
const OVERLAP_PX: usize = 64;
/// The widest input. A wider page is not looked at any closer.
const MAX_WIDTH_PX: usize = 4096;
/// Most looks at one page, which bounds the time: an A4 page at 300 dpi takes six strips.
const MAX_LOOKS: usize = 24;
/// Of the pixels that may be text, fewer than this part are surely text where lines are too small. On rendered A4 pages at
/// 960 px it is 0.89 to 0.91 with 10 to 12 pt, 0.81 with 8 pt, 0.72 with 6 pt.
const MIN_CLEAR_SHARE: f32 = 0.86;
/// Up to this part it is no text either, but the haze that the detector sees on empty paper.
const MAX_HAZE_SHARE: f32 = 0.1;
/// Cores thinner than this (the median by length) are too small: their boxes are no longer exact.
const MIN_CLEAR_CORE_PX: f32 = 5.0;
/// Pixels that may be text: fewer are a speck.
const MIN_FAINT_PX: u32 = 64;
/// A line that touches a strip's cut edge, up to this many input pixels, was cut.
const EDGE_PX: f32 = 2.0;
/// A line that is covered by others up to this part was seen twice.
const MAX_COVERED: f32 = 0.4;
/// A line of this many times its height may be one of a column: some fourteen letters.
const MIN_COLUMN_RATIO: f32 = 8.0;
/// Most lines of a page; bounds the time that a page of noise can take.
const MAX_LINES: usize = 2000;

/// Looks again at those parts of the page that the glance shows too small, and gives the lines of both, topmost first,
/// then leftmost. Without such parts they are those of the glance.
///
/// # Errors
/// [`Error::Model`], [`Error::Output`].
pub fn closer(
    detector: &Network,
    page: &Page,
    pose: &Pose,
    glance: Look,
) -> Result<Vec<Line>, Error> {
    let frame = Frame::of(page, pose, glance.area_px);
    // The finest look comes last. The glance's lines stay below: where a heading is too large for a strip, it has it.
    let mut layers = vec![glance.lines.clone()];
    let mut looks = 0;
    // Whether there may be text above and below a band is its own look's affair, so bands are a stack without order.
    let mut waiting = vec![(glance, frame.top, frame.bottom, 1)];
    while let Some((seen, top, bottom, depth)) = waiting.pop() {
        let scale = (seen.scale * STEP).min(1.0);
        let Some(height) = frame.band_height(scale) else {
            continue;
        };
        if scale < seen.scale * MIN_STEP {
            continue;
        }
        let bands = ((bottom - top) / height).ceil().max(1.0) as usize;
        let height = (bottom - top) / bands as f32;
        let bands = (0..bands).map(|band| top + band as f32 * height);
        let with_text: Vec<(f32, bool)> = bands
            .filter(|&top| seen.faint_px(pose, top, top + height) >= MIN_FAINT_PX)
            .map(|top| (top, seen.is_too_small(pose, top, top + height)))
            .collect();
        let small = with_text.iter().filter(|(_, small)| *small).count();
        // Lines that run into each other can look like large ones. Where most of a page is too small, that is what they are.
        let all = 2 * small > with_text.len();
        for (top, small) in with_text {
            let bottom = top + height;
            if looks == MAX_LOOKS || !(small || all) {
                continue;
            }
            looks += 1;
            let (input, placement) = frame.strip(page, pose, top, bottom, scale);
            let cut = Cut::of(&input, &placement, &frame);
            let mut closer = look(detector, input, &placement, pose)?;
            closer.keep(|line| !cut.touches(pose, line));
            if layers.len() == depth {
                layers.push(Vec::new());
            }
            layers[depth].extend_from_slice(&closer.lines);
            waiting.push((closer, top, bottom, depth + 1));
        }
    }
    if layers.len() == 1 {
        return Ok(layers.remove(0));
    }
    Ok(merge(layers, pose))
}

/// Looks at one square of a page whose glance, taken upright, shows text that is too small to tell how it stands: the square
/// with most of it, at twice the scale. `None` where the glance is good enough, or the page has no more.
///
/// # Errors
/// [`Error::Model`], [`Error::Output`].
pub fn sample(detector: &Network, page: &Page, glance: &Look) -> Result<Option<Look>, Error> {
    let pose = Pose::new(Rotation::Upright, page.pixels.width, page.pixels.height);
    let scale = (glance.scale * STEP).min(1.0);
    if scale < glance.scale * MIN_STEP || !glance.is_too_small(&pose, f32::MIN, f32::MAX) {
        return Ok(None);
    }
    let side_px = glance.area_px.max(MIN_AREA_PX).isqrt() / STRIDE_PX * STRIDE_PX;
    let half = side_px as f32 / scale / 2.0;
    let around = |at: Point| {
        let near = glance
            .cells
            .iter()
            .filter(|cell| (cell.at.x - at.x).abs() <= half && (cell.at.y - at.y).abs() <= half);
        near.map(|cell| cell.faint).sum::<u32>()
    };
    // The first of equals, so that the choice is stable.
    let most = glance.cells.iter().map(|cell| (around(cell.at), cell.at));
    let most = most.reduce(|best, other| if other.0 > best.0 { other } else { best });
    let Some((_, at)) = most else {
        return Ok(None);
    };
    // Inside the page, as far as it is large enough.
    let start = |at: f32, side: usize| (at - half).min(side as f32 - 2.0 * half).max(0.0);
    let origin = Point {
        x: start(at.x, page.pixels.width),
        y: start(at.y, page.pixels.height),
    };
    let (input, placement) = lay_part(page, &pose, origin, scale, side_px, side_px);
    look(detector, input, &placement, &pose).map(Some)
}

/// A part of the level frame as the detector's input; what is beyond the page repeats its edge.
fn lay_part(
    page: &Page,
    pose: &Pose,
    origin: Point,
    scale: f32,
    width_px: usize,
    height_px: usize,
) -> (Rgb, Placement) {
    let right = origin.x + width_px as f32 / scale;
    let bottom = origin.y + height_px as f32 / scale;
    let corners = [
        (origin.x, origin.y),
        (right, origin.y),
        (right, bottom),
        (origin.x, bottom),
    ];
    let quad = corners.map(|(x, y)| pose.to_page(Point { x, y }));
    let input = crop(&page.pixels, &quad, width_px, height_px, width_px, 0);
    let placement = Placement {
        origin,
        scale_x: scale,
        scale_y: scale,
    };
    (input, placement)
}

impl Look {
    /// Whether text between two heights of the level frame is too small to be seen well.
    fn is_too_small(&self, pose: &Pose, top: f32, bottom: f32) -> bool {
        let inside = |at: Point| (top..bottom).contains(&pose.to_level(at).y);
        let (mut faint, mut clear) = (0u32, 0u32);
        for cell in self.cells.iter().filter(|cell| inside(cell.at)) {
            faint += cell.faint;
            clear += cell.clear;
        }
        if faint < MIN_FAINT_PX {
            return false;
        }
        if clear as f32 <= MAX_HAZE_SHARE * faint as f32 {
            return false;
        }
        if (clear as f32) < MIN_CLEAR_SHARE * faint as f32 {
            return true;
        }
        let mut cores: Vec<(f32, f32)> = self
            .lines
            .iter()
            .zip(&self.cores_px)
            .filter(|(line, _)| inside(middle(line)))
            .map(|(line, core)| {
                let [a, b, _, d] = line.quad;
                (*core, length(a, b).max(length(a, d)))
            })
            .collect();
        cores.sort_by(|a, b| a.0.total_cmp(&b.0));
        let total: f32 = cores.iter().map(|(_, length)| length).sum();
        let mut below = 0.0;
        cores
            .iter()
            .find(|(_, length)| {
                below += length;
                2.0 * below >= total
            })
            .is_some_and(|(core, _)| *core < MIN_CLEAR_CORE_PX)
    }

    /// Pixels that may be text between two heights of the level frame.
    fn faint_px(&self, pose: &Pose, top: f32, bottom: f32) -> u32 {
        let inside = |at: Point| (top..bottom).contains(&pose.to_level(at).y);
        let cells = self.cells.iter().filter(|cell| inside(cell.at));
        cells.map(|cell| cell.faint).sum()
    }

    fn keep(&mut self, wanted: impl Fn(&Line) -> bool) {
        let kept: Vec<bool> = self.lines.iter().map(wanted).collect();
        let mut flags = kept.iter();
        self.lines.retain(|_| *flags.next().expect("a flag a line"));
        let mut flags = kept.iter();
        self.cores_px
            .retain(|_| *flags.next().expect("a flag a line"));
    }
}

fn middle(line: &Line) -> Point {
    let [a, _, c, _] = line.quad;
    Point {
        x: (a.x + c.x) / 2.0,
        y: (a.y + c.y) / 2.0,
    }
}

/// The upright rectangle around the page in the level frame.
struct Frame {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
    /// The largest area of an input.
    area_px: usize,
}

impl Frame {
    /// `glance_px`: pixels of the glance.
    fn of(page: &Page, pose: &Pose, glance_px: usize) -> Frame {
        let (width, height) = (page.pixels.width as f32, page.pixels.height as f32);
        let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
        let corners = corners.map(|(x, y)| pose.to_level(Point { x, y }));
        let least = |v: [f32; 4]| v.into_iter().fold(f32::MAX, f32::min);
        let most = |v: [f32; 4]| v.into_iter().fold(f32::MIN, f32::max);
        Frame {
            left: least(corners.map(|p| p.x)),
            top: least(corners.map(|p| p.y)),
            right: most(corners.map(|p| p.x)),
            bottom: most(corners.map(|p| p.y)),
            area_px: glance_px.max(MIN_AREA_PX),
        }
    }

    /// Width of a strip at a scale, in input pixels.
    fn width_px(&self, scale: f32) -> usize {
        (((self.right - self.left) * scale).ceil() as usize).next_multiple_of(STRIDE_PX)
    }

    /// Height of the largest input at a scale, in input pixels; `None` where nothing worthwhile fits.
    fn height_px(&self, scale: f32) -> Option<usize> {
        let width = self.width_px(scale);
        let height = self.area_px / width.max(1) / STRIDE_PX * STRIDE_PX;
        (width <= MAX_WIDTH_PX && height > 3 * OVERLAP_PX).then_some(height)
    }

    /// How much of the level frame's height a strip at a scale adds beside its overlaps, in page pixels.
    fn band_height(&self, scale: f32) -> Option<f32> {
        Some((self.height_px(scale)? - 2 * OVERLAP_PX) as f32 / scale)
    }

    /// The page between two heights of the level frame and an overlap more on either side.
    fn strip(
        &self,
        page: &Page,
        pose: &Pose,
        top: f32,
        bottom: f32,
        scale: f32,
    ) -> (Rgb, Placement) {
        let overlap = OVERLAP_PX as f32 / scale;
        let top = (top - overlap).max(self.top);
        let bottom = (bottom + overlap).min(self.bottom);
        let width_px = self.width_px(scale);
        let height_px =
            (((bottom - top) * scale).ceil().max(1.0) as usize).next_multiple_of(STRIDE_PX);
        let origin = Point {
            x: self.left,
            y: top,
        };
        lay_part(page, pose, origin, scale, width_px, height_px)
    }
}

/// The edges of a strip where the page goes on, as heights of the level frame.
struct Cut {
    top: f32,
    bottom: f32,
}

impl Cut {
    fn of(input: &Rgb, placement: &Placement, frame: &Frame) -> Cut {
        let margin = EDGE_PX / placement.scale_y;
        let top = placement.origin.y;
        let bottom = top + input.height as f32 / placement.scale_y;
        Cut {
            top: if top > frame.top {
                top + margin
            } else {
                f32::MIN
            },
            bottom: if bottom < frame.bottom {
                bottom - margin
            } else {
                f32::MAX
            },
        }
    }

    fn touches(&self, pose: &Pose, line: &Line) -> bool {
        pose.level(&line.quad)
            .iter()
            .any(|at| at.y < self.top || at.y > self.bottom)
    }
}

/// Lines of several looks, coarse to fine -> each line once, as the finest look that has all of it saw it.
fn merge(layers: Vec<Vec<Line>>, pose: &Pose) -> Vec<Line> {
    let coarsest = layers.first().map_or(&[][..], Vec::as_slice);
    let coarsest: Vec<Extent> = coarsest.iter().map(|line| Extent::of(pose, line)).collect();
    let mut kept: Vec<(Extent, Line)> = Vec::new();
    for layer in layers.into_iter().rev() {
        let mut layer: Vec<Line> = layer
            .into_iter()
            .flat_map(|line| split(line, &coarsest, pose))
            .collect();
        // Of two pieces of one line the larger one is the whole.
        layer.sort_by(|a, b| {
            let area = |line: &Line| Extent::of(pose, line).area();
            area(b).total_cmp(&area(a))
        });
        for line in layer {
            let extent = Extent::of(pose, &line);
            let covered: f32 = kept.iter().map(|(other, _)| extent.shared(other)).sum();
            if covered <= MAX_COVERED * extent.area() && kept.len() < MAX_LINES {
                kept.push((extent, line));
            }
        }
    }
    kept.sort_by(|(a, _), (b, _)| a.top.total_cmp(&b.top).then(a.left.total_cmp(&b.left)));
    kept.into_iter().map(|(_, line)| line).collect()
}

/// Cuts a line where the glance saw the gap between two columns. From close by a narrow one looks like a space between words, and
/// lines on both sides of it like one.
fn split(line: Line, coarse: &[Extent], pose: &Pose) -> Vec<Line> {
    let [a, b, ..] = pose.level(&line.quad);
    let whole = Extent::of(pose, &line);
    let width = whole.right - whole.left;
    // Lines that run down the page, and those without extent, are left as they are.
    if (b.x - a.x) < (b.y - a.y).abs() || width <= 0.0 {
        return vec![line];
    }
    let mut parts: Vec<&Extent> = coarse
        .iter()
        .filter(|part| {
            let (across, down) = (part.right - part.left, part.bottom - part.top);
            across >= MIN_COLUMN_RATIO * 2.0 * down && part.shared(&whole) >= 0.5 * part.area()
        })
        .collect();
    parts.sort_by(|a, b| a.left.total_cmp(&b.left));
    // Shares of the whole line: where each part begins and ends.
    let share = |x: f32| ((x - whole.left) / width).clamp(0.0, 1.0);
    let mut ends = vec![0.0];
    for pair in parts.windows(2) {
        let (end, start) = (pair[0].right, pair[1].left);
        // Boxes reach over their text, at most by their own height; an extent is half as high as its box.
        if end - start <= 2.0 * (whole.bottom - whole.top) {
            let middle = (end + start) / 2.0;
            ends.extend([share(end.min(middle)), share(start.max(middle))]);
        }
    }
    ends.push(1.0);
    let at = |from: Point, to: Point, share: f32| Point {
        x: from.x + (to.x - from.x) * share,
        y: from.y + (to.y - from.y) * share,
    };
    let [a, b, c, d] = line.quad;
    let part = |ends: &[f32]| Line {
        quad: [
            at(a, b, ends[0]),
            at(a, b, ends[1]),
            at(d, c, ends[1]),
            at(d, c, ends[0]),
        ],
        score: line.score,
    };
    ends.chunks_exact(2).map(part).collect()
}

/// The middle half, across its direction, of the upright rectangle around a line in the level frame. Boxes reach into the
/// lines above and below where these are set close; their middles do not.
struct Extent {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
}

impl Extent {
    fn of(pose: &Pose, line: &Line) -> Extent {
        let corners = pose.level(&line.quad);
        let least = |v: [f32; 4]| v.into_iter().fold(f32::MAX, f32::min);
        let most = |v: [f32; 4]| v.into_iter().fold(f32::MIN, f32::max);
        let (left, right) = (least(corners.map(|p| p.x)), most(corners.map(|p| p.x)));
        let (top, bottom) = (least(corners.map(|p| p.y)), most(corners.map(|p| p.y)));
        let (width, height) = (right - left, bottom - top);
        let (x, y) = if width >= height {
            (0.0, height / 4.0)
        } else {
            (width / 4.0, 0.0)
        };
        Extent {
            left: left + x,
            top: top + y,
            right: right - x,
            bottom: bottom - y,
        }
    }

    fn area(&self) -> f32 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Area that is the other one's too.
    fn shared(&self, other: &Extent) -> f32 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn line(left: f32, top: f32, width: f32, height: f32) -> Line {
        let corners = [
            (left, top),
            (left + width, top),
            (left + width, top + height),
            (left, top + height),
        ];
        Line {
            quad: corners.map(|(x, y)| Point { x, y }),
            score: 0.9,
        }
    }

    fn pose() -> Pose {
        Pose::new(Rotation::Upright, 1920, 1920)
    }

    fn tops(lines: &[Line]) -> Vec<f32> {
        lines.iter().map(|line| line.quad[0].y).collect()
    }

    #[test]
    fn columns_that_run_together_from_close_by_are_parted() {
        let columns = vec![line(0.0, 0.0, 400.0, 30.0), line(404.0, 1.0, 396.0, 30.0)];
        let words = vec![line(0.0, 0.0, 100.0, 30.0), line(120.0, 1.0, 680.0, 30.0)];
        let across = vec![line(2.0, 2.0, 796.0, 26.0)];
        for (coarse, expected) in [
            (columns, vec![(2.0, 400.0), (404.0, 798.0)]),
            (words, vec![(2.0, 798.0)]),
            (vec![], vec![(2.0, 798.0)]),
        ] {
            let merged = merge(vec![coarse, across.clone()], &pose());
            let sides = |line: &Line| (line.quad[0].x.round(), line.quad[2].x.round());
            assert_eq!(merged.iter().map(sides).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_finer_look_wins_and_nothing_is_seen_twice() {
        // (name, coarse lines, fine lines, tops of what is kept)
        let cases = [
            (
                "a blob gives way to its lines",
                vec![line(0.0, 0.0, 300.0, 52.0)],
                vec![line(0.0, 2.0, 300.0, 28.0), line(0.0, 24.0, 300.0, 28.0)],
                vec![2.0, 24.0],
            ),
            (
                "a heading that no strip held stays",
                vec![line(0.0, 0.0, 300.0, 90.0)],
                vec![line(0.0, 92.0, 300.0, 20.0)],
                vec![0.0, 92.0],
            ),
            (
                "of two strips' views the whole one stays",
                vec![],
                vec![line(0.0, 10.0, 120.0, 20.0), line(0.0, 9.0, 300.0, 22.0)],
                vec![9.0],
            ),
            (
                "boxes of close lines may overlap",
                vec![],
                vec![line(0.0, 0.0, 300.0, 36.0), line(0.0, 29.0, 300.0, 36.0)],
                vec![0.0, 29.0],
            ),
        ];
        for (name, coarse, fine, expected) in cases {
            assert_eq!(
                tops(&merge(vec![coarse, fine], &pose())),
                expected,
                "{name}"
            );
        }
    }

    fn look_with(cells: &[(f32, u32, u32)], lines: &[(f32, f32, f32)]) -> Look {
        Look {
            lines: lines
                .iter()
                .map(|&(top, length, _)| line(0.0, top, length, 20.0))
                .collect(),
            cores_px: lines.iter().map(|&(_, _, core)| core).collect(),
            cells: cells
                .iter()
                .map(|&(y, faint, clear)| super::super::Cell {
                    at: Point { x: 16.0, y },
                    faint,
                    clear,
                })
                .collect(),
            scale: 0.5,
            area_px: 960 * 960,
        }
    }

    #[test]
    fn small_text_has_blurred_cores_or_thin_ones() {
        // (cells as height, faint, clear; lines as top, length, core; whether 0..100 is too small)
        type Cells = &'static [(f32, u32, u32)];
        type Lines = &'static [(f32, f32, f32)];
        let cases: [(Cells, Lines, bool); 7] = [
            (&[], &[], false),
            (&[(50.0, 1000, 900)], &[(40.0, 300.0, 8.0)], false),
            (&[(50.0, 1000, 800)], &[(40.0, 300.0, 8.0)], true),
            (&[(50.0, 1000, 900)], &[(40.0, 300.0, 4.0)], true),
            // Most of the length counts.
            (
                &[(50.0, 1000, 900)],
                &[(40.0, 300.0, 8.0), (60.0, 50.0, 3.0), (80.0, 50.0, 3.0)],
                false,
            ),
            // A speck.
            (&[(50.0, 60, 0)], &[], false),
            // Small text further down.
            (
                &[(50.0, 1000, 900), (150.0, 1000, 500)],
                &[(150.0, 300.0, 3.0)],
                false,
            ),
        ];
        for (cells, lines, expected) in cases {
            let look = look_with(cells, lines);
            assert_eq!(
                look.is_too_small(&pose(), 0.0, 100.0),
                expected,
                "{cells:?} {lines:?}"
            );
        }
    }

    #[test]
    fn small_print_is_looked_at_in_strips() {
        // 1280 x 1920 px at 0.5: blurred text above 600 only. At the page's own scale an input is 1280 x 704 px; without its
        // overlaps of 64 px a strip adds 576 px, so there are four bands of 480 px, and the first two are looked at.
        let page = Page::whole(Rgb::filled(1280, 1920, [255; 3]), 1280, 1920);
        let pose = Pose::new(Rotation::Upright, 1280, 1920);
        let mut glance = look_with(
            &[
                (100.0, 900, 300),
                (500.0, 900, 300),
                (1000.0, 900, 900),
                (1100.0, 900, 900),
                (1500.0, 900, 900),
                (1900.0, 900, 900),
            ],
            &[],
        );
        glance.lines = vec![line(100.0, 1700.0, 300.0, 60.0)];
        glance.cores_px = vec![12.0];
        // Each answers with a bar of 200 x 10 px: it grows by 200 * 10 * 1.5 / 420 = 7.14 px to each side.
        let strip = |height: usize, top: usize| {
            let mut map = vec![0.0; 1280 * height];
            for row in map.chunks_exact_mut(1280).skip(top).take(10) {
                row[100..300].fill(0.9);
            }
            (vec![1, 1, height, 1280], map)
        };
        // The first strip has the page's edge above, so 480 + 64 = 544 px; the second 64 px on both sides, 608 px. Its bar at
        // 0 is cut by the strip's edge; the first one's is the page's own.
        let answers = vec![strip(544, 0), strip(608, 0)];
        let detector = Fake::network("ocr-detector", answers);
        let lines = closer(&detector, &page, &pose, glance).expect("the fake answers");
        let found: Vec<i32> = lines.iter().map(|l| l.quad[0].y.floor() as i32).collect();
        assert_eq!(found, [-8, 1700]);
    }

    #[test]
    fn a_sample_is_taken_where_most_of_the_small_print_is() {
        // 2400 x 2400 px at 0.4: the square covers 1200 px at 0.8.
        let page = Page::whole(Rgb::filled(2400, 2400, [255; 3]), 2400, 2400);
        let mut glance = look_with(
            &[(100.0, 400, 200), (1500.0, 300, 150), (1700.0, 300, 100)],
            &[],
        );
        glance.scale = 0.4;
        let mut map = vec![0.0; 960 * 960];
        for row in map.chunks_exact_mut(960).skip(80).take(16) {
            row[80..240].fill(0.9);
        }
        let detector = Fake::network("ocr-detector", vec![(vec![1, 1, 960, 960], map)]);
        let sample = sample(&detector, &page, &glance)
            .expect("the fake answers")
            .expect("the text is small");
        // The square around (16, 1500) starts at (0, 900). The bar, 160 x 16 px, grows by 10.9 px to each side: from 69.1 px,
        // which is 86.4 px on the page.
        let at = sample.lines[0].quad[0];
        assert!(
            (at.x - 86.4).abs() < 0.1 && (at.y - 986.4).abs() < 0.1,
            "{at:?}"
        );
    }

    #[test]
    fn a_page_that_has_no_more_is_not_looked_at_again() {
        let page = Page::whole(Rgb::filled(1000, 1000, [255; 3]), 1000, 1000);
        let mut glance = look_with(&[(100.0, 900, 300)], &[(100.0, 300.0, 3.0)]);
        glance.scale = 0.96;
        let detector = Fake::network("ocr-detector", vec![]);
        let sample = sample(&detector, &page, &glance).expect("nothing is run");
        assert!(sample.is_none());
        let lines = closer(&detector, &page, &pose(), glance).expect("nothing is run");
        assert_eq!(tops(&lines), [100.0]);
    }

    #[test]
    fn a_tilted_page_is_looked_at_level() {
        // Lines that fall by 1 in 10. The strips' frame is level: a line found level there is tilted on the page.
        let page = Page::whole(Rgb::filled(1920, 960, [255; 3]), 1920, 960);
        let pose = Pose::new(Rotation::Upright, 1920, 960);
        let mut tilted = line(400.0, 300.0, 600.0, 20.0);
        for (at, drop) in tilted.quad.iter_mut().zip([0.0, 60.0, 60.0, 0.0]) {
            at.y += drop;
        }
        let pose = pose.with_skew_of(&[tilted]);
        let frame = Frame::of(&page, &pose, 960 * 960);
        let (input, placement) = frame.strip(&page, &pose, 400.0, 600.0, 1.0);
        let at = |x: f32, y: f32| pose.to_page(placement.to_level(Point { x, y }));
        let (a, b) = (at(300.0, 100.0), at(400.0, 100.0));
        assert!((b.y - a.y - (b.x - a.x) * 0.1).abs() < 1e-3, "{a:?} {b:?}");
        // The page's corners stick out: 1920 and 960 times the cosine and the sine of 5.71 degrees.
        assert!((frame.right - frame.left - (1920.0 * 0.995_04 + 960.0 * 0.099_504)).abs() < 0.1);
        assert_eq!((input.width % STRIDE_PX, input.height % STRIDE_PX), (0, 0));
    }
}
