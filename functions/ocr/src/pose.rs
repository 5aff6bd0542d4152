//! How the text stands on a page: turned by quarters, tilted by its skew; and the way into its level frame and back.
//!
//! The *level frame* is the page with both taken out: its text runs from left to right along the x axis. It has the page's
//! scale; its origin is the top left corner of the page once turned upright, and the skew is taken out around the middle.
//! Lines are found, grouped and ordered there; what is answered stays in the page's own pixels.

use ephemera_vision::{Point, Quad};

use crate::detect::Line;

/// By how much the text of a page is turned from upright, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// As it should be.
    #[default]
    Upright,
    /// Its top is at the page's right.
    Clockwise90,
    /// Upside down.
    Half,
    /// Its top is at the page's left.
    Clockwise270,
}

impl Rotation {
    /// Degrees clockwise: 0, 90, 180 or 270. hOCR's `textangle` counts the other way.
    pub fn degrees(self) -> u16 {
        match self {
            Rotation::Upright => 0,
            Rotation::Clockwise90 => 90,
            Rotation::Half => 180,
            Rotation::Clockwise270 => 270,
        }
    }

    /// Whether an upright page of `width` x `height` takes `height` x `width` when turned like this.
    pub fn swaps_sides(self) -> bool {
        matches!(self, Rotation::Clockwise90 | Rotation::Clockwise270)
    }
}

/// Where text stands on a page of a given size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Whole quarters.
    pub rotation: Rotation,
    /// Direction of the lines once the quarters are taken out: a unit vector within 45 degrees of the x axis.
    along: Point,
    /// The page's sides, in its pixels.
    width: f32,
    height: f32,
}

/// Skews up to this slope, 0.3 degrees, are taken for none: capitals at one end of short lines tilt their boxes as much.
const LEAST_SLOPE: f32 = 0.005_24;
/// Skews are looked for up to this slope, 20 degrees. What is tilted further is not a page laid down carelessly.
const GREATEST_SLOPE: f32 = 0.364;
/// A line tells its direction when it is this many times as long as high.
const TELLING_RATIO: f32 = 3.0;

impl Pose {
    /// Text on a page of `width` x `height` px that is turned and not tilted.
    pub fn new(rotation: Rotation, width: usize, height: usize) -> Pose {
        Pose {
            rotation,
            along: Point { x: 1.0, y: 0.0 },
            width: width as f32,
            height: height as f32,
        }
    }

    /// The same with the skew that most of `lines` have: the median of their slopes, each weighed by its length.
    ///
    /// `lines`: in the page's pixels, whichever corner they start with.
    pub fn with_skew_of(self, lines: &[Line]) -> Pose {
        let untilted = self.untilted();
        match slope(lines.iter().map(|line| untilted.level(&line.quad))) {
            Some(slope) if slope.abs() > LEAST_SLOPE => {
                let x = 1.0 / (1.0 + slope * slope).sqrt();
                Pose {
                    along: Point { x, y: slope * x },
                    ..self
                }
            }
            _ => untilted,
        }
    }

    /// The skew in degrees, clockwise positive: what is left when [`Pose::rotation`] is taken out.
    pub fn skew_degrees(&self) -> f32 {
        libm::atan2f(self.along.y, self.along.x) * (180.0 / std::f32::consts::PI)
    }

    /// Width and height of the level frame, in the page's pixels: the page's, or its sides swapped.
    pub fn sides(&self) -> (f32, f32) {
        if self.rotation.swaps_sides() {
            (self.height, self.width)
        } else {
            (self.width, self.height)
        }
    }

    /// The page's pixels -> the level frame.
    pub fn to_level(&self, at: Point) -> Point {
        let upright = match self.rotation {
            Rotation::Upright => at,
            Rotation::Clockwise90 => Point {
                x: at.y,
                y: self.width - at.x,
            },
            Rotation::Half => Point {
                x: self.width - at.x,
                y: self.height - at.y,
            },
            Rotation::Clockwise270 => Point {
                x: self.height - at.y,
                y: at.x,
            },
        };
        if self.is_untilted() {
            // Kept exact.
            return upright;
        }
        let (middle_x, middle_y) = self.middle();
        let (x, y) = (upright.x - middle_x, upright.y - middle_y);
        let (ux, uy) = (self.along.x, self.along.y);
        Point {
            x: middle_x + x * ux + y * uy,
            y: middle_y + y * ux - x * uy,
        }
    }

    /// The level frame -> the page's pixels.
    pub fn to_page(&self, at: Point) -> Point {
        let upright = if self.is_untilted() {
            at
        } else {
            let (middle_x, middle_y) = self.middle();
            let (x, y) = (at.x - middle_x, at.y - middle_y);
            let (ux, uy) = (self.along.x, self.along.y);
            Point {
                x: middle_x + x * ux - y * uy,
                y: middle_y + y * ux + x * uy,
            }
        };
        match self.rotation {
            Rotation::Upright => upright,
            Rotation::Clockwise90 => Point {
                x: self.width - upright.y,
                y: upright.x,
            },
            Rotation::Half => Point {
                x: self.width - upright.x,
                y: self.height - upright.y,
            },
            Rotation::Clockwise270 => Point {
                x: upright.y,
                y: self.height - upright.x,
            },
        }
    }

    /// The corners of a quad in the level frame.
    pub fn level(&self, quad: &Quad) -> Quad {
        quad.map(|at| self.to_level(at))
    }

