//! Where the windows of a convolution or a pooling lie in its input.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use crate::kernels::{BLOCK, CHUNK};

/// A sliding window, one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) kernel: Vec<usize>,
    pub(crate) stride: Vec<usize>,
    pub(crate) dilation: Vec<usize>,
    /// The input is seen with its elements this far apart and zeros between them: a transposed convolution.
    pub(crate) spacing: Vec<usize>,
    pub(crate) padding: Padding,
}

/// How many positions of padding stand before the first element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Padding {
    /// Given for each axis; less than none where the window begins inside.
    Before(Vec<isize>),
    /// As much as keeps `out = ceil(in / stride)`, the odd one behind.
    SameUpper,
    /// The same, the odd one in front.
    SameLower,
}

impl Window {
    /// A window of a single pixel.
    pub(crate) fn pointwise(axes: usize) -> Self {
        let ones = vec![1; axes];
        Self {
            kernel: ones.clone(),
            stride: ones.clone(),
            dilation: ones.clone(),
            spacing: ones,
            padding: Padding::Before(vec![0; axes]),
        }
    }

    /// Positions in the window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Whether a convolution reads this window from strips: the taps of a line then follow each other, and neighbouring windows
    /// have at least an edge in common.
    pub(super) fn has_strips(&self) -> bool {
        let last = |extents: &[usize]| extents.last().copied().unwrap_or(1);
        last(&self.kernel) > 1
            && last(&self.dilation) == 1
            && last(&self.spacing) == 1
            && last(&self.stride) <= last(&self.kernel)
    }

    /// How a convolution of `k` channels by this window is a sum of products: the number of its rows of bytes, and their length.
    pub(crate) fn rows(&self, k: usize) -> (usize, usize) {
        let line = self.kernel.last().copied().unwrap_or(1);
        match self.has_strips() {
            false => (self.taps(), k),
            // Rows of a few bytes are put together: each costs the loop around it, and its last step is half empty.
            true if line * k <= CHUNK => (1, self.taps() * k),
            true => (self.taps() / line, line * k),
        }
    }

    fn is_pointwise(&self) -> bool {
        let ones = |extents: &[usize]| extents.iter().all(|&extent| extent == 1);
        let unpadded = match &self.padding {
            Padding::Before(before) => before.iter().all(|&before| before == 0),
            Padding::SameUpper | Padding::SameLower => true,
        };
        ones(&self.kernel) && ones(&self.stride) && ones(&self.spacing) && unpadded
    }
}

/// Where the taps of every output pixel lie in the input, for one set of shapes.
#[derive(Debug)]
pub(super) struct Geometry {
    /// Input and output extents of up to three spatial axes, leading ones where there are fewer.
    input: [usize; 3],
    output: [usize; 3],
    stride: [usize; 3],
    spacing: [usize; 3],
    before: [isize; 3],
    kernel: [usize; 3],
    dilation: [usize; 3],
    /// Positions of the window.
    pub(super) taps: usize,
    /// Output pixels, over the whole batch.
    pub(super) pixels: usize,
    pub(super) channels: usize,
    /// Whether output pixel `i` is made of input pixel `i` alone.
    pointwise: bool,
}

/// Consecutive output pixels in one output row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Which of the asked pixels is its first, and how many it has.
    pub(super) column: usize,
    pub(super) count: usize,
    /// Where its first pixel is.
    pub(super) image: usize,
    pub(super) z: usize,
    pub(super) y: usize,
    pub(super) x: usize,
}

impl Geometry {
    /// `shape` and `out_shape`: `[N, spatial..., C]`.
    pub(super) fn new(
        window: &Window,
        shape: &[usize],
        out_shape: &[usize],
    ) -> anyhow::Result<Self> {
        let Some((&channels, outer)) = shape.split_last() else {
            bail!("no axes in {shape:?}")
        };
        let out_outer = out_shape.split_last().map(|(_, outer)| outer);
        // A matrix product has rows for pixels: whatever axes lead are one.
        if window.is_pointwise() && out_outer == Some(outer) {
            let pixels = outer.iter().product();
            return Ok(Self {
                input: [1, 1, pixels],
                output: [1, 1, pixels],
                stride: [1; 3],
                spacing: [1; 3],
                before: [0; 3],
                kernel: [1; 3],
                dilation: [1; 3],
                taps: 1,
                pixels,
                channels,
                pointwise: true,
            });
        }
        Self::spatial(window, shape, out_shape)
    }

