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

/// Bytes of the first `bytes.len()` pixels' sums.
pub(crate) fn requantise(isa: Isa, scaling: Scaling, rounding: Rounding, bytes: &mut [[i8; PANEL]]) {
    assert!(bytes.len() <= BLOCK, "no more than a block");
    match isa {
        // SAFETY: every array is as long as the loop.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        isa if isa != Isa::Scalar => unsafe { super::wasm::requantise(scaling, rounding, bytes) },
        // SAFETY: an `Isa` value is only made on machines that have the instructions; the length was checked.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe { super::avx512::requantise(scaling, rounding, bytes) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni => unsafe { super::avx2::requantise(scaling, rounding, bytes) },
        _ => Requantise {
            scaling,
            rounding,
            bytes,
        }
        .run(),
    }
}

struct Requantise<'a> {
    scaling: Scaling<'a>,
    rounding: Rounding,
    bytes: &'a mut [[i8; PANEL]],
}

impl Wide for Requantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (r, bytes) in self.bytes.iter_mut().enumerate() {
            *bytes = self.rounding.bytes(self.scaling.row(r));
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

/// `out = a + b`, as reals in units of the output's scale.
///
/// # Panics
/// When the slices are not of one length.
pub(crate) fn add(
    isa: Isa,
    terms: [Term; 2],
    rounding: Rounding,
    a: &[i8],
    b: &[i8],
    out: &mut [i8],
) {
    assert!(a.len() == out.len() && b.len() == out.len());
    match isa {
        // SAFETY: the lengths were checked.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        isa if isa != Isa::Scalar => unsafe { super::wasm::add(terms, rounding, a, b, out) },
        // SAFETY: an `Isa` value is only made on machines that have the instructions; the lengths were checked.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe { super::avx512::add(terms, rounding, a, b, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni => unsafe { super::avx2::add(terms, rounding, a, b, out) },
        _ => Add {
            terms,
            rounding,
            a,
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
    pub(super) a: &'a [i8],
    pub(super) b: &'a [i8],
    pub(super) out: &'a mut [i8],
}

impl Wide for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (a, a_rest) = self.a.as_chunks::<LANES>();
        let (b, b_rest) = self.b.as_chunks::<LANES>();
        let (out, out_rest) = self.out.as_chunks_mut::<LANES>();
        let [one, two] = self.terms;
        for ((a, b), out) in a.iter().zip(b).zip(out) {
            let mut sums = [0.0; LANES];
            for lane in 0..LANES {
                sums[lane] = one.real(a[lane]) + two.real(b[lane]);
            }
            *out = self.rounding.bytes(sums);
        }
        for ((&a, &b), out) in a_rest.iter().zip(b_rest).zip(out_rest) {
            [*out] = self.rounding.bytes([one.real(a) + two.real(b)]);
        }
    }
}

/// Rows of `a`, each as long as `factors`, as `(byte - zero) * factor` in units of the output's scale.
///
/// # Panics
/// When `a` and `out` are not of one length.
pub(crate) fn scale(
    isa: Isa,
    zero: i32,
    rounding: Rounding,
    a: &[i8],
    factors: &[f32],
    out: &mut [i8],
) {
    assert_eq!(a.len(), out.len());
    match isa {
        // SAFETY: the lengths were checked.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        isa if isa != Isa::Scalar => unsafe {
            super::wasm::scale(zero, rounding, a, factors, out);
        },
        _ => widest(
            isa,
            Scale {
                zero,
                rounding,
                a,
                factors,
                out,
            },
        ),
    }
}

pub(super) struct Scale<'a> {
    pub(super) zero: i32,
    pub(super) rounding: Rounding,
    pub(super) a: &'a [i8],
    pub(super) factors: &'a [f32],
    pub(super) out: &'a mut [i8],
}

impl Wide for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.factors.len().max(1);
        let (factors, factors_rest) = self.factors.as_chunks::<LANES>();
        for (a, out) in self.a.chunks(width).zip(self.out.chunks_mut(width)) {
            let (a, a_rest) = a.as_chunks::<LANES>();
            let (out, out_rest) = out.as_chunks_mut::<LANES>();
            for ((a, factors), out) in a.iter().zip(factors).zip(out) {
                let mut products = [0.0; LANES];
                for lane in 0..LANES {
                    products[lane] = (i32::from(a[lane]) - self.zero) as f32 * factors[lane];
                }
                *out = self.rounding.bytes(products);
            }
            for ((&a, &factor), out) in a_rest.iter().zip(factors_rest).zip(out_rest) {
                let product = (i32::from(a) - self.zero) as f32 * factor;
                [*out] = self.rounding.bytes([product]);
            }
        }
    }
}
