//! Runs of pixels -> the smallest rectangle around them, tilted as they are.

use ephemera_vision::{Point, Quad};

use super::components::Run;

/// A tilted rectangle, in map pixels; a pixel covers a square of side 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    centre: (f64, f64),
    /// Unit vector along the width, within 45 degrees of the x axis.
    along: (f64, f64),
    width: f64,
    height: f64,
}

impl Rectangle {
    /// The rectangle of least area around all pixels of `runs`; `None` for no pixels.
    ///
    /// One of its sides lies on a side of the convex hull (Freeman and Shapira, 1975), so each is tried.
    pub(super) fn around(runs: &[Run]) -> Option<Rectangle> {
        let hull = convex_hull(runs);
        let mut best: Option<(f64, Rectangle)> = None;
        for (i, &from) in hull.iter().enumerate() {
            let to = hull[(i + 1) % hull.len()];
            let (dx, dy) = ((to.0 - from.0) as f64, (to.1 - from.1) as f64);
            let length = (dx * dx + dy * dy).sqrt();
            let rectangle = Rectangle::aligned((dx / length, dy / length), &hull);
            // A later side must be better by more than rounding, so that the choice is stable.
            if best
                .as_ref()
                .is_none_or(|(area, _)| rectangle.area() < area * (1.0 - 1e-9))
            {
                best = Some((rectangle.area(), rectangle));
            }
        }
        best.map(|(_, rectangle)| rectangle)
    }

    /// The rectangle around `points` whose sides run along and across `direction`, a unit vector.
    fn aligned(direction: (f64, f64), points: &[(i64, i64)]) -> Rectangle {
        // Of the four directions that mean the same rectangle, the one nearest the x axis: text runs along it.
        let (dx, dy) = direction;
        let (ux, uy) = if dx.abs() >= dy.abs() {
            (dx, dy)
        } else {
            (-dy, dx)
        };
        let (ux, uy) = if ux < 0.0 { (-ux, -uy) } else { (ux, uy) };
        let (mut left, mut right) = (f64::MAX, f64::MIN);
        let (mut top, mut bottom) = (f64::MAX, f64::MIN);
        for &(x, y) in points {
            let (x, y) = (x as f64, y as f64);
            let (u, v) = (x * ux + y * uy, y * ux - x * uy);
            (left, right) = (left.min(u), right.max(u));
            (top, bottom) = (top.min(v), bottom.max(v));
        }
        let (u, v) = ((left + right) / 2.0, (top + bottom) / 2.0);
        Rectangle {
            centre: (u * ux - v * uy, u * uy + v * ux),
            along: (ux, uy),
            width: right - left,
            height: bottom - top,
        }
    }

    pub(super) fn area(&self) -> f64 {
        self.width * self.height
    }

    pub(super) fn perimeter(&self) -> f64 {
        2.0 * (self.width + self.height)
    }

    pub(super) fn shorter(&self) -> f64 {
        self.width.min(self.height)
    }

    /// Moves every side outwards by `distance`.
    pub(super) fn grow(&self, distance: f64) -> Rectangle {
        Rectangle {
            width: self.width + 2.0 * distance,
            height: self.height + 2.0 * distance,
            ..*self
        }
    }

    /// Corners clockwise from the top left.
    pub(super) fn corners(&self) -> Quad {
        let (ux, uy) = self.along;
        let corner = |u: f64, v: f64| {
            let (u, v) = (u * self.width / 2.0, v * self.height / 2.0);
            Point {
                x: (self.centre.0 + u * ux - v * uy) as f32,
                y: (self.centre.1 + u * uy + v * ux) as f32,
            }
        };
        [
            corner(-1.0, -1.0),
            corner(1.0, -1.0),
            corner(1.0, 1.0),
            corner(-1.0, 1.0),
        ]
    }

    /// Mean of the map, `[height, width]`, over the pixels whose centres lie inside; 0 when none does.
    pub(super) fn mean(&self, map: &[f32], width: usize) -> f32 {
        let height = map.len() / width;
        let ys = self.corners().map(|corner| corner.y);
        let top = ys.into_iter().fold(f32::MAX, f32::min).max(0.0) as usize;
        let bottom = (ys.into_iter().fold(f32::MIN, f32::max).max(0.0).ceil() as usize).min(height);
        let (mut sum, mut count) = (0f64, 0u32);
        for y in top..bottom {
            let Some((from, to)) = self.span(y as f64 + 0.5) else {
                continue;
            };
            // A pixel counts when its centre, half a pixel in, does.
            let from = (from - 0.5).ceil().max(0.0) as usize;
            let to = ((to - 0.5).floor() + 1.0).clamp(0.0, width as f64) as usize;
            for p in map[y * width..].iter().take(to).skip(from) {
                sum += f64::from(*p);
                count += 1;
            }
        }
        if count == 0 {
            0.0
        } else {
            (sum / f64::from(count)) as f32
        }
    }

    /// Where the horizontal line at `y` enters and leaves the rectangle.
    fn span(&self, y: f64) -> Option<(f64, f64)> {
        let (ux, uy) = self.along;
        let dy = y - self.centre.1;
        let (mut from, mut to) = (f64::MIN, f64::MAX);
        // Inside means between both pairs of sides: |slope * dx + offset| <= half.
        for (slope, offset, half) in [
            (ux, dy * uy, self.width / 2.0),
            (-uy, dy * ux, self.height / 2.0),
        ] {
            if slope.abs() < 1e-12 {
                if offset.abs() > half {
                    return None;
                }
                continue;
            }
            let (a, b) = ((-half - offset) / slope, (half - offset) / slope);
            from = from.max(a.min(b));
            to = to.min(a.max(b));
        }
        (from <= to).then_some((self.centre.0 + from, self.centre.0 + to))
    }
}

