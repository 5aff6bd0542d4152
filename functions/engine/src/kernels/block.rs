//! The rows of activations that a block of output pixels is made of.

use super::{BLOCK, Isa, STEP};

/// Up to [`BLOCK`] output pixels: where the bytes under each tap of their windows begin.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(super) x: &'a [i8],
    /// `[taps][BLOCK]`; the columns behind `count` repeat one before them.
    pub(super) offsets: &'a [u32],
    pub(super) count: usize,
    pub(super) taps: usize,
    /// Steps of [`STEP`] bytes under each tap.
    pub(super) steps: usize,
}

impl<'a> Block<'a> {
    /// `x`: the activations, padding and slack included. `offsets`: `[taps][BLOCK]`, all of it set. `k`: bytes under a tap.
    ///
    /// # Panics
    /// When a row would be read beyond the end of `x`: the kernels rely on this check.
    pub(crate) fn new(
        x: &'a [i8],
        offsets: &'a [u32],
        count: usize,
        taps: usize,
        k: usize,
    ) -> Self {
        let offsets = &offsets[..taps * BLOCK];
        let steps = k.div_ceil(STEP);
        // By value, which the compiler makes vectors of.
        let last = offsets
            .iter()
            .fold(0, |last: u32, &offset| last.max(offset));
        let end = last as usize + steps * STEP;
        assert!(
            end <= x.len() && (1..=BLOCK).contains(&count),
            "a block of {count} pixels reads up to {end} of {} bytes",
            x.len()
        );
        Self {
            x,
            offsets,
            count,
            taps,
            steps,
        }
    }

    /// For each pixel, the sum of the bytes under all taps, up to whole steps.
    pub(crate) fn row_sums(&self, isa: Isa, sums: &mut [i32; BLOCK]) {
        match isa {
            // SAFETY: only an `Isa` that this machine has is ever run; the reads were checked when the block
            // was made.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Isa::Avx512Vnni => unsafe { super::avx512::row_sums(self, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Isa::Avx2 | Isa::AvxVnni => unsafe { super::avx2::row_sums(self, sums) },
            // SAFETY: as above.
            #[cfg(target_family = "wasm")]
            #[allow(unsafe_code)]
            isa if isa != Isa::Scalar => unsafe { super::wasm::row_sums(self, sums) },
            _ => {
                for (r, sum) in sums.iter_mut().enumerate().take(self.count) {
                    let row = |tap: usize| {
                        let start = self.offsets[tap * BLOCK + r] as usize;
                        &self.x[start..start + self.steps * STEP]
                    };
                    let bytes = (0..self.taps).flat_map(row);
                    *sum = bytes.map(|&byte| i32::from(byte)).sum();
                }
            }
        }
    }
}
