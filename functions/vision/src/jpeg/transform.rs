//! Coefficients of a block -> its samples, whole or scaled down (T.81, A.3.3).
//!
//! The inverse cosine transform of the lowest N x N of the 8 x 8 coefficients is the block at N / 8 of its size, well
//! filtered: what a full transform and an area average would give, at a fraction of the work and memory. Integers in
//! a fixed order, so that every target computes the same bits.

/// Coefficients of a block in rows of rising horizontal frequency.
pub(super) type Block = [i16; 64];
/// What they are multiplied by, in the same order.
pub(super) type Quantisers = [u16; 64];

/// `sqrt(2) * cos(k * pi / 16)` in 1 / 2^13, for k in 0..8 (the first is 1: a constant needs no root).
const COSINES: [i32; 8] = [8192, 11_363, 10_703, 9633, 8192, 6436, 4433, 2260];
const COSINE_BITS: u32 = 13;
/// Bits below the point that are kept between the two passes.
const BETWEEN_BITS: u32 = 2;
/// Coefficients and sums are held to these; those of any encoder's blocks are a quarter of it. With them no sum
/// below leaves 32 bits: eight products of at most 2^15 and the cosines.
const COEFFICIENT_RANGE: (i32, i32) = (-16_384, 16_383);
const BETWEEN_RANGE: (i32, i32) = (-32_768, 32_767);

/// Writes a block as `size` x `size` samples (1, 2, 4 or 8) to `out`, whose rows are `stride` apart.
///
/// `flat`: only the first coefficient is set.
pub(super) fn samples(
    block: &Block,
    quantisers: &Quantisers,
    flat: bool,
    size: usize,
    out: &mut [u8],
    stride: usize,
) {
    if flat || size == 1 {
        let value = dequantised(block[0], quantisers[0]);
        let value = level((value + 4) >> 3);
        for row in out.chunks_mut(stride).take(size) {
            row[..size].fill(value);
        }
        return;
    }
    match size {
        2 => transform::<2>(block, quantisers, out, stride),
        4 => transform::<4>(block, quantisers, out, stride),
        _ => transform::<8>(block, quantisers, out, stride),
    }
}

fn dequantised(coefficient: i16, quantiser: u16) -> i32 {
    (i32::from(coefficient) * i32::from(quantiser)).clamp(COEFFICIENT_RANGE.0, COEFFICIENT_RANGE.1)
}

/// From around zero to 0..=255.
fn level(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
}

fn transform<const N: usize>(
    block: &Block,
    quantisers: &Quantisers,
    out: &mut [u8],
    stride: usize,
) {
    // Columns first; in each pass the lanes are independent, so that the compiler makes vectors of them.
    let mut real = [[0i32; N]; N];
    for (v, row) in real.iter_mut().enumerate() {
        for (u, value) in row.iter_mut().enumerate() {
            *value = dequantised(block[v * 8 + u], quantisers[v * 8 + u]);
        }
    }
    let down = 1 << (COSINE_BITS - BETWEEN_BITS - 1);
    let mut between = [[0i32; N]; N];
    let columns = line(&real);
    for (y, row) in columns.iter().enumerate() {
        for (u, value) in row.iter().enumerate() {
            let value = (value + down) >> (COSINE_BITS - BETWEEN_BITS);
            between[u][y] = value.clamp(BETWEEN_RANGE.0, BETWEEN_RANGE.1);
        }
    }
    // Both passes leave out a factor of 1 / sqrt(8).
    let shift = COSINE_BITS + BETWEEN_BITS + 3;
    let rows = line(&between);
    for (y, out) in out.chunks_mut(stride).take(N).enumerate() {
        for (x, sample) in out[..N].iter_mut().enumerate() {
            *sample = level((rows[x][y] + (1 << (shift - 1))) >> shift);
        }
    }
}

