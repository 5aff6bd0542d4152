//! Maxima and means over windows of reals, for what is not quantised where it is pooled.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::geometry::{Geometry, Window};

/// A pooling operator over `[N, spatial..., C]` f32.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PoolReals {
    pub(crate) window: Window,
    /// `None`: the maximum. Otherwise the mean, and whether padding counts, as zeros.
    pub(crate) mean: Option<bool>,
}

impl PoolReals {
    /// Taps are taken in order.
    pub(super) fn run(
        &self,
        x: &[f32],
        shape: &[usize],
        out: &mut [f32],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let geometry = Geometry::new(&self.window, shape, out_shape)?;
        let channels = geometry.channels;
        ensure!(
            out_shape.last() == Some(&channels),
            "{shape:?} to {out_shape:?}"
        );
        for (pixel, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
            out.fill(match self.mean {
                Some(_) => 0.0,
                None => f32::NEG_INFINITY,
            });
            let mut inside = 0;
            for at in geometry.under(pixel).flatten() {
                inside += 1;
                for (out, &value) in out.iter_mut().zip(&x[at * channels..][..channels]) {
                    if self.mean.is_some() {
                        *out += value;
                    } else if value > *out || value.is_nan() {
                        *out = value;
                    }
                }
            }
            if let Some(count_padding) = self.mean {
                let count = if count_padding { geometry.taps } else { inside };
                out.iter_mut().for_each(|out| *out /= count as f32);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Padding;
    use super::*;

    #[test]
    fn pools_a_row() {
        let window = Window {
            padding: Padding::Before(vec![1]),
            kernel: vec![3],
            ..Window::pointwise(1)
        };
        for (mean, expected) in [
            (None, [2.0, 4.0, 4.0]),
            (Some(false), [1.5, 7.0 / 3.0, 3.0]),
            (Some(true), [1.0, 7.0 / 3.0, 2.0]),
        ] {
            let window = window.clone();
            let pool = PoolReals { window, mean };
            let (x, shape) = ([1.0, 2.0, 4.0], [1, 3, 1]);
            let mut out = [0.0; 3];
            pool.run(&x, &shape, &mut out, &shape).expect("shapes fit");
            assert_eq!(out, expected, "{mean:?}");
        }
    }
}
