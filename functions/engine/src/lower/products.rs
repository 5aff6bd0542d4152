//! Convolutions and matrix products: bytes times constant bytes.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{Conv, Deconv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::Lowering;
use super::expr::{Bytes, Expr, Kind, Pending, Place, Product, ProductForm, Weights};
use crate::kernels::{PANEL, Packed, PackedDepthwise, STEP, shift};
use crate::program::{
    self, Affine, Channels, Depthwise, Element, Epilogue, Extent, Op, Padding, Window,
};

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &TypedNode, op: &Conv) -> TractResult<Expr> {
        ensure!(op.q_params.is_none(), "an integer convolution");
        ensure!(
            op.kernel_fmt == KernelFormat::OIHW,
            "kernel format {:?}",
            op.kernel_fmt
        );
        let window = window(&op.pool_spec)?;
        let weights = self.weights(node.inputs[1])?;
        let values = weights.differences()?;
        let input = self.bytes(node.inputs[0], Some(true))?;
        let [out_channels, group_channels] = weights.values.shape()[..2] else {
            bail!("a kernel of no channels")
        };
        let taps = window.taps();
        ensure!(
            taps * out_channels * group_channels == values.len()
                && group_channels * op.group == op.pool_spec.input_channels
                && out_channels % op.group == 0,
            "a kernel of {:?} for {} groups of {} channels",
            weights.values.shape(),
            op.group,
            op.pool_spec.input_channels
        );
        let products = Products {
            values: &values,
            taps,
            k: group_channels,
            n: out_channels,
            at: &|tap, k, channel| (channel * group_channels + k) * taps + tap,
        };
        let scale = product_scales(&weights, 0, input.affine)?;
        let bias = self.bias(node.inputs[2], out_channels)?;
        let product = if group_channels == 1 && op.group == out_channels && op.group > 1 {
            self.depthwise(&input, window, &products, scale, bias)?
        } else {
            self.dense(&input, window, op.group, &products, scale, bias)?
        };
        Ok(pending(product, node, true))
    }

    /// A product in which each of `groups` parts of the outputs sees its part of the inputs.
    fn dense(
        &mut self,
        input: &Bytes,
        window: Window,
        groups: usize,
        products: &Products,
        scale: Vec<f32>,
        bias: Vec<f32>,
    ) -> TractResult<Product> {
        let zero = self.zeros(products, input.affine)?;
        let group_channels = products.n / groups;
        let (rows, row) = window.rows(products.k);
        let packed = (0..groups).map(|group| {
            let weight = |index, k, channel| {
                let at = index * row + k;
                let (tap, k) = (at / products.k, at % products.k);
                products.weight(tap, k, group * group_channels + channel)
            };
            Packed::new(rows, row, group_channels, weight, &mut self.program.weights)
        });
        let conv = program::Conv {
            window,
            spread: None,
            groups: packed.collect(),
            out_channels: products.n,
            zero_point: i8::try_from(input.affine.zero_point)?,
            channels: Channels::default(),
            epilogue: Epilogue::NONE,
            pool: None,
        };
        Ok(Product {
            input: input.place.value,
            form: ProductForm::Conv(conv),
            groups,
            channels: products.n,
            zero,
            scale,
            bias,
        })
    }

    /// A product in which each output sees one input.
    fn depthwise(
        &mut self,
        input: &Bytes,
        window: Window,
        products: &Products,
        scale: Vec<f32>,
        bias: Vec<f32>,
    ) -> TractResult<Product> {
        let zero = self.zeros(products, input.affine)?;
        let values = || products.values.iter().map(|&value| i32::from(value));
        let (lowest, highest) = (values().min(), values().max());
        let shift = shift(lowest.unwrap_or(0), highest.unwrap_or(0));
        let weight = |tap, channel| (i32::from(products.weight(tap, 0, channel)) + shift) as i8;
        let region = &mut self.program.weights;
        let packed = PackedDepthwise::new(products.taps, products.n, weight, region);
        let ones = (shift != 0).then(|| {
            (
                shift,
                PackedDepthwise::new(products.taps, products.n, |_, _| 1, region),
            )
        });
        let conv = Depthwise {
            window,
            packed,
            shifted: ones,
            zero_point: i8::try_from(input.affine.zero_point)?,
            channels: Channels::default(),
            epilogue: Epilogue::NONE,
        };
        Ok(Product {
            input: input.place.value,
            form: ProductForm::Depthwise(conv),
            groups: 1,
            channels: products.n,
            zero,
            scale,
            bias,
        })
    }

    pub(super) fn deconv(&mut self, node: &TypedNode, op: &Deconv) -> TractResult<Expr> {
        let window = window(&op.pool_spec)?;
        ensure!(
            op.kernel_format == KernelFormat::OIHW,
            "kernel format {:?}",
            op.kernel_format
        );
        let weights = self.weights(node.inputs[1])?;
        let values = weights.differences()?;
        let input = self.bytes(node.inputs[0], Some(true))?;
        // `in_channels` of each group.
        let [out_channels, in_channels] = weights.values.shape()[..2] else {
            bail!("a kernel of no channels")
        };
        let taps = window.taps();
        ensure!(
            taps * out_channels * in_channels == values.len()
                && in_channels * op.group == op.pool_spec.input_channels
                && out_channels % op.group == 0,
            "a kernel of {:?} for {} groups of {} channels",
            weights.values.shape(),
            op.group,
            op.pool_spec.input_channels
        );
        let scale = product_scales(&weights, 0, input.affine)?;
        let bias = self.bias(node.inputs[2], out_channels)?;
        let apart = op.group == 1
            && window.kernel == window.stride
            && window.dilation.iter().all(|&dilation| dilation == 1)
            && op.adjustments.iter().all(|&more| more == 0)
            && unpadded(&op.pool_spec.padding);
        let product = if apart {
            // Each tap makes its own output pixel: as many times the channels, tap by tap.
            let products = Products {
                values: &values,
                taps: 1,
                k: in_channels,
                n: taps * out_channels,
                at: &|_, k, lane| {
                    ((lane % out_channels) * in_channels + k) * taps + lane / out_channels
                },
            };
            let pointwise = Window::pointwise(window.kernel.len());
            let (scale, bias) = (scale.repeat(taps), bias.repeat(taps));
            let mut product = self.dense(&input, pointwise, 1, &products, scale, bias)?;
            product.channels = out_channels;
            if let ProductForm::Conv(conv) = &mut product.form {
                conv.spread = Some(window.stride);
                conv.out_channels = out_channels;
            }
            product
        } else {
            // A convolution of the input with zeros between its elements, by the kernel turned round.
            let products = Products {
                values: &values,
                taps,
                k: in_channels,
                n: out_channels,
                at: &|tap, k, channel| (channel * in_channels + k) * taps + (taps - 1 - tap),
            };
            let window = turned(window, &op.pool_spec.padding)?;
            if in_channels == 1 && op.group == out_channels && op.group > 1 {
                self.depthwise(&input, window, &products, scale, bias)?
            } else {
                self.dense(&input, window, op.group, &products, scale, bias)?
            }
        };
        Ok(pending(product, node, true))
    }

    /// For each output, the input's zero point times the sum of its weights.
    fn zeros(&self, products: &Products, input: Affine) -> TractResult<Vec<i32>> {
        let Products { taps, k, n, .. } = *products;
        // Panels and steps are padded.
        let bytes = taps.saturating_mul(k + STEP).saturating_mul(n + PANEL);
        let bytes = bytes.saturating_add(self.program.weights.len());
        ensure!(
            bytes <= MAX_WEIGHT_BYTES,
            "over {MAX_WEIGHT_BYTES} bytes of weights"
        );
        let mut zeros = Vec::with_capacity(n);
        for channel in 0..n {
            let (mut sum, mut size) = (0i64, 0i64);
            for tap in 0..taps {
                for k in 0..k {
                    let weight = i64::from(products.weight(tap, k, channel));
                    sum += weight;
                    size += weight.abs();
                }
            }
            ensure!(
                size * 255 <= MAX_SUM,
                "sums of up to {}, limit is {MAX_SUM}",
                size * 255
            );
            zeros.push((sum * i64::from(input.zero_point)) as i32);
        }
        Ok(zeros)
    }

    fn weights(&self, outlet: OutletId) -> TractResult<Weights> {
        match &self.exprs[&outlet] {
            Expr::Weights(weights) => Ok(weights.clone()),
            _ => bail!("the weights are not quantised constants"),
        }
    }

    fn bias(&self, outlet: OutletId, channels: usize) -> TractResult<Vec<f32>> {
        let bias = self.known(outlet)?.context("a bias that is not constant")?;
        let values = bias.try_as_plain_ram()?.as_slice::<f32>()?;
        match values.len() {
            1 => Ok(vec![values[0]; channels]),
            len => {
                ensure!(len == channels, "{len} biases for {channels} channels");
                Ok(values.to_vec())
            }
        }
    }

    /// A product with a constant matrix of int8, or of two f32 tensors.
    pub(super) fn matmul(&mut self, node: &TypedNode, op: &EinSum) -> TractResult<Expr> {
        ensure!(op.q_params.is_none(), "an integer product");
        let expression = op.axes.to_string();
        let axes = Axes::parse(&expression).with_context(|| format!("product {expression}"))?;
        let rows = [&axes.outer[..], &[axes.m, axes.k]].concat();
        let columns = [&axes.outer[..], &[axes.k, axes.n]].concat();
        if let Expr::Weights(weights) = self.exprs[&node.inputs[1]].clone()
            && let (k_axis, n_axis) = (axes.in_b(axes.k)?, axes.in_b(axes.n)?)
            && let (k, n) = (
                weights.values.shape()[k_axis],
                weights.values.shape()[n_axis],
            )
            && k * n == weights.values.len()
            && axes.a.len() == rows.len()
            && let Ok(mut input) = self.bytes(node.inputs[0], Some(false))
        {
            input.place = self.arranged(input.place, node.inputs[0], &axes.a, &rows)?;
            let shape = &self.program.values[input.place.value].shape;
            let width = shape.last().and_then(Extent::as_fixed);
            ensure!(
                width == Some(k),
                "a product of rows of {width:?} with {k} rows"
            );
            let values = weights.differences()?;
            // The other axes have one index.
            let (by_k, by_n) = if k_axis < n_axis { (n, 1) } else { (1, k) };
            let products = Products {
                values: &values,
                taps: 1,
                k,
                n,
                at: &|_, k, channel| k * by_k + channel * by_n,
            };
            let scale = product_scales(&weights, n_axis, input.affine)?;
            let pointwise = Window::pointwise(1);
            let product = self.dense(&input, pointwise, 1, &products, scale, vec![0.0; n])?;
            return Ok(pending(product, node, false));
        }
        let [a, b] = [(&axes.a, &rows), (&axes.b, &columns)];
        let a = self.operand(node.inputs[0], a.0, a.1)?;
        let b = self.operand(node.inputs[1], b.0, b.1)?;
        let place = self.step(node, Op::MatMul, &[a.value, b.value], Element::F32, false)?;
        Ok(Expr::Real(place))
    }

    /// An f32 operand of a product with its axes in the order of `wanted`.
    fn operand(&mut self, input: OutletId, axes: &[char], wanted: &[char]) -> TractResult<Place> {
        let place = self.real(input)?;
        let place = self.with_layout(place, input, false)?;
        self.arranged(place, input, axes, wanted)
    }

    /// What is at `place` with its axes in the order of `wanted`, those that it lacks of extent one.
    fn arranged(
        &mut self,
        mut place: Place,
        input: OutletId,
        axes: &[char],
        wanted: &[char],
    ) -> TractResult<Place> {
        let known = axes.iter().all(|axis| wanted.contains(axis));
        ensure!(known, "a product of {axes:?} as {wanted:?}");
        let at = |axis: &char| axes.iter().position(|other| other == axis);
        let perm: Vec<usize> = wanted.iter().filter_map(at).collect();
        let value = &self.program.values[place.value];
        let (element, shape) = (value.element, value.shape.clone());
        if !perm.is_sorted() {
            let extents = perm.iter().map(|&axis| shape[axis].clone()).collect();
            let transpose = Op::Transpose(perm);
            place = self.step_shaped(input, transpose, &[place.value], element, extents)?;
        }
        if axes.len() < wanted.len() {
            let extent = |axis: &char| match at(axis) {
                Some(axis) => shape[axis].clone(),
                None => self.symbols.fixed(1),
            };
            let extents = wanted.iter().map(extent).collect();
            place = self.step_shaped(input, Op::Reshape, &[place.value], element, extents)?;
        }
        Ok(place)
    }
}

