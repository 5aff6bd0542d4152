//! The products in 128-bit vectors of WebAssembly. A vector holds four channels of a panel by four `k`.

// An index walks several arrays of registers at once.
#![allow(clippy::needless_range_loop)]

use std::arch::wasm32::*;

use super::bytes::{self, LANES, Rounding, Rows, Scaling, Term};
use super::{BLOCK, Block, PANEL, STEP, Sums, Wide};

/// Runs `tile::<R, V>` over the pixels of a block, `V` being the vectors that hold the wanted channels.
macro_rules! by_rows {
    ($block:expr, $panel:expr, $sums:expr, $tile:ident, $rows:literal, $vectors:literal) => {{
        let panel = $panel;
        let mut row = 0;
        while row + $rows <= $block.count {
            $tile::<$rows, $vectors>($block, panel, row, $sums);
            row += $rows;
        }
        while row < $block.count {
            $tile::<1, $vectors>($block, panel, row, $sums);
            row += 1;
        }
    }};
}

/// As [`super::products`], on the exact 16-bit dot product; any weights.
///
/// # Safety
/// `panel` must be as long as the block's taps and steps want it.
pub(super) unsafe fn products(
    block: &Block,
    panel: &[i8],
    lanes: usize,
    widened: &mut Widened,
    sums: &mut Sums,
) {
    // SAFETY: what the caller vouches for is what the tiles want, and a panel is widened whole.
    unsafe {
        match lanes.div_ceil(4) {
            1 => by_rows!(block, widened.widen::<1>(panel), sums, exact_tile, 6, 1),
            2 => by_rows!(block, widened.widen::<2>(panel), sums, exact_tile, 6, 2),
            3 => by_rows!(block, widened.widen::<3>(panel), sums, exact_tile, 4, 3),
            _ => by_rows!(block, widened.widen::<4>(panel), sums, exact_tile, 3, 4),
        }
    }
}

/// A panel's weights in 16 bits: every block wants them so for all its pixels.
///
/// `[taps * steps][vectors][2]`: a vector holds the first or the second two `k` of a step for four channels.
#[derive(Debug, Default)]
pub(crate) struct Widened(Vec<v128>);

impl Widened {
    /// Widens the first `4 * V` channels.
    fn widen<const V: usize>(&mut self, panel: &[i8]) -> &[v128] {
        let steps = panel.len() / (PANEL * STEP);
        self.0.resize(steps * V * 2, i32x4_splat(0));
        let widened = self.0.chunks_exact_mut(V * 2);
        for (step, widened) in panel.chunks_exact(PANEL * STEP).zip(widened) {
            for v in 0..V {
                // SAFETY: a step is four vectors, of which `V` are wanted.
                let bytes = unsafe { v128_load(step.as_ptr().add(v * 16).cast()) };
                let halves = i8x16_shuffle::<0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15>(
                    bytes, bytes,
                );
                widened[v * 2] = i16x8_extend_low_i8x16(halves);
                widened[v * 2 + 1] = i16x8_extend_high_i8x16(halves);
            }
        }
        &self.0
    }
}

/// As [`super::products`], on the relaxed dot product; weights in `0..=127`, for which every engine gives the same.
///
/// # Safety
/// As [`products`].
#[cfg(feature = "relaxed-simd")]
#[target_feature(enable = "relaxed-simd")]
pub(super) unsafe fn relaxed_products(block: &Block, panel: &[i8], lanes: usize, sums: &mut Sums) {
    // SAFETY: as above.
    unsafe {
        match lanes.div_ceil(4) {
            1 => by_rows!(block, panel, sums, relaxed_tile, 6, 1),
            2 => by_rows!(block, panel, sums, relaxed_tile, 6, 2),
            3 => by_rows!(block, panel, sums, relaxed_tile, 4, 3),
            _ => by_rows!(block, panel, sums, relaxed_tile, 3, 4),
        }
    }
}

