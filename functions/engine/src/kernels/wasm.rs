//! The tile product in 128-bit vectors of WebAssembly: two registers hold a panel's eight channels by four `k`.

use std::arch::wasm32::{i32x4_add, v128, v128_load, v128_load32_splat, v128_store};

use super::{PANEL, ROWS, STEP, Tile};

/// As [`super::accumulate`], for one tap.
///
/// # Safety
/// `x` must hold `weights.len() / PANEL` bytes from every one of the offsets on.
pub(super) unsafe fn accumulate(x: &[u8], offsets: &[u32], weights: &[i8], tile: &mut Tile) {
    const { assert!(PANEL == 8 && STEP == 4) };
    let rows: [*const u8; ROWS] = std::array::from_fn(|row| x[offsets[row] as usize..].as_ptr());
    let mut sums = [[dot::zero(); 2]; ROWS];
    for (step, weights) in weights.chunks_exact(PANEL * STEP).enumerate() {
        // SAFETY: a chunk is 32 bytes.
        let weights = unsafe {
            [
                v128_load(weights.as_ptr().cast()),
                v128_load(weights.as_ptr().add(16).cast()),
            ]
        };
        for (sums, row) in sums.iter_mut().zip(rows) {
            // SAFETY: the caller vouches for the row's bytes.
            let bytes = dot::prepare(unsafe { v128_load32_splat(row.add(step * STEP).cast()) });
            sums[0] = dot::add(sums[0], bytes, weights[0]);
            sums[1] = dot::add(sums[1], bytes, weights[1]);
        }
    }
    for (row, sums) in tile.iter_mut().zip(sums) {
        for (half, sum) in row.chunks_exact_mut(4).zip(sums) {
            // SAFETY: half a row of the tile is 16 bytes.
            unsafe {
                let before: v128 = v128_load(half.as_ptr().cast());
                v128_store(
                    half.as_mut_ptr().cast(),
                    i32x4_add(before, dot::finish(sum)),
                );
            }
        }
    }
}

/// Exact sums of four products a lane with the 16-bit dot product of plain simd128.
mod dot {
    use std::arch::wasm32::{
        i16x8_extend_high_i8x16, i16x8_extend_low_i8x16, i16x8_extend_low_u8x16, i32x4_add,
        i32x4_dot_i16x8, i32x4_shuffle, i32x4_splat, v128,
    };

    /// Sums of pairs: channels 0 and 1, then 2 and 3, two pairs each.
    pub(super) type Sums = (v128, v128);

    pub(super) fn zero() -> Sums {
        (i32x4_splat(0), i32x4_splat(0))
    }

    /// Four bytes, repeated, to eight i16.
    pub(super) fn prepare(bytes: v128) -> v128 {
        i16x8_extend_low_u8x16(bytes)
    }

    pub(super) fn add((low, high): Sums, bytes: v128, weights: v128) -> Sums {
        (
            i32x4_add(low, i32x4_dot_i16x8(bytes, i16x8_extend_low_i8x16(weights))),
            i32x4_add(
                high,
                i32x4_dot_i16x8(bytes, i16x8_extend_high_i8x16(weights)),
            ),
        )
    }

    pub(super) fn finish((low, high): Sums) -> v128 {
        i32x4_add(
            i32x4_shuffle::<0, 2, 4, 6>(low, high),
            i32x4_shuffle::<1, 3, 5, 7>(low, high),
        )
    }
}