/// The axes of a product of two tensors: `[outer..., m, k]` and `[outer..., k, n]`, in any order, to `[outer..., m, n]`.
struct Axes {
    a: Vec<char>,
    b: Vec<char>,
    outer: Vec<char>,
    m: char,
    k: char,
    n: char,
}

impl Axes {
    fn parse(expression: &str) -> Option<Self> {
        let (inputs, output) = expression.split_once("->")?;
        let (a, b) = inputs.split_once(',')?;
        let [a, b, output] = [a, b, output].map(|axes| axes.chars().collect::<Vec<_>>());
        let (&[ref outer @ .., m, n], outer_b) = (&*output, &b) else {
            return None;
        };
        let k = a.iter().copied().find(|axis| !output.contains(axis))?;
        let sound = a.contains(&m)
            && !b.contains(&m)
            && outer_b.contains(&n)
            && !a.contains(&n)
            && b.contains(&k);
        let outer = outer.to_vec();
        sound.then_some(Self {
            a,
            b,
            outer,
            m,
            k,
            n,
        })
    }

    /// Which axis of the second operand this is.
    fn in_b(&self, axis: char) -> TractResult<usize> {
        self.b
            .iter()
            .position(|&other| other == axis)
            .context("no such axis")
    }
}

fn pending(product: Product, node: &TypedNode, channels_last: bool) -> Expr {
    let kind = Kind::Product(Arc::new(product));
    Expr::Pending(Box::new(Pending::new(kind, node.id.into(), channels_last)))
}

