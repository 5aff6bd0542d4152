//! Convolutions as products over indirect rows, dense and depthwise, and the geometry that pooling shares.

use anyhow::{bail, ensure};
use tract_onnx::prelude::*;

use super::arena::SliceMut;
use super::requant::Requant;
use crate::kernels::{self, Form, PANEL, Packed, ROWS, STEP};

/// A sliding window, one entry for each spatial axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: TVec<usize>,
    pub(crate) stride: TVec<usize>,
    pub(crate) dilation: TVec<usize>,
    pub(crate) padding: Padding,
}

/// How many positions of padding stand before the first element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Given for each axis.
    Before(TVec<usize>),
    /// As much as keeps `out = ceil(in / stride)`, the odd one behind.
    SameUpper,
    /// The same, the odd one in front.
    SameLower,
}

impl Window {
    /// The window that takes in a whole image.
    pub(crate) fn whole(spatial: &[usize]) -> Self {
        let ones = tvec![1; spatial.len()];
        Self {
            kernel: spatial.into(),
            stride: ones.clone(),
            dilation: ones,
            padding: Padding::Before(tvec![0; spatial.len()]),
        }
    }

    /// A window of a single pixel.
    pub(crate) fn pointwise(axes: usize) -> Self {
        Self::whole(&vec![1; axes])
    }

    /// Positions in the window.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }
}

/// A dense convolution: every output channel sees every input channel.
#[derive(Debug, Clone)]
pub(crate) struct Conv {
    pub(crate) window: Window,
    /// When set, the kernel is as large as this stride and each tap writes its own output pixels: a transposed convolution
    /// without overlap. `packed` then has one tap, and `taps` times the output channels.
    pub(crate) spread: Option<TVec<usize>>,
    pub(crate) packed: Packed,
    pub(crate) out_channels: usize,
    /// What stands for zero in the input; padding has this value.
    pub(crate) zero_point: u8,
    /// Added to each channel's sum of products of stored bytes and weights: the bias in units of `input scale * weight
    /// scale`, less `zero_point` times the sum of the weights.
    pub(crate) bias: Vec<i32>,
    /// What the sum is multiplied by, for each channel.
    pub(crate) scale: Vec<f32>,
    pub(crate) epilogue: Epilogue,
}

/// What becomes of a scaled sum.
#[derive(Debug, Clone)]
pub(crate) enum Epilogue {
    /// It is in units of the output's scale; a byte is made of it.
    Byte(Requant),
    /// It is the real number, but for the part of the bias that integers cannot hold, for each channel.
    Real(Vec<f32>),
}

/// A convolution with one filter for each channel.
#[derive(Debug, Clone)]
pub(crate) struct Depthwise {
    pub(crate) window: Window,
    /// First weight in the program's region: `[taps][channels]`.
    pub(crate) weights: usize,
    pub(crate) zero_point: u8,
    /// As in [`Conv`].
    pub(crate) bias: Vec<i32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) requant: Requant,
}

/// Output pixels for which offsets are made at a time.
const BLOCK: usize = 48;
const _: () = assert!(BLOCK.is_multiple_of(ROWS));

