//! Weights in the order in which the tile product reads them.

use super::{PANEL, STEP};

/// Where one operator's weights lie in the program's dense region, and how.
///
/// `[panels][taps][steps][PANEL][STEP] i8`: a panel is read from end to end for every tile. Channels behind the last
/// and `k` behind the last are zeros.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// First byte in the region.
    pub(crate) start: usize,
    /// Positions of the kernel window.
    pub(crate) taps: usize,
    /// Steps of [`STEP`] along `K`.
    pub(crate) steps: usize,
    /// Panels of [`PANEL`] output channels.
    pub(crate) panels: usize,
    /// Whether every weight is in -64..=63.
    pub(crate) narrow: bool,
    /// Sum of the weights of each output channel, over taps and `k`.
    pub(crate) sums: Vec<i32>,
}

impl Packed {
    /// Appends `taps * k * n` weights to `region`; `weight(tap, k, channel)` gives each.
    pub(crate) fn new(
        taps: usize,
        k: usize,
        n: usize,
        weight: impl Fn(usize, usize, usize) -> i8,
        region: &mut Vec<i8>,
    ) -> Self {
        let start = region.len();
        let steps = k.div_ceil(STEP);
        let panels = n.div_ceil(PANEL);
        let mut sums = vec![0; n];
        let mut narrow = true;
        region.reserve(panels * taps * steps * PANEL * STEP);
        for panel in 0..panels {
            for tap in 0..taps {
                for step in 0..steps {
                    for lane in 0..PANEL * STEP {
                        let (channel, k_index) =
                            (panel * PANEL + lane / STEP, step * STEP + lane % STEP);
                        let inside = channel < n && k_index < k;
                        let value = if inside {
                            weight(tap, k_index, channel)
                        } else {
                            0
                        };
                        if inside {
                            sums[channel] += i32::from(value);
                        }
                        narrow &= (-64..=63).contains(&value);
                        region.push(value);
                    }
                }
            }
        }
        Self {
            start,
            taps,
            steps,
            panels,
            narrow,
            sums,
        }
    }

    /// Bytes in a panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.taps * self.steps * STEP * PANEL
    }

    /// The bytes of panel `index`.
    pub(crate) fn panel<'r>(&self, region: &'r [i8], index: usize) -> &'r [i8] {
        &region[self.start + index * self.panel_len()..][..self.panel_len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_by_panel_tap_and_step() {
        // Two taps, K = 5, N = 9: a weight tells where it stood.
        let mut region = vec![99];
        let packed = Packed::new(
            2,
            5,
            9,
            |tap, k, n| (tap * 50 + k * 10 + n) as i8,
            &mut region,
        );
        assert_eq!(
            (packed.start, packed.taps, packed.steps, packed.panels),
            (1, 2, 2, 2)
        );
        assert_eq!(region.len(), 1 + 2 * packed.panel_len());
        let first = packed.panel(&region, 0);
        assert_eq!(
            first[..8],
            [0, 10, 20, 30, 1, 11, 21, 31],
            "channels 0 and 1 of step 0"
        );
        assert_eq!(
            first[32..36],
            [40, 0, 0, 0],
            "step 1 holds one weight and padding"
        );
        assert_eq!(first[64..68], [50, 60, 70, 80], "tap 1");
        assert_eq!(
            packed.panel(&region, 1)[..8],
            [8, 18, 28, 38, 0, 0, 0, 0],
            "channel 8, then padding"
        );
        assert_eq!(packed.sums[0], 10 + 20 + 30 + 40 + 50 + 60 + 70 + 80 + 90);
        assert!(!packed.narrow, "98 takes more than seven bits");
    }
}