#[cfg(feature = "relaxed-simd")]
#[target_feature(enable = "relaxed-simd")]
unsafe fn relaxed_tile<const R: usize, const V: usize>(
    block: &Block,
    panel: &[i8],
    first_row: usize,
    sums: &mut Sums,
) {
    let mut acc = [[i32x4_splat(0); V]; R];
    // SAFETY: a panel holds every tap's steps, the block has checked that each row holds as many.
    unsafe {
        let mut weights = panel.as_ptr();
        for tap in 0..block.taps {
            let mut rows = row_pointers::<R>(block, tap, first_row);
            let mut left = block.steps;
            // Four steps at a time: one load of a row, and fewer loop ends, where deadlines are checked.
            while left >= 4 {
                let bytes: [v128; R] = std::array::from_fn(|r| v128_load(rows[r].cast()));
                macro_rules! step {
                    ($lane:literal) => {
                        let w: [v128; V] = std::array::from_fn(|v| {
                            v128_load(weights.add($lane * STEP * PANEL + v * 16).cast())
                        });
                        for r in 0..R {
                            let bytes =
                                i32x4_shuffle::<$lane, $lane, $lane, $lane>(bytes[r], bytes[r]);
                            for v in 0..V {
                                acc[r][v] =
                                    i32x4_relaxed_dot_i8x16_i7x16_add(bytes, w[v], acc[r][v]);
                            }
                        }
                    };
                }
                step!(0);
                step!(1);
                step!(2);
                step!(3);
                weights = weights.add(4 * STEP * PANEL);
                for row in &mut rows {
                    *row = row.add(4 * STEP);
                }
                left -= 4;
            }
            while left > 0 {
                let w: [v128; V] = std::array::from_fn(|v| v128_load(weights.add(v * 16).cast()));
                for r in 0..R {
                    let bytes = v128_load32_splat(rows[r].cast());
                    for v in 0..V {
                        acc[r][v] = i32x4_relaxed_dot_i8x16_i7x16_add(bytes, w[v], acc[r][v]);
                    }
                    rows[r] = rows[r].add(STEP);
                }
                weights = weights.add(STEP * PANEL);
                left -= 1;
            }
        }
        for r in 0..R {
            let sums = sums[first_row + r].as_mut_ptr();
            for v in 0..V {
                v128_store(sums.add(v * 4).cast(), acc[r][v]);
            }
        }
    }
}

/// `weights`: as [`Widened`] has them, `V` vectors of channels.
unsafe fn exact_tile<const R: usize, const V: usize>(
    block: &Block,
    weights: &[v128],
    first_row: usize,
    sums: &mut Sums,
) {
    let mut acc = [[i32x4_splat(0); V]; R];
    // SAFETY: a panel holds every tap's steps, the block has checked that each row holds as many.
    unsafe {
        let mut weights = weights.as_ptr();
        /// Adds the products of two `k`, which stand in lane `$lane` of the rows' `$bytes`.
        macro_rules! two {
            ($bytes:ident, $lane:literal, $from:expr) => {
                let w: [v128; V] = std::array::from_fn(|v| *weights.add($from + v * 2));
                for r in 0..R {
                    let x = i32x4_shuffle::<$lane, $lane, $lane, $lane>($bytes[r], $bytes[r]);
                    for v in 0..V {
                        acc[r][v] = i32x4_add(acc[r][v], i32x4_dot_i16x8(x, w[v]));
                    }
                }
            };
        }
        for tap in 0..block.taps {
            let mut rows = row_pointers::<R>(block, tap, first_row);
            let mut left = block.steps;
            while left >= 2 {
                let bytes: [v128; R] = std::array::from_fn(|r| i16x8_load_extend_i8x8(rows[r]));
                two!(bytes, 0, 0);
                two!(bytes, 1, 1);
                two!(bytes, 2, V * 2);
                two!(bytes, 3, V * 2 + 1);
                weights = weights.add(V * 4);
                for row in &mut rows {
                    *row = row.add(2 * STEP);
                }
                left -= 2;
            }
            if left > 0 {
                let bytes: [v128; R] = std::array::from_fn(|r| {
                    i16x8_extend_low_i8x16(v128_load32_zero(rows[r].cast()))
                });
                two!(bytes, 0, 0);
                two!(bytes, 1, 1);
                weights = weights.add(V * 2);
            }
        }
        for r in 0..R {
            let sums = sums[first_row + r].as_mut_ptr();
            for v in 0..V {
                v128_store(sums.add(v * 4).cast(), acc[r][v]);
            }
        }
    }
}

/// Where `R` rows of a tap begin.
#[inline(always)]
unsafe fn row_pointers<const R: usize>(block: &Block, tap: usize, first: usize) -> [*const i8; R] {
    // SAFETY: the block has `BLOCK` offsets for each tap, each inside its bytes, and `first + R` is at most `BLOCK`.
    unsafe {
        let offsets = block.offsets.as_ptr().add(tap * BLOCK + first);
        std::array::from_fn(|r| block.x.as_ptr().add(*offsets.add(r) as usize))
    }
}

