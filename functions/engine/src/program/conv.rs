//! Convolutions: dense, grouped, transposed and depthwise, with what follows the sums.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::arena::SliceMut;
use super::geometry::{Geometry, Window};
use super::pooled::{Pooled, Pooling};
use super::requant::Requant;
use super::step::Scratch;
use super::store::{Store, Targets};
use super::strip;
use crate::kernels::{
    self, BLOCK, Block, Isa, PANEL, PANELS, Packed, PackedDepthwise, Scaling, Sums,
};

/// A convolution in which every output channel of a group sees every input channel of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Conv {
    pub(crate) window: Window,
    /// When set, the kernel is as large as this stride and each tap writes its own output pixels: a transposed convolution
    /// without overlap. The weights then have one tap, and `taps` times the output channels.
    pub(crate) spread: Option<Vec<usize>>,
    /// One for each group of channels. Its taps are the window's [rows](Window::rows).
    pub(crate) groups: Vec<Packed>,
    pub(crate) out_channels: usize,
    /// What stands for zero in the input; padding has this value.
    pub(crate) zero_point: i8,
    pub(crate) channels: Channels,
    pub(crate) epilogue: Epilogue,
    /// The max pool that follows; the operator's output then is the pool's.
    pub(crate) pool: Option<Pooled>,
}

/// What is added to and multiplied with the sums of each channel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Channels {
    /// Added to the sum of products of stored bytes and weights: the bias in units of `input scale * weight scale`, less the
    /// input's zero point times the sum of the weights. Padded with zeros to whole panels for each group.
    pub(crate) bias: Vec<i32>,
    /// What that is multiplied by. Padded likewise.
    pub(crate) scale: Vec<f32>,
}

/// What becomes of a scaled sum.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Epilogue {
    /// It is in units of the output's scale; a byte is made of it.
    Byte(Requant),
    /// It is the real number, but for the part of the bias that integers cannot hold, for each channel, padded like the bias.
    Real {
        rest: Vec<f32>,
        /// Limits that a ReLU or clip sets.
        low: f32,
        high: f32,
    },
}

impl Epilogue {
    /// The sums as they are, until it is known what becomes of them.
    #[cfg(feature = "tract")]
    pub(crate) const NONE: Self = Self::Real {
        rest: Vec::new(),
        low: f32::NEG_INFINITY,
        high: f32::INFINITY,
    };
}

/// A convolution with one filter for each channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Depthwise {
    pub(crate) window: Window,
    pub(crate) packed: PackedDepthwise,
    /// What was added to weights that are bytes only with it, and as many ones, whose sums take it off again.
    pub(crate) shifted: Option<(i32, PackedDepthwise)>,
    pub(crate) zero_point: i8,
    pub(crate) channels: Channels,
    pub(crate) epilogue: Epilogue,
}

impl Channels {
    /// For `groups` groups, each padded to whole panels, from one entry for each channel.
    pub(crate) fn padded<T: Copy + Default>(values: &[T], groups: usize) -> Vec<T> {
        let mut padded = vec![];
        for group in values.chunks(values.len().div_ceil(groups).max(1)) {
            padded.extend_from_slice(group);
            padded.resize(padded.len().next_multiple_of(PANEL), T::default());
        }
        padded
    }

    /// Whether no sum of `count` products of bytes becomes more than the rounding takes, whatever is clamped.
    fn is_bounded(&self, count: usize) -> bool {
        // A weight is a byte less what was added to it.
        let products = count as f32 * 128.0 * 256.0;
        let bias = self.bias.iter().map(|bias| bias.unsigned_abs()).max();
        let most = products + bias.unwrap_or(0) as f32;
        self.scale
            .iter()
            .all(|scale| (most * scale).abs() < ROUNDED_BELOW)
    }

    /// The entries of one panel, for its sums.
    fn scaling<'a>(
        &'a self,
        panel: usize,
        sums: &'a Sums,
        row_sums: &'a [i32; BLOCK],
        bounded: bool,
    ) -> Scaling<'a> {
        Scaling {
            sums,
            bounded,
            bias: &self.bias.as_chunks().0[panel],
            scale: &self.scale.as_chunks().0[panel],
            row_sums,
        }
    }
}

/// Rounding takes numbers up to 2^22; the estimate of a sum is itself rounded.
const ROUNDED_BELOW: f32 = (1 << 21) as f32;