/// The step of a product whose output is quantised to `affine`.
pub(super) fn quantised_product(
    product: &Product,
    requant: program::Requant,
    affine: Affine,
) -> TractResult<Op> {
    let mut bias = Vec::with_capacity(product.bias.len());
    for ((&real, &scale), zero) in product.bias.iter().zip(&product.scale).zip(&product.zero) {
        bias.push(units(real, scale)?.wrapping_sub(*zero));
    }
    let scale: Vec<f32> = product
        .scale
        .iter()
        .map(|scale| scale / affine.scale)
        .collect();
    let channels = Channels {
        bias: Channels::padded(&bias, product.groups),
        scale: Channels::padded(&scale, product.groups),
    };
    Ok(with_epilogue(
        &product.form,
        channels,
        Epilogue::Byte(requant),
    ))
}

/// The step of a product whose output stays real, clamped to `low..=high`.
pub(super) fn real_product(product: &Product, low: f32, high: f32) -> Op {
    let bias: Vec<i32> = product.zero.iter().map(|zero| -zero).collect();
    let channels = Channels {
        bias: Channels::padded(&bias, product.groups),
        scale: Channels::padded(&product.scale, product.groups),
    };
    let rest = Channels::padded(&product.bias, product.groups);
    with_epilogue(&product.form, channels, Epilogue::Real { rest, low, high })
}