    /// As [`new`](Self::new), with the axes as they are even if each output pixel is made of one input pixel.
    pub(super) fn spatial(
        window: &Window,
        shape: &[usize],
        out_shape: &[usize],
    ) -> anyhow::Result<Self> {
        let (Some(&batch), Some(&channels)) = (shape.first(), shape.last()) else {
            bail!("no axes in {shape:?}")
        };
        let axes = window.kernel.len();
        ensure!(
            (1..=3).contains(&axes) && shape.len() == axes + 2,
            "a window of {axes} axes over {shape:?}"
        );
        ensure!(
            out_shape.len() == shape.len() && out_shape[0] == batch,
            "{shape:?} to {out_shape:?}"
        );
        fn lift<T: Copy>(extents: &[T], fill: T) -> [T; 3] {
            let mut lifted = [fill; 3];
            lifted[3 - extents.len()..].copy_from_slice(extents);
            lifted
        }
        let input = lift(&shape[1..=axes], 1);
        let output = lift(&out_shape[1..=axes], 1);
        let (kernel, dilation) = (lift(&window.kernel, 1), lift(&window.dilation, 1));
        let (stride, spacing) = (lift(&window.stride, 1), lift(&window.spacing, 1));
        let before = match &window.padding {
            Padding::Before(before) => lift(before, 0),
            same => std::array::from_fn(|axis| {
                let reach = (output[axis].max(1) - 1) * stride[axis]
                    + (kernel[axis] - 1) * dilation[axis]
                    + 1;
                let total = reach.saturating_sub(input[axis]);
                let before = match same {
                    Padding::SameUpper => total / 2,
                    _ => total.div_ceil(2),
                };
                before as isize
            }),
        };
        Ok(Self {
            input,
            output,
            stride,
            spacing,
            before,
            kernel,
            dilation,
            taps: window.taps(),
            pixels: batch * output.iter().product::<usize>(),
            channels,
            pointwise: false,
        })
    }

    /// First input element under each tap of output pixels `first..first + count`, `pad_at` for taps outside:
    /// `[taps][BLOCK]`, the columns behind `count` repeating the last.
    pub(super) fn offsets(&self, first: usize, count: usize, pad_at: usize, offsets: &mut [u32]) {
        if self.pointwise {
            for (column, offset) in offsets[..BLOCK].iter_mut().enumerate() {
                *offset = ((first + column.min(count - 1)) * self.channels) as u32;
            }
            return;
        }
        self.offsets_under(self.runs(first, count), count, pad_at, offsets);
    }

    /// The same for the output pixels of `runs`, of which there are `count`.
    pub(super) fn offsets_under(
        &self,
        runs: impl IntoIterator<Item = Run>,
        count: usize,
        pad_at: usize,
        offsets: &mut [u32],
    ) {
        for run in runs {
            for line in 0..self.lines() {
                let row = self.row_under(&run, line);
                for kx in 0..self.kernel[2] {
                    let tap = line * self.kernel[2] + kx;
                    let offsets = &mut offsets[tap * BLOCK + run.column..][..run.count];
                    match row {
                        Some(row) => self.line(row, run.x, kx, pad_at, offsets),
                        None => offsets.fill(pad_at as u32),
                    }
                }
            }
        }
        if count < BLOCK {
            for row in offsets.chunks_exact_mut(BLOCK) {
                let last = row[count - 1];
                row[count..].fill(last);
            }
        }
    }

    /// Output pixels `first..first + count`, one run of pixels of the same output row after the other.
    pub(super) fn runs(&self, first: usize, count: usize) -> impl Iterator<Item = Run> + use<> {
        let [depth, height, width] = self.output;
        let mut column = 0;
        std::iter::from_fn(move || {
            (column < count).then(|| {
                let (row, x) = ((first + column) / width, (first + column) % width);
                let (rest, y) = (row / height, row % height);
                let run = Run {
                    column,
                    count: (width - x).min(count - column),
                    image: rest / depth,
                    z: rest % depth,
                    y,
                    x,
                };
                column += run.count;
                run
            })
        })
    }

