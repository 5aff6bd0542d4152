//! Rows of RGB in, a picture of another size out, row by row.
//!
//! Separable filtering in 16-bit fixed point: exact integers, hence the same bits everywhere, and only a handful of
//! rows in memory beside the result. (`image::imageops` would hold the whole picture as four `f32` a pixel, and its
//! Lanczos weights come from the platform's `sin`.)

use std::collections::VecDeque;
use std::f64::consts::PI;

use crate::Rgb;

/// How neighbouring pixels are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// A tent one pixel wide to each side: bilinear when enlarging, averaging when shrinking.
    Triangle,
    /// A windowed sinc three pixels wide to each side: the sharpest when shrinking.
    Lanczos3,
}

/// Resizes a picture. Both target sides must be at least 1.
pub fn resize(source: &Rgb, width: usize, height: usize, filter: Filter) -> Rgb {
    let from = (source.width, source.height);
    let mut resizer = Resizer::new(from, (width, height), 3, filter);
    for y in 0..source.height {
        resizer.push(source.row(y));
    }
    Rgb::new(width, height, resizer.finish()).expect("the result has the size that was asked for")
}

/// The size with the same proportions, at least 1 px each way, whose longest side is at most `max_side`.
pub fn fit(width: usize, height: usize, max_side: usize) -> (usize, usize) {
    let longest = width.max(height);
    if longest <= max_side {
        return (width, height);
    }
    let scaled = |side: usize| ((side * max_side + longest / 2) / longest).max(1);
    (scaled(width), scaled(height))
}

/// Resizes a picture that is given row by row, of `channels` samples a pixel: the result and a handful of rows are all
/// that is in memory.
pub(crate) struct Resizer {
    channels: usize,
    width: usize,
    height: usize,
    columns: Vec<Taps>,
    rows: Vec<Taps>,
    /// A source row at the result's width.
    narrowed: Vec<u8>,
    /// Sums of the output rows under way, the topmost first; `opened` is the next to start.
    open: VecDeque<Vec<i32>>,
    opened: usize,
    /// Source rows so far.
    seen: usize,
    data: Vec<u8>,
}

impl Resizer {
    /// From and to: `(width, height)`. All sides must be at least 1.
    pub(crate) fn new(
        from: (usize, usize),
        to: (usize, usize),
        channels: usize,
        filter: Filter,
    ) -> Resizer {
        Resizer {
            channels,
            width: to.0,
            height: to.1,
            columns: taps(from.0, to.0, filter),
            rows: taps(from.1, to.1, filter),
            narrowed: vec![0; to.0 * channels],
            open: VecDeque::new(),
            opened: 0,
            seen: 0,
            data: Vec::with_capacity(to.0 * to.1 * channels),
        }
    }

    /// Takes the next row of the source, `[width, channels]`.
    pub(crate) fn push(&mut self, source: &[u8]) {
        let y = self.seen;
        self.seen += 1;
        while self.opened < self.height && self.rows[self.opened].first <= y {
            self.open.push_back(vec![HALF; self.width * self.channels]);
            self.opened += 1;
        }
        if self.open.is_empty() {
            return;
        }
        match self.channels {
            1 => filter_row::<1>(source, &self.columns, &mut self.narrowed),
            _ => filter_row::<3>(source, &self.columns, &mut self.narrowed),
        }
        let top = self.opened - self.open.len();
        for (sums, taps) in self.open.iter_mut().zip(&self.rows[top..]) {
            if let Some(&weight) = y.checked_sub(taps.first).and_then(|i| taps.weights.get(i)) {
                for (sum, &v) in sums.iter_mut().zip(&self.narrowed) {
                    *sum += weight * i32::from(v);
                }
            }
        }
        while self
            .open
            .front()
            .is_some_and(|_| self.rows[self.opened - self.open.len()].end() == y + 1)
        {
            let sums = self.open.pop_front().expect("front was just looked at");
            self.data.extend(sums.into_iter().map(narrow));
        }
    }

    /// The result, `[height, width, channels]`, after the last row of the source.
    pub(crate) fn finish(self) -> Vec<u8> {
        let expected = self.width * self.height * self.channels;
        assert_eq!(
            self.data.len(),
            expected,
            "each output row ends within the source"
        );
        self.data
    }
}

/// Weights are in units of `1 / ONE`; a sum of them times 255, overshoot included, fits 31 bits with room to spare.
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

/// Back from fixed point, rounded (the half is already in the sum) and clamped: Lanczos overshoots at edges.
fn narrow(sum: i32) -> u8 {
    (sum >> 16).clamp(0, 255) as u8
}

fn filter_row<const C: usize>(source: &[u8], columns: &[Taps], row: &mut [u8]) {
    if source.len() == row.len() {
        row.copy_from_slice(source);
        return;
    }
    for (pixel, taps) in row.chunks_exact_mut(C).zip(columns) {
        let mut sums = [HALF; C];
        let window = &source[taps.first * C..taps.end() * C];
        for (weight, v) in taps.weights.iter().zip(window.chunks_exact(C)) {
            for (sum, &v) in sums.iter_mut().zip(v) {
                *sum += weight * i32::from(v);
            }
        }
        pixel.copy_from_slice(&sums.map(narrow));
    }
}

