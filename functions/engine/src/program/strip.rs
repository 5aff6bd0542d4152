//! Strips: what lies under the windows of a block of output pixels, side by side with the padding around it.
//!
//! The windows of neighbouring output pixels overlap. A strip holds the input pixels under one line of the windows once, and in it
//! the bytes of all taps of a line follow each other for every pixel: a line is one long row of a product, whatever few channels
//! a tap has, and at the border none of its taps is elsewhere.

use super::geometry::{Geometry, Run};
use crate::kernels::{
    BLOCK, CHUNK, COLUMN, Isa, Lines, MAX_LINES, READ_AHEAD, STEP, column_sums, gather,
};

/// The strips of a block, one for each line of the windows and each run of pixels in one output row.
#[derive(Debug, Default)]
pub(super) struct Strips {
    pub(super) bytes: Vec<i8>,
    /// Where each pixel's part of each line begins: `[lines][BLOCK]`.
    pub(super) offsets: Vec<u32>,
    /// Each pixel's lines behind each other, while they are put there.
    together: Vec<i8>,
    /// The sum of the bytes at each position of a run's lines.
    columns: Vec<i32>,
}

/// Which of a pixel's channels are wanted, and what stands in the padding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channels {
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) padding: i8,
}

impl Strips {
    /// Lays out the lines under the `count` output pixels of `runs`. `x`: the whole input.
    pub(super) fn lay(
        &mut self,
        geometry: &Geometry,
        x: &[i8],
        channels: Channels,
        runs: &[Run],
        count: usize,
    ) {
        let lines = geometry.lines();
        let step = (geometry.pixel_step() * channels.count) as u32;
        self.bytes.clear();
        self.offsets.resize(lines * BLOCK, 0);
        for run in runs {
            let start = self.bytes.len();
            let apart = self.lay_run(geometry, x, channels, run);
            for (line, offsets) in self.offsets.chunks_exact_mut(BLOCK).enumerate() {
                let mut at = (start + line * apart) as u32;
                for offset in &mut offsets[run.column..][..run.count] {
                    *offset = at;
                    at = at.wrapping_add(step);
                }
            }
        }
        // The last line's last step, and what a kernel reads ahead.
        self.bytes.resize(self.bytes.len() + STEP + READ_AHEAD, 0);
        if count < BLOCK {
            for row in self.offsets.chunks_exact_mut(BLOCK) {
                let last = row[count - 1];
                row[count..].fill(last);
            }
        }
    }

    /// The sum of the bytes under each pixel's window, after [`lay`](Self::lay) of the same `runs`, of pixels of `k` channels; `false` where that
    /// takes another way.
    pub(super) fn row_sums(
        &mut self,
        isa: Isa,
        geometry: &Geometry,
        k: usize,
        runs: &[Run],
        sums: &mut [i32; BLOCK],
    ) -> bool {
        let lines = geometry.lines();
        // Lines are whole steps then, and nothing behind them is in their sums.
        if !k.is_multiple_of(COLUMN) || lines > MAX_LINES {
            return false;
        }
        let wide = geometry.taps / lines;
        let mut at = 0;
        for run in runs {
            let (_, pixels) = geometry.reach(run);
            let bytes = &self.bytes[at..at + lines * pixels * k];
            at += bytes.len();
            self.columns.resize(pixels, 0);
            column_sums(isa, bytes, k, &mut self.columns);
            let windows = self.columns.windows(wide).step_by(geometry.pixel_step());
            let sums = &mut sums[run.column..][..run.count];
            for (sum, columns) in sums.iter_mut().zip(windows) {
                *sum = columns.iter().sum();
            }
        }
        true
    }

    /// As [`lay`](Self::lay), with each pixel's lines of `width` bytes, no more than a chunk, behind each other, so that there is one offset for
    /// each pixel.
    pub(super) fn lay_together(
        &mut self,
        geometry: &Geometry,
        x: &[i8],
        channels: Channels,
        runs: &[Run],
        count: usize,
    ) {
        let lines = geometry.lines();
        let width = geometry.taps / lines * channels.count;
        let row = (lines * width).next_multiple_of(STEP);
        self.together.resize(count * row + READ_AHEAD.max(CHUNK), 0);
        for run in runs {
            self.bytes.clear();
            let apart = self.lay_run(geometry, x, channels, run);
            // Copies are of a whole chunk; what is too much is overwritten by the next line or pixel, or meets weights of zero.
            self.bytes.resize(self.bytes.len() + CHUNK, 0);
            let lines = Lines {
                start: 0,
                count: lines,
                apart,
                width,
                pixels: run.count,
                step: geometry.pixel_step() * channels.count,
                row,
            };
            gather(&self.bytes, lines, &mut self.together[run.column * row..]);
        }
        std::mem::swap(&mut self.bytes, &mut self.together);
        let starts = (0..BLOCK).map(|column| (column.min(count - 1) * row) as u32);
        self.offsets.clear();
        self.offsets.extend(starts);
    }

    /// Appends the lines under a run, one behind the other; returns the bytes of each.
    fn lay_run(&mut self, geometry: &Geometry, x: &[i8], channels: Channels, run: &Run) -> usize {
        let Channels {
            count: k, padding, ..
        } = channels;
        let (start, pixels) = geometry.reach(run);
        let inside = geometry.inside_row(start, pixels);
        for line in 0..geometry.lines() {
            let at = self.bytes.len();
            match geometry.row_under(run, line) {
                Some(row) if !inside.is_empty() => {
                    self.bytes.resize(at + inside.start * k, padding);
                    let begin = start.wrapping_add_unsigned(inside.start);
                    let from = row + begin as usize;
                    self.copy(x, geometry.channels, channels, from, inside.len());
                }
                _ => {}
            }
            self.bytes.resize(at + pixels * k, padding);
        }
        pixels * k
    }

