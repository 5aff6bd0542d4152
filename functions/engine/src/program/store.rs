//! Where a block's results go: requantised or rescaled, pooled, and put at each pixel's channels.

use anyhow::ensure;

use super::arena::SliceMut;
use super::conv::{Conv, Epilogue};
use super::pooled::Pooling;
use crate::kernels::{self, BLOCK, Isa, PANEL, Rows, Scaling};

/// The results of one panel for a block of pixels, on their way out.
pub(super) struct Store<'a> {
    pub(super) scaling: Scaling<'a>,
    pub(super) panel_index: usize,
    /// First channel of the panel among all that a pixel has.
    pub(super) first_lane: usize,
    pub(super) lanes: usize,
    pub(super) targets: &'a Targets,
}

/// A panel's results for a block, before they go where they belong.
#[derive(Debug)]
pub(super) struct Results {
    bytes: [[i8; PANEL]; BLOCK],
    /// Of them the maxima of each window of a pool.
    maxima: [[i8; PANEL]; BLOCK],
    reals: [[f32; PANEL]; BLOCK],
}

impl Default for Results {
    fn default() -> Self {
        Self {
            bytes: [[0; PANEL]; BLOCK],
            maxima: [[0; PANEL]; BLOCK],
            reals: [[0.0; PANEL]; BLOCK],
        }
    }
}

impl Store<'_> {
    pub(super) fn run(
        &self,
        isa: Isa,
        epilogue: &Epilogue,
        results: &mut Results,
        out: &mut SliceMut,
    ) {
        let count = self.targets.count;
        match (epilogue, out) {
            (Epilogue::Byte(requant), SliceMut::I8(out)) => {
                let rounding = requant.rounding();
                if let (PANEL, None, None) = (self.lanes, &self.targets.spread, &requant.table) {
                    let stride = self.targets.lanes;
                    let rows = Rows {
                        bytes: &mut out[self.targets.first * stride + self.first_lane..],
                        stride,
                        count,
                    };
                    kernels::requantise(isa, self.scaling, rounding, rows);
                    return;
                }
                let bytes = &mut results.bytes[..count];
                let rows = Rows {
                    bytes: bytes.as_flattened_mut(),
                    stride: PANEL,
                    count,
                };
                kernels::requantise(isa, self.scaling, rounding, rows);
                requant.look_up(isa, bytes.as_flattened_mut());
                self.put(bytes, out);
            }
            (Epilogue::Real { rest, low, high }, SliceMut::F32(out)) => {
                let reals = &mut results.reals[..count];
                let rest = &rest.as_chunks().0[self.panel_index];
                kernels::rescale(isa, self.scaling, rest, reals);
                if (*low, *high) != (f32::NEG_INFINITY, f32::INFINITY) {
                    for real in reals.as_flattened_mut() {
                        let above = if *low < *real { *real } else { *low };
                        *real = if *high < above { *high } else { above };
                    }
                }
                self.put(reals, out);
            }
            _ => unreachable!(
                "the lowering gives a value the element type of its operator's epilogue"
            ),
        }
    }

    /// The maxima over a pool's windows of the bytes of all of a block's pixels.
    pub(super) fn run_pooled(
        &self,
        isa: Isa,
        epilogue: &Epilogue,
        pooling: &Pooling,
        results: &mut Results,
        out: &mut SliceMut,
    ) {
        let (Epilogue::Byte(requant), SliceMut::I8(out)) = (epilogue, out) else {
            unreachable!("only convolutions to bytes pool")
        };
        let Results { bytes, maxima, .. } = results;
        let rows = Rows {
            bytes: bytes.as_flattened_mut(),
            stride: PANEL,
            count: BLOCK,
        };
        kernels::requantise(isa, self.scaling, requant.rounding(), rows);
        requant.look_up(isa, bytes.as_flattened_mut());
        let maxima = &mut maxima[..self.targets.count];
        pooling.bytes(isa, bytes, maxima);
        self.put(maxima, out);
    }

    fn put<T: Copy>(&self, rows: &[[T; PANEL]], out: &mut [T]) {
        if let Some(spread) = &self.targets.spread {
            let lanes = &spread.lanes[self.first_lane..self.first_lane + self.lanes];
            for (values, pixel) in rows.iter().zip(spread.pixels) {
                for (&value, lane) in values.iter().zip(lanes) {
                    out[pixel + lane] = value;
                }
            }
            return;
        }
        let width = self.targets.lanes;
        let out = &mut out[self.targets.first * width..][..rows.len() * width];
        let places = self.first_lane..self.first_lane + self.lanes;
        let out = out
            .chunks_exact_mut(width)
            .map(|out| &mut out[places.clone()]);
        // Of a known length, a copy is an instruction and no call.
        match self.lanes {
            PANEL => rows
                .iter()
                .zip(out)
                .for_each(|(row, out)| out.copy_from_slice(row)),
            8 => rows
                .iter()
                .zip(out)
                .for_each(|(row, out)| out.copy_from_slice(&row[..8])),
            lanes => {
                for (row, out) in rows.iter().zip(out) {
                    for (value, out) in row[..lanes].iter().zip(out) {
                        *out = *value;
                    }
                }
            }
        }
    }
}

