//! Tables that differ along one axis: what a constant for each channel does to bytes.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::lookup::Lookup;

/// One table for each index of an axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Along<T> {
    /// As stored.
    pub(crate) axis: usize,
    pub(crate) tables: Vec<Lookup<T>>,
}

impl<T: Copy> Along<T> {
    pub(super) fn run(&self, x: &[i8], shape: &[usize], out: &mut [T]) -> anyhow::Result<()> {
        ensure!(
            shape.get(self.axis) == Some(&self.tables.len()) && x.len() == out.len(),
            "{} tables along axis {} of {shape:?}",
            self.tables.len(),
            self.axis
        );
        let inner: usize = shape[self.axis + 1..].iter().product();
        let rows = x
            .chunks_exact(inner.max(1))
            .zip(out.chunks_exact_mut(inner.max(1)));
        for ((x, out), table) in rows.zip(self.tables.iter().cycle()) {
            for (out, &byte) in out.iter_mut().zip(x) {
                *out = table.at(byte);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_has_its_table() {
        let tables = vec![
            Lookup::new(|byte| byte),
            Lookup::new(|byte| -byte.max(-127)),
        ];
        let (x, shape) = ([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]);
        for (axis, expected) in [
            (1, [1, 2, -3, -4, 5, 6, -7, -8]),
            (2, [1, -2, 3, -4, 5, -6, 7, -8]),
        ] {
            let along = Along {
                axis,
                tables: tables.clone(),
            };
            let mut out = [0; 8];
            along
                .run(&x, &shape, &mut out)
                .expect("two tables for two rows");
            assert_eq!(out, expected, "axis {axis}");
            assert!(along.run(&x, &[8], &mut out).is_err());
        }
    }
}