/// One convolution's operands while it runs.
pub(super) struct Run<'a> {
    pub(super) isa: Isa,
    /// The program's region.
    pub(super) weights: &'a [i8],
    /// The input with its tail.
    pub(super) x: &'a [i8],
    pub(super) shape: &'a [usize],
    /// Where in `x` a row of padding lies.
    pub(super) pad_at: usize,
    pub(super) out: SliceMut<'a>,
    pub(super) out_shape: &'a [usize],
    /// The shape before pooling, where the operator pools.
    pub(super) full_shape: &'a [usize],
    pub(super) scratch: &'a mut Scratch,
}

impl Conv {
    pub(super) fn run(&self, run: Run) -> anyhow::Result<()> {
        let Run {
            isa,
            weights,
            x,
            shape,
            pad_at,
            mut out,
            out_shape,
            full_shape,
            scratch,
        } = run;
        let mut pooling = match &self.pool {
            None => None,
            Some(pool) => Some(Pooling::new(&pool.window, full_shape, out_shape)?),
        };
        let pixels_shape = match &self.spread {
            None => out_shape,
            Some(_) => shape,
        };
        let geometry = match &pooling {
            None => Geometry::new(&self.window, shape, pixels_shape)?,
            Some(_) => Geometry::spatial(&self.window, shape, full_shape)?,
        };
        let group_count = self.groups.len();
        let k = geometry.channels / group_count.max(1);
        ensure!(
            k * group_count == geometry.channels,
            "{} channels in {group_count} groups",
            geometry.channels
        );
        let mut targets = Targets::new(self, pixels_shape, out_shape)?;
        let group_channels = targets.lanes / group_count;
        let Scratch {
            offsets,
            sums,
            highest,
            results,
            strips,
            runs,
            widened,
            signed,
            ..
        } = scratch;
        let signed = match &*self.groups {
            [packed] => signed.prepare(isa, packed, weights, targets.lanes, geometry.pixels),
            _ => None,
        };
        let maxima = self.maxima();
        let (outputs, per_block) = match &pooling {
            None => (geometry.pixels, BLOCK),
            Some(pooling) => (pooling.pixels(), pooling.per_block()),
        };
        let in_strips = self.window.has_strips();
        let bounded = self.channels.is_bounded(geometry.taps * k);
        offsets.resize(geometry.taps * BLOCK, 0);
        for first in (0..outputs).step_by(per_block) {
            let wanted = per_block.min(outputs - first);
            let mut count = wanted;
            runs.clear();
            match &mut pooling {
                Some(pooling) => count = pooling.block(first, wanted, runs),
                None if in_strips => runs.extend(geometry.runs(first, wanted)),
                None => geometry.offsets(first, wanted, pad_at, offsets),
            }
            if pooling.is_some() && !in_strips {
                geometry.offsets_under(runs.iter().copied(), count, pad_at, offsets);
            }
            targets.block(first, wanted);
            let mut first_panel = 0;
            for (group, packed) in self.groups.iter().enumerate() {
                let added = packed.added();
                let mut row_sums = [0; BLOCK];
                let mut summed = added == 0 || signed.is_some();
                let block = if in_strips {
                    let channels = strip::Channels {
                        first: group * k,
                        count: k,
                        padding: self.zero_point,
                    };
                    let (rows, row) = self.window.rows(k);
                    if rows < geometry.lines() {
                        strips.lay_together(&geometry, x, channels, runs, count);
                    } else {
                        strips.lay(&geometry, x, channels, runs, count);
                        summed = summed || strips.row_sums(isa, &geometry, k, runs, &mut row_sums);
                    }
                    Block::new(&strips.bytes, &strips.offsets, count, rows, row)
                } else {
                    Block::new(&x[group * k..], offsets, count, geometry.taps, k)
                };
                if !summed {
                    block.row_sums(isa, &mut row_sums);
                }
                row_sums = row_sums.map(|sum| sum.wrapping_mul(-added));
                for index in (0..packed.panels).step_by(PANELS) {
                    let count = PANELS.min(packed.panels - index);
                    let lanes = (group_channels - index * PANEL).min(count * PANEL);
                    let sums = &mut sums[..count];
                    if let Some(signed) = &signed {
                        signed.products(&block, packed, index, sums);
                    } else {
                        let panels = packed.panels(weights, index, count);
                        kernels::products(isa, &block, packed, panels, lanes, widened, sums);
                    }
                    for (part, sums) in sums.iter().enumerate() {
                        let panel_index = first_panel + index + part;
                        let channel = (index + part) * PANEL;
                        let (sums, row_sums) = match (&pooling, maxima) {
                            (Some(pooling), Maxima::Sums) => {
                                pooling.sums(isa, sums, &row_sums, highest);
                                (&**highest, &[0; BLOCK])
                            }
                            _ => (sums, &row_sums),
                        };
                        let store = Store {
                            scaling: self.channels.scaling(panel_index, sums, row_sums, bounded),
                            panel_index,
                            first_lane: group * group_channels + channel,
                            lanes: PANEL.min(group_channels - channel),
                            targets: &targets,
                        };
                        match (&pooling, maxima) {
                            (Some(pooling), Maxima::Bytes) => {
                                store.run_pooled(isa, &self.epilogue, pooling, results, &mut out);
                            }
                            _ => store.run(isa, &self.epilogue, results, &mut out),
                        }
                    }
                }
                first_panel += packed.panels;
            }
        }
        if let (Some(pooling), SliceMut::I8(out)) = (&pooling, out) {
            pooling.fill_outside(self.out_channels, out);
        }
        Ok(())
    }