/// As [`super::depthwise::products`].
///
/// # Safety
/// `panel` must be as long as the block's taps want it, and the block must have checked a panel of bytes behind `channel`.
pub(super) unsafe fn depthwise(
    block: &Block,
    panel: &[i8],
    channel: usize,
    lanes: usize,
    sums: &mut Sums,
) {
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe {
        if block.taps == NINE {
            depthwise_nine(block, panel, channel, lanes, sums);
            return;
        }
        let mut row = 0;
        while row + 2 <= block.count {
            depthwise_tile::<2, 2>(block, panel, channel, row, sums);
            row += 2;
        }
        if row < block.count {
            depthwise_tile::<1, 2>(block, panel, channel, row, sums);
        }
    }
}

/// Taps of a square of three.
const NINE: usize = 9;

/// As [`depthwise`], for nine taps.
///
/// # Safety
/// As [`depthwise`].
unsafe fn depthwise_nine(
    block: &Block,
    panel: &[i8],
    channel: usize,
    lanes: usize,
    sums: &mut Sums,
) {
    let sums = sums.as_mut_ptr().cast::<i32>();
    // SAFETY: as the caller vouches for.
    unsafe {
        for half in 0..lanes.div_ceil(8) {
            let x = block.x.as_ptr().add(channel + half * 8);
            let weights = panel.as_ptr().add(half * 16);
            let mut row = 0;
            while row < block.count {
                let offsets = block.offsets.as_ptr().add(row);
                let sums = sums.add(row * PANEL + half * 8);
                if row + ROWS_OF_NINE <= block.count {
                    tile_of_nine::<ROWS_OF_NINE>(x, offsets, weights, sums);
                    row += ROWS_OF_NINE;
                } else {
                    tile_of_nine::<1>(x, offsets, weights, sums);
                    row += 1;
                }
            }
        }
    }
}

/// Pixels that are computed at a time: of more, there are not enough registers.
const ROWS_OF_NINE: usize = 2;

/// `R` pixels by eight channels, with no loop over the taps, which would take longer than what is in it.
#[inline(always)]
unsafe fn tile_of_nine<const R: usize>(
    x: *const i8,
    offsets: *const u32,
    weights: *const i8,
    sums: *mut i32,
) {
    // SAFETY: the caller vouches for the panel's length and the rows' bytes.
    unsafe {
        let at = |tap: usize, r: usize| {
            i16x8_load_extend_i8x8(x.add(*offsets.add(tap * BLOCK + r) as usize))
        };
        let mut acc = [[i32x4_splat(0); 2]; R];
        macro_rules! taps {
            ($pair:literal, $first:literal, $second:literal) => {
                let weights = weights.add($pair * PANEL * 2);
                let w = [
                    i16x8_load_extend_i8x8(weights),
                    i16x8_load_extend_i8x8(weights.add(8)),
                ];
                for r in 0..R {
                    let one = at($first, r);
                    let two = if $first == $second {
                        one
                    } else {
                        at($second, r)
                    };
                    let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(one, two);
                    let high = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(one, two);
                    acc[r][0] = i32x4_add(acc[r][0], i32x4_dot_i16x8(low, w[0]));
                    acc[r][1] = i32x4_add(acc[r][1], i32x4_dot_i16x8(high, w[1]));
                }
            };
        }
        taps!(0, 0, 1);
        taps!(1, 2, 3);
        taps!(2, 4, 5);
        taps!(3, 6, 7);
        // Behind the last tap the weights are zeros, whatever they meet.
        taps!(4, 8, 8);
        for r in 0..R {
            v128_store(sums.add(r * PANEL).cast(), acc[r][0]);
            v128_store(sums.add(r * PANEL + 4).cast(), acc[r][1]);
        }
    }
}

