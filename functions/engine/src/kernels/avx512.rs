//! The products in 512-bit vectors with `vpdpbusd`. A vector holds all channels of a panel by four `k`.

// An index walks several arrays of registers at once.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::avx2::row_pointers;
use super::bytes::{self, LANES, Rounding, Rows, Scaling, Term};
use super::{BLOCK, Block, PANEL, STEP, Sums, Wide};

macro_rules! by_rows {
    ($block:expr, $panel:expr, $sums:expr, $tile:ident, [$($rows:literal),+]) => {{
        let mut row = 0;
        $(while $block.count - row >= $rows {
            $tile::<$rows>($block, $panel, row, $sums);
            row += $rows;
        })+
    }};
}

/// As [`super::products`]; weights in `0..=127`.
///
/// # Safety
/// The machine must have AVX-512 with BW and VNNI, and `panel` must be as long as the block's taps and steps want it.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn products(block: &Block, panel: &[i8], sums: &mut Sums) {
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe { by_rows!(block, panel, sums, tile, [8, 4, 1]) }
}

/// The same for two panels, weights in `0..=127`.
///
/// # Safety
/// As [`products`], for both.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn products_of_two(block: &Block, panels: [&[i8]; 2], sums: [&mut Sums; 2]) {
    let [first, second] = sums;
    let mut row = 0;
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe {
        while row + 8 <= block.count {
            tile_of_two::<8>(block, panels, row, first, second);
            row += 8;
        }
        while row + 2 <= block.count {
            tile_of_two::<2>(block, panels, row, first, second);
            row += 2;
        }
        if row < block.count {
            tile_of_two::<1>(block, panels, row, first, second);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile_of_two<const R: usize>(
    block: &Block,
    panels: [&[i8]; 2],
    first_row: usize,
    first: &mut Sums,
    second: &mut Sums,
) {
    let mut acc = [[_mm512_setzero_si512(); 2]; R];
    // SAFETY: both panels hold every tap's steps, the block has checked that each row holds as many.
    unsafe {
        let mut weights = panels.map(|panel| panel.as_ptr());
        for tap in 0..block.taps {
            let rows = row_pointers::<R>(block, tap, first_row);
            for step in 0..block.steps {
                let w = weights.map(|weights| _mm512_loadu_si512(weights.cast()));
                for r in 0..R {
                    let bytes = broadcast(rows[r].add(step * STEP));
                    acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], w[0], bytes);
                    acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], w[1], bytes);
                }
                weights = weights.map(|weights| weights.add(STEP * PANEL));
            }
        }
        for r in 0..R {
            _mm512_storeu_si512(first[first_row + r].as_mut_ptr().cast(), acc[r][0]);
            _mm512_storeu_si512(second[first_row + r].as_mut_ptr().cast(), acc[r][1]);
        }
    }
}

/// [`products`] for any weights.
///
/// # Safety
/// As [`products`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn wide_products(block: &Block, panel: &[i8], sums: &mut Sums) {
    // SAFETY: what the caller vouches for is what the tiles want.
    unsafe { by_rows!(block, panel, sums, wide_tile, [8, 1]) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile<const R: usize>(block: &Block, panel: &[i8], first_row: usize, sums: &mut Sums) {
    // Two sums of alternating steps, so that one need not wait for the other.
    let mut acc = [[_mm512_setzero_si512(); 2]; R];
    // SAFETY: a panel holds every tap's steps, the block has checked that each row holds as many.
    unsafe {
        let mut weights = panel.as_ptr();
        for tap in 0..block.taps {
            let rows = row_pointers::<R>(block, tap, first_row);
            let mut step = 0;
            while step + 2 <= block.steps {
                for half in 0..2 {
                    let w = _mm512_loadu_si512(weights.add(half * STEP * PANEL).cast());
                    for r in 0..R {
                        let bytes = broadcast(rows[r].add((step + half) * STEP));
                        acc[r][half] = _mm512_dpbusd_epi32(acc[r][half], w, bytes);
                    }
                }
                weights = weights.add(2 * STEP * PANEL);
                step += 2;
            }
            if step < block.steps {
                let w = _mm512_loadu_si512(weights.cast());
                for r in 0..R {
                    let bytes = broadcast(rows[r].add(step * STEP));
                    acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], w, bytes);
                }
                weights = weights.add(STEP * PANEL);
            }
        }
        for r in 0..R {
            let sum = _mm512_add_epi32(acc[r][0], acc[r][1]);
            _mm512_storeu_si512(sums[first_row + r].as_mut_ptr().cast(), sum);
        }
    }
}

