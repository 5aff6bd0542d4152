//! A max pool that is part of the convolution before it.
//!
//! A block then is as many whole windows of the pool as it holds pixels for. Their maxima are taken while the convolution's results
//! are in the first cache, and only they are stored: the image that is pooled exists nowhere.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::ValueId;
use super::geometry::{Geometry, Run, Window};
use crate::kernels::{BLOCK, Isa, PANEL, Sums, Wide, widest};

/// A max pool in the convolution that it follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pooled {
    pub(crate) window: Window,
    /// The convolution's own result. It has a shape and no place.
    pub(crate) of: ValueId,
}

impl Pooled {
    /// Whether a convolution can pool by `window`: no pixel is in two windows, those of a line follow each other, and a block holds
    /// enough whole windows to be worth it.
    pub(crate) fn takes(window: &Window) -> bool {
        let Window {
            kernel,
            stride,
            dilation,
            spacing,
            ..
        } = window;
        let taps = window.taps();
        let ones = |extents: &[usize]| extents.iter().all(|&extent| extent == 1);
        ones(dilation)
            && ones(spacing)
            && kernel.iter().zip(stride).all(|(size, by)| size <= by)
            && kernel.last() == stride.last()
            && (1..=BLOCK).contains(&taps)
            && BLOCK / taps * taps >= LEAST_PIXELS
    }
}

/// A block of fewer pixels reads its weights too often.
const LEAST_PIXELS: usize = BLOCK * 3 / 4;

/// A pool while its convolution runs.
#[derive(Debug)]
pub(super) struct Pooling {
    /// The pool's windows over the convolution's results.
    geometry: Geometry,
    /// For each window of the block, the columns that are in it; behind an edge those on the edge stand for what is outside.
    members: Vec<u8>,
}

impl Pooling {
    /// `full_shape`: of the convolution's results. `out_shape`: of the maxima. Both `[N, spatial..., C]`.
    pub(super) fn new(
        window: &Window,
        full_shape: &[usize],
        out_shape: &[usize],
    ) -> anyhow::Result<Self> {
        ensure!(
            Pooled::takes(window) && !full_shape.contains(&0),
            "{full_shape:?} pooled by {window:?} to {out_shape:?}"
        );
        Ok(Self {
            geometry: Geometry::spatial(window, full_shape, out_shape)?,
            members: vec![],
        })
    }

    /// Windows, over the whole batch.
    pub(super) fn pixels(&self) -> usize {
        self.geometry.pixels
    }

    /// Windows that a block holds.
    pub(super) fn per_block(&self) -> usize {
        BLOCK / self.geometry.taps
    }

    /// Goes on to windows `first..first + count`. Adds the runs of the convolution's pixels under them to `runs`, and returns how many
    /// pixels those are.
    pub(super) fn block(&mut self, first: usize, count: usize, runs: &mut Vec<Run>) -> usize {
        let Self { geometry, members } = self;
        let taps = geometry.taps;
        let wide = taps / geometry.lines();
        members.resize(count * taps, 0);
        let mut column = 0;
        for run in geometry.runs(first, count) {
            let (start, reach) = geometry.reach(&run);
            let x = geometry.nearest(2, start);
            let pixels = geometry.nearest(2, start + reach as isize - 1) - x + 1;
            for line in 0..geometry.lines() {
                let windows = members[run.column * taps..].chunks_exact_mut(taps);
                for (index, members) in windows.take(run.count).enumerate() {
                    for (kx, member) in members[line * wide..][..wide].iter_mut().enumerate() {
                        let at = geometry.nearest(2, start + (index * wide + kx) as isize);
                        *member = (column + at - x) as u8;
                    }
                }
                let [z, y] = geometry.nearest_line(&run, line);
                runs.push(Run {
                    column,
                    count: pixels,
                    z,
                    y,
                    x,
                    ..run
                });
                column += pixels;
            }
        }
        column
    }

    /// The windows' maxima of `sums` and what each pixel's are more by.
    pub(super) fn sums(&self, isa: Isa, sums: &Sums, row_sums: &[i32; BLOCK], maxima: &mut Sums) {
        widest(
            isa,
            MaxSums {
                sums,
                row_sums,
                windows: self.windows(),
                maxima,
            },
        );
    }

    /// The windows' maxima of bytes.
    pub(super) fn bytes(&self, isa: Isa, bytes: &[[i8; PANEL]], maxima: &mut [[i8; PANEL]]) {
        widest(
            isa,
            MaxBytes {
                bytes,
                windows: self.windows(),
                maxima,
            },
        );
    }

    fn windows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.members.chunks_exact(self.geometry.taps)
    }

    /// Puts the lowest byte where a window has nothing but padding, which the edges have stood for.
    pub(super) fn fill_outside(&self, channels: usize, out: &mut [i8]) {
        if !self.geometry.has_windows_outside() {
            return;
        }
        for (pixel, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
            if self.geometry.under(pixel).all(|at| at.is_none()) {
                out.fill(i8::MIN);
            }
        }
    }
}

