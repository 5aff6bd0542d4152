//! Page -> lines of text, as tilted rectangles in the page's pixels.
//!
//! The detector gives each pixel a probability of being text, drawn in a core that is thinner than the glyphs
//! (differentiable binarisation, Liao et al. 2019). Here the page is laid into the detector's input, and its answer is
//! cut into connected cores, each wrapped in its smallest rectangle and grown back to the glyphs' full size.
//!
//! A page is first seen at a glance, at most 960 px a side (a strip as large as that area allows). Where that shows text that is too small, [`closer`] looks again,
//! in strips as wide as the page and at twice the scale, and so on up to the page's own (closer.rs). So an input never takes
//! more memory than a glance, a page of large print costs one run, and small print is seen at the scale that it needs.
//!
//! `imageproc` has the three steps from map to rectangles too, but brings some forty crates with it, linear algebra and
//! random numbers among them, for what are 200 lines here.

mod closer;
mod components;
mod rectangle;

use ephemera_vision::{Filter, Point, Quad, Rgb, crop, resize};

use crate::page::Page;
use crate::pose::{Pose, Rotation};
use crate::{Error, Network};
pub use closer::{closer, sample};
use components::components;
use rectangle::Rectangle;

/// One line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Corners in the page's pixels, clockwise from the one that is nearest the top left once the page is turned upright.
    pub quad: Quad,
    /// Mean probability of text inside the core, 0..=1.
    pub score: f32,
}

/// What one run of the detector saw.
#[derive(Debug)]
pub struct Look {
    /// Topmost first, then leftmost.
    pub lines: Vec<Line>,
    /// Of each line, how thick its core is, in input pixels.
    cores_px: Vec<f32>,
    /// The parts of the map with something like text.
    cells: Vec<Cell>,
    /// Input pixels per page pixel.
    scale: f32,
    /// Pixels of the input.
    area_px: usize,
}

/// A square of the map, and how much of it looks like text.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cell {
    /// Its middle, in the page's pixels.
    at: Point,
    /// Pixels above [`FAINT_THRESHOLD`].
    faint: u32,
    /// Pixels above [`PIXEL_THRESHOLD`].
    clear: u32,
}

/// Longest side of a glance but that at a strip; its square is the largest area of any input. Memory and time grow with the area.
pub const DETECT_MAX_SIDE_PX: usize = 960;

/// Sides of the detector's input are multiples of this: it halves the picture five times.
const STRIDE_PX: usize = 32;

/// A picture whose shorter side is below this is a strip, cut close around a line: it gets a margin, because the
/// detector was trained on text with something around it.
const STRIP_PX: usize = 128;
/// The margin, on all sides.
const STRIP_MARGIN_PX: usize = 32;
/// A strip's shorter side is enlarged to this, so that the text in it is not smaller than what the detector finds.
const MIN_CONTENT_PX: usize = 48;
/// But not further than this many times.
const MAX_ENLARGEMENT: usize = 4;

/// From this probability a pixel belongs to a core. PP-OCR's `thresh`.
const PIXEL_THRESHOLD: f32 = 0.3;
/// From this probability a pixel may be part of one. Around text that is large enough the map falls off steeply, so that
/// hardly any pixel lies between the two.
const FAINT_THRESHOLD: f32 = 0.05;
/// From this mean probability a core is text. PP-OCR's `box_thresh`.
const BOX_THRESHOLD: f32 = 0.6;
/// How far a core is grown: its area times this, over its perimeter. PP-OCR's `unclip_ratio`.
const UNCLIP_RATIO: f64 = 1.5;
/// Cores thinner than this, in map pixels, are specks. PP-OCR's `min_size`.
const MIN_CORE_PX: f64 = 3.0;
/// Most lines of one look; bounds the time that a page of noise can take.
const MAX_LINES: usize = 1000;

/// Finds the lines of a page that is turned by `rotation`, as far as they can be seen at 960 px.
///
/// # Errors
/// [`Error::Model`], [`Error::Output`].
pub fn glance(detector: &Network, page: &Page, rotation: Rotation) -> Result<Look, Error> {
    let pose = Pose::new(rotation, page.pixels.width, page.pixels.height);
    let (input, placement) = lay_out(&page.pixels, rotation);
    look(detector, input, &placement, &pose)
}