/// The convex hull of all pixels' corners, without points on its sides, by Andrew's monotone chain.
fn convex_hull(runs: &[Run]) -> Vec<(i64, i64)> {
    let mut points: Vec<(i64, i64)> = runs
        .iter()
        .flat_map(|run| {
            let (start, end, y) = (run.start as i64, run.end as i64, run.y as i64);
            [(start, y), (end, y), (start, y + 1), (end, y + 1)]
        })
        .collect();
    points.sort_unstable();
    points.dedup();
    if points.is_empty() {
        return points;
    }
    let mut hull: Vec<(i64, i64)> = Vec::new();
    // The lower chain from left to right, then the upper one back.
    extend_chain(&mut hull, points.iter().copied(), 0);
    let floor = hull.len() - 1;
    extend_chain(&mut hull, points.iter().rev().skip(1).copied(), floor);
    hull.pop();
    hull
}

/// Adds points to a chain that only ever turns one way; what lies at or below `floor` stays.
fn extend_chain(
    hull: &mut Vec<(i64, i64)>,
    points: impl Iterator<Item = (i64, i64)>,
    floor: usize,
) {
    for point in points {
        while let [.., a, b] = hull[floor.min(hull.len())..] {
            let turn = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
            if turn > 0 {
                break;
            }
            hull.pop();
        }
        hull.push(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(rows: &[(usize, usize, usize)]) -> Vec<Run> {
        rows.iter()
            .map(|&(y, start, end)| Run { y, start, end })
            .collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn hulls_by_hand() {
        assert_eq!(convex_hull(&[]), []);
        assert_eq!(
            convex_hull(&runs(&[(0, 0, 1)])),
            [(0, 0), (1, 0), (1, 1), (0, 1)]
        );
        // A plus sign: the inner corners go, the four arms' ends stay.
        let plus = runs(&[(0, 1, 2), (1, 0, 3), (2, 1, 2)]);
        assert_eq!(
            convex_hull(&plus),
            [
                (0, 1),
                (1, 0),
                (2, 0),
                (3, 1),
                (3, 2),
                (2, 3),
                (1, 3),
                (0, 2)
            ]
        );
    }

    #[test]
    fn upright_boxes_stay_upright() {
        let bar = runs(&[(2, 3, 13), (3, 3, 13), (4, 3, 13)]);
        let rectangle = Rectangle::around(&bar).expect("there are pixels");
        assert!(close(rectangle.width, 10.0) && close(rectangle.height, 3.0));
        assert_eq!(
            rectangle.corners().map(|p| (p.x, p.y)),
            [(3.0, 2.0), (13.0, 2.0), (13.0, 5.0), (3.0, 5.0)]
        );
        assert!(Rectangle::around(&[]).is_none());
    }

    #[test]
    fn a_staircase_tilts_its_box() {
        // Three rows, each two to the right of the one above and three long: the hull's long sides rise 1 in 2.
        let stairs = runs(&[(0, 0, 3), (1, 2, 5), (2, 4, 7)]);
        let rectangle = Rectangle::around(&stairs).expect("there are pixels");
        let (ux, uy) = rectangle.along;
        assert!(
            close(ux, 2.0 / 5f64.sqrt()) && close(uy, 1.0 / 5f64.sqrt()),
            "{rectangle:?}"
        );
        // Along (2, 1): from (0, 0) or (0, 1) at 0 or 1 to (7, 3) at 17, over the root of 5. Across (-1, 2):
        // from (3, 0) at -3 to (0, 1) at 2.
        assert!(close(rectangle.width, 17.0 / 5f64.sqrt()), "{rectangle:?}");
        assert!(close(rectangle.height, 5.0 / 5f64.sqrt()), "{rectangle:?}");
        // Clockwise from the top left: each corner lies right of, then below, then left of the one before.
        let [a, b, c, d] = rectangle.corners();
        assert!(a.x < b.x && b.y < c.y && c.x > d.x && d.y > a.y);
    }

    #[test]
    fn growing_moves_every_side() {
        let bar = runs(&[(2, 3, 13), (3, 3, 13)]);
        let grown = Rectangle::around(&bar).expect("there are pixels").grow(1.5);
        assert!(
            close(grown.area(), 13.0 * 5.0)
                && close(grown.perimeter(), 36.0)
                && close(grown.shorter(), 5.0)
        );
        let at = grown.corners()[0];
        assert_eq!((at.x, at.y), (1.5, 0.5));
    }

    #[test]
    fn means_count_pixels_inside() {
        // 4 x 3, values 0..=11.
        let map: Vec<f32> = (0..12u8).map(f32::from).collect();
        let block = Rectangle::around(&runs(&[(0, 1, 3), (1, 1, 3)])).expect("there are pixels");
        // 1, 2, 5, 6.
        assert_eq!(block.mean(&map, 4), 3.5);
        // Reaching over every edge: all twelve.
        assert_eq!(block.grow(9.0).mean(&map, 4), 5.5);
        // A diamond around the middle of a 3 x 3 map holds five centres of nine.
        let plus = runs(&[(0, 1, 2), (1, 0, 3), (2, 1, 2)]);
        let diamond = Rectangle::aligned((0.5f64.sqrt(), 0.5f64.sqrt()), &convex_hull(&plus));
        let weights = [9.0, 1.0, 9.0, 1.0, 1.0, 1.0, 9.0, 1.0, 9.0];
        assert_eq!(diamond.grow(-0.1).mean(&weights, 3), 1.0);
    }
}
