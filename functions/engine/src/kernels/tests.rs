//! Every form against the definition, on random shapes and at the ends of the ranges.

// A channel is an index of sums and of weights.
#![allow(clippy::needless_range_loop)]

use proptest::prelude::*;

use super::*;

/// Bytes of activations in a problem.
const BYTES: usize = 1024;

/// Enough for every form to be chosen.
const MANY_PIXELS: usize = 1000;

/// `taps`, `k`, `n`, pixels, weights in `taps * k * n` order, activations.
#[derive(Debug, Clone)]
struct Problem {
    taps: usize,
    k: usize,
    n: usize,
    count: usize,
    weights: Vec<i8>,
    x: Vec<i8>,
}

fn problem(lowest: i8, highest: i8) -> impl Strategy<Value = Problem> {
    (1usize..5, 1usize..70, 1usize..40, 1..=BLOCK).prop_flat_map(move |(taps, k, n, count)| {
        let weights = prop::collection::vec(
            prop_oneof![Just(lowest), Just(highest), lowest..=highest],
            taps * k * n,
        );
        let x = prop::collection::vec(prop_oneof![Just(-128i8), Just(127), any::<i8>()], BYTES);
        (weights, x).prop_map(move |(weights, x)| Problem {
            taps,
            k,
            n,
            count,
            weights,
            x,
        })
    })
}

impl Problem {
    /// Anywhere in the activations where a row fits.
    fn offsets(&self, row_bytes: usize) -> Vec<u32> {
        let places = BYTES - row_bytes - READ_AHEAD;
        (0..self.taps * BLOCK)
            .map(|i| (i * 37 % places) as u32)
            .collect()
    }

    fn check_dense(&self, narrow: bool) {
        let mut region = Vec::new();
        let weight = |tap: usize, k: usize, channel: usize| {
            self.weights[(tap * self.k + k) * self.n + channel]
        };
        let packed = Packed::new(self.taps, self.k, self.n, weight, &mut region);
        assert!(packed.offset.is_some() || !narrow);
        let offsets = self.offsets(self.k);
        let block = Block::new(&self.x, &offsets, self.count, self.taps, self.k);
        for isa in Isa::available() {
            let mut row_sums = [0; BLOCK];
            block.row_sums(isa, &mut row_sums);
            let mut signed = Signed::default();
            let signed = signed.prepare(isa, &packed, &region, self.n, MANY_PIXELS);
            for index in (0..packed.panels).step_by(PANELS) {
                let count = PANELS.min(packed.panels - index);
                let lanes = (count * PANEL).min(self.n - index * PANEL);
                let mut sums = vec![[[7; PANEL]; BLOCK]; count];
                let panels = packed.panels(&region, index, count);
                let mut widened = Widened::default();
                products(isa, &block, &packed, panels, lanes, &mut widened, &mut sums);
                let mut others = vec![[[7; PANEL]; BLOCK]; count];
                if let Some(signed) = &signed {
                    signed.products(&block, &packed, index, &mut others);
                }
                for r in 0..self.count {
                    for lane in 0..lanes {
                        let mut expected = 0;
                        for tap in 0..self.taps {
                            let start = offsets[tap * BLOCK + r] as usize;
                            for k in 0..self.k {
                                let weight = weight(tap, k, index * PANEL + lane);
                                expected += i32::from(self.x[start + k]) * i32::from(weight);
                            }
                        }
                        let offset = packed.offset.unwrap_or(0) * row_sums[r];
                        assert_eq!(
                            sums[lane / PANEL][r][lane % PANEL] - offset,
                            expected,
                            "{isa:?}, pixel {r}, channel {}",
                            index * PANEL + lane
                        );
                        assert!(
                            signed.is_none() || others[lane / PANEL][r][lane % PANEL] == expected,
                            "signed, pixel {r}, channel {}",
                            index * PANEL + lane
                        );
                    }
                }
            }
        }
    }