impl Conv {
    pub(super) fn run(
        &self,
        weights: &[i8],
        x: &[u8],
        shape: &[usize],
        pad_at: usize,
        mut out: SliceMut,
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let pixels_shape = match &self.spread {
            None => out_shape,
            Some(_) => shape,
        };
        let geometry = Geometry::new(&self.window, shape, pixels_shape)?;
        ensure!(
            geometry.channels.div_ceil(STEP) == self.packed.steps,
            "{} channels for weights of {} steps",
            geometry.channels,
            self.packed.steps
        );
        let targets = Targets::new(self, pixels_shape, out_shape)?;
        let form = Form::best(self.packed.narrow);
        let mut offsets = vec![0; geometry.taps.len() * BLOCK];
        for first in (0..geometry.pixels).step_by(BLOCK) {
            let count = BLOCK.min(geometry.pixels - first);
            geometry.offsets(first, count, pad_at, &mut offsets);
            for index in 0..self.packed.panels {
                let panel = self.packed.panel(weights, index);
                for row in (0..count).step_by(ROWS) {
                    let mut tile = [[0; PANEL]; ROWS];
                    kernels::accumulate(
                        form,
                        x,
                        &offsets[row..],
                        BLOCK,
                        &self.packed,
                        panel,
                        &mut tile,
                    );
                    for (r, sums) in tile.iter().enumerate().take(count - row) {
                        self.store(index, sums, first + row + r, &targets, &mut out);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the channels of one panel for one pixel.
    #[inline(always)]
    fn store(
        &self,
        panel: usize,
        sums: &[i32; PANEL],
        pixel: usize,
        targets: &Targets,
        out: &mut SliceMut,
    ) {
        let channel = panel * PANEL;
        let lanes = PANEL.min(self.bias.len() - channel);
        let mut scaled = [0.0; PANEL];
        if lanes == PANEL {
            let (bias, scale) = (
                &self.bias[channel..channel + PANEL],
                &self.scale[channel..channel + PANEL],
            );
            for lane in 0..PANEL {
                scaled[lane] = sums[lane].wrapping_add(bias[lane]) as f32 * scale[lane];
            }
        } else {
            for lane in 0..lanes {
                scaled[lane] = sums[lane].wrapping_add(self.bias[channel + lane]) as f32
                    * self.scale[channel + lane];
            }
        }
        match (&self.epilogue, out) {
            (Epilogue::Byte(requant), SliceMut::U8(out)) => {
                let bytes = requant.bytes(scaled);
                match &self.spread {
                    None => out[pixel * self.out_channels + channel..][..lanes]
                        .copy_from_slice(&bytes[..lanes]),
                    Some(_) => {
                        for (lane, &byte) in bytes[..lanes].iter().enumerate() {
                            out[targets.index(pixel, channel + lane)] = byte;
                        }
                    }
                }
            }
            (Epilogue::Real(rest), SliceMut::F32(out)) => {
                for lane in 0..lanes {
                    out[targets.index(pixel, channel + lane)] = scaled[lane] + rest[channel + lane];
                }
            }
            _ => unreachable!(
                "the lowering gives a value the element type of its operator's epilogue"
            ),
        }
    }
}

/// Where the results of a pixel go.
struct Targets {
    channels: usize,
    /// For a spread convolution: input pixels along each axis, and the stride.
    spread: Option<(TVec<usize>, TVec<usize>)>,
}

impl Targets {
    fn new(conv: &Conv, pixels_shape: &[usize], out_shape: &[usize]) -> anyhow::Result<Self> {
        let channels = conv.out_channels;
        ensure!(
            out_shape.last() == Some(&channels),
            "{channels} channels to {out_shape:?}"
        );
        let Some(stride) = &conv.spread else {
            return Ok(Self {
                channels,
                spread: None,
            });
        };
        let axes = pixels_shape.len() - 2;
        ensure!(
            stride.len() == axes && axes > 0,
            "stride {stride:?} for {pixels_shape:?}"
        );
        for axis in 0..axes {
            ensure!(
                pixels_shape[axis + 1] * stride[axis] == out_shape[axis + 1],
                "{pixels_shape:?} spread by {stride:?} to {out_shape:?}"
            );
        }
        ensure!(
            pixels_shape[0] == out_shape[0],
            "{pixels_shape:?} to {out_shape:?}"
        );
        Ok(Self {
            channels,
            spread: Some((pixels_shape[1..=axes].into(), stride.clone())),
        })
    }

    #[inline(always)]
    fn index(&self, mut pixel: usize, channel: usize) -> usize {
        let Some((extents, stride)) = &self.spread else {
            return pixel * self.channels + channel;
        };
        let (mut tap, channel) = (channel / self.channels, channel % self.channels);
        let (mut index, mut step) = (0, 1);
        for (&extent, &stride) in extents.iter().zip(stride).rev() {
            index += (pixel % extent * stride + tap % stride) * step;
            step *= extent * stride;
            pixel /= extent;
            tap /= stride;
        }
        (pixel * step + index) * self.channels + channel
    }
}

impl Depthwise {
    pub(super) fn run(
        &self,
        weights: &[i8],
        x: &[u8],
        shape: &[usize],
        pad_at: usize,
        out: &mut [u8],
        out_shape: &[usize],
    ) -> anyhow::Result<()> {
        let geometry = Geometry::new(&self.window, shape, out_shape)?;
        let channels = geometry.channels;
        let weights = &weights[self.weights..][..geometry.taps.len() * channels];
        let mut offsets = vec![0; geometry.taps.len() * BLOCK];
        for first in (0..geometry.pixels).step_by(BLOCK) {
            let count = BLOCK.min(geometry.pixels - first);
            geometry.offsets(first, count, pad_at, &mut offsets);
            for pixel in 0..count {
                let out = &mut out[(first + pixel) * channels..][..channels];
                let mut channel = 0;
                while channel + WIDE <= channels {
                    self.lanes::<WIDE>(weights, x, &offsets[pixel..], channels, channel, out);
                    channel += WIDE;
                }
                while channel < channels {
                    self.lanes::<1>(weights, x, &offsets[pixel..], channels, channel, out);
                    channel += 1;
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn lanes<const N: usize>(
        &self,
        weights: &[i8],
        x: &[u8],
        offsets: &[u32],
        channels: usize,
        channel: usize,
        out: &mut [u8],
    ) {
        let mut sums = [0i32; N];
        sums.copy_from_slice(&self.bias[channel..channel + N]);
        for (weights, &offset) in weights
            .chunks_exact(channels)
            .zip(offsets.iter().step_by(BLOCK))
        {
            let values = &x[offset as usize + channel..][..N];
            let weights = &weights[channel..channel + N];
            for lane in 0..N {
                // 255 * 128 fits an i16, where the product is cheap.
                sums[lane] += i32::from(i16::from(values[lane]) * i16::from(weights[lane]));
            }
        }
        let mut scaled = [0.0; N];
        for lane in 0..N {
            scaled[lane] = sums[lane] as f32 * self.scale[channel + lane];
        }
        out[channel..channel + N].copy_from_slice(&self.requant.bytes(scaled));
    }
}

/// Channels that the depthwise loop takes at once.
const WIDE: usize = 8;

/// Where the taps of every output pixel lie in the input, for one set of shapes.
pub(super) struct Geometry {
    /// Input and output extents of up to three spatial axes, leading ones where there are fewer.
    input: [usize; 3],
    output: [usize; 3],
    stride: [usize; 3],
    before: [usize; 3],
    /// Position of each tap, already dilated.
    pub(super) taps: Vec<[usize; 3]>,
    /// Output pixels, over the whole batch.
    pub(super) pixels: usize,
    pub(super) channels: usize,
}

impl Geometry {
    pub(super) fn new(
        window: &Window,
        shape: &[usize],
        out_shape: &[usize],
    ) -> anyhow::Result<Self> {
        let (Some(&batch), Some(&channels)) = (shape.first(), shape.last()) else {
            bail!("no axes in {shape:?}")
        };
        // A matrix product has rows for pixels: whatever axes lead are one.
        if window.taps() == 1
            && window.stride.iter().all(|&stride| stride == 1)
            && window.padding.is_none()
            && out_shape.split_last().map(|(_, outer)| outer)
                == shape.split_last().map(|(_, outer)| outer)
        {
            let pixels = shape[..shape.len() - 1].iter().product();
            ensure!(
                out_shape
                    .split_last()
                    .map(|(_, outer)| outer.iter().product())
                    == Some(pixels),
                "{shape:?} to {out_shape:?}"
            );
            return Ok(Self {
                input: [1, 1, pixels],
                output: [1, 1, pixels],
                stride: [1; 3],
                before: [0; 3],
                taps: vec![[0; 3]],
                pixels,
                channels,
            });
        }
        let axes = window.kernel.len();
        ensure!(
            (1..=3).contains(&axes) && shape.len() == axes + 2,
            "a window of {axes} axes over {shape:?}"
        );
        ensure!(
            out_shape.len() == shape.len() && out_shape[0] == batch,
            "{shape:?} to {out_shape:?}"
        );
        let lift = |extents: &[usize], fill: usize| {
            let mut lifted = [fill; 3];
            lifted[3 - axes..].copy_from_slice(extents);
            lifted
        };
        let input = lift(&shape[1..=axes], 1);
        let output = lift(&out_shape[1..=axes], 1);
        let (kernel, dilation) = (lift(&window.kernel, 1), lift(&window.dilation, 1));
        let stride = lift(&window.stride, 1);
        let before = match &window.padding {
            Padding::Before(before) => lift(before, 0),
            same => std::array::from_fn(|axis| {
                let reach = (output[axis].max(1) - 1) * stride[axis]
                    + (kernel[axis] - 1) * dilation[axis]
                    + 1;
                let total = reach.saturating_sub(input[axis]);
                if *same == Padding::SameUpper {
                    total / 2
                } else {
                    total.div_ceil(2)
                }
            }),
        };
        let mut taps = Vec::with_capacity(window.taps());
        for z in 0..kernel[0] {
            for y in 0..kernel[1] {
                taps.extend(
                    (0..kernel[2]).map(|x| [z * dilation[0], y * dilation[1], x * dilation[2]]),
                );
            }
        }
        Ok(Self {
            input,
            output,
            stride,
            before,
            taps,
            pixels: batch * output.iter().product::<usize>(),
            channels,
        })
    }

    /// First input element under each tap of output pixels `first..first + count`, `pad_at` for taps outside:
    /// `[taps][BLOCK]`, the columns behind `count` repeating the last.
    fn offsets(&self, first: usize, count: usize, pad_at: usize, offsets: &mut [u32]) {
        for column in 0..BLOCK {
            if column >= count {
                for row in offsets.chunks_exact_mut(BLOCK) {
                    row[column] = row[count - 1];
                }
                continue;
            }
            let corner = self.corner(first + column);
            for (row, tap) in offsets.chunks_exact_mut(BLOCK).zip(&self.taps) {
                row[column] = self.start(corner, tap).unwrap_or(pad_at) as u32;
            }
        }
    }

    /// First input element under each tap of an output pixel that lies inside the image.
    pub(super) fn taps_inside(&self, pixel: usize) -> impl Iterator<Item = usize> {
        let corner = self.corner(pixel);
        self.taps
            .iter()
            .filter_map(move |tap| self.start(corner, tap))
    }

    /// The image and, in padded coordinates, the first position of an output pixel's window.
    fn corner(&self, pixel: usize) -> (usize, [usize; 3]) {
        let [depth, height, width] = self.output;
        let (rest, x) = (pixel / width, pixel % width);
        let (rest, y) = (rest / height, rest % height);
        let (image, z) = (rest / depth, rest % depth);
        (
            image,
            [z * self.stride[0], y * self.stride[1], x * self.stride[2]],
        )
    }

    #[inline(always)]
    fn start(&self, (image, corner): (usize, [usize; 3]), tap: &[usize; 3]) -> Option<usize> {
        let mut index = image;
        for axis in 0..3 {
            let at = (corner[axis] + tap[axis]).wrapping_sub(self.before[axis]);
            if at >= self.input[axis] {
                return None;
            }
            index = index * self.input[axis] + at;
        }
        Some(index * self.channels)
    }
}

impl Padding {
    fn is_none(&self) -> bool {
        matches!(self, Self::Before(before) if before.iter().all(|&before| before == 0))
            || matches!(self, Self::SameUpper | Self::SameLower)
    }
}