/// The unsigned operand is the activation, plus 128; what that adds is 128 times the sum of the weights, taken off at the end.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn wide_tile<const R: usize>(
    block: &Block,
    panel: &[i8],
    first_row: usize,
    sums: &mut Sums,
) {
    let mut acc = [_mm512_setzero_si512(); R];
    let mut of_weights = _mm512_setzero_si512();
    let flip = _mm512_set1_epi8(i8::MIN);
    // SAFETY: as in `tile`.
    unsafe {
        let mut weights = panel.as_ptr();
        for tap in 0..block.taps {
            let rows = row_pointers::<R>(block, tap, first_row);
            for step in 0..block.steps {
                let w = _mm512_loadu_si512(weights.cast());
                of_weights = _mm512_dpbusd_epi32(of_weights, flip, w);
                for r in 0..R {
                    let bytes = _mm512_xor_si512(broadcast(rows[r].add(step * STEP)), flip);
                    acc[r] = _mm512_dpbusd_epi32(acc[r], bytes, w);
                }
                weights = weights.add(STEP * PANEL);
            }
        }
        for r in 0..R {
            let sum = _mm512_sub_epi32(acc[r], of_weights);
            _mm512_storeu_si512(sums[first_row + r].as_mut_ptr().cast(), sum);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn broadcast(bytes: *const i8) -> __m512i {
    // SAFETY: the caller vouches for four bytes.
    _mm512_set1_epi32(unsafe { bytes.cast::<i32>().read_unaligned() })
}

/// As [`Block::row_sums`].
///
/// # Safety
/// The machine must have AVX-512 with BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn row_sums(block: &Block, sums: &mut [i32; BLOCK]) {
    let ones = _mm512_set1_epi8(1);
    let (whole, rest) = (block.steps / 16, block.steps % 16);
    let mask = (1 << rest) - 1;
    for (r, sum) in sums.iter_mut().enumerate().take(block.count) {
        let mut acc = _mm512_setzero_si512();
        for tap in 0..block.taps {
            // SAFETY: the block has checked that the row holds its steps; what the mask leaves out is not read.
            unsafe {
                let [row] = row_pointers::<1>(block, tap, r);
                for chunk in 0..whole {
                    let bytes = _mm512_loadu_si512(row.add(chunk * 64).cast());
                    acc = _mm512_dpbusd_epi32(acc, ones, bytes);
                }
                let bytes = _mm512_maskz_loadu_epi32(mask, row.add(whole * 64).cast());
                acc = _mm512_dpbusd_epi32(acc, ones, bytes);
            }
        }
        *sum = _mm512_reduce_add_epi32(acc);
    }
}

/// As [`super::look_up`].
///
/// # Safety
/// The machine must have AVX-512 with BW and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) unsafe fn look_up(table: &[i8; 256], bytes: &mut [i8]) {
    // SAFETY: each quarter is 64 bytes.
    let quarter =
        |index: usize| unsafe { _mm512_loadu_si512(table.as_ptr().add(index * 64).cast()) };
    let quarters = [quarter(0), quarter(1), quarter(2), quarter(3)];
    let value = |bytes: __m512i| {
        let low = _mm512_permutex2var_epi8(quarters[0], bytes, quarters[1]);
        let high = _mm512_permutex2var_epi8(quarters[2], bytes, quarters[3]);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high)
    };
    let (rows, rest) = bytes.as_chunks_mut::<64>();
    for row in rows {
        let row = row.as_mut_ptr();
        // SAFETY: a row is 64 bytes.
        unsafe { _mm512_storeu_si512(row.cast(), value(_mm512_loadu_si512(row.cast()))) };
    }
    let mask = (1u64 << rest.len()) - 1;
    let rest = rest.as_mut_ptr();
    // SAFETY: only as many bytes as are left are read and written.
    unsafe { _mm512_mask_storeu_epi8(rest, mask, value(_mm512_maskz_loadu_epi8(mask, rest))) };
}