struct MaxSums<'a> {
    sums: &'a Sums,
    row_sums: &'a [i32; BLOCK],
    windows: std::slice::ChunksExact<'a, u8>,
    maxima: &'a mut Sums,
}

impl Wide for MaxSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (window, maxima) in self.windows.zip(self.maxima) {
            let mut highest = [i32::MIN; PANEL];
            for &column in window {
                let more = self.row_sums[usize::from(column)];
                let sums = &self.sums[usize::from(column)];
                for (highest, sum) in highest.iter_mut().zip(sums) {
                    *highest = (*highest).max(sum.wrapping_add(more));
                }
            }
            *maxima = highest;
        }
    }
}

struct MaxBytes<'a> {
    bytes: &'a [[i8; PANEL]],
    windows: std::slice::ChunksExact<'a, u8>,
    maxima: &'a mut [[i8; PANEL]],
}

impl Wide for MaxBytes<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (window, maxima) in self.windows.zip(self.maxima) {
            let mut highest = [i8::MIN; PANEL];
            for &column in window {
                for (highest, &byte) in highest.iter_mut().zip(&self.bytes[usize::from(column)]) {
                    *highest = (*highest).max(byte);
                }
            }
            *maxima = highest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Padding;
    use super::*;

    fn window(kernel: &[usize], stride: &[usize], before: isize) -> Window {
        Window {
            kernel: kernel.to_vec(),
            stride: stride.to_vec(),
            dilation: vec![1; kernel.len()],
            spacing: vec![1; kernel.len()],
            padding: Padding::Before(vec![before; kernel.len()]),
        }
    }

    #[test]
    fn only_windows_that_lie_apart_are_taken() {
        for (kernel, stride, takes) in [
            (&[2, 2][..], &[2, 2][..], true),
            (&[1, 2, 2], &[1, 2, 2], true),
            (&[2], &[2], true),
            // Lines that are left out are not computed.
            (&[1, 2], &[3, 2], true),
            (&[3, 3], &[3, 3], true),
            (&[3, 3], &[2, 2], false),
            (&[2, 2], &[2, 1], false),
            // Every other pixel of a line would be computed for nothing.
            (&[2, 1], &[2, 2], false),
            // One window of 25 pixels in a block.
            (&[5, 5], &[5, 5], false),
            (&[7, 7], &[7, 7], false),
        ] {
            let window = window(kernel, stride, 0);
            assert_eq!(Pooled::takes(&window), takes, "{kernel:?} by {stride:?}");
        }
    }

    /// All of a small image's windows: runs as `[column, count, y, x]`, and members.
    fn block(window: &Window, full: &[usize], out: &[usize]) -> (Vec<[usize; 4]>, Vec<u8>) {
        let mut pooling = Pooling::new(window, full, out).expect("the shapes fit");
        let mut runs = vec![];
        let count = pooling.block(0, pooling.pixels(), &mut runs);
        assert_eq!(count, runs.iter().map(|run| run.count).sum::<usize>());
        let runs = runs.iter();
        let runs = runs.map(|run| [run.column, run.count, run.y, run.x]);
        (runs.collect(), pooling.members)
    }

    #[test]
    fn a_block_has_the_lines_under_its_windows() {
        // Two windows of 2 x 2 over two lines of four.
        let (runs, members) = block(&window(&[2, 2], &[2, 2], 0), &[1, 2, 4, 1], &[1, 1, 2, 1]);
        assert_eq!(runs, [[0, 4, 0, 0], [4, 4, 1, 0]]);
        assert_eq!(members, [0, 1, 4, 5, 2, 3, 6, 7]);
        // With a border of one the windows are 0 | 1 2 | 3, twice.
        let (runs, members) = block(&window(&[2, 2], &[2, 2], 1), &[1, 2, 4, 1], &[1, 2, 3, 1]);
        assert_eq!(
            runs,
            [[0, 4, 0, 0], [4, 4, 0, 0], [8, 4, 1, 0], [12, 4, 1, 0]]
        );
        assert_eq!(members[..4], [0, 0, 4, 4]);
        assert_eq!(members[4..8], [1, 2, 5, 6]);
        assert_eq!(members[8..12], [3, 3, 7, 7]);
    }

    #[test]
    fn windows_of_padding_alone_have_the_lowest_byte() {
        // A line of two: windows at -2, 0 and 2.
        let window = window(&[2], &[2], 2);
        let pooling = Pooling::new(&window, &[1, 2, 1], &[1, 3, 1]).expect("the shapes fit");
        let mut out = [5; 3];
        pooling.fill_outside(1, &mut out);
        assert_eq!(out, [i8::MIN, 5, i8::MIN]);
    }
}