/// `R` pixels by the first `H` halves of a panel's channels, two taps at a time.
unsafe fn depthwise_tile<const R: usize, const H: usize>(
    block: &Block,
    panel: &[i8],
    channel: usize,
    first_row: usize,
    sums: &mut Sums,
) {
    let mut acc = [[[i32x4_splat(0); 2]; H]; R];
    // SAFETY: the caller vouches for the panel's length and the rows' bytes.
    unsafe {
        let mut weights = panel.as_ptr();
        let mut tap = 0;
        while tap < block.taps {
            // Behind an odd last tap the weights are zeros, whatever they meet.
            let rows = [
                row_pointers::<R>(block, tap, first_row),
                row_pointers::<R>(block, (tap + 1).min(block.taps - 1), first_row),
            ];
            let rows = rows.map(|rows| rows.map(|row| row.add(channel)));
            for half in 0..H {
                let w = [
                    i16x8_load_extend_i8x8(weights.add(half * 16)),
                    i16x8_load_extend_i8x8(weights.add(half * 16 + 8)),
                ];
                for r in 0..R {
                    let one = i16x8_load_extend_i8x8(rows[0][r].add(half * 8));
                    let two = i16x8_load_extend_i8x8(rows[1][r].add(half * 8));
                    let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(one, two);
                    let high = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(one, two);
                    let acc = &mut acc[r][half];
                    acc[0] = i32x4_add(acc[0], i32x4_dot_i16x8(low, w[0]));
                    acc[1] = i32x4_add(acc[1], i32x4_dot_i16x8(high, w[1]));
                }
            }
            weights = weights.add(PANEL * 2);
            tap += 2;
        }
        for r in 0..R {
            let sums = sums[first_row + r].as_mut_ptr();
            for half in 0..H {
                v128_store(sums.add(half * 8).cast(), acc[r][half][0]);
                v128_store(sums.add(half * 8 + 4).cast(), acc[r][half][1]);
            }
        }
    }
}

/// As [`Block::row_sums`].
///
/// # Safety
/// None beyond what the block has checked; it is `unsafe` for its loads.
pub(super) unsafe fn row_sums(block: &Block, sums: &mut [i32; BLOCK]) {
    for (r, sum) in sums.iter_mut().enumerate().take(block.count) {
        let mut acc = i32x4_splat(0);
        let mut add = |bytes| {
            acc = i32x4_add(
                acc,
                i32x4_extadd_pairwise_i16x8(i16x8_extadd_pairwise_i8x16(bytes)),
            );
        };
        for tap in 0..block.taps {
            // SAFETY: the block has checked that the row holds its steps.
            unsafe {
                let [mut row] = row_pointers::<1>(block, tap, r);
                for _ in 0..block.steps / 4 {
                    add(v128_load(row.cast()));
                    row = row.add(16);
                }
                for _ in 0..block.steps % 4 {
                    add(v128_load32_zero(row.cast()));
                    row = row.add(4);
                }
            }
        }
        *sum = i32x4_extract_lane::<0>(acc)
            .wrapping_add(i32x4_extract_lane::<1>(acc))
            .wrapping_add(i32x4_extract_lane::<2>(acc))
            .wrapping_add(i32x4_extract_lane::<3>(acc));
    }
}

/// As [`bytes::requantise`].
///
/// # Safety
/// Each of no more than a block's rows must lie inside the bytes.
pub(super) unsafe fn requantise(scaling: Scaling, rounding: Rounding, rows: Rows) {
    let round = Round::new(rounding);
    // SAFETY: as the caller vouches for.
    unsafe {
        if scaling.bounded {
            requantise_by(scaling, rows, |scaled| round.bounded_bytes(scaled));
        } else {
            requantise_by(scaling, rows, |scaled| round.bytes(scaled));
        }
    }
}

/// `bytes` makes sixteen of four vectors of scaled sums.
#[inline(always)]
unsafe fn requantise_by(scaling: Scaling, rows: Rows, bytes: impl Fn([v128; 4]) -> v128) {
    // SAFETY: a row of sums is four vectors, and so are bias and scale; the caller vouches for the rest.
    unsafe {
        let load = |from: *const u8| -> [v128; 4] {
            std::array::from_fn(|v| v128_load(from.add(v * 16).cast()))
        };
        let bias = load(scaling.bias.as_ptr().cast());
        let scale = load(scaling.scale.as_ptr().cast());
        let mut row = rows.bytes.as_mut_ptr();
        for r in 0..rows.count {
            let sums = load(scaling.sums.get_unchecked(r).as_ptr().cast());
            let row_sum = i32x4_splat(*scaling.row_sums.get_unchecked(r));
            let mut scaled = [row_sum; 4];
            for v in 0..4 {
                let sum = i32x4_add(i32x4_add(sums[v], bias[v]), row_sum);
                scaled[v] = f32x4_mul(f32x4_convert_i32x4(sum), scale[v]);
            }
            v128_store(row.cast(), bytes(scaled));
            row = row.wrapping_add(rows.stride);
        }
    }
}