    fn untilted(self) -> Pose {
        Pose {
            along: Point { x: 1.0, y: 0.0 },
            ..self
        }
    }

    fn is_untilted(&self) -> bool {
        self.along.y == 0.0
    }

    fn middle(&self) -> (f32, f32) {
        let (width, height) = self.sides();
        (width / 2.0, height / 2.0)
    }
}

/// How many pixels the lines of a page fall per pixel to the right: the median of their slopes, each weighed by its length.
/// `None` where no line tells.
///
/// `quads`: corners with quarter turns taken out, whichever comes first.
pub(crate) fn slope(quads: impl Iterator<Item = Quad>) -> Option<f32> {
    let mut slopes: Vec<(f32, f32)> = quads
        .filter_map(|[a, b, c, _]| {
            let (ab, bc) = (length(a, b), length(b, c));
            let telling = ab.max(bc) >= TELLING_RATIO * ab.min(bc);
            // The longer side, from left to right.
            let (from, to) = if ab >= bc { (a, b) } else { (b, c) };
            let (x, y) = (to.x - from.x, to.y - from.y);
            (telling && y.abs() <= GREATEST_SLOPE * x.abs() && x != 0.0).then(|| (y / x, x.abs()))
        })
        .collect();
    slopes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f32 = slopes.iter().map(|(_, weight)| weight).sum();
    let mut below = 0.0;
    let median = slopes.iter().find(|(_, weight)| {
        below += weight;
        2.0 * below >= total
    });
    median.map(|&(slope, _)| slope)
}

/// Distance between two points.
pub(crate) fn length(from: Point, to: Point) -> f32 {
    let (x, y) = (to.x - from.x, to.y - from.y);
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    fn close(a: Point, b: Point) {
        assert!(length(a, b) < 1e-2, "{a:?} is not {b:?}");
    }

    /// A line of `length` x 10 px from (`x`, `y`), rising by `slope` px a px (downwards positive).
    fn line(x: f32, y: f32, length: f32, slope: f32) -> Line {
        let quad = [(0.0, 0.0), (length, 0.0), (length, 10.0), (0.0, 10.0)]
            .map(|(u, v)| at(x + u, y + u * slope + v));
        Line { quad, score: 0.9 }
    }

    #[test]
    fn quarters_by_hand() {
        // An upright page of 60 x 100 px: where its point (10, 20) lies when it is turned, and the turned page's size.
        let cases = [
            (Rotation::Upright, (60, 100), at(10.0, 20.0), 0),
            (Rotation::Clockwise90, (100, 60), at(80.0, 10.0), 90),
            (Rotation::Half, (60, 100), at(50.0, 80.0), 180),
            (Rotation::Clockwise270, (100, 60), at(20.0, 50.0), 270),
        ];
        for (rotation, (width, height), turned, degrees) in cases {
            let pose = Pose::new(rotation, width, height);
            assert_eq!(pose.to_level(turned), at(10.0, 20.0), "{rotation:?}");
            assert_eq!(pose.to_page(at(10.0, 20.0)), turned, "{rotation:?}");
            assert_eq!(pose.sides(), (60.0, 100.0), "{rotation:?}");
            assert_eq!(rotation.degrees(), degrees);
            assert_eq!(pose.skew_degrees(), 0.0);
        }
    }

    #[test]
    fn skew_is_the_weighted_median_and_is_taken_out() {
        // 3 in 4 would be too steep; 0.1 has most of the length.
        let lines = [
            line(0.0, 0.0, 100.0, 0.1),
            line(0.0, 30.0, 90.0, 0.1),
            line(0.0, 60.0, 50.0, 0.3),
            line(0.0, 90.0, 300.0, 0.75),
            // Too short to tell.
            line(0.0, 120.0, 20.0, -0.3),
        ];
        for rotation in [
            Rotation::Upright,
            Rotation::Clockwise90,
            Rotation::Half,
            Rotation::Clockwise270,
        ] {
            let upright = Pose::new(rotation, 400, 300);
            let mut turned: Vec<Line> = lines
                .iter()
                .map(|line| Line {
                    quad: line.quad.map(|at| upright.to_page(at)),
                    ..line.clone()
                })
                .collect();
            let pose = upright.with_skew_of(&turned);
            // Whichever corner comes first.
            for line in &mut turned[1..] {
                line.quad.rotate_left(1);
            }
            assert_eq!(upright.with_skew_of(&turned), pose, "{rotation:?}");
            assert!(
                (pose.skew_degrees() - 5.710_6).abs() < 1e-2,
                "{rotation:?}: {}",
                pose.skew_degrees()
            );
            let [a, b, ..] = pose.level(&turned[0].quad);
            close(at(0.0, a.y), at(0.0, b.y));
            close(pose.to_page(a), turned[0].quad[0]);
        }
    }

    #[test]
    fn without_telling_lines_there_is_no_skew() {
        let pose = Pose::new(Rotation::Upright, 100, 100);
        for lines in [
            vec![],
            vec![line(0.0, 0.0, 20.0, 0.2)],
            vec![line(0.0, 0.0, 90.0, 0.005)],
            vec![line(0.0, 0.0, f32::NAN, 0.1)],
        ] {
            assert_eq!(pose.with_skew_of(&lines), pose);
        }
    }
}
