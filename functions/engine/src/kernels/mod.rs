//! Integer matrix products and depthwise sums, one file per instruction set, all with the same bits.
//!
//! Activations and weights are i8. A dense product is computed for a block of up to [`BLOCK`] output pixels by [`PANEL`]
//! output channels. Activations are read where they lie: a [`Block`] says, for each tap of the kernel window and each
//! pixel, where that pixel's `K` bytes begin, so a convolution needs no copy of its windows.
//!
//! The quick instructions multiply signed by unsigned bytes, and of those `pmaddubsw`, and with it the relaxed dot product
//! of WebAssembly, is exact only while the sum of two products fits an i16. Weights that span no more than seven bits are
//! therefore stored plus an offset, in `0..=127`, and the caller takes `offset * sum of the pixel's bytes` off again, which
//! [`Block::row_sums`] gives. Wider weights are stored as they are and take the slower exact forms.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod block;
mod bytes;
#[allow(unsafe_code)]
mod columns;
mod depthwise;
#[allow(unsafe_code)]
mod gather;
mod isa;
mod lookup;
mod pack;
mod scalar;
#[cfg(all(target_family = "wasm", feature = "relaxed-simd"))]
#[allow(unsafe_code)]
mod signed;
#[cfg(not(all(target_family = "wasm", feature = "relaxed-simd")))]
mod signed {
    //! What only some machines' relaxed dot product has, where there is none.

    use super::{Block, Isa, Packed, Sums};

    #[derive(Debug, Default)]
    pub(crate) struct Signed(());

    /// There are no such products.
    pub(crate) enum Prepared {}

    impl Signed {
        pub(crate) fn prepare(
            &mut self,
            _: Isa,
            _: &Packed,
            _: &[i8],
            _: usize,
            _: usize,
        ) -> Option<Prepared> {
            None
        }
    }

    impl Prepared {
        pub(crate) fn products(&self, _: &Block, _: &Packed, _: usize, _: &mut [Sums]) {
            match *self {}
        }
    }
}
#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
mod wasm;

pub(crate) use block::Block;
pub(crate) use bytes::{
    Rounding, Rows, Scaling, Term, add, requantise, rescale, round_half_even, scale,
};
pub(crate) use columns::{COLUMN, MAX_LINES, column_sums};
pub(crate) use depthwise::{PackedDepthwise, products as depthwise_products};
pub(crate) use gather::{CHUNK, Lines, gather};
pub use isa::Isa;
pub(crate) use isa::{Wide, widest};
pub(crate) use lookup::look_up;
#[cfg(feature = "tract")]
pub(crate) use pack::shift;
pub(crate) use pack::{CHUNK_STEPS, Packed};
pub(crate) use signed::Signed;

/// Output channels in a panel of packed weights: one 512-bit register of sums.
pub(crate) const PANEL: usize = 16;

/// Output pixels that are computed at a time; a multiple of every kernel's number of rows.
pub(crate) const BLOCK: usize = 48;

/// `K` is processed in steps of this many bytes; weights are padded with zeros up to it, plus the offset like all others,
/// and a row's sum goes as far. So what the activations hold behind a row does not matter, but it is read.
pub(crate) const STEP: usize = 4;

/// Bytes behind the last row that a kernel may read.
pub(crate) const READ_AHEAD: usize = 16;

/// The sums of a block, by pixel and channel.
pub(crate) type Sums = [[i32; PANEL]; BLOCK];

/// Panels that are computed at a time: two, where there are registers for it, read the activations once for both.
pub(crate) const PANELS: usize = 2;

#[cfg(target_family = "wasm")]
pub(crate) use wasm::Widened;

/// Only WebAssembly's exact products want their weights in another form.
#[cfg(not(target_family = "wasm"))]
#[derive(Debug, Default)]
pub(crate) struct Widened(());

/// For each panel `p` in `panels`, pixel `r` of the block and channel `c` among the `lanes` of all panels, sets
/// `sums[p][r][c]` to `sum over taps t and k of x[offsets[t][r] + k] * weight[t][k][c]`, weights as stored. What stands behind
/// those pixels and channels is undefined.
///
/// `panels`: one or two panels' weights, one behind the other. `sums`: as many. `widened`: room for a panel's weights in the
/// form that the instructions want.
pub(crate) fn products(
    isa: Isa,
    block: &Block,
    packed: &Packed,
    panels: &[i8],
    lanes: usize,
    widened: &mut Widened,
    sums: &mut [Sums],
) {
    assert_eq!(
        panels.len(),
        sums.len() * packed.panel_len(),
        "the weights are whole panels"
    );
    assert!(
        block.taps == packed.taps && block.steps == packed.steps,
        "a block of {} taps of {} steps for weights of {} and {}",
        block.taps,
        block.steps,
        packed.taps,
        packed.steps
    );
    #[cfg(target_arch = "x86_64")]
    if let (Isa::Avx512Vnni, Some(_), [first, second]) = (isa, packed.offset, &mut *sums) {
        let (panels, second_panel) = panels.split_at(packed.panel_len());
        // SAFETY: only an `Isa` that this machine has is ever run; the block has checked its reads and the
        // panels' length was checked above.
        #[allow(unsafe_code)]
        unsafe {
            avx512::products_of_two(block, [panels, second_panel], [first, second]);
        }
        return;
    }
    let parts = panels.chunks_exact(packed.panel_len());
    for (index, (panel, sums)) in parts.zip(sums).enumerate() {
        let lanes = PANEL.min(lanes - index * PANEL);
        products_of_one(isa, block, packed, panel, lanes, widened, sums);
    }
}

fn products_of_one(
    isa: Isa,
    block: &Block,
    #[allow(unused_variables)] packed: &Packed,
    panel: &[i8],
    lanes: usize,
    #[allow(unused_variables)] widened: &mut Widened,
    sums: &mut Sums,
) {
    match isa {
        Isa::Scalar => scalar::products(block, panel, lanes, sums),
        // SAFETY: only an `Isa` that this machine has is ever run; the block has checked its reads and
        // the caller the panel's length.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx512Vnni => unsafe {
            if packed.offset.is_some() {
                avx512::products(block, panel, sums);
            } else {
                avx512::wide_products(block, panel, sums);
            }
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::AvxVnni => unsafe {
            if packed.offset.is_some() {
                avx2::vnni_products(block, panel, lanes, sums);
            } else {
                avx2::wide_products(block, panel, sums);
            }
        },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 => unsafe {
            if packed.offset.is_some() {
                avx2::products(block, panel, lanes, sums);
            } else {
                avx2::wide_products(block, panel, sums);
            }
        },
        // SAFETY: as above.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        Isa::Simd128 => unsafe { wasm::products(block, panel, lanes, widened, sums) },
        // SAFETY: as above.
        #[cfg(all(target_family = "wasm", feature = "relaxed-simd"))]
        #[allow(unsafe_code)]
        Isa::RelaxedSimd => unsafe {
            if packed.offset.is_some() {
                wasm::relaxed_products(block, panel, lanes, sums);
            } else {
                wasm::products(block, panel, lanes, widened, sums);
            }
        },
    }
}

#[cfg(test)]
mod tests;