    /// Lines of taps in a window: all axes but the last.
    pub(super) fn lines(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// First pixel of the input row under a line of a run's windows; `None` when all of it is padding.
    pub(super) fn row_under(&self, run: &Run, line: usize) -> Option<usize> {
        let (kz, ky) = (line / self.kernel[1], line % self.kernel[1]);
        let plane = run.image * self.input[0] + self.at(0, run.z, kz)?;
        let row = plane * self.input[1] + self.at(1, run.y, ky)?;
        Some(row * self.input[2])
    }

    /// Where in an input row the first of a run's windows begins, which may be before it, and how many positions all of them
    /// reach over. For windows without dilation and spacing along the last axis.
    pub(super) fn reach(&self, run: &Run) -> (isize, usize) {
        let start = (run.x * self.stride[2]) as isize - self.before[2];
        (start, (run.count - 1) * self.stride[2] + self.kernel[2])
    }

    /// Which of `count` positions of an input row from `start` on are inside the image, counted from `start`.
    pub(super) fn inside_row(&self, start: isize, count: usize) -> std::ops::Range<usize> {
        let low = ((-start).max(0) as usize).min(count);
        let high = (self.input[2] as isize - start).max(0) as usize;
        low..high.min(count).max(low)
    }

    /// The input's index along `axis` that is nearest to `at`, which may be outside.
    pub(super) fn nearest(&self, axis: usize, at: isize) -> usize {
        at.clamp(0, self.input[axis] as isize - 1) as usize
    }

    /// The input's index along the first two axes that is nearest to a line of a run's windows. For windows without spacing.
    pub(super) fn nearest_line(&self, run: &Run, line: usize) -> [usize; 2] {
        let taps = [line / self.kernel[1], line % self.kernel[1]];
        let indices = [run.z, run.y];
        std::array::from_fn(|axis| {
            let at = indices[axis] * self.stride[axis] + taps[axis] * self.dilation[axis];
            self.nearest(axis, at as isize - self.before[axis])
        })
    }

    /// Whether the first or last window along some axis has nothing but padding. For windows without spacing.
    pub(super) fn has_windows_outside(&self) -> bool {
        (0..3).any(|axis| {
            let reach = ((self.kernel[axis] - 1) * self.dilation[axis]) as isize;
            let last = self.output[axis].max(1) - 1;
            let last = (last * self.stride[axis]) as isize - self.before[axis];
            reach < self.before[axis] || last >= self.input[axis] as isize
        })
    }

    /// Positions from one window to the next along the last axis.
    pub(super) fn pixel_step(&self) -> usize {
        self.stride[2]
    }

    /// The input pixel under each tap of an output pixel; `None` in the padding.
    pub(super) fn under(&self, pixel: usize) -> impl Iterator<Item = Option<usize>> + '_ {
        let [depth, height, width] = self.output;
        let (row, x) = (pixel / width, pixel % width);
        let (plane, y) = (row / height, row % height);
        let (image, z) = (plane / depth, plane % depth);
        let [_, taps_high, taps_wide] = self.kernel;
        (0..self.taps).map(move |tap| {
            let (line, kx) = (tap / taps_wide, tap % taps_wide);
            let (kz, ky) = (line / taps_high, line % taps_high);
            let plane = image * self.input[0] + self.at(0, z, kz)?;
            let line = plane * self.input[1] + self.at(1, y, ky)?;
            Some(line * self.input[2] + self.at(2, x, kx)?)
        })
    }

    /// The input's index along `axis` under tap `tap` of output index `index`; `None` in the padding.
    #[inline(always)]
    fn at(&self, axis: usize, index: usize, tap: usize) -> Option<usize> {
        let at =
            (index * self.stride[axis] + tap * self.dilation[axis]) as isize - self.before[axis];
        let at = usize::try_from(at).ok()?;
        if self.spacing[axis] == 1 {
            return (at < self.input[axis]).then_some(at);
        }
        let (at, between) = (at / self.spacing[axis], at % self.spacing[axis]);
        (between == 0 && at < self.input[axis]).then_some(at)
    }

    /// Offsets for pixels of one output row, from `x` on, under taps in the input row whose first pixel is `row`.
    #[inline(always)]
    fn line(&self, row: usize, x: usize, tap: usize, pad_at: usize, offsets: &mut [u32]) {
        let start = row * self.channels;
        if self.spacing[2] != 1 {
            for (i, offset) in offsets.iter_mut().enumerate() {
                *offset = match self.at(2, x + i, tap) {
                    Some(at) => start + at * self.channels,
                    None => pad_at,
                } as u32;
            }
            return;
        }
        let inside = self.inside(2, x, tap, offsets.len());
        let (before, rest) = offsets.split_at_mut(inside.start);
        let (offsets, behind) = rest.split_at_mut(inside.len());
        before.fill(pad_at as u32);
        behind.fill(pad_at as u32);
        let step = (self.stride[2] * self.channels) as u32;
        // Only used where there is a pixel inside, and then it is not below zero.
        let at = (x + inside.start) * self.stride[2] + tap * self.dilation[2];
        let first = at
            .wrapping_sub_signed(self.before[2])
            .wrapping_mul(self.channels);
        let first = start.wrapping_add(first) as u32;
        for (i, offset) in offsets.iter_mut().enumerate() {
            *offset = first.wrapping_add(i as u32 * step);
        }
    }