    /// The problem as a depthwise one of `n` channels; `k` is not used.
    fn check_depthwise(&self) {
        let mut region = Vec::new();
        let weight = |tap: usize, channel: usize| self.weights[tap * self.n + channel];
        let packed = PackedDepthwise::new(self.taps, self.n, weight, &mut region);
        let row_bytes = self.n.next_multiple_of(PANEL);
        let offsets = self.offsets(row_bytes);
        let block = Block::new(&self.x, &offsets, self.count, self.taps, row_bytes);
        for isa in Isa::available() {
            for index in 0..packed.panels {
                let lanes = PANEL.min(self.n - index * PANEL);
                let mut sums = [[7; PANEL]; BLOCK];
                let panel = packed.panel(&region, index);
                depthwise_products(isa, &block, &packed, panel, index * PANEL, lanes, &mut sums);
                for r in 0..self.count {
                    for lane in 0..lanes {
                        let channel = index * PANEL + lane;
                        let product = |tap: usize| {
                            let start = offsets[tap * BLOCK + r] as usize;
                            i32::from(self.x[start + channel]) * i32::from(weight(tap, channel))
                        };
                        let expected: i32 = (0..self.taps).map(product).sum();
                        assert_eq!(
                            sums[r][lane], expected,
                            "{isa:?}, pixel {r}, channel {channel}"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    // Of weights up to 16, an i16 just holds eight products, and of those up to 32 four.
    #[test]
    fn every_form_agrees_on_small_weights(
        problem in prop_oneof![problem(-16, 16), problem(-32, 32), problem(-17, 33), problem(0, 127)],
    ) {
        problem.check_dense(true);
    }

    #[test]
    fn every_form_agrees_with_the_definition(problem in problem(-64, 63)) {
        problem.check_dense(true);
    }

    #[test]
    fn wide_weights_are_exact(problem in problem(-128, 127)) {
        problem.check_dense(false);
    }

    #[test]
    fn depthwise_forms_agree_with_the_definition(problem in problem(-128, 127)) {
        problem.check_depthwise();
    }
}

#[test]
#[should_panic(expected = "reads up to")]
fn a_read_past_the_end_is_caught() {
    Block::new(&[0; 12], &[5; BLOCK], 1, 1, 8);
}

#[test]
fn long_runs_of_the_lowest_byte_do_not_overflow_a_row_sum() {
    let x = vec![-128; 50_000];
    let block = Block::new(&x, &[0; BLOCK], 1, 1, 50_000);
    for isa in Isa::available() {
        let mut sums = [0; BLOCK];
        block.row_sums(isa, &mut sums);
        assert_eq!(sums[0], -128 * 50_000, "{isa:?}");
    }
}

#[test]
fn look_ups_agree_with_the_definition() {
    let table: [i8; 256] = std::array::from_fn(|index| (index as u8).wrapping_mul(37) as i8);
    for len in [0, 1, 63, 64, 65, 200, 256] {
        let bytes: Vec<i8> = (0..len).map(|index| (index * 91) as u8 as i8).collect();
        let expected: Vec<i8> = bytes
            .iter()
            .map(|&byte| table[usize::from(byte as u8)])
            .collect();
        for isa in Isa::available() {
            let mut actual = bytes.clone();
            look_up(isa, &table, &mut actual);
            assert_eq!(actual, expected, "{isa:?}, {len} bytes");
        }
    }
}

proptest! {
    #[test]
    fn bytes_of_sums_and_of_two_terms_are_the_same_everywhere(
        sums in prop::collection::vec(-70_000i32..70_000, BLOCK * PANEL),
        bytes in prop::collection::vec(any::<i8>(), 200),
        count in 1..=BLOCK,
        scale in 1e-4f32..0.1,
        zero in -128i32..=127,
        bounded in any::<bool>(),
        limits in prop_oneof![Just((-128i32, 127i32)), (-128i32..0, 0i32..128)],
    ) {
        let mut block: Box<Sums> = Box::new([[0; PANEL]; BLOCK]);
        for (to, from) in block.as_flattened_mut().iter_mut().zip(&sums) {
            *to = *from;
        }
        let scaling = Scaling {
            sums: &block,
            bias: &std::array::from_fn(|lane| lane as i32 * 991 - 5000),
            scale: &std::array::from_fn(|lane| scale * (lane + 1) as f32),
            row_sums: &std::array::from_fn(|r| r as i32 * -77),
            // At most (70,000 + 9,865 + 3,619) * 0.1 * 16: it may be said, and changes nothing.
            bounded,
        };
        let rounding = Rounding {
            low: (limits.0 - zero) as f32,
            high: (limits.1 - zero) as f32,
            zero_point: zero,
        };
        let terms = [Term { zero, scale: scale * 30.0 }, Term { zero: -zero, scale: scale * 7.0 }];
        let run = |isa| {
            // Rows of a wider tensor: what is between them stays as it is.
            let stride = PANEL + usize::from(bounded) * 3;
            let mut rows = vec![55; count * stride];
            requantise(isa, scaling, rounding, Rows { bytes: &mut rows, stride, count });
            let (a, b) = bytes.split_at(100);
            let mut sum = a.to_vec();
            add(isa, terms, rounding, b, &mut sum);
            let mut product = a.to_vec();
            let factors: Vec<f32> = (0..25).map(|i| scale * i as f32).collect();
            super::scale(isa, zero, rounding, &factors, &mut product);
            (rows, sum, product)
        };
        let expected = run(Isa::Scalar);
        for isa in Isa::available() {
            prop_assert_eq!(&run(isa), &expected, "{:?}", isa);
        }
    }
}