fn with_epilogue(form: &ProductForm, channels: Channels, epilogue: Epilogue) -> Op {
    match form {
        ProductForm::Conv(conv) => Op::Conv(Box::new(program::Conv {
            channels,
            epilogue,
            ..conv.clone()
        })),
        ProductForm::Depthwise(conv) => Op::Depthwise(Box::new(Depthwise {
            channels,
            epilogue,
            ..conv.clone()
        })),
    }
}

/// `bias` in units of `scale`, to the nearest.
fn units(bias: f32, scale: f32) -> TractResult<i32> {
    let units = f64::from(bias) / f64::from(scale);
    // Also false for what is not a number.
    ensure!(
        units.abs() <= MAX_BIAS,
        "a bias of {units} units, limit is {MAX_BIAS}"
    );
    Ok(libm::rint(units) as i32)
}

/// The weights of a product, wherever the graph has them.
struct Products<'a> {
    /// They span eight bits.
    values: &'a [i16],
    taps: usize,
    k: usize,
    n: usize,
    /// Where in `values` the weight of `(tap, k, channel)` stands; `k` counts within the channel's group.
    at: &'a dyn Fn(usize, usize, usize) -> usize,
}

impl Products<'_> {
    fn weight(&self, tap: usize, k: usize, channel: usize) -> i16 {
        self.values[(self.at)(tap, k, channel)]
    }
}