    /// Which of `count` output indices from `first` on along `axis` are inside the image under `tap`, counted from `first`. For
    /// windows without spacing.
    fn inside(
        &self,
        axis: usize,
        first: usize,
        tap: usize,
        count: usize,
    ) -> std::ops::Range<usize> {
        // Inside: 0 <= first * stride + i * stride + shift < input.
        let shift =
            (first * self.stride[axis] + tap * self.dilation[axis]) as isize - self.before[axis];
        let steps = |distance: isize| (distance.max(0) as usize).div_ceil(self.stride[axis]);
        let low = steps(-shift).min(count);
        let high = steps(self.input[axis] as isize - shift);
        low..high.min(count).max(low)
    }

    /// How many taps of the pixel in column `column` of `offsets` lie inside the image.
    pub(super) fn taps_inside(&self, offsets: &[u32], column: usize, pad_at: usize) -> usize {
        let rows = offsets[..self.taps * BLOCK].chunks_exact(BLOCK);
        rows.filter(|row| row[column] as usize != pad_at).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: &[usize], stride: usize, spacing: usize, before: isize) -> Window {
        Window {
            kernel: kernel.to_vec(),
            stride: vec![stride; kernel.len()],
            dilation: vec![1; kernel.len()],
            spacing: vec![spacing; kernel.len()],
            padding: Padding::Before(vec![before; kernel.len()]),
        }
    }

    fn offsets(window: &Window, shape: &[usize], out_shape: &[usize]) -> Vec<Vec<u32>> {
        let geometry = Geometry::new(window, shape, out_shape).expect("the shapes fit");
        let mut offsets = vec![77; geometry.taps * BLOCK];
        geometry.offsets(0, geometry.pixels, 99, &mut offsets);
        let rows = offsets.chunks_exact(BLOCK);
        rows.map(|row| row[..geometry.pixels].to_vec()).collect()
    }

    #[test]
    fn a_padded_window_of_three_over_a_row_of_four() {
        // Two channels: pixel i begins at 2 * i.
        let expected = [[99, 0, 2, 4], [0, 2, 4, 6], [2, 4, 6, 99]];
        assert_eq!(
            offsets(&window(&[3], 1, 1, 1), &[1, 4, 2], &[1, 4, 8]),
            expected
        );
    }

    #[test]
    fn pixels_under_taps_are_where_the_offsets_are() {
        let window = window(&[2, 3], 2, 1, 1);
        let (shape, out_shape) = ([2, 3, 4, 5], [2, 2, 2, 5]);
        let offsets = offsets(&window, &shape, &out_shape);
        let geometry = Geometry::new(&window, &shape, &out_shape).expect("the shapes fit");
        for pixel in 0..geometry.pixels {
            let under = geometry.under(pixel);
            let under = under.map(|at| at.map_or(99, |at| at as u32 * 5));
            assert!(
                under.eq(offsets.iter().map(|row| row[pixel])),
                "pixel {pixel}"
            );
        }
    }

    #[test]
    fn strides_skip_and_rows_follow_each_other() {
        // Two rows of four: taps [0, 1] at x = 0 and 2.
        let expected = [[0, 2], [1, 3], [4, 6], [5, 7]];
        assert_eq!(
            offsets(&window(&[2, 2], 2, 1, 0), &[1, 2, 4, 1], &[1, 1, 2, 1]),
            expected
        );
    }

    #[test]
    fn spacing_puts_zeros_between_elements() {
        // Elements at 0 and 2 of a row of three, under a window of two with one position of padding.
        let expected = [[99, 0, 99, 1], [0, 99, 1, 99]];
        assert_eq!(
            offsets(&window(&[2], 1, 2, 1), &[1, 2, 1], &[1, 4, 1]),
            expected
        );
    }

    #[test]
    fn a_batch_is_a_row_of_images() {
        let expected = [[0, 1, 3, 4], [1, 2, 4, 5]];
        assert_eq!(
            offsets(&window(&[2], 1, 1, 0), &[2, 3, 1], &[2, 2, 1]),
            expected
        );
    }
}
