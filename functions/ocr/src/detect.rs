//! Page -> lines of text, as tilted rectangles in the page's pixels.
//!
//! The detector gives each pixel a probability of being text, drawn in a core that is thinner than the glyphs
//! (differentiable binarisation, Liao et al. 2019). Here the page is laid into the detector's input, and its answer is
//! cut into connected cores, each wrapped in its smallest rectangle and grown back to the glyphs' full size.
//!
//! `imageproc` has these three steps too, but brings some forty crates with it, linear algebra and random numbers
//! among them, for what are 200 lines here.

mod components;
mod rectangle;

use ephemera_vision::{Filter, Point, Quad, Rgb, resize};

use crate::page::Page;
use crate::{Error, Network};
use components::components;
use rectangle::Rectangle;

/// One line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Corners in the page's pixels, clockwise from the one that is nearest the top left.
    pub quad: Quad,
    /// Mean probability of text inside the core, 0..=1.
    pub score: f32,
}

/// Longest side of the detector's input. Memory and time grow with its square; at this size a 10-point line of an A4
/// page is still 10 px high, which the detector finds.
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
/// From this mean probability a core is text. PP-OCR's `box_thresh`.
const BOX_THRESHOLD: f32 = 0.6;
/// How far a core is grown: its area times this, over its perimeter. PP-OCR's `unclip_ratio`.
const UNCLIP_RATIO: f64 = 1.5;
/// Cores thinner than this, in map pixels, are specks. PP-OCR's `min_size`.
const MIN_CORE_PX: f64 = 3.0;
/// Most lines of one page; bounds the time that a page of noise can take.
const MAX_LINES: usize = 1000;

/// Finds the lines of a page, topmost first, then leftmost.
///
/// # Errors
/// [`Error::Model`], [`Error::Output`].
pub fn detect(detector: &Network, page: &Page) -> Result<Vec<Line>, Error> {
    let (input, placement) = lay_out(&page.pixels);
    let (width, height) = (input.width, input.height);
    let map = detector.run(input)?;
    let probabilities = detector.expect_f32(&map, &[1, 1, height, width])?;
    let mut lines = lines(probabilities, width);
    for line in &mut lines {
        line.quad = line.quad.map(|at| placement.to_page(at));
    }
    Ok(lines)
}

/// Where the page lies in the detector's input.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Placement {
    /// Left and top margin, in input pixels.
    margin: f32,
    /// Input pixels per page pixel.
    scale_x: f32,
    scale_y: f32,
}

impl Placement {
    fn to_page(self, at: Point) -> Point {
        Point {
            x: (at.x - self.margin) / self.scale_x,
            y: (at.y - self.margin) / self.scale_y,
        }
    }
}

/// Scales a page for the detector and fills up to whole strides with the colour of its edge.
fn lay_out(page: &Rgb) -> (Rgb, Placement) {
    let (longest, shortest) = (page.width.max(page.height), page.width.min(page.height));
    // The scale as a fraction: exact, and the same on every target.
    let (times, parts) = if longest > DETECT_MAX_SIDE_PX {
        (DETECT_MAX_SIDE_PX, longest)
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
    let (width, height) = (scaled(page.width), scaled(page.height));
    let margin = if width.min(height) < STRIP_PX {
        STRIP_MARGIN_PX
    } else {
        0
    };
    let side = |content: usize| (content + 2 * margin).next_multiple_of(STRIDE_PX);

    let content = resize(page, width, height, Filter::Triangle);
    let mut input = Rgb::filled(side(width), side(height), edge_colour(&content));
    let stride = input.width * 3;
    for y in 0..height {
        input.data[(y + margin) * stride + margin * 3..][..width * 3]
            .copy_from_slice(content.row(y));
    }
    let scale_x = width as f32 / page.width as f32;
    let scale_y = height as f32 / page.height as f32;
    (
        input,
        Placement {
            margin: margin as f32,
            scale_x,
            scale_y,
        },
    )
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

/// Cuts a map of probabilities, `[height, width]`, into lines in map pixels.
fn lines(probabilities: &[f32], width: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = components(probabilities, width, PIXEL_THRESHOLD)
        .into_iter()
        .filter_map(|runs| {
            let core = Rectangle::around(&runs)?;
            if core.shorter() < MIN_CORE_PX {
                return None;
            }
            let score = core.mean(probabilities, width);
            let line = core.grow(core.area() * UNCLIP_RATIO / core.perimeter());
            (score >= BOX_THRESHOLD).then(|| Line {
                quad: line.corners(),
                score,
            })
        })
        .take(MAX_LINES)
        .collect();
    lines.sort_by(|a, b| {
        let (a, b) = (a.quad[0], b.quad[0]);
        a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x))
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

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
        let plain = Placement {
            margin: 0.0,
            scale_x: 1.0,
            scale_y: 1.0,
        };
        let cases = [
            Case {
                page: (640, 480),
                input: (640, 480),
                placement: plain,
            },
            Case {
                page: (650, 470),
                input: (672, 480),
                placement: plain,
            },
            // Halved, to 960 x 480.
            Case {
                page: (1920, 960),
                input: (960, 480),
                placement: Placement {
                    scale_x: 0.5,
                    scale_y: 0.5,
                    ..plain
                },
            },
            // A strip of 60 px gets a margin: 300 + 64 = 364, 60 + 64 = 124.
            Case {
                page: (300, 60),
                input: (384, 128),
                placement: Placement {
                    margin: 32.0,
                    ..plain
                },
            },
            // A sliver of 12 px is enlarged four times, to 200 x 48.
            Case {
                page: (50, 12),
                input: (288, 128),
                placement: Placement {
                    margin: 32.0,
                    scale_x: 4.0,
                    scale_y: 4.0,
                },
            },
            Case {
                page: (1, 1),
                input: (96, 96),
                placement: Placement {
                    margin: 32.0,
                    scale_x: 4.0,
                    scale_y: 4.0,
                },
            },
        ];
        for Case {
            page,
            input,
            placement,
        } in cases
        {
            let (laid, at) = lay_out(&Rgb::filled(page.0, page.1, [9, 8, 7]));
            assert_eq!((laid.width, laid.height), input, "{page:?}");
            assert_eq!(at, placement, "{page:?}");
            assert!(laid.data.chunks(3).all(|p| p == [9, 8, 7]), "{page:?}");
        }
        // The longest side never passes the limit by more than the margin and a stride.
        let (laid, _) = lay_out(&Rgb::filled(2048, 3, [0; 3]));
        assert_eq!((laid.width, laid.height), (1024, 96));
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
        let lines = detect(&detector, &page).expect("the fake answers");
        close(
            &lines[0].quad,
            [(10.0, 14.0), (110.0, 14.0), (110.0, 50.0), (10.0, 50.0)],
        );
    }

    #[test]
    fn a_map_of_another_size_is_our_fault() {
        let page = Page::whole(Rgb::filled(640, 480, [255; 3]), 640, 480);
        let detector = Fake::network("ocr-detector", vec![(vec![1, 1, 8, 8], vec![0.0; 64])]);
        assert_eq!(
            detect(&detector, &page)
                .expect_err("8 x 8 is not 640 x 480")
                .status(),
            500
        );
    }
}