/// Which source pixels make one output pixel, and with which weights (they add up to [`ONE`]).
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// The taps along one axis, for each of `target` output pixels.
fn taps(source: usize, target: usize, filter: Filter) -> Vec<Taps> {
    if source == target {
        return (0..target)
            .map(|first| Taps {
                first,
                weights: vec![ONE],
            })
            .collect();
    }
    let step = source as f64 / target as f64;
    // Shrinking stretches the filter over everything that one output pixel covers.
    let stretch = step.max(1.0);
    let reach = filter.reach() * stretch;
    (0..target)
        .map(|i| {
            let centre = (i as f64 + 0.5) * step;
            let first = (centre - reach + 0.5).floor().max(0.0) as usize;
            let end = ((centre + reach + 0.5).floor() as usize).clamp(first + 1, source);
            let real: Vec<f64> = (first..end)
                .map(|x| filter.weight((x as f64 + 0.5 - centre) / stretch))
                .collect();
            let total: f64 = real.iter().sum();
            let mut weights: Vec<i32> = real
                .iter()
                .map(|w| (w / total * f64::from(ONE)).round() as i32)
                .collect();
            // What rounding lost goes to the heaviest tap, so that a flat area keeps its value exactly.
            let lost = ONE - weights.iter().sum::<i32>();
            let heaviest = weights
                .iter_mut()
                .max()
                .expect("a window has at least one tap");
            *heaviest += lost;
            Taps { first, weights }
        })
        .collect()
}

impl Filter {
    /// Half the filter's width, in pixels of the coarser grid.
    fn reach(self) -> f64 {
        match self {
            Filter::Triangle => 1.0,
            Filter::Lanczos3 => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Filter::Triangle => (1.0 - x.abs()).max(0.0),
            Filter::Lanczos3 if x.abs() < 3.0 => sinc(x) * sinc(x / 3.0),
            Filter::Lanczos3 => 0.0,
        }
    }
}

/// `sin(pi x) / (pi x)`; `libm`'s sine, because the standard library's differs between platforms.
fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        libm::sin(PI * x) / (PI * x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, values: &[u8]) -> Rgb {
        let data = values.iter().flat_map(|&v| [v, v, v]).collect();
        Rgb::new(width, values.len() / width, data).expect("a test picture is a rectangle")
    }

    fn reds(picture: &Rgb) -> Vec<u8> {
        picture.data.iter().step_by(3).copied().collect()
    }

    #[test]
    fn triangle_by_hand() {
        struct Case {
            width: usize,
            values: &'static [u8],
            to: (usize, usize),
            expected: &'static [u8],
        }
        let cases = [
            // The same size: untouched.
            Case {
                width: 2,
                values: &[1, 2, 3, 4],
                to: (2, 2),
                expected: &[1, 2, 3, 4],
            },
            // 4 -> 2: centres at 1 and 3, tent of half-width 2: weights 3/8, 3/8, 1/8 over pixels 0..3 make 1/7 parts:
            // (0.75 * 0 + 0.75 * 80 + 0.25 * 160) / 1.75 = 57.1, and its mirror image 182.9.
            Case {
                width: 4,
                values: &[0, 80, 160, 240],
                to: (2, 1),
                expected: &[57, 183],
            },
            // 2 -> 4: centres at 0.25, 0.75, 1.25, 1.75: a quarter and three quarters of the way between pixels.
            Case {
                width: 2,
                values: &[0, 100],
                to: (4, 1),
                expected: &[0, 25, 75, 100],
            },
            // The same downwards.
            Case {
                width: 1,
                values: &[0, 100],
                to: (1, 4),
                expected: &[0, 25, 75, 100],
            },
            // One pixel spreads everywhere.
            Case {
                width: 1,
                values: &[9],
                to: (3, 2),
                expected: &[9; 6],
            },
        ];
        for Case {
            width,
            values,
            to,
            expected,
        } in cases
        {
            let out = resize(&grey(width, values), to.0, to.1, Filter::Triangle);
            assert_eq!((out.width, out.height), to);
            assert_eq!(reds(&out), expected, "{values:?} to {to:?}");
        }
    }

    #[test]
    fn flat_areas_stay_flat() {
        for filter in [Filter::Triangle, Filter::Lanczos3] {
            for value in [0, 1, 127, 254, 255] {
                let out = resize(&Rgb::filled(97, 53, [value; 3]), 31, 60, filter);
                assert!(out.data.iter().all(|&v| v == value), "{filter:?} {value}");
            }
        }
    }

    #[test]
    fn lanczos_keeps_an_edge_in_place() {
        // Black left half, white right half, 40 -> 10: the edge lies between pixels 4 and 5.
        let row: Vec<u8> = (0..40).map(|x| if x < 20 { 0 } else { 255 }).collect();
        let out = reds(&resize(&grey(40, &row), 10, 1, Filter::Lanczos3));
        assert!(out[..5].iter().all(|&v| v < 30), "{out:?}");
        assert!(out[5..].iter().all(|&v| v > 225), "{out:?}");
        // Symmetric up to the rounding of one weight.
        for i in 0..5 {
            assert!(
                (i32::from(out[i]) + i32::from(out[9 - i]) - 255).abs() <= 1,
                "{out:?}"
            );
        }
    }

    #[test]
    fn fits_the_longest_side() {
        assert_eq!(fit(2048, 100, 2048), (2048, 100));
        assert_eq!(fit(4096, 2000, 2048), (2048, 1000));
        assert_eq!(fit(2000, 4096, 2048), (1000, 2048));
        assert_eq!(fit(20_000, 1, 2048), (2048, 1));
        assert_eq!(fit(3, 2, 2), (2, 1));
    }
}
