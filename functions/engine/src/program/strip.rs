//! Strips: what lies under the windows of a block of output pixels, side by side with the padding around it.
//!
//! The windows of neighbouring output pixels overlap. A strip holds the input pixels under one line of the windows once, and in it
//! the bytes of all taps of a line follow each other for every pixel: a line is one long row of a product, whatever few channels
//! a tap has, and at the border none of its taps is elsewhere.

use super::geometry::{Geometry, Run};
use crate::kernels::{BLOCK, READ_AHEAD, STEP};

/// The strips of a block, one for each line of the windows and each run of pixels in one output row.
#[derive(Debug, Default)]
pub(super) struct Strips {
    pub(super) bytes: Vec<i8>,
    /// Where each pixel's part of each line begins: `[lines][BLOCK]`.
    pub(super) offsets: Vec<u32>,
    /// What [`gather`](Self::gather) reads from.
    laid: Vec<i8>,
    laid_offsets: Vec<u32>,
}

/// Lines of no more bytes than this are gathered: one register, which is copied at a time.
pub(super) const CHUNK: usize = 16;

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
        let Channels {
            count: k, padding, ..
        } = channels;
        self.bytes.clear();
        self.offsets.resize(lines * BLOCK, 0);
        for run in runs {
            let (start, pixels) = geometry.reach(run);
            let inside = geometry.inside_row(start, pixels);
            for line in 0..lines {
                let at = self.bytes.len();
                let step = geometry.pixel_step() * k;
                let offsets = &mut self.offsets[line * BLOCK + run.column..][..run.count];
                for (i, offset) in offsets.iter_mut().enumerate() {
                    *offset = (at + i * step) as u32;
                }
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
        }
        // The last line's last step, and what a kernel or a copy reads ahead.
        self.bytes
            .resize(self.bytes.len() + STEP + READ_AHEAD.max(CHUNK), 0);
        if count < BLOCK {
            for row in self.offsets.chunks_exact_mut(BLOCK) {
                let last = row[count - 1];
                row[count..].fill(last);
            }
        }
    }

    /// Puts each pixel's lines of `width` bytes behind each other, so that there is one offset for each pixel.
    pub(super) fn gather(&mut self, lines: usize, width: usize, count: usize) {
        std::mem::swap(&mut self.bytes, &mut self.laid);
        std::mem::swap(&mut self.offsets, &mut self.laid_offsets);
        let row_bytes = (lines * width).next_multiple_of(STEP);
        let starts = (0..BLOCK).map(|column| (column.min(count - 1) * row_bytes) as u32);
        self.offsets.clear();
        self.offsets.extend(starts);
        // Copies are of a whole chunk; what is too much is overwritten by the next line or pixel, or meets weights of zero.
        self.bytes.clear();
        self.bytes
            .resize(count * row_bytes + READ_AHEAD.max(CHUNK), 0);
        for column in 0..count {
            let mut at = column * row_bytes;
            for line in self.laid_offsets.chunks_exact(BLOCK) {
                let from = line[column] as usize;
                self.bytes[at..at + CHUNK].copy_from_slice(&self.laid[from..from + CHUNK]);
                at += width;
            }
        }
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

    /// Every pixel's lines: as the taps' offsets say, as the strips have them and as they are gathered.
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
            for column in 0..BLOCK {
                for tap in offsets.chunks_exact(BLOCK) {
                    taps.extend_from_slice(&x[tap[column] as usize + channel..][..k]);
                }
                for line in strips.offsets.chunks_exact(BLOCK) {
                    laid.extend_from_slice(&strips.bytes[line[column] as usize..][..width]);
                }
            }
            strips.gather(geometry.lines(), width, count);
            for &start in &strips.offsets {
                let row = &strips.bytes[start as usize..][..geometry.lines() * width];
                gathered.extend_from_slice(row);
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
