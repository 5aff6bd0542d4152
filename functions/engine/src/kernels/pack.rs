//! Weights in the order in which the products read them.

use serde::{Deserialize, Serialize};

use super::{PANEL, STEP};

/// Where one operator's weights lie in the program's dense region, and how.
///
/// `[panels][taps][steps][PANEL][STEP] i8`: a panel is read from end to end for every block. Channels behind the last
/// and `k` behind the last are weights of zero.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Packed {
    /// First byte in the region.
    pub(crate) start: usize,
    /// Positions of the kernel window.
    pub(crate) taps: usize,
    /// Steps of [`STEP`] along `K`.
    pub(crate) steps: usize,
    /// Panels of [`PANEL`] output channels.
    pub(crate) panels: usize,
    /// What was added to every weight to make it one of `0..=127`; `None` when they take eight bits and are stored as they
    /// are.
    pub(crate) offset: Option<i32>,
    /// What was added to weights that take eight bits only when it is: those of a u8 tensor with a zero point.
    pub(crate) shift: i32,
    /// For each panel, tap and whole chunk of [`CHUNK_STEPS`] steps how many of its steps an i16 holds the products of, whatever bytes of `0..=255`
    /// the weights, less what was added, are multiplied with: 4, 2 or 1. Empty where it does not hold those of one.
    pub(crate) depths: Vec<u8>,
    /// The sum of each channel's weights, less what was added. Padded to whole panels.
    pub(crate) totals: Vec<i32>,
}

/// Steps whose activations are one register.
pub(crate) const CHUNK_STEPS: usize = 4;

impl Packed {
    /// Appends `taps * k * n` weights, which span eight bits, to `region`; `weight(tap, k, channel)` gives each.
    pub(crate) fn new<W: Into<i32>>(
        taps: usize,
        k: usize,
        n: usize,
        weight: impl Fn(usize, usize, usize) -> W,
        region: &mut Vec<i8>,
    ) -> Self {
        let (mut lowest, mut highest) = (0, 0);
        for (tap, channel) in (0..taps).flat_map(|tap| (0..n).map(move |channel| (tap, channel))) {
            for k in 0..k {
                let weight = weight(tap, k, channel).into();
                (lowest, highest) = (weight.min(lowest), weight.max(highest));
            }
        }
        let offset = (highest - lowest <= 127).then_some(-lowest);
        let shift = shift(lowest, highest);
        let added = offset.unwrap_or(shift);
        let start = region.len();
        let steps = k.div_ceil(STEP);
        let panels = n.div_ceil(PANEL);
        region.reserve(panels * taps * steps * PANEL * STEP);
        let mut totals = vec![0; panels * PANEL];
        for panel in 0..panels {
            for tap in 0..taps {
                for step in 0..steps {
                    for lane in 0..PANEL * STEP {
                        let (channel, k_index) =
                            (panel * PANEL + lane / STEP, step * STEP + lane % STEP);
                        let inside = channel < n && k_index < k;
                        let weight = if inside {
                            weight(tap, k_index, channel).into()
                        } else {
                            0
                        };
                        region.push((weight + added) as i8);
                        totals[channel] += weight;
                    }
                }
            }
        }
        let depths = match offset {
            Some(offset) => depths(&region[start..], steps, offset),
            None => vec![],
        };
        Self {
            start,
            taps,
            steps,
            panels,
            offset,
            shift,
            depths,
            totals,
        }
    }

    /// What was added to every weight, in either form.
    pub(crate) fn added(&self) -> i32 {
        self.offset.unwrap_or(self.shift)
    }

    /// Bytes in a panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.taps * self.steps * STEP * PANEL
    }

    /// The bytes of `count` panels from `index` on.
    pub(crate) fn panels<'r>(&self, region: &'r [i8], index: usize, count: usize) -> &'r [i8] {
        let len = self.panel_len();
        &region[self.start + index * len..][..count * len]
    }
}

/// As [`Packed::depths`], for rows of `steps` steps of weights to which `offset` was added.
fn depths(weights: &[i8], steps: usize, offset: i32) -> Vec<u8> {
    // Two products of each step go to one i16: those of the first or of the second two weights of a channel.
    let holds = |steps: &[i8]| {
        (0..PANEL * STEP).step_by(2).all(|first| {
            let of_step = steps.chunks_exact(PANEL * STEP);
            let weights = of_step.flat_map(|step| &step[first..first + 2]);
            let (mut lowest, mut highest) = (0, 0);
            for &weight in weights {
                let product = 255 * (i32::from(weight) - offset);
                lowest += product.min(0);
                highest += product.max(0);
            }
            lowest >= i32::from(i16::MIN) && highest <= i32::from(i16::MAX)
        })
    };
    let depth = |chunk: &[i8]| {
        let fits = |depth: &usize| chunk.chunks(depth * PANEL * STEP).all(holds);
        [4, 2, 1].into_iter().find(fits).map(|depth| depth as u8)
    };
    let rows = weights.chunks_exact((steps * PANEL * STEP).max(1));
    let depths = rows.map(|row| {
        let chunks = row.chunks_exact(CHUNK_STEPS * PANEL * STEP);
        let rest = chunks.remainder();
        let depths: Option<Vec<u8>> = chunks.map(depth).collect();
        depths.filter(|_| rest.chunks(PANEL * STEP).all(holds))
    });
    let depths: Option<Vec<Vec<u8>>> = depths.collect();
    depths.unwrap_or_default().concat()
}

