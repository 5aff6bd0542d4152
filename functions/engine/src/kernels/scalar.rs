//! The definition of the tile product, in plain Rust: the reference for every other form, and the one for weights that
//! take eight bits.

use super::{PANEL, STEP, Tile};

/// As [`super::accumulate`], for one tap.
pub(super) fn accumulate(x: &[u8], offsets: &[u32], weights: &[i8], tile: &mut Tile) {
    for (sums, &offset) in tile.iter_mut().zip(offsets) {
        let row = &x[offset as usize..];
        for (step, bytes) in weights
            .chunks_exact(PANEL * STEP)
            .zip(row.chunks_exact(STEP))
        {
            for (sum, weights) in sums.iter_mut().zip(step.chunks_exact(STEP)) {
                for (&weight, &value) in weights.iter().zip(bytes) {
                    *sum += i32::from(value) * i32::from(weight);
                }
            }
        }
    }
}