/// One pass: `[frequency][lane]` -> `[position][lane]`, each value times 2^[`COSINE_BITS`].
#[inline]
fn line<const N: usize>(input: &[[i32; N]; N]) -> [[i32; N]; N] {
    let c = COSINES;
    let mut out = [[0i32; N]; N];
    for i in 0..N {
        let x = |k: usize| input[k][i];
        match N {
            2 => {
                out[0][i] = (x(0) + x(1)) << COSINE_BITS;
                out[1][i] = (x(0) - x(1)) << COSINE_BITS;
            }
            4 => {
                let even = [(x(0) + x(2)) << COSINE_BITS, (x(0) - x(2)) << COSINE_BITS];
                let odd = [x(1) * c[2] + x(3) * c[6], x(1) * c[6] - x(3) * c[2]];
                for n in 0..2 {
                    out[n][i] = even[n] + odd[n];
                    out[3 - n][i] = even[n] - odd[n];
                }
            }
            _ => {
                let (sum, difference) =
                    ((x(0) + x(4)) << COSINE_BITS, (x(0) - x(4)) << COSINE_BITS);
                let outer = x(2) * c[2] + x(6) * c[6];
                let inner = x(2) * c[6] - x(6) * c[2];
                let even = [
                    sum + outer,
                    difference + inner,
                    difference - inner,
                    sum - outer,
                ];
                let odd = [
                    x(1) * c[1] + x(3) * c[3] + x(5) * c[5] + x(7) * c[7],
                    x(1) * c[3] - x(3) * c[7] - x(5) * c[1] - x(7) * c[5],
                    x(1) * c[5] - x(3) * c[1] + x(5) * c[7] + x(7) * c[3],
                    x(1) * c[7] - x(3) * c[5] + x(5) * c[3] - x(7) * c[1],
                ];
                for n in 0..4 {
                    out[n][i] = even[n] + odd[n];
                    out[7 - n][i] = even[n] - odd[n];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// The definition, in floating point: sample (x, y) of the N x N lowest frequencies.
    fn defined(block: &Block, n: usize, x: usize, y: usize) -> f64 {
        let basis = |k: usize, at: usize| {
            let cosine = (PI * k as f64 * (2 * at + 1) as f64 / (2 * n) as f64).cos();
            if k == 0 { 1.0 } else { 2f64.sqrt() * cosine }
        };
        let mut sum = 0.0;
        for v in 0..n {
            for u in 0..n {
                sum += f64::from(block[v * 8 + u]) * basis(u, x) * basis(v, y);
            }
        }
        (sum / 8.0 + 128.0).clamp(0.0, 255.0)
    }

    #[test]
    fn follows_the_definition_at_every_size() {
        // A reproducible jumble of coefficients that get smaller with their frequency.
        let mut state = 1u32;
        for _ in 0..50 {
            let block: Block = std::array::from_fn(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let range = 300 / (1 + i as i32 / 8 + i as i32 % 8);
                ((state >> 8) as i32 % (2 * range + 1) - range) as i16
            });
            for size in [1, 2, 4, 8] {
                let mut out = [0u8; 80];
                samples(&block, &[1; 64], false, size, &mut out, 10);
                for y in 0..size {
                    for x in 0..size {
                        let expected = defined(&block, size, x, y);
                        let actual = f64::from(out[y * 10 + x]);
                        // Rounding at the end, and what is lost between the passes.
                        assert!(
                            (actual - expected).abs() < 0.8,
                            "{size}: {actual} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_coefficient_overflows() {
        for value in [i16::MIN, i16::MAX] {
            for size in [1, 2, 4, 8] {
                let mut out = [0u8; 64];
                samples(&[value; 64], &[u16::MAX; 64], false, size, &mut out, 8);
                let mut mixed = [value; 64];
                mixed.iter_mut().step_by(3).for_each(|v| *v = !*v);
                samples(&mixed, &[u16::MAX; 64], false, size, &mut out, 8);
            }
        }
    }
}