/// Where the results of a block's pixels go.
pub(super) struct Targets {
    /// Results that a pixel has.
    pub(super) lanes: usize,
    /// First pixel of the block, and how many there are.
    first: usize,
    count: usize,
    spread: Option<Spread>,
}

/// For a spread convolution, whose pixels write as many output pixels as the kernel has taps.
struct Spread {
    /// Input pixels along each axis.
    extents: Vec<usize>,
    stride: Vec<usize>,
    channels: usize,
    /// Where each of a pixel's results goes, from where its first goes.
    lanes: Vec<usize>,
    /// Where the first result of each pixel of the block goes.
    pixels: [usize; BLOCK],
}

impl Targets {
    pub(super) fn new(
        conv: &Conv,
        pixels_shape: &[usize],
        out_shape: &[usize],
    ) -> anyhow::Result<Self> {
        let channels = conv.out_channels;
        ensure!(
            out_shape.last() == Some(&channels),
            "{channels} channels to {out_shape:?}"
        );
        let Some(stride) = &conv.spread else {
            return Ok(Self::plain(channels));
        };
        let axes = pixels_shape.len().saturating_sub(2);
        ensure!(
            stride.len() == axes && axes > 0,
            "stride {stride:?} for {pixels_shape:?}"
        );
        let extents = pixels_shape[1..=axes].to_vec();
        let spread = extents.iter().zip(stride).map(|(extent, by)| extent * by);
        ensure!(
            pixels_shape[0] == out_shape[0] && spread.eq(out_shape[1..=axes].iter().copied()),
            "{pixels_shape:?} spread by {stride:?} to {out_shape:?}"
        );
        let taps: usize = stride.iter().product();
        let mut spread = Spread {
            extents,
            stride: stride.clone(),
            channels,
            lanes: Vec::with_capacity(taps * channels),
            pixels: [0; BLOCK],
        };
        for tap in 0..taps {
            let start = spread.place(0, tap);
            spread.lanes.extend(start..start + channels);
        }
        Ok(Self {
            lanes: taps * channels,
            spread: Some(spread),
            ..Self::plain(channels)
        })
    }

    pub(super) fn plain(lanes: usize) -> Self {
        Self {
            lanes,
            first: 0,
            count: 0,
            spread: None,
        }
    }

    /// Goes on to the pixels `first..first + count`.
    pub(super) fn block(&mut self, first: usize, count: usize) {
        (self.first, self.count) = (first, count);
        if let Some(spread) = &mut self.spread {
            for r in 0..count {
                spread.pixels[r] = spread.place(first + r, 0);
            }
        }
    }
}

impl Spread {
    /// First element of the output pixel that a tap of an input pixel writes.
    fn place(&self, mut pixel: usize, mut tap: usize) -> usize {
        let (mut index, mut step) = (0, 1);
        for (&extent, &stride) in self.extents.iter().zip(&self.stride).rev() {
            index += (pixel % extent * stride + tap % stride) * step;
            step *= extent * stride;
            pixel /= extent;
            tap /= stride;
        }
        (pixel * step + index) * self.channels
    }
}
