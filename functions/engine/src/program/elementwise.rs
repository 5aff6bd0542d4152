//! Sums and products of bytes, element by element.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::requant::Requant;
use crate::kernels::{self, Isa, Term};

/// `q = (a - a_zero) * a_scale + (b - b_zero) * b_scale`, requantised. The scales are over the output's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AddQ {
    pub(crate) a_zero: i32,
    pub(crate) a_scale: f32,
    pub(crate) b_zero: i32,
    pub(crate) b_scale: f32,
    pub(crate) requant: Requant,
}

/// `q = (a - a_zero) * (b - b_zero) * scale`, requantised. `scale` is both scales over the output's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScaleQ {
    pub(crate) a_zero: i32,
    pub(crate) b_zero: i32,
    pub(crate) scale: f32,
    pub(crate) requant: Requant,
}


impl AddQ {
    pub(super) fn run(&self, isa: Isa, a: &[i8], b: &[i8], out: &mut [i8]) -> anyhow::Result<()> {
        ensure!(
            a.len() == b.len() && a.len() == out.len(),
            "{} and {} elements to {}",
            a.len(),
            b.len(),
            out.len()
        );
        let term = |zero, scale| Term { zero, scale };
        let terms = [
            term(self.a_zero, self.a_scale),
            term(self.b_zero, self.b_scale),
        ];
        kernels::add(isa, terms, self.requant.rounding(), a, b, out);
        self.requant.look_up(isa, out);
        Ok(())
    }
}

impl ScaleQ {
    /// `factors`: room for the factors of a row.
    #[expect(clippy::too_many_arguments, reason = "two operands with their shapes")]
    pub(super) fn run(
        &self,
        isa: Isa,
        a: &[i8],
        a_shape: &[usize],
        b: &[i8],
        b_shape: &[usize],
        out: &mut [i8],
        factors: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        ensure!(
            a.len() == out.len(),
            "{} elements to {}",
            a.len(),
            out.len()
        );
        let (Some(&batch), Some(&channels)) = (a_shape.first(), a_shape.last()) else {
            bail!("no axes to scale")
        };
        // How many elements of `a` share how many factors.
        let (image, row) = if a_shape == b_shape {
            (CHUNK, CHUNK)
        } else {
            ensure!(
                b.len() == batch * channels,
                "factors {b_shape:?} for {a_shape:?}"
            );
            (a.len() / batch.max(1), channels)
        };
        let rounding = self.requant.rounding();
        let images = a.chunks(image.max(1)).zip(out.chunks_mut(image.max(1)));
        for ((a, out), b) in images.zip(b.chunks(row.max(1))) {
            factors.clear();
            factors.extend(b.iter().map(|&b| (i32::from(b) - self.b_zero) as f32 * self.scale));
            kernels::scale(isa, self.a_zero, rounding, a, factors, out);
        }
        self.requant.look_up(isa, out);
        Ok(())
    }
}

/// Factors that are made at a time where every element has its own.
const CHUNK: usize = 4096;
