//! A picture and a tilted rectangle in it -> the rectangle's content, upright, at a given height.
//!
//! Bilinear sampling; where the crop is smaller than its source, each output pixel averages a grid of samples as dense
//! as the source pixels it covers, so that thin strokes neither vanish nor alias.

use crate::Rgb;

/// A position in a picture, in pixels from its top left corner: a pixel's centre lies at half a pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Downwards.
    pub y: f32,
}

/// A rectangle, possibly tilted: its corners clockwise from where the text's top left is.
pub type Quad = [Point; 4];

/// Cuts `quad` out of `page` and straightens it to `[height, width, 3] u8`, RGB, in the left part of a canvas that is
/// `canvas_width` wide; the rest is filled with `padding`.
///
/// The fourth corner is taken to complete the parallelogram. What lies outside the page repeats its edge.
pub fn crop(
    page: &Rgb,
    quad: &Quad,
    width: usize,
    height: usize,
    canvas_width: usize,
    padding: u8,
) -> Rgb {
    assert!(
        (1..=canvas_width).contains(&width),
        "content of {width} px in a canvas of {canvas_width} px"
    );
    let [origin, right, _, down] = *quad;
    // One output pixel's step along the text, and across it.
    let along = step(origin, right, width);
    let across = step(origin, down, height);
    let (columns, rows) = (samples(along), samples(across));
    let share = 1.0 / (columns * rows) as f32;

    let mut out = Rgb::filled(canvas_width, height, [padding; 3]);
    for (y, row) in out.data.chunks_exact_mut(canvas_width * 3).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).take(width).enumerate() {
            let mut sum = [0f32; 3];
            for j in 0..rows {
                let v = y as f32 + (j as f32 + 0.5) / rows as f32;
                for i in 0..columns {
                    let u = x as f32 + (i as f32 + 0.5) / columns as f32;
                    let at_x = origin.x + u * along.x + v * across.x;
                    let at_y = origin.y + u * along.y + v * across.y;
                    let sample = bilinear(page, at_x, at_y);
                    for (sum, v) in sum.iter_mut().zip(sample) {
                        *sum += v;
                    }
                }
            }
            for (out, sum) in pixel.iter_mut().zip(sum) {
                *out = (sum * share + 0.5) as u8;
            }
        }
    }
    out
}

/// Most samples an output pixel takes along one axis. A line of 384 px at 48 px still gets every source pixel.
const MAX_SAMPLES: usize = 8;

fn step(from: Point, to: Point, parts: usize) -> Point {
    Point {
        x: (to.x - from.x) / parts as f32,
        y: (to.y - from.y) / parts as f32,
    }
}

/// How many samples it takes for a step of this length not to leave out a source pixel.
fn samples(step: Point) -> usize {
    let length = (step.x * step.x + step.y * step.y).sqrt();
    (length.ceil() as usize).clamp(1, MAX_SAMPLES)
}

/// The colour at a position, between the four pixels around it.
fn bilinear(page: &Rgb, x: f32, y: f32) -> [f32; 3] {
    let (left, right, fx) = neighbours(x, page.width);
    let (above, below, fy) = neighbours(y, page.height);
    let (a, b) = (page.at(left, above), page.at(right, above));
    let (c, d) = (page.at(left, below), page.at(right, below));
    std::array::from_fn(|i| {
        let top = f32::from(a[i]) * (1.0 - fx) + f32::from(b[i]) * fx;
        let bottom = f32::from(c[i]) * (1.0 - fx) + f32::from(d[i]) * fx;
        top * (1.0 - fy) + bottom * fy
    })
}

/// The pixels whose centres lie around `at`, and how far towards the second it is (0..=1). Casts saturate, so that any
/// float ends inside the page.
fn neighbours(at: f32, size: usize) -> (usize, usize, f32) {
    let last = size - 1;
    let at = (at - 0.5).clamp(0.0, last as f32);
    let first = (at as usize).min(last);
    (first, (first + 1).min(last), at - first as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f32, y: f32) -> Point {
        Point { x, y }
    }

    /// Red channel is 10 times the column plus the row.
    fn ramp(width: usize, height: usize) -> Rgb {
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [(10 * x + y) as u8, 0, 0]));
        Rgb::new(width, height, pixels.collect()).expect("a test picture is a rectangle")
    }

    fn reds(picture: &Rgb) -> Vec<u8> {
        picture.data.iter().step_by(3).copied().collect()
    }

    #[test]
    fn straight_crops_copy_pixels() {
        let quad = [
            point(1.0, 1.0),
            point(3.0, 1.0),
            point(3.0, 3.0),
            point(1.0, 3.0),
        ];
        assert_eq!(
            reds(&crop(&ramp(4, 4), &quad, 2, 2, 2, 0)),
            [11, 21, 12, 22]
        );
        // With room to the right.
        assert_eq!(
            reds(&crop(&ramp(4, 4), &quad, 2, 2, 3, 127)),
            [11, 21, 127, 12, 22, 127]
        );
    }

    #[test]
    fn quarter_turns_follow_the_corners() {
        // The first corner is the source's top right, and the text runs down: a page turned clockwise.
        let quad = [
            point(2.0, 0.0),
            point(2.0, 3.0),
            point(0.0, 3.0),
            point(0.0, 0.0),
        ];
        assert_eq!(
            reds(&crop(&ramp(2, 3), &quad, 3, 2, 3, 0)),
            [10, 11, 12, 0, 1, 2]
        );
    }

    #[test]
    fn half_pixel_shifts_average() {
        let quad = [
            point(0.5, 0.0),
            point(2.5, 0.0),
            point(2.5, 1.0),
            point(0.5, 1.0),
        ];
        assert_eq!(reds(&crop(&ramp(4, 1), &quad, 2, 1, 2, 0)), [5, 15]);
    }

    #[test]
    fn shrinking_sees_every_pixel() {
        // Eight columns, one of them white, to two: each half averages four samples.
        let row: Vec<u8> = (0..8)
            .flat_map(|x| if x == 2 { [255; 3] } else { [0; 3] })
            .collect();
        let page = Rgb::new(8, 1, row).expect("a test picture is a rectangle");
        let quad = [
            point(0.0, 0.0),
            point(8.0, 0.0),
            point(8.0, 1.0),
            point(0.0, 1.0),
        ];
        assert_eq!(reds(&crop(&page, &quad, 2, 1, 2, 0)), [64, 0]);
    }

    #[test]
    fn outside_repeats_the_edge() {
        let quad = [
            point(-2.0, -9.0),
            point(2.0, -9.0),
            point(2.0, -8.0),
            point(-2.0, -8.0),
        ];
        assert_eq!(reds(&crop(&ramp(4, 4), &quad, 4, 1, 4, 0)), [0, 0, 0, 10]);
        let nan = [point(f32::NAN, f32::INFINITY); 4];
        assert_eq!(crop(&ramp(4, 4), &nan, 2, 2, 2, 0).data.len(), 12);
    }
}