/// Runs the detector on a part of the page and finds the lines there.
fn look(detector: &Network, input: Rgb, placement: &Placement, pose: &Pose) -> Result<Look, Error> {
    let (width, height) = (input.width, input.height);
    let map = detector.run(input)?;
    let map = detector.expect_f32(&map, &[1, 1, height, width])?;
    let to_page = |at: Point| pose.to_page(placement.to_level(at));
    let (lines, cores_px) = lines(map, width)
        .into_iter()
        .map(|(line, core_px)| {
            let quad = line.quad.map(to_page);
            (Line { quad, ..line }, core_px)
        })
        .unzip();
    let cells = cells(map, width)
        .map(|cell| Cell {
            at: to_page(cell.at),
            ..cell
        })
        .collect();
    Ok(Look {
        lines,
        cores_px,
        cells,
        scale: placement.scale_x,
        area_px: width * height,
    })
}

/// Counts likely pixels by squares of a stride, in map pixels; squares without any are left out.
fn cells(map: &[f32], width: usize) -> impl Iterator<Item = Cell> {
    let columns = width.div_ceil(STRIDE_PX);
    map.chunks(width * STRIDE_PX)
        .enumerate()
        .flat_map(move |(j, rows)| {
            let mut counts = vec![(0, 0); columns];
            for row in rows.chunks_exact(width) {
                for (counts, square) in counts.iter_mut().zip(row.chunks(STRIDE_PX)) {
                    for &p in square {
                        counts.0 += u32::from(p > FAINT_THRESHOLD);
                        counts.1 += u32::from(p > PIXEL_THRESHOLD);
                    }
                }
            }
            let middle = |i: usize| (i * STRIDE_PX + STRIDE_PX / 2) as f32;
            let counts = counts.into_iter().enumerate();
            counts
                .filter(|(_, (faint, _))| *faint > 0)
                .map(move |(i, (faint, clear))| Cell {
                    at: Point {
                        x: middle(i),
                        y: middle(j),
                    },
                    faint,
                    clear,
                })
        })
}

/// Where the detector's input lies on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Placement {
    /// The input's top left corner in the level frame.
    origin: Point,
    /// Input pixels per page pixel.
    scale_x: f32,
    scale_y: f32,
}

impl Placement {
    fn to_level(self, at: Point) -> Point {
        Point {
            x: self.origin.x + at.x / self.scale_x,
            y: self.origin.y + at.y / self.scale_y,
        }
    }
}

/// Turns a page upright and scales it for the detector, and fills up to whole strides with the colour of its edge.
fn lay_out(page: &Rgb, rotation: Rotation) -> (Rgb, Placement) {
    let (longest, shortest) = (page.width.max(page.height), page.width.min(page.height));
    // The scale as a fraction: exact, and the same on every target.
    let (times, parts) = if longest > DETECT_MAX_SIDE_PX {
        match strip_side(longest, shortest) {
            Some(side) => (side, shortest),
            None => (DETECT_MAX_SIDE_PX, longest),
        }
    } else if shortest < MIN_CONTENT_PX {
        let wanted = MIN_CONTENT_PX.min(shortest * MAX_ENLARGEMENT);
        if longest * wanted > DETECT_MAX_SIDE_PX * shortest {
            (DETECT_MAX_SIDE_PX, longest)
        } else {
            (wanted, shortest)
        }
    } else {
        (1, 1)
    };
    let scaled = |side: usize| ((side * times + parts / 2) / parts).max(1);
    let content = turn(
        resize(
            page,
            scaled(page.width),
            scaled(page.height),
            Filter::Triangle,
        ),
        rotation,
    );
    let (width, height) = (content.width, content.height);
    let margin = if width.min(height) < STRIP_PX {
        STRIP_MARGIN_PX
    } else {
        0
    };
    let side = |content: usize| (content + 2 * margin).next_multiple_of(STRIDE_PX);

    let mut input = Rgb::filled(side(width), side(height), edge_colour(&content));
    let stride = input.width * 3;
    for y in 0..height {
        input.data[(y + margin) * stride + margin * 3..][..width * 3]
            .copy_from_slice(content.row(y));
    }
    let (level_width, level_height) = Pose::new(rotation, page.width, page.height).sides();
    let (scale_x, scale_y) = (width as f32 / level_width, height as f32 / level_height);
    let origin = Point {
        x: -(margin as f32) / scale_x,
        y: -(margin as f32) / scale_y,
    };
    (
        input,
        Placement {
            origin,
            scale_x,
            scale_y,
        },
    )
}