/// As [`bytes::requantise`].
///
/// # Safety
/// The machine must have AVX-512, and each of no more than a block's rows must lie inside the bytes.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn requantise(scaling: Scaling, rounding: Rounding, rows: Rows) {
    let rounding = Round::new(rounding);
    // SAFETY: a panel is one vector; the sums are of a whole block, and the rows were checked.
    unsafe {
        let bias = _mm512_loadu_si512(scaling.bias.as_ptr().cast());
        let scale = _mm512_loadu_ps(scaling.scale.as_ptr());
        for r in 0..rows.count {
            let row_sum = _mm512_set1_epi32(*scaling.row_sums.get_unchecked(r));
            let sums = _mm512_loadu_si512(scaling.sums.get_unchecked(r).as_ptr().cast());
            let sums = _mm512_add_epi32(_mm512_add_epi32(sums, bias), row_sum);
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale);
            let row = rows.bytes.as_mut_ptr().add(r * rows.stride);
            _mm_storeu_si128(row.cast(), rounding.bytes(scaled));
        }
    }
}

/// As [`bytes::add`].
///
/// # Safety
/// The machine must have AVX-512, and the slices must be of one length.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn add(terms: [Term; 2], rounding: Rounding, b: &[i8], out: &mut [i8]) {
    let whole = out.len() / LANES * LANES;
    let vectors = Round::new(rounding);
    let zeros = terms.map(|term| _mm512_set1_epi32(term.zero));
    let scales = terms.map(|term| _mm512_set1_ps(term.scale));
    for at in (0..whole).step_by(LANES) {
        // SAFETY: sixteen bytes follow in each slice.
        unsafe {
            let a = _mm512_mul_ps(reals(out.as_ptr().add(at), zeros[0]), scales[0]);
            let b = _mm512_mul_ps(reals(b.as_ptr().add(at), zeros[1]), scales[1]);
            let bytes = vectors.bytes(_mm512_add_ps(a, b));
            _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), bytes);
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
/// The machine must have AVX-512.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn scale(zero: i32, rounding: Rounding, factors: &[f32], out: &mut [i8]) {
    let vectors = Round::new(rounding);
    let zeros = _mm512_set1_epi32(zero);
    for out in out.chunks_mut(factors.len().max(1)) {
        let whole = out.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: sixteen elements follow in each slice.
            unsafe {
                let products = reals(out.as_ptr().add(at), zeros);
                let factors = _mm512_loadu_ps(factors.as_ptr().add(at));
                let bytes = vectors.bytes(_mm512_mul_ps(products, factors));
                _mm_storeu_si128(out.as_mut_ptr().add(at).cast(), bytes);
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
#[target_feature(enable = "avx512f")]
unsafe fn reals(bytes: *const i8, zero: __m512i) -> __m512 {
    // SAFETY: the caller vouches for sixteen bytes.
    let bytes = _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(bytes.cast()) });
    _mm512_cvtepi32_ps(_mm512_sub_epi32(bytes, zero))
}

/// [`Rounding`] in vectors.
struct Round {
    low: __m512,
    high: __m512,
    shift: __m512,
    /// What the bits of a shifted sum are more than the byte.
    excess: __m512i,
}

impl Round {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(rounding: Rounding) -> Self {
        Self {
            low: _mm512_set1_ps(rounding.low),
            high: _mm512_set1_ps(rounding.high),
            shift: _mm512_set1_ps(bytes::SHIFT),
            excess: _mm512_set1_epi32(bytes::SHIFT.to_bits() as i32 - rounding.zero_point),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn bytes(&self, scaled: __m512) -> __m128i {
        // Of an operand that is not a number, `max` returns the second.
        let clamped = _mm512_min_ps(_mm512_max_ps(scaled, self.low), self.high);
        let shifted = _mm512_castps_si512(_mm512_add_ps(clamped, self.shift));
        _mm512_cvtepi32_epi8(_mm512_sub_epi32(shifted, self.excess))
    }
}