/// What makes bytes of weights from `lowest` to `highest`, which span eight bits and not all of which need be bytes.
pub(crate) fn shift(lowest: i32, highest: i32) -> i32 {
    if lowest >= i32::from(i8::MIN) && highest <= i32::from(i8::MAX) {
        0
    } else {
        i32::from(i8::MIN) - lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_by_panel_tap_and_step() {
        // Two taps, K = 5, N = 17: a weight tells where it stood.
        let mut region = vec![99];
        let weight = |tap: usize, k: usize, n: usize| (tap * 60 + k * 11 + n % 11) as i8;
        let packed = Packed::new(2, 5, 17, weight, &mut region);
        assert_eq!(
            (packed.start, packed.taps, packed.steps, packed.panels),
            (1, 2, 2, 2)
        );
        assert_eq!(packed.offset, Some(0), "nothing is below zero");
        assert_eq!(region.len(), 1 + 2 * packed.panel_len());
        let first = packed.panels(&region, 0, 1);
        assert_eq!(
            first[..8],
            [0, 11, 22, 33, 1, 12, 23, 34],
            "channels 0 and 1 of step 0"
        );
        assert_eq!(
            first[64..68],
            [44, 0, 0, 0],
            "step 1 holds one weight and padding"
        );
        assert_eq!(first[128..132], [60, 71, 82, 93], "tap 1");
        assert_eq!(
            packed.panels(&region, 1, 1)[..8],
            [5, 16, 27, 38, 0, 0, 0, 0],
            "channel 16, then padding"
        );
    }

    #[test]
    fn depths_say_how_many_steps_an_i16_holds() {
        // One step of four k for each chunk of sixteen; the products of two k of each step share an i16.
        for (weights, depths) in [
            ([16; 16], &[4][..]),
            ([-16; 16], &[4]),
            ([17; 16], &[2]),
            ([32; 16], &[2]),
            ([33; 16], &[1]),
            ([-64; 16], &[1]),
            // What has the other sign does not count against it.
            ([63, -64, 0, 0, 0, 0, 0, 0, 63, -64, 0, 0, 0, 0, 0, 0], &[4]),
            // 65 and 64 in one i16, but not in one step's neighbour.
            ([0, 0, 0, 0, 63, 2, 0, 0, 0, 0, 0, 0, 63, 1, 0, 0], &[2]),
            ([0, 0, 0, 0, 0, 0, 0, 0, 63, 2, 0, 0, 63, 1, 0, 0], &[1]),
        ] {
            let packed = Packed::new(
                1,
                16,
                17,
                |_, k, n| weights[k] * i32::from(n == 3),
                &mut vec![],
            );
            assert_eq!(packed.depths[..1], *depths, "{weights:?}");
            assert_eq!(packed.depths[1..], [4], "{weights:?}, a panel of zeros");
            assert_eq!(packed.totals[3], weights.iter().sum::<i32>());
            assert_eq!(packed.totals.len(), 2 * PANEL);
        }
        // Two products of 255 by 127 are too much, and so are weights of eight bits.
        for weights in [[127; 16], [-100; 16]] {
            let packed = Packed::new(1, 16, 1, |_, k, _| weights[k], &mut vec![]);
            assert!(packed.depths.is_empty(), "{weights:?}");
        }
        let packed = Packed::new(1, 16, 1, |_, k, _| [-100, 100][k % 2], &mut vec![]);
        assert!(packed.depths.is_empty());
    }

    #[test]
    fn nine_bit_weights_that_span_eight_are_shifted() {
        for (weights, shift, stored) in [
            ([-135, 120], 7, [-128, 127]),
            ([0, 255], -128, [-128, 127]),
            ([-128, 127], 0, [-128, 127]),
        ] {
            let mut region = vec![];
            let packed = Packed::new(1, 1, 2, |_, _, n| weights[n], &mut region);
            assert_eq!((packed.offset, packed.shift), (None, shift), "{weights:?}");
            assert_eq!([region[0], region[4]], stored, "{weights:?}");
            assert_eq!(region[1], shift as i8, "padding is a weight of zero");
        }
    }

    #[test]
    fn seven_bit_weights_are_stored_unsigned() {
        for (weights, offset, stored) in [
            ([-64, 63], Some(64), [0, 127]),
            ([-63, 64], Some(63), [0, 127]),
            ([-64, 64], None, [-64, 64]),
            ([-128, 127], None, [-128, 127]),
        ] {
            let mut region = vec![];
            let packed = Packed::new(1, 1, 2, |_, _, n| weights[n], &mut region);
            assert_eq!(packed.offset, offset, "{weights:?}");
            let zero = offset.unwrap_or(0) as i8;
            let [first, second] = stored;
            let expected = [first, zero, zero, zero, second, zero, zero, zero];
            assert_eq!(region[..8], expected, "{weights:?}");
        }
    }
}
