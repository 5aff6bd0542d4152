//! From sums and reals to bytes: the loops around the products. The definitions are plain Rust, which the compiler vectorises,
//! but the two that take the most time not well.
//!
//! Every form does the same IEEE operations in the same order, so all have the same bits.

use super::{BLOCK, Isa, PANEL, Sums, Wide, widest};

/// Clamping, rounding half to even and the zero point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    /// Whole numbers, before the zero point is added.
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) zero_point: i32,
}

/// Adding 1.5 * 2^23 to a number within +-2^22 leaves no fraction bits, so the addition itself rounds, in the mode that
/// every target starts in, and the integer stands in the low bits of the sum.
pub(super) const SHIFT: f32 = 12_582_912.0;

impl Rounding {
    /// The bytes for a row of `scaled`.
    #[inline(always)]
    pub(crate) fn bytes<const N: usize>(self, scaled: [f32; N]) -> [i8; N] {
        // Clamping first is the same, for the limits are whole numbers, and keeps the rounding trick in its range.
        let mut bytes = [0; N];
        for (byte, value) in bytes.iter_mut().zip(scaled) {
            // In this form a comparison is one instruction, and what is not a number becomes the lowest.
            let clamped = if self.low < value { value } else { self.low };
            let clamped = if self.high < clamped {
                self.high
            } else {
                clamped
            };
            *byte = (round_half_even(clamped) + self.zero_point) as i8;
        }
        bytes
    }
}

/// Rounds `value`, within +-2^22, to the nearest integer, ties to even.
#[inline(always)]
pub(crate) fn round_half_even(value: f32) -> i32 {
    (value + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}

/// The sums of a panel for a block, and what makes reals of them: `(sum + bias + row_sum) * scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scaling<'a> {
    pub(crate) sums: &'a Sums,
    /// For each channel.
    pub(crate) bias: &'a [i32; PANEL],
    pub(crate) scale: &'a [f32; PANEL],
    /// For each pixel.
    pub(crate) row_sums: &'a [i32; BLOCK],
    /// Whether every result is known to be within +-2^21: then rounding need not wait for the clamps.
    pub(crate) bounded: bool,
}

/// Where the bytes of a panel go: [`PANEL`] for each pixel, `stride` bytes apart.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a mut [i8],
    pub(crate) stride: usize,
    /// Pixels.
    pub(crate) count: usize,
}

impl Scaling<'_> {
    #[inline(always)]
    fn row(&self, r: usize) -> [f32; PANEL] {
        let mut scaled = [0.0; PANEL];
        for (lane, scaled) in scaled.iter_mut().enumerate() {
            let sum = self.sums[r][lane]
                .wrapping_add(self.bias[lane])
                .wrapping_add(self.row_sums[r]);
            *scaled = sum as f32 * self.scale[lane];
        }
        scaled
    }
}

/// Bytes of the first `rows.count` pixels' sums.
pub(crate) fn requantise(isa: Isa, scaling: Scaling, rounding: Rounding, rows: Rows) {
    let end = rows.count.saturating_sub(1) * rows.stride + PANEL;
    assert!(
        rows.count <= BLOCK && end <= rows.bytes.len(),
        "{} rows end at {end} of {} bytes",
        rows.count,
        rows.bytes.len()
    );
    match isa {
        // SAFETY: every array is as long as the loop, and each row lies inside the bytes.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        isa if isa != Isa::Scalar => unsafe { super::wasm::requantise(scaling, rounding, rows) },
        // SAFETY: only an `Isa` that this machine has is ever run; the rows were checked.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe { super::avx512::requantise(scaling, rounding, rows) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni => unsafe { super::avx2::requantise(scaling, rounding, rows) },
        _ => {
            for r in 0..rows.count {
                let scaled = scaling.row(r);
                let within = |value: &f32| value.abs() <= (1 << 21) as f32;
                debug_assert!(!scaling.bounded || scaled.iter().all(within));
                let row = rounding.bytes(scaled);
                rows.bytes[r * rows.stride..][..PANEL].copy_from_slice(&row);
            }
        }
    }
}