    /// Appends the wanted channels of `pixels` input pixels from `from` on, each of which has `stride`.
    fn copy(&mut self, x: &[i8], stride: usize, wanted: Channels, from: usize, pixels: usize) {
        let x = &x[from * stride..(from + pixels) * stride];
        if wanted.count == stride {
            self.bytes.extend_from_slice(x);
            return;
        }
        for pixel in x.chunks_exact(stride) {
            let channels = &pixel[wanted.first..][..wanted.count];
            self.bytes.extend_from_slice(channels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::geometry::{Padding, Window};

    fn window(kernel: &[usize], stride: &[usize], spacing: &[usize], before: &[isize]) -> Window {
        Window {
            kernel: kernel.to_vec(),
            stride: stride.to_vec(),
            dilation: vec![1; kernel.len()],
            spacing: spacing.to_vec(),
            padding: Padding::Before(before.to_vec()),
        }
    }

    /// Every pixel's lines: as the taps' offsets say, as the strips have them and, where they are short, put together.
    fn lines(window: &Window, shape: &[usize], out: &[usize], group: [usize; 2]) -> [Vec<i8>; 3] {
        const PADDING: i8 = -9;
        let [channel, k] = group;
        let geometry = Geometry::new(window, shape, out).expect("the shapes fit");
        let len: usize = shape.iter().product();
        let mut x: Vec<i8> = (0..len).map(|i| (i % 100) as i8).collect();
        x.resize(len + geometry.channels, PADDING);
        let wanted = Channels {
            first: channel,
            count: k,
            padding: PADDING,
        };
        let width = geometry.taps / geometry.lines() * k;
        let (mut strips, mut offsets) = (Strips::default(), vec![0; geometry.taps * BLOCK]);
        let [mut taps, mut laid, mut gathered] = [const { vec![] }; 3];
        for first in (0..geometry.pixels).step_by(BLOCK) {
            let count = BLOCK.min(geometry.pixels - first);
            geometry.offsets(first, count, len, &mut offsets);
            let runs: Vec<Run> = geometry.runs(first, count).collect();
            strips.lay(&geometry, &x, wanted, &runs, count);
            let mut sums = [0; BLOCK];
            let summed = strips.row_sums(Isa::Scalar, &geometry, k, &runs, &mut sums);
            assert_eq!(summed, k == COLUMN);
            for column in 0..BLOCK {
                for tap in offsets.chunks_exact(BLOCK) {
                    taps.extend_from_slice(&x[tap[column] as usize + channel..][..k]);
                }
                for line in strips.offsets.chunks_exact(BLOCK) {
                    laid.extend_from_slice(&strips.bytes[line[column] as usize..][..width]);
                }
                let window = laid.len() - geometry.lines() * width..;
                let sum: i32 = laid[window].iter().map(|&byte| i32::from(byte)).sum();
                assert!(!summed || column >= count || sums[column] == sum);
            }
            if width <= CHUNK {
                strips.lay_together(&geometry, &x, wanted, &runs, count);
            }
            for column in 0..BLOCK {
                for line in 0..geometry.lines() {
                    let start = match width <= CHUNK {
                        true => strips.offsets[column] as usize + line * width,
                        false => strips.offsets[line * BLOCK + column] as usize,
                    };
                    gathered.extend_from_slice(&strips.bytes[start..][..width]);
                }
            }
        }
        [taps, laid, gathered]
    }

    #[test]
    fn hold_what_lies_under_the_taps() {
        for (window, shape, out, group) in [
            (
                window(&[3], &[1], &[1], &[1]),
                &[1, 4, 2][..],
                &[1, 4, 1][..],
                [0, 2],
            ),
            (
                window(&[3, 3], &[2, 2], &[1, 1], &[1, 1]),
                &[2, 9, 12, 3],
                &[2, 5, 6, 1],
                [0, 3],
            ),
            (
                window(&[2, 3], &[1, 1], &[1, 1], &[-1, 2]),
                &[1, 5, 60, 4],
                &[1, 3, 61, 1],
                [2, 2],
            ),
            (
                window(&[3, 3, 3], &[1, 1, 1], &[1, 1, 1], &[1, 1, 1]),
                &[1, 3, 4, 5, 3],
                &[1, 3, 4, 5, 1],
                [0, 3],
            ),
            (
                window(&[3, 2], &[1, 1], &[2, 1], &[1, 0]),
                &[1, 3, 7, 1],
                &[1, 4, 6, 1],
                [0, 1],
            ),
            (
                window(&[2, 3], &[1, 2], &[1, 1], &[1, 1]),
                &[1, 5, 50, 16],
                &[1, 5, 25, 1],
                [0, 16],
            ),
            // Pixels with nothing but padding under them.
            (
                window(&[1, 2], &[1, 2], &[1, 1], &[0, 5]),
                &[1, 1, 3, 2],
                &[1, 1, 9, 1],
                [0, 2],
            ),
        ] {
            let [taps, laid, gathered] = lines(&window, shape, out, group);
            assert_eq!(laid, taps, "{window:?} over {shape:?}");
            assert_eq!(gathered, taps, "{window:?} over {shape:?}, gathered");
        }
    }
}
