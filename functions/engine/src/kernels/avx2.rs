//! The tile product in 256-bit integer vectors: a panel's eight channels by four `k` in one register.

use std::arch::x86_64::{
    _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_storeu_si256,
};

use super::{PANEL, ROWS, STEP, Tile};

/// As [`super::accumulate`], for one tap.
///
/// Exact for weights in -64..=63: a pair of products is at most 2 * 255 * 64 = 32,640 in size, within an i16.
///
/// # Safety
/// The machine must have AVX2, and `x` must hold `weights.len() / PANEL` bytes from every one of the offsets on.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn accumulate(x: &[u8], offsets: &[u32], weights: &[i8], tile: &mut Tile) {
    const { assert!(PANEL == 8 && STEP == 4) };
    let ones = _mm256_set1_epi16(1);
    let rows: [*const u8; ROWS] = std::array::from_fn(|row| x[offsets[row] as usize..].as_ptr());
    // SAFETY: a row of the tile is 32 bytes.
    let mut sums: [_; ROWS] =
        std::array::from_fn(|row| unsafe { _mm256_loadu_si256(tile[row].as_ptr().cast()) });
    for (step, weights) in weights.chunks_exact(PANEL * STEP).enumerate() {
        // SAFETY: a chunk is 32 bytes.
        let weights = unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: the caller vouches for the row's bytes.
            let bytes = unsafe { row.add(step * STEP).cast::<i32>().read_unaligned() };
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi32(bytes), weights);
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    for (row, sum) in tile.iter_mut().zip(sums) {
        // SAFETY: as for the load.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), sum) };
    }
}
