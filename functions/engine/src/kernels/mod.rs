//! The inner loops of quantised matrix products, one file per instruction set, all with the same bits.
//!
//! A product is computed in tiles of [`ROWS`] output pixels by [`PANEL`] output channels. Activations are read where
//! they lie: `offsets` says, for each tap of the kernel window and each row, where that row's `K` bytes begin, so a
//! convolution needs no copy of its windows.
//!
//! AVX2 wants weights in -64..=63 (7 bits): then two products of an 8-bit activation and a weight fit an i16, which is
//! what `pmaddubsw` needs to be exact. Wider weights take the scalar form there.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
mod pack;
mod scalar;
#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
mod wasm;

pub(crate) use pack::Packed;

/// Output channels in a panel of packed weights, and in a tile.
pub(crate) const PANEL: usize = 8;

/// Output pixels in a tile: as many as leave the accumulators in registers.
#[cfg(target_arch = "x86_64")]
pub(crate) const ROWS: usize = 8;
/// Output pixels in a tile: as many as leave the accumulators in registers.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const ROWS: usize = 4;

/// `K` is processed in steps of this many bytes; weights are padded with zeros up to it, so what the activations hold
/// behind a row does not matter, but it is read.
pub(crate) const STEP: usize = 4;

/// The sums of one tile, by row and channel.
pub(crate) type Tile = [[i32; PANEL]; ROWS];

/// Which form of the tile product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Portable; any weights.
    Scalar,
    /// 256-bit integer vectors; 7-bit weights.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `i32x4.dot_i16x8_s`.
    #[cfg(target_family = "wasm")]
    Simd128,
}

impl Form {
    /// The fastest form that this machine has for weights that are (`narrow`) or are not all in -64..=63.
    pub(crate) fn best(narrow: bool) -> Self {
        if !narrow {
            return Self::Scalar;
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        #[cfg(target_family = "wasm")]
        return Self::Simd128;
        #[cfg(not(target_family = "wasm"))]
        Self::Scalar
    }

    /// Every form that this machine can run on 7-bit weights, to check them against each other.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut forms = vec![Self::Scalar];
        if Self::best(true) != Self::Scalar {
            forms.push(Self::best(true));
        }
        forms
    }
}

/// Adds, for each row `r` and channel `c` of the panel, `sum over taps t and k of x[offsets[t][r] + k] * weight[t][k][c]`
/// to `tile[r][c]`.
///
/// `offsets`: `taps` rows, `stride` apart, of which the first [`ROWS`] are read.
pub(crate) fn accumulate(
    form: Form,
    x: &[u8],
    offsets: &[u32],
    stride: usize,
    packed: &Packed,
    panel: &[i8],
    tile: &mut Tile,
) {
    debug_assert_eq!(panel.len(), packed.panel_len());
    let steps = packed.steps;
    for tap in 0..packed.taps {
        let offsets = &offsets[tap * stride..tap * stride + ROWS];
        // The fast forms read without checks of their own.
        let end = offsets.iter().max().map_or(0, |&offset| offset as usize) + steps * STEP;
        assert!(
            end <= x.len(),
            "tap {tap} reads up to {end} of {} bytes",
            x.len()
        );
        let weights = &panel[tap * steps * STEP * PANEL..][..steps * STEP * PANEL];
        match form {
            Form::Scalar => scalar::accumulate(x, offsets, weights, tile),
            // SAFETY: `Form::best` chose it after detecting the instructions; the reads were checked above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Form::Avx2 => unsafe { avx2::accumulate(x, offsets, weights, tile) },
            // SAFETY: the reads were checked above.
            #[cfg(target_family = "wasm")]
            #[allow(unsafe_code)]
            Form::Simd128 => unsafe { wasm::accumulate(x, offsets, weights, tile) },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `taps`, `k`, `n`, weights in `taps * k * n` order, activations.
    fn problem(
        lowest: i8,
        highest: i8,
    ) -> impl Strategy<Value = (usize, usize, usize, Vec<i8>, Vec<u8>)> {
        (1usize..4, 1usize..40, 1usize..20).prop_flat_map(move |(taps, k, n)| {
            let weights = prop::collection::vec(
                prop_oneof![Just(lowest), Just(highest), lowest..=highest],
                taps * k * n,
            );
            let x = prop::collection::vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 512);
            (Just(taps), Just(k), Just(n), weights, x)
        })
    }

    fn check(form: Form, taps: usize, k: usize, n: usize, weights: &[i8], x: &[u8]) {
        let mut region = Vec::new();
        let packed = Packed::new(
            taps,
            k,
            n,
            |tap, k_index, channel| weights[(tap * k + k_index) * n + channel],
            &mut region,
        );
        let stride = ROWS + 3;
        let offsets: Vec<u32> = (0..taps * stride)
            .map(|i| (i * 37 % (512 - 48)) as u32)
            .collect();
        for panel in 0..packed.panels {
            let mut tile = [[7; PANEL]; ROWS];
            accumulate(
                form,
                x,
                &offsets,
                stride,
                &packed,
                packed.panel(&region, panel),
                &mut tile,
            );
            for (row, sums) in tile.iter().enumerate() {
                for (lane, &sum) in sums.iter().enumerate() {
                    let channel = panel * PANEL + lane;
                    let mut expected = 7;
                    for tap in 0..taps {
                        for k_index in 0..k {
                            let weight = if channel < n {
                                weights[(tap * k + k_index) * n + channel]
                            } else {
                                0
                            };
                            let start = offsets[tap * stride + row] as usize;
                            expected += i32::from(x[start + k_index]) * i32::from(weight);
                        }
                    }
                    assert_eq!(sum, expected, "{form:?}, row {row}, channel {channel}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_form_agrees_with_the_definition((taps, k, n, weights, x) in problem(-64, 63)) {
            for form in Form::all() {
                check(form, taps, k, n, &weights, &x);
            }
        }

        #[test]
        fn wide_weights_are_exact((taps, k, n, weights, x) in problem(-128, 127)) {
            check(Form::Scalar, taps, k, n, &weights, &x);
        }
    }

    #[test]
    #[should_panic(expected = "reads up to")]
    fn a_read_past_the_end_is_caught() {
        let mut region = Vec::new();
        let packed = Packed::new(1, 8, 8, |_, _, _| 1, &mut region);
        let mut tile = [[0; PANEL]; ROWS];
        accumulate(
            Form::best(true),
            &[0; 12],
            &[5; ROWS],
            ROWS,
            &packed,
            packed.panel(&region, 0),
            &mut tile,
        );
    }
}
