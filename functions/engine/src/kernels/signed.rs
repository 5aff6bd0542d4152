//! Dense products on the relaxed dot product of 16 bits, where it takes its second operand as unsigned bytes.
//!
//! So it does where it is `pmaddubsw`, on x86. Then the activations, plus 128, can be that operand, and the weights are signed. Small as
//! most weights are, the products of two or four steps fit an i16 together and are widened once, and no pixel's bytes need to be
//! summed. [`Packed::depths`] says where that is exact. The sums have the same bits as all others.

use std::arch::wasm32::*;

use super::pack::CHUNK_STEPS;
use super::{BLOCK, Block, Isa, PANEL, PANELS, Packed, STEP, Sums};

/// Weights in more bytes than these are not worth the room.
const MAX_BYTES: usize = 1 << 19;

/// Of fewer pixels, taking the offset off the weights first is no gain.
const LEAST_PIXELS: usize = 2 * BLOCK;

/// Vectors of four channels in a panel.
const VECTORS: usize = PANEL / 4;

/// An operator's weights, signed.
#[derive(Debug, Default)]
pub(crate) struct Signed {
    /// `[panels][taps][steps][VECTORS]`, as packed.
    weights: Vec<v128>,
    /// `[pairs of panels][taps][chunks]`: [`Packed::depths`] that hold for both panels.
    depths: Vec<u8>,
    /// `[panels][VECTORS]`: what the 128 that activations have more come to, to be added.
    starts: Vec<v128>,
    channels: usize,
}

/// Whether the relaxed dot product takes its second operand as unsigned here. Asked each time: an image may be made on one machine and run
/// on another.
fn second_is_unsigned() -> bool {
    let [ones, most] = std::hint::black_box([i8x16_splat(1), i8x16_splat(-128)]);
    i16x8_extract_lane::<0>(i16x8_relaxed_dot_i8x16_i7x16(ones, most)) == 256
}

impl Signed {
    /// Makes ready for the products of `packed`, whose weights lie in `region`, for `pixels` pixels by `channels` channels. `None` where they are
    /// better or can only be computed by [`super::products`].
    pub(crate) fn prepare(
        &mut self,
        isa: Isa,
        packed: &Packed,
        region: &[i8],
        channels: usize,
        pixels: usize,
    ) -> Option<&Self> {
        let offset = i8::try_from(packed.offset?).ok()?;
        let fits = isa == Isa::RelaxedSimd && second_is_unsigned();
        let bytes = packed.panels * packed.panel_len();
        if packed.depths.is_empty() || !fits || pixels < LEAST_PIXELS || bytes > MAX_BYTES {
            return None;
        }
        self.channels = channels;
        self.weights.clear();
        self.depths.clear();
        self.starts.clear();
        let offset = i8x16_splat(offset);
        let weights = packed.panels(region, 0, packed.panels);
        self.weights
            .extend(weights.as_chunks::<16>().0.iter().map(|weights| {
                // SAFETY: sixteen bytes are a vector.
                let weights = unsafe { v128_load(weights.as_ptr().cast()) };
                i8x16_sub(weights, offset)
            }));
        let rows = packed.taps * (packed.steps / CHUNK_STEPS);
        for pair in packed.depths.chunks((PANELS * rows).max(1)) {
            let (first, second) = pair.split_at(rows);
            let depths = first.iter().enumerate();
            self.depths.extend(
                depths
                    .map(|(row, &depth)| second.get(row).map_or(depth, |&other| depth.min(other))),
            );
        }
        self.starts.extend(
            packed
                .totals
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&[a, b, c, d]| i32x4_mul(i32x4(a, b, c, d), i32x4_splat(-128))),
        );
        Some(self)
    }

    /// As [`super::products`] of the panels from `first` on, without what was added to the weights.
    pub(crate) fn products(&self, block: &Block, packed: &Packed, first: usize, sums: &mut [Sums]) {
        let pair = first / PANELS;
        let vectors = vectors(self.channels - first * PANEL);
        let chunks = packed.steps / CHUNK_STEPS;
        let panel = packed.panel_len() / 16;
        let weights = &self.weights[first * panel..][..sums.len() * panel];
        let depths = &self.depths[pair * packed.taps * chunks..][..packed.taps * chunks];
        let starts = &self.starts[first * VECTORS..][..sums.len() * VECTORS];
        assert!(
            first.is_multiple_of(PANELS)
                && block.taps == packed.taps
                && block.steps == packed.steps
                && sums.len() * VECTORS >= vectors,
            "panels {first}.. of {} for a block of {} taps of {} steps",
            packed.panels,
            block.taps,
            block.steps
        );
        let job = Job {
            x: block.x.as_ptr(),
            offsets: block.offsets.as_ptr(),
            count: block.count,
            taps: block.taps,
            chunks,
            rest: block.steps % CHUNK_STEPS,
            weights: weights.as_ptr(),
            panel,
            depths: depths.as_ptr(),
            starts: starts.as_ptr(),
            sums: sums.as_mut_ptr().cast(),
        };
        // SAFETY: the lengths were checked; the block has checked its reads.
        unsafe {
            match vectors {
                2 => pixels::<2>(&job),
                4 => pixels::<4>(&job),
                6 => pixels::<6>(&job),
                _ => pixels::<8>(&job),
            }
        }
    }
}