/// Reals of the first `reals.len()` pixels' sums, plus `rest` for each channel.
pub(crate) fn rescale(isa: Isa, scaling: Scaling, rest: &[f32; PANEL], reals: &mut [[f32; PANEL]]) {
    widest(
        isa,
        Rescale {
            scaling,
            rest,
            reals,
        },
    );
}

struct Rescale<'a> {
    scaling: Scaling<'a>,
    rest: &'a [f32; PANEL],
    reals: &'a mut [[f32; PANEL]],
}

impl Wide for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (r, reals) in self.reals.iter_mut().enumerate() {
            *reals = self.scaling.row(r);
            for (real, rest) in reals.iter_mut().zip(self.rest) {
                *real += rest;
            }
        }
    }
}

/// One operand of a sum: `(byte - zero) * scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term {
    pub(crate) zero: i32,
    pub(crate) scale: f32,
}

impl Term {
    #[inline(always)]
    fn real(self, byte: i8) -> f32 {
        (i32::from(byte) - self.zero) as f32 * self.scale
    }
}

/// `out = out + b`, each a term, in units of the output's scale.
///
/// # Panics
/// When the slices are not of one length.
pub(crate) fn add(isa: Isa, terms: [Term; 2], rounding: Rounding, b: &[i8], out: &mut [i8]) {
    assert_eq!(b.len(), out.len());
    match isa {
        // SAFETY: the lengths were checked.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        isa if isa != Isa::Scalar => unsafe { super::wasm::add(terms, rounding, b, out) },
        // SAFETY: only an `Isa` that this machine has is ever run; the lengths were checked.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe { super::avx512::add(terms, rounding, b, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni => unsafe { super::avx2::add(terms, rounding, b, out) },
        _ => Add {
            terms,
            rounding,
            b,
            out,
        }
        .run(),
    }
}

/// Elements that a loop takes at once, so that it vectorises.
pub(super) const LANES: usize = 16;

pub(super) struct Add<'a> {
    pub(super) terms: [Term; 2],
    pub(super) rounding: Rounding,
    pub(super) b: &'a [i8],
    pub(super) out: &'a mut [i8],
}

impl Wide for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (b, b_rest) = self.b.as_chunks::<LANES>();
        let (out, out_rest) = self.out.as_chunks_mut::<LANES>();
        let [one, two] = self.terms;
        for (b, out) in b.iter().zip(out) {
            let mut sums = [0.0; LANES];
            for lane in 0..LANES {
                sums[lane] = one.real(out[lane]) + two.real(b[lane]);
            }
            *out = self.rounding.bytes(sums);
        }
        for (&b, out) in b_rest.iter().zip(out_rest) {
            [*out] = self.rounding.bytes([one.real(*out) + two.real(b)]);
        }
    }
}

/// Each row of `out` that is as long as `factors` times them, as `(byte - zero) * factor` in units of the output's scale.
pub(crate) fn scale(isa: Isa, zero: i32, rounding: Rounding, factors: &[f32], out: &mut [i8]) {
    match isa {
        // SAFETY: only an `Isa` that this machine has is ever run.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe { super::avx512::scale(zero, rounding, factors, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni => unsafe { super::avx2::scale(zero, rounding, factors, out) },
        #[cfg(target_family = "wasm")]
        isa if isa != Isa::Scalar => super::wasm::scale(zero, rounding, factors, out),
        _ => Scale {
            zero,
            rounding,
            factors,
            out,
        }
        .run(),
    }
}

pub(super) struct Scale<'a> {
    pub(super) zero: i32,
    pub(super) rounding: Rounding,
    pub(super) factors: &'a [f32],
    pub(super) out: &'a mut [i8],
}

impl Wide for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for out in self.out.chunks_mut(self.factors.len().max(1)) {
            for (out, factor) in out.iter_mut().zip(self.factors) {
                let product = (i32::from(*out) - self.zero) as f32 * factor;
                [*out] = self.rounding.bytes([product]);
            }
        }
    }
}
