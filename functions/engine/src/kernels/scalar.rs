//! The definition of the products, in plain Rust: the reference for every other form.

use super::{BLOCK, Block, PANEL, STEP, Sums};

/// As [`super::products`].
pub(super) fn products(block: &Block, panel: &[i8], lanes: usize, sums: &mut Sums) {
    let tap_bytes = block.steps * STEP * PANEL;
    for (r, sums) in sums.iter_mut().enumerate().take(block.count) {
        *sums = [0; PANEL];
        for tap in 0..block.taps {
            let row = &block.x[block.offsets[tap * BLOCK + r] as usize..];
            let weights = &panel[tap * tap_bytes..][..tap_bytes];
            for (step, bytes) in weights
                .chunks_exact(PANEL * STEP)
                .zip(row.chunks_exact(STEP))
            {
                for (sum, weights) in sums.iter_mut().zip(step.chunks_exact(STEP)).take(lanes) {
                    for (&weight, &value) in weights.iter().zip(bytes) {
                        *sum += i32::from(value) * i32::from(weight);
                    }
                }
            }
        }
    }
}
