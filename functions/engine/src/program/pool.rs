//! Maxima and means over windows of bytes.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::geometry::{Geometry, Window};
use super::requant::Requant;
use super::step::Scratch;
use crate::kernels::{BLOCK, Wide};

/// A pooling operator over `[N, spatial..., C]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    /// `None`: the whole image.
    pub(crate) window: Option<Window>,
}

/// What a window is reduced to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum PoolKind {
    /// The highest value inside the image; the quantisation stays.
    Max,
    /// The mean, requantised.
    Mean {
        zero_point: i32,
        /// The input's scale over the output's.
        scale: f32,
        /// Whether padding counts, as zeros.
        count_padding: bool,
        requant: Requant,
    },
}

impl Pool {
    /// Whether neighbouring windows have pixels in common: then a convolution in front would compute some of them twice, or keep them.
    pub(super) fn overlaps(&self) -> bool {
        let window = self.window.iter();
        let mut axes = window.flat_map(|window| window.kernel.iter().zip(&window.stride));
        axes.any(|(size, by)| size > by)
    }

    /// What a row of padding holds.
    pub(super) fn padding(&self) -> i8 {
        match &self.kind {
            PoolKind::Max => i8::MIN,
            PoolKind::Mean { zero_point, .. } => *zero_point as i8,
        }
    }
}

/// A pooling while it runs.
pub(super) struct Pooling<'a> {
    pub(super) pool: &'a Pool,
    /// The input with its tail.
    pub(super) x: &'a [i8],
    pub(super) shape: &'a [usize],
    /// Where in `x` the input ends and a row of padding lies.
    pub(super) pad_at: usize,
    pub(super) out: &'a mut [i8],
    pub(super) out_shape: &'a [usize],
    pub(super) scratch: &'a mut Scratch,
}

impl Wide for Pooling<'_> {
    type Output = anyhow::Result<()>;

    #[inline(always)]
    fn run(self) -> anyhow::Result<()> {
        let Some(window) = &self.pool.window else {
            return self.whole();
        };
        let geometry = Geometry::new(window, self.shape, self.out_shape)?;
        let channels = geometry.channels;
        ensure!(
            self.out_shape.last() == Some(&channels) && channels > 0,
            "{:?} to {:?}",
            self.shape,
            self.out_shape
        );
        let Scratch {
            offsets, totals, ..
        } = self.scratch;
        offsets.resize(geometry.taps * BLOCK, 0);
        totals.resize(channels, 0);
        for first in (0..geometry.pixels).step_by(BLOCK) {
            let count = BLOCK.min(geometry.pixels - first);
            geometry.offsets(first, count, self.pad_at, offsets);
            let out = &mut self.out[first * channels..][..count * channels];
            if let PoolKind::Max = self.pool.kind {
                maxima(self.x, offsets, channels, out);
                continue;
            }
            for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                totals.fill(0);
                for row in offsets.chunks_exact(BLOCK) {
                    add_to(totals, &self.x[row[column] as usize..][..channels]);
                }
                let inside = geometry.taps_inside(offsets, column, self.pad_at);
                self.pool.mean(totals, geometry.taps, inside, out);
            }
        }
        Ok(())
    }
}

/// The maxima over a block's windows.
#[inline(always)]
fn maxima(x: &[i8], offsets: &[u32], channels: usize, out: &mut [i8]) {
    let count = out.len() / channels;
    for (tap, starts) in offsets.chunks_exact(BLOCK).enumerate() {
        let starts = &starts[..count];
        // Neighbours in the output that are neighbours in the input are one long row.
        let mut column = 0;
        while column < count {
            let mut run = 1;
            while column + run < count
                && starts[column + run] as usize == starts[column] as usize + run * channels
            {
                run += 1;
            }
            let values = &x[starts[column] as usize..][..run * channels];
            let out = &mut out[column * channels..][..run * channels];
            if tap == 0 {
                out.copy_from_slice(values);
            } else {
                for (out, &value) in out.iter_mut().zip(values) {
                    *out = (*out).max(value);
                }
            }
            column += run;
        }
    }
}

#[inline(always)]
fn add_to(sums: &mut [i32], row: &[i8]) {
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += i32::from(value);
    }
}

impl Pooling<'_> {
    /// Over all pixels of each image.
    #[inline(always)]
    fn whole(self) -> anyhow::Result<()> {
        let (shape, out_shape) = (self.shape, self.out_shape);
        let [batch, spatial @ .., channels] = shape else {
            anyhow::bail!("nothing to pool in {shape:?}")
        };
        ensure!(
            out_shape.first() == Some(batch) && self.out.len() == batch * channels,
            "{shape:?} to {out_shape:?}"
        );
        let pixels: usize = spatial.iter().product();
        ensure!(
            pixels <= MAX_PIXELS,
            "a window of {pixels} pixels, limit is {MAX_PIXELS}"
        );
        let channels = (*channels).max(1);
        let totals = &mut self.scratch.totals;
        totals.resize(channels, 0);
        let images = self.x[..self.pad_at].chunks_exact((pixels * channels).max(1));
        for (image, out) in images.zip(self.out.chunks_exact_mut(channels)) {
            if let PoolKind::Max = self.pool.kind {
                out.fill(i8::MIN);
                for row in image.chunks_exact(channels) {
                    for (out, &value) in out.iter_mut().zip(row) {
                        *out = (*out).max(value);
                    }
                }
                continue;
            }
            totals.fill(0);
            for row in image.chunks_exact(channels) {
                add_to(totals, row);
            }
            self.pool.mean(totals, pixels, pixels, out);
        }
        Ok(())
    }
}

impl Pool {
    /// Bytes of sums over `summed` values, of which `inside` are not padding.
    #[inline(always)]
    fn mean(&self, sums: &[i32], summed: usize, inside: usize, out: &mut [i8]) {
        let PoolKind::Mean {
            zero_point,
            scale,
            count_padding,
            requant,
        } = &self.kind
        else {
            return;
        };
        let counted = if *count_padding { summed } else { inside };
        let zero = f64::from(*zero_point) * summed as f64;
        let scale = f64::from(*scale) / counted.max(1) as f64;
        let rounding = requant.rounding();
        for (out, &sum) in out.iter_mut().zip(sums) {
            [*out] = rounding.bytes([((f64::from(sum) - zero) * scale) as f32]);
            if let Some(table) = &requant.table {
                *out = table.at(*out);
            }
        }
    }
}

/// An i32 holds the sum of this many bytes.
const MAX_PIXELS: usize = 1 << 23;
