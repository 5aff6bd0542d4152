//! The products in 256-bit vectors. A vector holds eight channels of a panel by four `k`.

// An index walks several arrays of registers at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::bytes::{self, LANES, Rounding, Rows, Scaling, Term};
use super::{BLOCK, Block, PANEL, STEP, Sums, Wide};

macro_rules! by_rows {
    ($block:expr, $panel:expr, $sums:expr, $tile:ident, $rows:literal, $vectors:literal) => {{
        let mut row = 0;
        while row + $rows <= $block.count {
            $tile::<$rows, $vectors>($block, $panel, row, $sums);
            row += $rows;
        }
        while row < $block.count {
            $tile::<1, $vectors>($block, $panel, row, $sums);
            row += 1;
        }
    }};
}

/// As [`super::products`]; weights in `0..=127`.
///
/// # Safety
/// The machine must have AVX2, and `panel` must be as long as the block's taps and steps want it.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn products(block: &Block, panel: &[i8], lanes: usize, sums: &mut Sums) {
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe {
        if lanes <= 8 {
            by_rows!(block, panel, sums, tile, 6, 1);
        } else {
            by_rows!(block, panel, sums, tile, 4, 2);
        }
    }
}

/// The same with `vpdpbusd`.
///
/// # Safety
/// The machine must have AVX2 and AVX-VNNI, and `panel` must be as long as the block's taps and steps want it.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn vnni_products(block: &Block, panel: &[i8], lanes: usize, sums: &mut Sums) {
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe {
        if lanes <= 8 {
            by_rows!(block, panel, sums, vnni_tile, 8, 1);
        } else {
            by_rows!(block, panel, sums, vnni_tile, 6, 2);
        }
    }
}

macro_rules! tile {
    ($name:ident, $features:literal, $dot:ident) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const R: usize, const V: usize>(
            block: &Block,
            panel: &[i8],
            first_row: usize,
            sums: &mut Sums,
        ) {
            let mut acc = [[_mm256_setzero_si256(); V]; R];
            // SAFETY: a panel holds every tap's steps, the block has checked that each row holds as many.
            unsafe {
                let mut weights = panel.as_ptr();
                for tap in 0..block.taps {
                    let rows = row_pointers::<R>(block, tap, first_row);
                    for step in 0..block.steps {
                        let w: [__m256i; V] =
                            std::array::from_fn(|v| _mm256_loadu_si256(weights.add(v * 32).cast()));
                        for r in 0..R {
                            let bytes = _mm256_set1_epi32(
                                rows[r].add(step * STEP).cast::<i32>().read_unaligned(),
                            );
                            for v in 0..V {
                                acc[r][v] = $dot(acc[r][v], w[v], bytes);
                            }
                        }
                        weights = weights.add(STEP * PANEL);
                    }
                }
                for r in 0..R {
                    let sums = sums[first_row + r].as_mut_ptr();
                    for v in 0..V {
                        _mm256_storeu_si256(sums.add(v * 8).cast(), acc[r][v]);
                    }
                }
            }
        }
    };
}

tile!(tile, "avx2", maddubs);
tile!(vnni_tile, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);

#[inline]
#[target_feature(enable = "avx2")]
fn maddubs(acc: __m256i, weights: __m256i, bytes: __m256i) -> __m256i {
    let pairs = _mm256_maddubs_epi16(weights, bytes);
    _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// As [`super::products`]; any weights.
///
/// # Safety
/// The machine must have AVX2, and `panel` must be as long as the block's taps and steps want it.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn wide_products(block: &Block, panel: &[i8], sums: &mut Sums) {
    // SAFETY: a panel holds every tap's steps, the block has checked that each row holds as many.
    unsafe {
        for r in 0..block.count {
            // Sums of pairs of `k`, for four channels each.
            let mut acc = [_mm256_setzero_si256(); 4];
            let mut weights = panel.as_ptr();
            for tap in 0..block.taps {
                let [row] = row_pointers::<1>(block, tap, r);
                for step in 0..block.steps {
                    let bytes = row.add(step * STEP).cast::<i32>().read_unaligned();
                    let bytes = _mm256_cvtepi8_epi16(_mm_set1_epi32(bytes));
                    for (v, acc) in acc.iter_mut().enumerate() {
                        let w = _mm_loadu_si128(weights.add(v * 16).cast());
                        let w = _mm256_cvtepi8_epi16(w);
                        *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(bytes, w));
                    }
                    weights = weights.add(STEP * PANEL);
                }
            }
            let sums = sums[r].as_mut_ptr();
            for half in 0..2 {
                // Adding pairs works inside halves of the vectors: channels 0 1 4 5 | 2 3 6 7.
                let paired = _mm256_hadd_epi32(acc[half * 2], acc[half * 2 + 1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(paired);
                _mm256_storeu_si256(sums.add(half * 8).cast(), ordered);
            }
        }
    }
}

/// Where `R` rows of a tap begin.
#[inline(always)]
pub(super) unsafe fn row_pointers<const R: usize>(
    block: &Block,
    tap: usize,
    first: usize,
) -> [*const i8; R] {
    // SAFETY: the block has `BLOCK` offsets for each tap, each inside its bytes, and `first + R` is at most `BLOCK`.
    unsafe {
        let offsets = block.offsets.as_ptr().add(tap * BLOCK + first);
        std::array::from_fn(|r| block.x.as_ptr().add(*offsets.add(r) as usize))
    }
}

/// As [`super::depthwise::products`].
///
/// # Safety
/// The machine must have AVX2, `panel` must be as long as the block's taps want it, and the block must have checked a panel
/// of bytes behind `channel`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn depthwise(block: &Block, panel: &[i8], channel: usize, sums: &mut Sums) {
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe {
        let mut row = 0;
        while row + 4 <= block.count {
            depthwise_tile::<4>(block, panel, channel, row, sums);
            row += 4;
        }
        while row < block.count {
            depthwise_tile::<1>(block, panel, channel, row, sums);
            row += 1;
        }
    }
}