/// Vectors that are computed of up to [`PANELS`] panels, when so many channels are left: an even number.
fn vectors(channels: usize) -> usize {
    channels.min(PANELS * PANEL).div_ceil(8) * 2
}

/// The operands of a block and up to two panels.
///
/// Plain pointers: the sums must stay in memory. Held in registers, there are more of them than the compiler has, and it then computes all products of a
/// round after all of its loads.
struct Job {
    x: *const i8,
    offsets: *const u32,
    count: usize,
    taps: usize,
    /// Whole chunks under a tap, and steps behind them.
    chunks: usize,
    rest: usize,
    weights: *const v128,
    /// Vectors from one panel's weights to the next one's.
    panel: usize,
    depths: *const u8,
    starts: *const v128,
    /// `[panels][BLOCK][PANEL]`
    sums: *mut i32,
}

/// # Safety
/// The job must be as [`Signed::products`] has checked.
#[inline(never)]
#[target_feature(enable = "relaxed-simd")]
unsafe fn pixels<const V: usize>(job: &Job) {
    let mut row = 0;
    // SAFETY: as the caller vouches for.
    unsafe {
        while row + 2 <= job.count {
            tile::<2, V>(job, row);
            row += 2;
        }
        if row < job.count {
            tile::<1, V>(job, row);
        }
    }
}

/// `R` pixels by `V` vectors of channels.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn tile<const R: usize, const V: usize>(job: &Job, row: usize) {
    // SAFETY: as the caller vouches for.
    unsafe {
        let sums = job.sums.add(row * PANEL);
        let place = |r: usize, v: usize| -> *mut v128 {
            let vector = v / VECTORS * BLOCK * PANEL + v % VECTORS * 4;
            sums.add(r * PANEL + vector).cast()
        };
        for v in 0..V {
            let start = v128_load(job.starts.add(v));
            for r in 0..R {
                v128_store(place(r, v), start);
            }
        }
        let flip = i8x16_splat(-128);
        let mut weights = [job.weights, job.weights.wrapping_add(job.panel)];
        let mut depths = job.depths;
        for tap in 0..job.taps {
            let offsets = job.offsets.add(tap * BLOCK + row);
            let mut x: [*const i8; R] =
                std::array::from_fn(|r| job.x.add(*offsets.add(r) as usize));
            for _ in 0..job.chunks {
                let bytes: [[v128; CHUNK_STEPS]; R] = std::array::from_fn(|r| {
                    let bytes = v128_xor(v128_load(x[r].cast()), flip);
                    [
                        i32x4_shuffle::<0, 0, 0, 0>(bytes, bytes),
                        i32x4_shuffle::<1, 1, 1, 1>(bytes, bytes),
                        i32x4_shuffle::<2, 2, 2, 2>(bytes, bytes),
                        i32x4_shuffle::<3, 3, 3, 3>(bytes, bytes),
                    ]
                });
                macro_rules! chunk {
                    (|$products:ident| $sum:expr) => {
                        for v in 0..V {
                            let w: [v128; CHUNK_STEPS] = std::array::from_fn(|step| {
                                v128_load(weights[v / VECTORS].add(step * VECTORS + v % VECTORS))
                            });
                            for r in 0..R {
                                let $products: [v128; CHUNK_STEPS] = std::array::from_fn(|step| {
                                    i16x8_relaxed_dot_i8x16_i7x16(w[step], bytes[r][step])
                                });
                                let at = place(r, v);
                                v128_store(at, i32x4_add(v128_load(at), $sum));
                            }
                        }
                    };
                }
                let depth = *depths;
                if depth == 2 {
                    chunk!(|p| {
                        let two = [i16x8_add(p[0], p[1]), i16x8_add(p[2], p[3])];
                        let wide = two.map(|two| i32x4_extadd_pairwise_i16x8(two));
                        i32x4_add(wide[0], wide[1])
                    });
                } else if depth == 4 {
                    chunk!(|p| {
                        let two = [i16x8_add(p[0], p[1]), i16x8_add(p[2], p[3])];
                        i32x4_extadd_pairwise_i16x8(i16x8_add(two[0], two[1]))
                    });
                } else {
                    chunk!(|p| {
                        let wide = p.map(|one| i32x4_extadd_pairwise_i16x8(one));
                        i32x4_add(i32x4_add(wide[0], wide[1]), i32x4_add(wide[2], wide[3]))
                    });
                }
                depths = depths.add(1);
                weights = weights.map(|weights| weights.wrapping_add(CHUNK_STEPS * VECTORS));
                for x in &mut x {
                    *x = x.add(CHUNK_STEPS * STEP);
                }
            }
            for _ in 0..job.rest {
                let bytes: [v128; R] =
                    std::array::from_fn(|r| v128_xor(v128_load32_splat(x[r].cast()), flip));
                for v in 0..V {
                    let w = v128_load(weights[v / VECTORS].add(v % VECTORS));
                    for r in 0..R {
                        let products = i16x8_relaxed_dot_i8x16_i7x16(w, bytes[r]);
                        let at = place(r, v);
                        let wide = i32x4_extadd_pairwise_i16x8(products);
                        v128_store(at, i32x4_add(v128_load(at), wide));
                    }
                }
                weights = weights.map(|weights| weights.wrapping_add(VECTORS));
                for x in &mut x {
                    *x = x.add(STEP);
                }
            }
        }
    }
}
