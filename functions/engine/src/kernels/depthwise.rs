//! Sums of one filter for each channel.

use serde::{Deserialize, Serialize};

use super::{BLOCK, Block, Isa, PANEL, Sums};

/// Where a depthwise operator's weights lie in the program's dense region, and how.
///
/// `[panels][pairs][PANEL][2] i8`: for each channel the weights of two taps. Channels behind the last, and the second of
/// an odd last tap, are zeros.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PackedDepthwise {
    /// First byte in the region.
    pub(crate) start: usize,
    /// Positions of the kernel window.
    pub(crate) taps: usize,
    /// Panels of [`PANEL`] channels.
    pub(crate) panels: usize,
}

impl PackedDepthwise {
    /// Appends `taps * channels` weights to `region`; `weight(tap, channel)` gives each.
    pub(crate) fn new(
        taps: usize,
        channels: usize,
        weight: impl Fn(usize, usize) -> i8,
        region: &mut Vec<i8>,
    ) -> Self {
        let start = region.len();
        let panels = channels.div_ceil(PANEL);
        for panel in 0..panels {
            for pair in 0..taps.div_ceil(2) {
                for lane in 0..PANEL * 2 {
                    let (channel, tap) = (panel * PANEL + lane / 2, pair * 2 + lane % 2);
                    let inside = channel < channels && tap < taps;
                    region.push(if inside { weight(tap, channel) } else { 0 });
                }
            }
        }
        Self {
            start,
            taps,
            panels,
        }
    }

    /// Bytes in a panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.taps.div_ceil(2) * PANEL * 2
    }

    /// The bytes of panel `index`.
    pub(crate) fn panel<'r>(&self, region: &'r [i8], index: usize) -> &'r [i8] {
        &region[self.start + index * self.panel_len()..][..self.panel_len()]
    }
}

/// Sets `sums[r][c]`, for each pixel `r` of the block and channel `c < lanes` behind `channel`, to
/// `sum over taps t of x[offsets[t][r] + channel + c] * weight[t][c]`.
///
/// # Panics
/// When the block has not checked [`PANEL`] bytes behind `channel`.
pub(crate) fn products(
    isa: Isa,
    block: &Block,
    packed: &PackedDepthwise,
    panel: &[i8],
    channel: usize,
    lanes: usize,
    sums: &mut Sums,
) {
    assert_eq!(panel.len(), packed.panel_len(), "the weights are a panel");
    assert!(
        block.taps == packed.taps && channel + PANEL <= block.steps * super::STEP,
        "channels {channel}.. of a block of {} taps of {} steps",
        block.taps,
        block.steps
    );
    match isa {
        // SAFETY: only an `Isa` that this machine has is ever run; the reads were checked above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512Vnni => unsafe {
            super::avx2::depthwise(block, panel, channel, sums);
            let _ = lanes;
        },
        // SAFETY: the reads were checked above.
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        isa if isa != Isa::Scalar => unsafe {
            super::wasm::depthwise(block, panel, channel, lanes, sums);
        },
        _ => scalar(block, panel, channel, lanes, sums),
    }
}

/// The definition.
fn scalar(block: &Block, panel: &[i8], channel: usize, lanes: usize, sums: &mut Sums) {
    for (r, sums) in sums.iter_mut().enumerate().take(block.count) {
        *sums = [0; PANEL];
        for tap in 0..block.taps {
            let values = &block.x[block.offsets[tap * BLOCK + r] as usize + channel..][..lanes];
            let weights = &panel[tap / 2 * PANEL * 2..][..PANEL * 2];
            for ((sum, &value), weights) in
                sums.iter_mut().zip(values).zip(weights.as_chunks::<2>().0)
            {
                *sum += i32::from(value) * i32::from(weights[tap % 2]);
            }
        }
    }
}