/// The shorter side at which a strip, more than twice as long as wide, is seen at a glance, if that is larger than what 960 px of
/// length leave it. Its area is no larger than that of other glances.
fn strip_side(longest: usize, shortest: usize) -> Option<usize> {
    if longest <= 2 * shortest {
        return None;
    }
    let padded = |side: usize| (side + 2 * STRIP_MARGIN_PX).next_multiple_of(STRIDE_PX);
    let least = shortest * DETECT_MAX_SIDE_PX / longest;
    (least + 1..=shortest).rev().find(|side| {
        let length = longest * side / shortest + 1;
        padded(length) * padded(*side) <= DETECT_MAX_SIDE_PX * DETECT_MAX_SIDE_PX
    })
}

/// Turns a picture upright.
fn turn(picture: Rgb, rotation: Rotation) -> Rgb {
    if rotation == Rotation::Upright {
        return picture;
    }
    let pose = Pose::new(rotation, picture.width, picture.height);
    let (width, height) = pose.sides();
    let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
    let quad = corners.map(|(x, y)| pose.to_page(Point { x, y }));
    let (width, height) = (width as usize, height as usize);
    // Whole pixels fall on whole pixels, so nothing is lost.
    crop(&picture, &quad, width, height, width, 0)
}

/// The median of the outermost pixels, channel by channel: what the page's margin looks like.
fn edge_colour(page: &Rgb) -> [u8; 3] {
    let mut counts = [[0u32; 256]; 3];
    let mut total = 0;
    for y in 0..page.height {
        // Rows between the first and the last count with their two ends only.
        let step = if y == 0 || y + 1 == page.height {
            1
        } else {
            (page.width - 1).max(1)
        };
        for x in (0..page.width).step_by(step) {
            for (counts, v) in counts.iter_mut().zip(page.at(x, y)) {
                counts[usize::from(v)] += 1;
            }
            total += 1;
        }
    }
    counts.map(|counts| {
        let mut below = 0;
        let median = counts.iter().position(|&count| {
            below += count;
            2 * below >= total
        });
        median.map_or(255, |v| v as u8)
    })
}