/// `R` pixels by a panel's channels, two taps at a time.
#[target_feature(enable = "avx2")]
unsafe fn depthwise_tile<const R: usize>(
    block: &Block,
    panel: &[i8],
    channel: usize,
    first_row: usize,
    sums: &mut Sums,
) {
    let mut acc = [[_mm256_setzero_si256(); 2]; R];
    // SAFETY: the caller vouches for the panel's length and the rows' bytes.
    unsafe {
        let mut weights = panel.as_ptr();
        let mut tap = 0;
        while tap < block.taps {
            let w: [__m256i; 2] = std::array::from_fn(|half| {
                _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(half * 16).cast()))
            });
            // Behind an odd last tap the weights are zeros, whatever they meet.
            let rows = [
                row_pointers::<R>(block, tap, first_row),
                row_pointers::<R>(block, (tap + 1).min(block.taps - 1), first_row),
            ];
            for r in 0..R {
                let one = _mm_loadu_si128(rows[0][r].add(channel).cast());
                let two = _mm_loadu_si128(rows[1][r].add(channel).cast());
                let pairs = [_mm_unpacklo_epi8(one, two), _mm_unpackhi_epi8(one, two)];
                for half in 0..2 {
                    let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(pairs[half]), w[half]);
                    acc[r][half] = _mm256_add_epi32(acc[r][half], products);
                }
            }
            weights = weights.add(PANEL * 2);
            tap += 2;
        }
        for r in 0..R {
            let sums = sums[first_row + r].as_mut_ptr();
            for half in 0..2 {
                _mm256_storeu_si256(sums.add(half * 8).cast(), acc[r][half]);
            }
        }
    }
}

/// As [`Block::row_sums`].
///
/// # Safety
/// The machine must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn row_sums(block: &Block, sums: &mut [i32; BLOCK]) {
    let (whole, rest) = (block.steps / 8, block.steps % 8);
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rest as i32), lanes);
    let (bytes_of_one, words_of_one) = (_mm256_set1_epi8(1), _mm256_set1_epi16(1));
    for (r, sum) in sums.iter_mut().enumerate().take(block.count) {
        let mut acc = _mm256_setzero_si256();
        let mut add = |bytes| {
            let pairs = _mm256_maddubs_epi16(bytes_of_one, bytes);
            acc = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, words_of_one));
        };
        for tap in 0..block.taps {
            // SAFETY: the block has checked that the row holds its steps; what the mask leaves out is not read.
            unsafe {
                let [row] = row_pointers::<1>(block, tap, r);
                for chunk in 0..whole {
                    add(_mm256_loadu_si256(row.add(chunk * 32).cast()));
                }
                add(_mm256_maskload_epi32(row.add(whole * 32).cast(), mask));
            }
        }
        let half = _mm_add_epi32(
            _mm256_castsi256_si128(acc),
            _mm256_extracti128_si256::<1>(acc),
        );
        let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        let all = _mm_add_epi32(quarter, _mm_shuffle_epi32::<0b10_11_00_01>(quarter));
        *sum = _mm_cvtsi128_si32(all);
    }
}

