//! Sums and products of bytes, element by element.

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use super::arena::Slice;
use super::requant::Requant;
use super::step::{bytes, copied};
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
    /// One of the operands may be what `out` holds.
    pub(super) fn run(&self, isa: Isa, a: Slice, b: Slice, out: &mut [i8]) -> anyhow::Result<()> {
        let mut terms = [
            Term {
                zero: self.a_zero,
                scale: self.a_scale,
            },
            Term {
                zero: self.b_zero,
                scale: self.b_scale,
            },
        ];
        let (first, second) = match (a, b) {
            (a, Slice::InPlace) => {
                terms.reverse();
                (Slice::InPlace, a)
            }
            other => other,
        };
        copied(first, out)?;
        let second = bytes(second)?;
        ensure!(
            second.len() == out.len(),
            "{} elements to {}",
            second.len(),
            out.len()
        );
        kernels::add(isa, terms, self.requant.rounding(), second, out);
        self.requant.look_up(isa, out);
        Ok(())
    }
}

impl ScaleQ {
    /// `out` holds the first operand. `factors`: room for the factors of a row.
    pub(super) fn run(
        &self,
        isa: Isa,
        a_shape: &[usize],
        b: &[i8],
        b_shape: &[usize],
        out: &mut [i8],
        factors: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        let (Some(&batch), Some(&channels)) = (a_shape.first(), a_shape.last()) else {
            bail!("no axes to scale")
        };
        // How many elements share how many factors.
        let (image, row) = if a_shape == b_shape {
            (CHUNK, CHUNK)
        } else {
            ensure!(
                b.len() == batch * channels,
                "factors {b_shape:?} for {a_shape:?}"
            );
            (out.len() / batch.max(1), channels)
        };
        let rounding = self.requant.rounding();
        let images = out.chunks_mut(image.max(1));
        for (out, b) in images.zip(b.chunks(row.max(1))) {
            factors.clear();
            factors.extend(
                b.iter()
                    .map(|&b| (i32::from(b) - self.b_zero) as f32 * self.scale),
            );
            kernels::scale(isa, self.a_zero, rounding, factors, out);
        }
        self.requant.look_up(isa, out);
        Ok(())
    }
}

/// Factors that are made at a time where every element has its own.
const CHUNK: usize = 4096;
