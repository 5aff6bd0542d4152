//! Maxima and means over windows of u8 values.

use anyhow::ensure;

use super::conv::{Geometry, Window};
use super::requant::Requant;

/// A pooling operator over `[N, spatial..., C]`.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    /// `None`: the whole image.
    pub(crate) window: Option<Window>,
}

/// What a window is reduced to.
#[derive(Debug, Clone)]
pub(crate) enum PoolKind {
    /// The highest value inside the image; the quantisation stays.
    Max,
    /// The mean of the values inside the image, requantised.
    Mean {
        zero_point: i32,
        /// The input's scale over the output's.
        scale: f32,
        requant: Requant,
    },
}

impl Pool {
    pub(super) fn run(
        &self,
        x: &[u8],
        shape: &[usize],
        out: &mut [u8],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let whole;
        let window = match &self.window {
            Some(window) => window,
            None => {
                ensure!(shape.len() > 2, "nothing to pool in {shape:?}");
                whole = Window::whole(&shape[1..shape.len() - 1]);
                &whole
            }
        };
        let geometry = Geometry::new(window, shape, out_shape)?;
        let channels = geometry.channels;
        let mut sums = vec![0u64; channels];
        for (pixel, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
            let taps = geometry.taps_inside(pixel);
            match &self.kind {
                PoolKind::Max => {
                    out.fill(0);
                    for start in taps {
                        for (out, &value) in out.iter_mut().zip(&x[start..start + channels]) {
                            *out = (*out).max(value);
                        }
                    }
                }
                PoolKind::Mean {
                    zero_point,
                    scale,
                    requant,
                } => {
                    sums.fill(0);
                    let mut count = 0u32;
                    for start in taps {
                        count += 1;
                        for (sum, &value) in sums.iter_mut().zip(&x[start..start + channels]) {
                            *sum += u64::from(value);
                        }
                    }
                    let zero = f64::from(*zero_point) * f64::from(count);
                    let scale = f64::from(*scale) / f64::from(count.max(1));
                    for (out, &sum) in out.iter_mut().zip(&sums) {
                        *out = requant.byte(((sum as f64 - zero) * scale) as f32);
                    }
                }
            }
        }
        Ok(())
    }
}