/// As [`bytes::requantise`].
///
/// # Safety
/// The machine must have AVX2, and each of no more than a block's rows must lie inside the bytes.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn requantise(scaling: Scaling, rounding: Rounding, rows: Rows) {
    let rounding = Round::new(rounding);
    // SAFETY: a panel is two vectors; the sums are of a whole block, and the rows were checked.
    unsafe {
        let load = |from: *const i32| [0, 8].map(|at| _mm256_loadu_si256(from.add(at).cast()));
        let bias = load(scaling.bias.as_ptr());
        let scale = load(scaling.scale.as_ptr().cast()).map(|half| _mm256_castsi256_ps(half));
        for r in 0..rows.count {
            let row_sum = _mm256_set1_epi32(*scaling.row_sums.get_unchecked(r));
            let sums = load(scaling.sums.get_unchecked(r).as_ptr());
            let mut scaled = [_mm256_setzero_ps(); 2];
            for half in 0..2 {
                let sum = _mm256_add_epi32(_mm256_add_epi32(sums[half], bias[half]), row_sum);
                scaled[half] = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[half]);
            }
            let row = rows.bytes.as_mut_ptr().add(r * rows.stride);
            _mm_storeu_si128(row.cast(), rounding.bytes(scaled));
        }
    }
}

/// As [`bytes::add`].
///
/// # Safety
/// The machine must have AVX2, and the slices must be of one length.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add(terms: [Term; 2], rounding: Rounding, b: &[i8], out: &mut [i8]) {
    let whole = out.len() / LANES * LANES;
    let vectors = Round::new(rounding);
    let zeros = terms.map(|term| _mm256_set1_epi32(term.zero));
    let scales = terms.map(|term| _mm256_set1_ps(term.scale));
    for at in (0..whole).step_by(LANES) {
        // SAFETY: sixteen bytes follow in each slice.
        unsafe {
            let a = reals(out.as_ptr().add(at), zeros[0]);
            let b = reals(b.as_ptr().add(at), zeros[1]);
            let mut sums = a;
            for half in 0..2 {
                let (a, b) = (
                    _mm256_mul_ps(a[half], scales[0]),
                    _mm256_mul_ps(b[half], scales[1]),
                );
                sums[half] = _mm256_add_ps(a, b);
            }
            _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), vectors.bytes(sums));
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
///
/// # Safety
/// The machine must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn scale(zero: i32, rounding: Rounding, factors: &[f32], out: &mut [i8]) {
    let vectors = Round::new(rounding);
    let zeros = _mm256_set1_epi32(zero);
    for out in out.chunks_mut(factors.len().max(1)) {
        let whole = out.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: sixteen elements follow in each slice.
            unsafe {
                let [low, high] = reals(out.as_ptr().add(at), zeros);
                let factors = factors.as_ptr().add(at);
                let products = [
                    _mm256_mul_ps(low, _mm256_loadu_ps(factors)),
                    _mm256_mul_ps(high, _mm256_loadu_ps(factors.add(8))),
                ];
                _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), vectors.bytes(products));
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
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn reals(bytes: *const i8, zero: __m256i) -> [__m256; 2] {
    // SAFETY: the caller vouches for sixteen bytes.
    let bytes = unsafe { _mm_loadu_si128(bytes.cast()) };
    [bytes, _mm_srli_si128::<8>(bytes)]
        .map(|half| _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_cvtepi8_epi32(half), zero)))
}

/// [`Rounding`] in vectors.
struct Round {
    low: __m256,
    high: __m256,
    shift: __m256,
    /// What the bits of a shifted sum are more than the byte.
    excess: __m256i,
}

impl Round {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(rounding: Rounding) -> Self {
        Self {
            low: _mm256_set1_ps(rounding.low),
            high: _mm256_set1_ps(rounding.high),
            shift: _mm256_set1_ps(bytes::SHIFT),
            excess: _mm256_set1_epi32(bytes::SHIFT.to_bits() as i32 - rounding.zero_point),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bytes(&self, scaled: [__m256; 2]) -> __m128i {
        let [low, high] = scaled.map(|scaled| {
            // Of an operand that is not a number, `max` returns the second.
            let clamped = _mm256_min_ps(_mm256_max_ps(scaled, self.low), self.high);
            let shifted = _mm256_castps_si256(_mm256_add_ps(clamped, self.shift));
            _mm256_sub_epi32(shifted, self.excess)
        });
        // Nothing saturates, the limits are bytes. Packing works inside halves of the vectors.
        let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
        _mm_packs_epi16(
            _mm256_castsi256_si128(words),
            _mm256_extracti128_si256::<1>(words),
        )
    }
}