/// As [`bytes::add`].
///
/// # Safety
/// The slices must be of one length.
pub(super) unsafe fn add(terms: [Term; 2], rounding: Rounding, b: &[i8], out: &mut [i8]) {
    let whole = out.len() / LANES * LANES;
    let vectors = Round::new(rounding);
    let zeros = terms.map(|term| i16x8_splat(term.zero as i16));
    let scales = terms.map(|term| f32x4_splat(term.scale));
    for at in (0..whole).step_by(LANES) {
        // SAFETY: sixteen bytes follow in each slice.
        unsafe {
            let a = reals(v128_load(out.as_ptr().add(at).cast()), zeros[0]);
            let b = reals(v128_load(b.as_ptr().add(at).cast()), zeros[1]);
            let mut sums = a;
            for v in 0..4 {
                sums[v] = f32x4_add(f32x4_mul(a[v], scales[0]), f32x4_mul(b[v], scales[1]));
            }
            v128_store(out.as_mut_ptr().add(at).cast(), vectors.bytes(sums));
        }
    }
    bytes::Add {
        terms,
        rounding,
        b: &b[whole..],
        out: &mut out[whole..],
    }
    .run();
}

/// As [`bytes::scale`].
pub(super) fn scale(zero: i32, rounding: Rounding, factors: &[f32], out: &mut [i8]) {
    let vectors = Round::new(rounding);
    let zeros = i16x8_splat(zero as i16);
    for out in out.chunks_mut(factors.len().max(1)) {
        let whole = out.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: sixteen elements follow in each slice.
            unsafe {
                let mut products = reals(v128_load(out.as_ptr().add(at).cast()), zeros);
                for (v, product) in products.iter_mut().enumerate() {
                    let factors = v128_load(factors.as_ptr().add(at + v * 4).cast());
                    *product = f32x4_mul(*product, factors);
                }
                v128_store(out.as_mut_ptr().add(at).cast(), vectors.bytes(products));
            }
        }
        bytes::Scale {
            zero,
            rounding,
            factors: &factors[whole..],
            out: &mut out[whole..],
        }
        .run();
    }
}

/// Sixteen bytes less a zero point, as reals.
#[inline(always)]
fn reals(bytes: v128, zero: v128) -> [v128; 4] {
    let low = i16x8_sub(i16x8_extend_low_i8x16(bytes), zero);
    let high = i16x8_sub(i16x8_extend_high_i8x16(bytes), zero);
    [
        f32x4_convert_i32x4(i32x4_extend_low_i16x8(low)),
        f32x4_convert_i32x4(i32x4_extend_high_i16x8(low)),
        f32x4_convert_i32x4(i32x4_extend_low_i16x8(high)),
        f32x4_convert_i32x4(i32x4_extend_high_i16x8(high)),
    ]
}

/// [`Rounding`] in vectors.
struct Round {
    low: v128,
    high: v128,
    shift: v128,
    /// What the bits of a shifted sum are more than the byte.
    excess: v128,
    /// The limits as bytes.
    lowest: v128,
    highest: v128,
}

impl Round {
    fn new(rounding: Rounding) -> Self {
        Self {
            low: f32x4_splat(rounding.low),
            high: f32x4_splat(rounding.high),
            shift: f32x4_splat(bytes::SHIFT),
            excess: i32x4_splat(bytes::SHIFT.to_bits() as i32 - rounding.zero_point),
            lowest: i8x16_splat((rounding.low as i32 + rounding.zero_point) as i8),
            highest: i8x16_splat((rounding.high as i32 + rounding.zero_point) as i8),
        }
    }

    #[inline(always)]
    fn bytes(&self, scaled: [v128; 4]) -> v128 {
        let integers = scaled.map(|value| {
            let clamped = f32x4_pmin(f32x4_pmax(self.low, value), self.high);
            i32x4_sub(f32x4_add(clamped, self.shift), self.excess)
        });
        // Nothing saturates: the limits are bytes.
        i8x16_narrow_i16x8(
            i16x8_narrow_i32x4(integers[0], integers[1]),
            i16x8_narrow_i32x4(integers[2], integers[3]),
        )
    }

    /// The same for numbers within +-2^21: narrowing clamps to bytes, and bytes are clamped sixteen at a time.
    #[inline(always)]
    fn bounded_bytes(&self, scaled: [v128; 4]) -> v128 {
        let integers = scaled.map(|value| i32x4_sub(f32x4_add(value, self.shift), self.excess));
        let bytes = i8x16_narrow_i16x8(
            i16x8_narrow_i32x4(integers[0], integers[1]),
            i16x8_narrow_i32x4(integers[2], integers[3]),
        );
        i8x16_min(i8x16_max(bytes, self.lowest), self.highest)
    }
}