/// The window of a transposed convolution, seen as a convolution with spacing.
fn turned(window: Window, padding: &PaddingSpec) -> TractResult<Window> {
    let cut = match padding {
        PaddingSpec::Valid => vec![0; window.kernel.len()],
        PaddingSpec::Explicit(before, _) => before.to_vec(),
        other => bail!("a transposed convolution with padding {other:?}"),
    };
    let reach = window.kernel.iter().zip(&window.dilation);
    let before = reach
        .zip(cut)
        .map(|((kernel, dilation), cut)| ((kernel - 1) * dilation) as isize - cut as isize);
    Ok(Window {
        padding: Padding::Before(before.collect()),
        stride: vec![1; window.kernel.len()],
        spacing: window.stride,
        kernel: window.kernel,
        dilation: window.dilation,
    })
}

/// Input scale times weight scale for each index of the weights' `axis`.
fn product_scales(weights: &Weights, axis: usize, input: Affine) -> TractResult<Vec<f32>> {
    Ok(weights
        .scales_along(axis)?
        .into_iter()
        .map(|scale| scale * input.scale)
        .collect())
}

pub(super) fn window(spec: &PoolSpec) -> TractResult<Window> {
    ensure!(
        spec.data_format == DataFormat::NCHW,
        "data format {:?}",
        spec.data_format
    );
    let rank = spec.kernel_shape.len();
    ensure!((1..=3).contains(&rank), "a window of {rank} axes");
    let taps = spec
        .kernel_shape
        .iter()
        .try_fold(1usize, |taps, &extent| taps.checked_mul(extent));
    ensure!(
        taps.is_some_and(|taps| (1..=MAX_TAPS).contains(&taps)),
        "a window of {:?}",
        spec.kernel_shape
    );
    let steps = spec.strides().into_owned();
    let steps = steps.iter().copied().chain(spec.dilations().into_owned());
    ensure!(
        steps.into_iter().all(|step| (1..=MAX_TAPS).contains(&step)),
        "a window with strides {:?} and dilations {:?}",
        spec.strides(),
        spec.dilations()
    );
    let padding = match &spec.padding {
        PaddingSpec::Explicit(before, _) | PaddingSpec::ExplicitOnnxPool(before, _, _) => {
            ensure!(
                before.len() == rank && before.iter().all(|&before| before <= MAX_TAPS),
                "padding {before:?}"
            );
            Padding::Before(before.iter().map(|&before| before as isize).collect())
        }
        PaddingSpec::Valid => Padding::Before(vec![0; rank]),
        PaddingSpec::SameUpper => Padding::SameUpper,
        PaddingSpec::SameLower => Padding::SameLower,
    };
    Ok(Window {
        kernel: spec.kernel_shape.to_vec(),
        stride: spec.strides().to_vec(),
        dilation: spec.dilations().to_vec(),
        spacing: vec![1; rank],
        padding,
    })
}

fn unpadded(padding: &PaddingSpec) -> bool {
    let none = |extents: &[usize]| extents.iter().all(|&extent| extent == 0);
    match padding {
        PaddingSpec::Valid => true,
        PaddingSpec::Explicit(before, after) => none(before) && none(after),
        _ => false,
    }
}

/// No layer has a larger window or step; a file that claims one is not worth the memory.
const MAX_TAPS: usize = 4096;

/// Largest sum of products: half of what an i32 holds, for a bias may take the other half.
const MAX_SUM: i64 = 1 << 30;

/// Largest bias, in units of input scale times weight scale.
const MAX_BIAS: f64 = (1u32 << 30) as f64;

/// Most bytes of packed weights: a file may name one kernel many times.
const MAX_WEIGHT_BYTES: usize = 1 << 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_products_in_any_order() {
        for (expression, a, b) in [
            ("mk,kn->mn", "mk", "kn"),
            ("bmk,bnk->bmn", "bmk", "bnk"),
            ("km,nk->mn", "km", "nk"),
        ] {
            let axes = Axes::parse(expression).expect(expression);
            assert_eq!((axes.m, axes.k, axes.n), ('m', 'k', 'n'), "{expression}");
            assert_eq!(axes.a.iter().collect::<String>(), a);
            assert_eq!(axes.b.iter().collect::<String>(), b);
        }
        for expression in ["mk->m", "mk,kn", "mk,kn->m", "mn,mn->mn", "mk,mkn->mn"] {
            assert!(Axes::parse(expression).is_none(), "{expression}");
        }
    }
}