/// Cuts a map of probabilities, `[height, width]`, into lines in map pixels, each with the thickness of its core.
fn lines(probabilities: &[f32], width: usize) -> Vec<(Line, f32)> {
    let mut lines: Vec<(Line, f32)> = components(probabilities, width, PIXEL_THRESHOLD)
        .into_iter()
        .filter_map(|runs| {
            let core = Rectangle::around(&runs)?;
            if core.shorter() < MIN_CORE_PX {
                return None;
            }
            let score = core.mean(probabilities, width);
            let line = core.grow(core.area() * UNCLIP_RATIO / core.perimeter());
            (score >= BOX_THRESHOLD).then(|| {
                let quad = line.corners();
                (Line { quad, score }, core.shorter() as f32)
            })
        })
        .take(MAX_LINES)
        .collect();
    lines.sort_by(|a, b| {
        let (a, b) = (a.0.quad[0], b.0.quad[0]);
        a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x))
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    /// Lines without their cores.
    fn lines(map: &[f32], width: usize) -> Vec<Line> {
        super::lines(map, width)
            .into_iter()
            .map(|(line, _)| line)
            .collect()
    }

    fn close(quad: &Quad, expected: [(f32, f32); 4]) {
        for (at, (x, y)) in quad.iter().zip(expected) {
            assert!(
                (at.x - x).abs() < 1e-3 && (at.y - y).abs() < 1e-3,
                "{quad:?} is not {expected:?}"
            );
        }
    }

    /// A map of `width` x `height` with `value` wherever `inside(x, y)`.
    fn map(
        width: usize,
        height: usize,
        value: f32,
        inside: impl Fn(usize, usize) -> bool,
    ) -> Vec<f32> {
        (0..width * height)
            .map(|i| {
                if inside(i % width, i / width) {
                    value
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn long_strips_were_seen_too_small() {
        // (longest side, shortest, the latter at a glance)
        let cases = [
            // With a margin, 4192 x 160 px.
            (4096, 66, Some(66)),
            // 7074 px long, and with a margin 7168 x 128 px, which is just under 960 x 960.
            (8192, 66, Some(57)),
            (1500, 100, Some(100)),
            (3000, 300, Some(256)),
            (1500, 200, Some(200)),
            (4096, 1024, Some(431)),
            // No strip.
            (2048, 1024, None),
            (2048, 2048, None),
            (40_000, 1, None),
        ];
        for (longest, shortest, expected) in cases {
            assert_eq!(
                strip_side(longest, shortest),
                expected,
                "{longest} x {shortest}"
            );
        }
    }

    #[test]
    fn a_bar_grows_by_its_share() {
        let map = map(64, 32, 0.9, |x, y| {
            (10..50).contains(&x) && (12..20).contains(&y)
        });
        let lines = lines(&map, 64);
        assert_eq!(lines.len(), 1);
        assert!((lines[0].score - 0.9).abs() < 1e-6);
        // 40 x 8: area 320, perimeter 96, times 1.5: 5 px to each side.
        close(
            &lines[0].quad,
            [(5.0, 7.0), (55.0, 7.0), (55.0, 25.0), (5.0, 25.0)],
        );
    }

    #[test]
    fn weak_and_thin_cores_are_dropped() {
        let weak = map(64, 32, 0.5, |x, y| {
            (10..50).contains(&x) && (12..20).contains(&y)
        });
        assert_eq!(lines(&weak, 64), []);
        let thin = map(64, 32, 0.9, |x, y| {
            (10..50).contains(&x) && (12..14).contains(&y)
        });
        assert_eq!(lines(&thin, 64), []);
        let nan = vec![f32::NAN; 64 * 32];
        assert_eq!(lines(&nan, 64), []);
    }

    #[test]
    fn lines_come_topmost_first_then_leftmost() {
        let map = map(96, 64, 0.9, |x, y| {
            let row = (40..48).contains(&y) && ((8..40).contains(&x) || (56..88).contains(&x));
            row || ((10..18).contains(&y) && (50..90).contains(&x))
        });
        let starts: Vec<(i32, i32)> = lines(&map, 96)
            .iter()
            .map(|l| (l.quad[0].x as i32, l.quad[0].y as i32))
            .collect();
        assert_eq!(starts, [(45, 5), (3, 35), (51, 35)]);
    }

    #[test]
    fn pages_are_laid_out_in_whole_strides() {
        struct Case {
            page: (usize, usize),
            input: (usize, usize),
            placement: Placement,
        }
        let at = |origin: f32, scale: f32| Placement {
            origin: Point {
                x: origin,
                y: origin,
            },
            scale_x: scale,
            scale_y: scale,
        };
        let cases = [
            Case {
                page: (640, 480),
                input: (640, 480),
                placement: at(0.0, 1.0),
            },
            Case {
                page: (650, 470),
                input: (672, 480),
                placement: at(0.0, 1.0),
            },
            // Halved, to 960 x 480.
            Case {
                page: (1920, 960),
                input: (960, 480),
                placement: at(0.0, 0.5),
            },
            // A strip of 60 px gets a margin: 300 + 64 = 364, 60 + 64 = 124.
            Case {
                page: (300, 60),
                input: (384, 128),
                placement: at(-32.0, 1.0),
            },
            // A sliver of 12 px is enlarged four times, to 200 x 48.
            Case {
                page: (50, 12),
                input: (288, 128),
                placement: at(-8.0, 4.0),
            },
            Case {
                page: (1, 1),
                input: (96, 96),
                placement: at(-8.0, 4.0),
            },
        ];
        for Case {
            page: (width, height),
            input,
            placement,
        } in cases
        {
            let page = Rgb::filled(width, height, [9, 8, 7]);
            let (laid, at) = lay_out(&page, Rotation::Upright);
            assert_eq!((laid.width, laid.height), input, "{page:?}");
            assert_eq!(at, placement, "{page:?}");
            assert!(laid.data.chunks(3).all(|p| p == [9, 8, 7]), "{page:?}");
        }
        // A strip keeps its length as far as the area allows.
        let (laid, _) = lay_out(&Rgb::filled(2048, 3, [0; 3]), Rotation::Upright);
        assert_eq!((laid.width, laid.height), (2112, 96));
        for (width, height) in [(8192, 200), (200, 8192), (16_384, 1), (7200, 961)] {
            let (laid, _) = lay_out(&Rgb::filled(width, height, [0; 3]), Rotation::Upright);
            assert!(laid.width * laid.height <= 960 * 960, "{width} x {height}");
        }
        // Turned, the sides swap.
        let (laid, _) = lay_out(&Rgb::filled(650, 470, [0; 3]), Rotation::Clockwise90);
        assert_eq!((laid.width, laid.height), (480, 672));
    }

    #[test]
    fn turning_upright_keeps_every_pixel() {
        // The upright picture, and it turned by each rotation; one number a pixel.
        let grey = |width: usize, values: &[u8]| {
            let data = values.iter().flat_map(|&v| [v; 3]).collect();
            Rgb::new(width, values.len() / width, data).expect("a test picture is a rectangle")
        };
        let upright = grey(3, &[1, 2, 3, 4, 5, 6]);
        let cases = [
            (Rotation::Upright, upright.clone()),
            (Rotation::Clockwise90, grey(2, &[4, 1, 5, 2, 6, 3])),
            (Rotation::Half, grey(3, &[6, 5, 4, 3, 2, 1])),
            (Rotation::Clockwise270, grey(2, &[3, 6, 2, 5, 1, 4])),
        ];
        for (rotation, turned) in cases {
            assert_eq!(turn(turned, rotation).data, upright.data, "{rotation:?}");
        }
    }

    #[test]
    fn cells_count_likely_pixels() {
        // 64 x 48: a bar of which half is faint lies in the second square, one faint pixel in the third, below.
        let map = map(64, 48, 1.0, |_, _| false)
            .into_iter()
            .enumerate()
            .map(|(i, _)| match (i % 64, i / 64) {
                (40..44, 3) => 0.9,
                (44..48, 3) => 0.1,
                (7, 40) => 0.06,
                (8, 40) => 0.04,
                (9, 40) => f32::NAN,
                _ => 0.0,
            })
            .collect::<Vec<_>>();
        let found: Vec<_> = cells(&map, 64)
            .map(|cell| (cell.at.x, cell.at.y, cell.faint, cell.clear))
            .collect();
        assert_eq!(found, [(48.0, 16.0, 8, 4), (16.0, 48.0, 1, 0)]);
    }

    #[test]
    fn the_edge_gives_the_colour_around() {
        let mut page = Rgb::filled(4, 3, [10, 20, 30]);
        // The middle does not count, one corner is outvoted.
        page.data[(4 + 1) * 3..][..6].fill(200);
        page.data[..3].fill(99);
        assert_eq!(edge_colour(&page), [10, 20, 30]);
        assert_eq!(edge_colour(&Rgb::filled(1, 5, [1, 2, 3])), [1, 2, 3]);
    }

    #[test]
    fn lines_come_back_in_page_pixels() {
        // 1920 x 960 is halved; the bar above then measures twice as much on the page.
        let page = Page::whole(Rgb::filled(1920, 960, [255; 3]), 1920, 960);
        let answer = map(960, 480, 0.9, |x, y| {
            (10..50).contains(&x) && (12..20).contains(&y)
        });
        let detector = Fake::network("ocr-detector", vec![(vec![1, 1, 480, 960], answer)]);
        let look = glance(&detector, &page, Rotation::Upright).expect("the fake answers");
        close(
            &look.lines[0].quad,
            [(10.0, 14.0), (110.0, 14.0), (110.0, 50.0), (10.0, 50.0)],
        );
        assert_eq!((look.scale, look.cores_px), (0.5, vec![8.0]));
    }

    #[test]
    fn lines_of_a_turned_page_start_where_their_text_does() {
        // The same page with its top at the right: the detector sees it upright, the bar lies down the right edge.
        let page = Page::whole(Rgb::filled(960, 1920, [255; 3]), 960, 1920);
        let answer = map(960, 480, 0.9, |x, y| {
            (10..50).contains(&x) && (12..20).contains(&y)
        });
        let detector = Fake::network("ocr-detector", vec![(vec![1, 1, 480, 960], answer)]);
        let look = glance(&detector, &page, Rotation::Clockwise90).expect("the fake answers");
        close(
            &look.lines[0].quad,
            [(946.0, 10.0), (946.0, 110.0), (910.0, 110.0), (910.0, 10.0)],
        );
    }

    #[test]
    fn a_map_of_another_size_is_our_fault() {
        let page = Page::whole(Rgb::filled(640, 480, [255; 3]), 640, 480);
        let detector = Fake::network("ocr-detector", vec![(vec![1, 1, 8, 8], vec![0.0; 64])]);
        assert_eq!(
            glance(&detector, &page, Rotation::Upright)
                .expect_err("8 x 8 is not 640 x 480")
                .status(),
            500
        );
    }
}
