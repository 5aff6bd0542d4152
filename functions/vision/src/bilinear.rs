//! A picture -> the same at another size, as OpenCV's `INTER_LINEAR` makes it of 8-bit samples.
//!
//! For models that were trained behind `cv2.resize`: every level is the same. Two pixels each way are looked at, however far the
//! picture shrinks, so fine detail aliases; [`crate::resize`] averages what an output pixel covers, as Pillow's `BILINEAR` does.
//! On the 16 sampled frames of a walking clip, 1080 x 1920 to 224 x 224 px, Pillow's differ from OpenCV's by 3.4 levels in the
//! mean and by up to 123.

use crate::Rgb;

/// Resizes a picture with bilinear weights and without antialiasing: bit for bit
/// `cv2.resize(source, (width, height), interpolation=cv2.INTER_LINEAR)` on `uint8`.
///
/// Both target sides must be at least 1. What lies outside repeats the edge.
pub fn resize_bilinear(source: &Rgb, width: usize, height: usize) -> Rgb {
    if (source.width, source.height) == (width, height) {
        return source.clone();
    }
    // OpenCV makes a shrink to exactly half a mean of four, which rounds once instead of twice.
    if (source.width, source.height) == (width * 2, height * 2) {
        return halve(source);
    }
    let columns = taps(source.width, width);
    let rows = taps(source.height, height);
    let mut above = Row::new(width);
    let mut below = Row::new(width);
    let mut data = Vec::with_capacity(width * height * 3);
    for tap in &rows {
        let (upper, lower) = tap.within(source.height);
        if below.of == Some(upper) {
            std::mem::swap(&mut above, &mut below);
        }
        above.narrow(source, upper, &columns);
        below.narrow(source, lower, &columns);
        let sums = above.sums.iter().zip(&below.sums);
        data.extend(sums.map(|(&a, &b)| mix(tap.weights, a, b)));
    }
    Rgb::new(width, height, data).expect("the result has the size that was asked for")
}

/// Weights are in units of `1 / ONE`.
const ONE: f32 = 2048.0;

/// Two neighbours along one axis: the first may be at -1, and the second one beyond the last.
struct Tap {
    first: isize,
    weights: [i32; 2],
}

impl Tap {
    /// Both neighbours, the edge repeated.
    fn within(&self, source: usize) -> (usize, usize) {
        let clamp = |at: isize| at.clamp(0, source as isize - 1) as usize;
        (clamp(self.first), clamp(self.first + 1))
    }
}

/// The taps along one axis, for each of `target` output pixels, with OpenCV's types at each step: they decide the rounding.
fn taps(source: usize, target: usize) -> Vec<Tap> {
    let step = 1.0 / (target as f64 / source as f64);
    (0..target)
        .map(|i| {
            let at = ((i as f64 + 0.5) * step - 0.5) as f32;
            let first = at.floor();
            let part = at - first;
            // Half to even, as `cvRound`.
            let weight = |share: f32| (share * ONE).round_ties_even() as i32;
            Tap {
                first: first as isize,
                weights: [weight(1.0 - part), weight(part)],
            }
        })
        .collect()
}

/// A source row at the result's width, in units of `1 / ONE` of a level.
struct Row {
    /// Which one, once there is any.
    of: Option<usize>,
    sums: Vec<i32>,
}

impl Row {
    fn new(width: usize) -> Row {
        Row {
            of: None,
            sums: vec![0; width * 3],
        }
    }

    fn narrow(&mut self, source: &Rgb, y: usize, columns: &[Tap]) {
        if self.of == Some(y) {
            return;
        }
        self.of = Some(y);
        let row = source.row(y);
        for (sums, tap) in self.sums.chunks_exact_mut(3).zip(columns) {
            let (left, right) = tap.within(source.width);
            let (a, b) = (&row[left * 3..][..3], &row[right * 3..][..3]);
            for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum = tap.weights[0] * i32::from(a) + tap.weights[1] * i32::from(b);
            }
        }
    }
}

/// One level of two rows: the products are cut to 16 bits before they are added, which is OpenCV's order.
fn mix(weights: [i32; 2], above: i32, below: i32) -> u8 {
    let part = |weight: i32, sum: i32| (weight * (sum >> 4)) >> 16;
    ((part(weights[0], above) + part(weights[1], below) + 2) >> 2).clamp(0, 255) as u8
}

fn halve(source: &Rgb) -> Rgb {
    let (width, height) = (source.width / 2, source.height / 2);
    let mut data = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        let rows = [source.row(2 * y), source.row(2 * y + 1)];
        for x in 0..width {
            for channel in 0..3 {
                let sum: u32 = rows
                    .iter()
                    .map(|row| {
                        u32::from(row[x * 6 + channel]) + u32::from(row[x * 6 + 3 + channel])
                    })
                    .sum();
                data.push(((sum + 2) >> 2) as u8);
            }
        }
    }
    Rgb::new(width, height, data).expect("the result has the size that was asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, values: &[u8]) -> Rgb {
        let data = values.iter().flat_map(|&v| [v; 3]).collect();
        Rgb::new(width, values.len() / width, data).expect("a test picture is a rectangle")
    }

    fn reds(picture: &Rgb) -> Vec<u8> {
        picture.data.iter().step_by(3).copied().collect()
    }

    #[test]
    fn neighbours_and_weights_by_hand() {
        // 2 -> 4: at -0.25, 0.25, 0.75 and 1.25, so the edge, a quarter, three quarters, the edge.
        assert_eq!(
            reds(&resize_bilinear(&grey(2, &[0, 100]), 4, 1)),
            [0, 25, 75, 100]
        );
        // 6 -> 2: at 1 and 4 exactly, so single pixels: nothing is averaged.
        let row = [10, 20, 30, 40, 50, 60];
        assert_eq!(reds(&resize_bilinear(&grey(6, &row), 2, 1)), [20, 50]);
        // 2 x 2 -> 1 x 1: (1 + 2 + 3 + 5 + 2) / 4 = 3.25.
        assert_eq!(reds(&resize_bilinear(&grey(2, &[1, 2, 3, 5]), 1, 1)), [3]);
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let picture = grey(3, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(resize_bilinear(&picture, 3, 2), picture);
    }
}