    /// What a max pool takes the maxima of. Sums, of which a quarter or so then is requantised, are as good as bytes where a higher sum never
    /// gives a lower byte.
    fn maxima(&self) -> Maxima {
        let rises = |scale: &f32| (0.0..=f32::MAX).contains(scale);
        match &self.epilogue {
            Epilogue::Byte(requant)
                if requant.table.is_none() && self.channels.scale.iter().all(rises) =>
            {
                Maxima::Sums
            }
            _ => Maxima::Bytes,
        }
    }
}

/// What the maxima of a pool are taken of.
#[derive(Debug, Clone, Copy)]
enum Maxima {
    Sums,
    Bytes,
}

impl Depthwise {
    pub(super) fn run(&self, run: Run) -> anyhow::Result<()> {
        let Run {
            isa,
            weights,
            x,
            shape,
            pad_at,
            mut out,
            out_shape,
            scratch,
            ..
        } = run;
        let geometry = Geometry::new(&self.window, shape, out_shape)?;
        let channels = geometry.channels;
        ensure!(
            channels.div_ceil(PANEL) == self.packed.panels && out_shape.last() == Some(&channels),
            "{channels} channels for {} panels, to {out_shape:?}",
            self.packed.panels
        );
        let bounded = self.channels.is_bounded(geometry.taps);
        let mut targets = Targets::plain(channels);
        let Scratch {
            offsets,
            sums,
            results,
            ..
        } = scratch;
        offsets.resize(geometry.taps * BLOCK, 0);
        for first in (0..geometry.pixels).step_by(BLOCK) {
            let count = BLOCK.min(geometry.pixels - first);
            geometry.offsets(first, count, pad_at, offsets);
            targets.block(first, count);
            let read = self.packed.panels * PANEL;
            let block = Block::new(x, offsets, count, geometry.taps, read);
            for index in 0..self.packed.panels {
                let channel = index * PANEL;
                let lanes = PANEL.min(channels - channel);
                let panel = self.packed.panel(weights, index);
                let [sums, ones, ..] = &mut **sums;
                kernels::depthwise_products(isa, &block, &self.packed, panel, channel, lanes, sums);
                if let Some((shift, packed)) = &self.shifted {
                    let panel = packed.panel(weights, index);
                    kernels::depthwise_products(isa, &block, packed, panel, channel, lanes, ones);
                    let both = sums.as_flattened_mut().iter_mut().zip(ones.as_flattened());
                    both.for_each(|(sum, &of_ones)| {
                        *sum = sum.wrapping_sub(shift.wrapping_mul(of_ones));
                    });
                }
                let store = Store {
                    scaling: self.channels.scaling(index, sums, &[0; BLOCK], bounded),
                    panel_index: index,
                    first_lane: channel,
                    lanes,
                    targets: &targets,
                };
                store.run(isa, &self.epilogue, results, &mut out);
            }
        }
        Ok(())
    }
}
