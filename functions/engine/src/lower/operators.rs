//! One function for each operator of the graph that has a form in the program.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::Slice;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{
    Conv, Deconv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool,
};
use tract_onnx::tract_core::ops::einsum::EinSum;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::{DataFormat, LeakyRelu, Softmax};

use super::Lowering;
use super::expr::{Bytes, Expr, Kind, Pending, Product, ProductForm, Table, Weights};
use crate::ChannelOrder;
use crate::import::{Concat, LayerNorm, Repeat};
use crate::kernels::{PANEL, Packed, PackedDepthwise, STEP};
use crate::program::{
    self, AddQ, Affine, BinaryOp, Channels, Depthwise, Element, Epilogue, Extent, Lookup, Op,
    Padding, Pool, PoolKind, ScaleQ, Unary, ValueId, Window, requant,
};

/// The step of a pending operator whose output is quantised to `affine`.
pub(super) fn finished(pending: &Pending, affine: Affine) -> TractResult<(Op, Vec<ValueId>)> {
    let requant = pending.requant(affine);
    Ok(match &pending.kind {
        Kind::Product(product) => {
            let mut bias = Vec::with_capacity(product.bias.len());
            for ((&real, &scale), zero) in
                product.bias.iter().zip(&product.scale).zip(&product.zero)
            {
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
            let op = with_epilogue(&product.form, channels, Epilogue::Byte(requant));
            (op, vec![product.input])
        }
        Kind::Add(a, b) => {
            let add = AddQ {
                a_zero: a.affine.zero_point,
                a_scale: a.affine.scale / affine.scale,
                b_zero: b.affine.zero_point,
                b_scale: b.affine.scale / affine.scale,
                requant,
            };
            (Op::Add(Box::new(add)), vec![a.place.value, b.place.value])
        }
        Kind::Mul(a, b) => {
            let scale = a.affine.scale * b.affine.scale / affine.scale;
            let mul = ScaleQ {
                a_zero: a.affine.zero_point,
                b_zero: b.affine.zero_point,
                scale,
                requant,
            };
            (Op::Scale(Box::new(mul)), vec![a.place.value, b.place.value])
        }
        Kind::Mean {
            input,
            window,
            count_padding,
        } => {
            let scale = input.affine.scale / affine.scale;
            let kind = PoolKind::Mean {
                zero_point: input.affine.zero_point,
                scale,
                count_padding: *count_padding,
                requant,
            };
            (
                Op::Pool(Box::new(Pool {
                    kind,
                    window: window.clone(),
                })),
                vec![input.place.value],
            )
        }
        Kind::Concat(tables) => {
            ensure!(pending.unclamped(), "a clamped concatenation");
            let maps = tables
                .iter()
                .map(|table| table.requantised(affine))
                .collect();
            let axis = if pending.channels_last { 3 } else { 1 };
            (
                Op::Concat { axis, tables: maps },
                tables.iter().map(|table| table.bytes.place.value).collect(),
            )
        }
    })
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

impl Lowering<'_> {
    /// The first step of an image model: pixels to quantised, normalised, reordered channels.
    pub(super) fn image(
        &mut self,
        node: &TypedNode,
        index: usize,
        affine: Affine,
    ) -> TractResult<Bytes> {
        let input = &self.manifest.inputs[index];
        ensure!(
            input.mean.len() == 3,
            "an image of {} channels",
            input.mean.len()
        );
        let channels = std::array::from_fn(|channel| {
            let (mean, std) = (input.mean[channel], input.std[channel]);
            let table = Lookup::new(|byte| {
                let value = f32::from(byte as u8);
                requant::quantise((value / 255.0 - mean) / std, affine)
            });
            let source = match input.channels {
                ChannelOrder::Rgb => channel,
                ChannelOrder::Bgr => 2 - channel,
            };
            (source, table)
        });
        let pixels = self.program.inputs[index];
        let place = self.step(
            node,
            Op::Image(Box::new(channels)),
            &[pixels],
            Element::I8,
            true,
        )?;
        Ok(Bytes { place, affine })
    }

    pub(super) fn conv(&mut self, node: &TypedNode, op: &Conv) -> TractResult<Expr> {
        ensure!(op.q_params.is_none(), "an integer convolution");
        ensure!(
            op.kernel_fmt == KernelFormat::OIHW,
            "kernel format {:?}",
            op.kernel_fmt
        );
        let window = window(&op.pool_spec)?;
        let input = self.bytes(node.inputs[0], true)?;
        let weights = self.weights(node.inputs[1])?;
        let values = weights.bytes()?;
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
        Ok(Expr::Pending(Box::new(Pending::new(
            Kind::Product(product),
            true,
        ))))
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
        let packed = (0..groups).map(|group| {
            let weight =
                |tap, k, channel| products.weight(tap, k, group * group_channels + channel);
            Packed::new(
                products.taps,
                products.k,
                group_channels,
                weight,
                &mut self.program.weights,
            )
        });
        let conv = program::Conv {
            window,
            spread: None,
            groups: packed.collect(),
            out_channels: products.n,
            zero_point: i8::try_from(input.affine.zero_point)?,
            channels: Channels::default(),
            epilogue: Epilogue::NONE,
        };
        Ok(Product {
            input: input.place.value,
            form: ProductForm::Conv(conv),
            groups,
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
        let weight = |tap, channel| products.weight(tap, 0, channel);
        let region = &mut self.program.weights;
        let conv = Depthwise {
            window,
            packed: PackedDepthwise::new(products.taps, products.n, weight, region),
            zero_point: i8::try_from(input.affine.zero_point)?,
            channels: Channels::default(),
            epilogue: Epilogue::NONE,
        };
        Ok(Product {
            input: input.place.value,
            form: ProductForm::Depthwise(conv),
            groups: 1,
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
        ensure!(op.group == 1, "a transposed convolution in groups");
        let input = self.bytes(node.inputs[0], true)?;
        let weights = self.weights(node.inputs[1])?;
        let values = weights.bytes()?;
        let [out_channels, in_channels] = weights.values.shape()[..2] else {
            bail!("a kernel of no channels")
        };
        let taps = window.taps();
        ensure!(
            taps * out_channels * in_channels == values.len(),
            "a kernel of {:?}",
            weights.values.shape()
        );
        let scale = product_scales(&weights, 0, input.affine)?;
        let bias = self.bias(node.inputs[2], out_channels)?;
        let apart = window.kernel == window.stride
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
            self.dense(&input, window, 1, &products, scale, bias)?
        };
        Ok(Expr::Pending(Box::new(Pending::new(
            Kind::Product(product),
            true,
        ))))
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

    pub(super) fn max_pool(&mut self, node: &TypedNode, op: &MaxPool) -> TractResult<Expr> {
        ensure!(
            op.with_index_outputs.is_none(),
            "a pooling that gives indices"
        );
        let input = self.bytes(node.inputs[0], true)?;
        let pool = Pool {
            kind: PoolKind::Max,
            window: Some(window(&op.pool_spec)?),
        };
        let place = self.step(
            node,
            Op::Pool(Box::new(pool)),
            &[input.place.value],
            Element::I8,
            true,
        )?;
        Ok(Expr::Table(Table::plain(Bytes { place, ..input })))
    }

    pub(super) fn mean_pool(&mut self, node: &TypedNode, op: &SumPool) -> TractResult<Expr> {
        ensure!(op.normalize, "a sum over a window");
        let window = window(&op.pool_spec)?;
        let input = self.bytes(node.inputs[0], true)?;
        Ok(Expr::Pending(Box::new(Pending::new(
            Kind::Mean {
                input,
                window: Some(window),
                count_padding: op.count_include_pad,
            },
            true,
        ))))
    }

    pub(super) fn global_mean(&mut self, node: &TypedNode) -> TractResult<Expr> {
        let input = self.bytes(node.inputs[0], true)?;
        Ok(Expr::Pending(Box::new(Pending::new(
            Kind::Mean {
                input,
                window: None,
                count_padding: false,
            },
            true,
        ))))
    }

    pub(super) fn repeat(&mut self, node: &TypedNode, op: &Repeat) -> TractResult<Expr> {
        ensure!(
            op.factors.len() == 2,
            "resizing of {} axes",
            op.factors.len()
        );
        let table = self.table(node.inputs[0], true)?;
        let repeat = Op::Repeat(op.factors.clone());
        let place = self.step(node, repeat, &[table.bytes.place.value], Element::I8, true)?;
        Ok(Expr::Table(Table {
            bytes: Bytes {
                place,
                ..table.bytes
            },
            ..table
        }))
    }

    pub(super) fn concat(&mut self, node: &TypedNode, op: &Concat) -> TractResult<Expr> {
        ensure!(
            op.axis == 1 && self.fact(node)?.rank() > 2,
            "a concatenation of axis {}",
            op.axis
        );
        let tables = node
            .inputs
            .iter()
            .map(|&input| self.table(input, true))
            .collect::<TractResult<_>>()?;
        Ok(Expr::Pending(Box::new(Pending::new(
            Kind::Concat(tables),
            true,
        ))))
    }

    pub(super) fn unary(&mut self, node: &TypedNode, op: &ElementWiseOp) -> TractResult<Expr> {
        let function = unary(op)?;
        match &self.exprs[&node.inputs[0]] {
            Expr::Table(table) => Ok(Expr::Table(table.map(|value| function.apply(value)))),
            _ => self.real_unary(node, function),
        }
    }

    pub(super) fn binary(&mut self, node: &TypedNode, op: &TypedBinOp) -> TractResult<Expr> {
        let op = binary(op)?;
        let [a, b] = node.inputs[..] else {
            bail!("{} operands", node.inputs.len())
        };
        let mut scalars = [self.scalar(a)?, self.scalar(b)?];
        let out = self.shape(node.id.into())?;
        // A constant that is one number everywhere may still be larger than the other operand.
        if self.shape(b)? != out {
            scalars[0] = None;
        }
        if self.shape(a)? != out {
            scalars[1] = None;
        }
        match (self.exprs[&a].clone(), self.exprs[&b].clone(), scalars) {
            (Expr::Table(table), _, [_, Some(scalar)]) => {
                return Ok(Expr::Table(table.map(|value| op.apply(value, scalar))));
            }
            (_, Expr::Table(table), [Some(scalar), _]) => {
                return Ok(Expr::Table(table.map(|value| op.apply(scalar, value))));
            }
            (Expr::Table(a), Expr::Table(b), _) if a.bytes == b.bytes => {
                let table = Lookup::new(|byte| op.apply(a.table.at(byte), b.table.at(byte)));
                return Ok(Expr::Table(Table {
                    bytes: a.bytes,
                    table,
                    plain: false,
                }));
            }
            (Expr::Pending(pending), _, [_, Some(limit)])
            | (_, Expr::Pending(pending), [Some(limit), _])
                if matches!(op, BinaryOp::Min | BinaryOp::Max) =>
            {
                let mut pending = pending;
                if op == BinaryOp::Max {
                    (pending.low, pending.high) = (pending.low.max(limit), pending.high.max(limit));
                } else {
                    (pending.low, pending.high) = (pending.low.min(limit), pending.high.min(limit));
                }
                return Ok(Expr::Pending(pending));
            }
            (Expr::Table(x), Expr::Table(y), _) if x.plain && y.plain => {
                if let Some(kind) = self.quantised_binary(op, a, b)? {
                    let channels_last = self.fact(node)?.rank() > 2;
                    return Ok(Expr::Pending(Box::new(Pending::new(kind, channels_last))));
                }
            }
            _ => (),
        }
        self.real_binary(node, op)
    }

    /// Sum or product of two quantised tensors, when their shapes are such that there is an operator for it.
    fn quantised_binary(
        &mut self,
        op: BinaryOp,
        a: OutletId,
        b: OutletId,
    ) -> TractResult<Option<Kind>> {
        let (a_shape, b_shape) = (self.shape(a)?, self.shape(b)?);
        let channels_last = a_shape.len() > 2;
        let gates = |gate: &[Extent], of: &[Extent]| {
            channels_last
                && gate[..2] == of[..2]
                && gate[2..].iter().all(|extent| extent.as_fixed() == Some(1))
        };
        let same = a_shape == b_shape;
        Ok(match op {
            BinaryOp::Add if same => Some(Kind::Add(
                self.bytes(a, channels_last)?,
                self.bytes(b, channels_last)?,
            )),
            BinaryOp::Mul if same || gates(&b_shape, &a_shape) => Some(Kind::Mul(
                self.bytes(a, channels_last)?,
                self.bytes(b, channels_last)?,
            )),
            BinaryOp::Mul if gates(&a_shape, &b_shape) => Some(Kind::Mul(
                self.bytes(b, channels_last)?,
                self.bytes(a, channels_last)?,
            )),
            _ => None,
        })
    }

    /// A product with a constant matrix of int8, or of two f32 tensors.
    pub(super) fn matmul(&mut self, node: &TypedNode, op: &EinSum) -> TractResult<Expr> {
        ensure!(op.q_params.is_none(), "an integer product");
        let expression = op.axes.to_string();
        let (inputs, output) = expression
            .split_once("->")
            .context("an expression without an output")?;
        let (a, b) = inputs
            .split_once(',')
            .context("an expression of one operand")?;
        let axes = [a, b, output].map(|axes| axes.chars().collect::<Vec<_>>());
        let [a, b, c] = &axes;
        let (&[ref outer @ .., m, n], Some(&k)) = (&**c, a.last()) else {
            bail!("product {expression}")
        };
        let natural = *a == [outer, &[m, k]].concat() && b.ends_with(&[k, n]) && k != n;
        ensure!(natural, "product {expression}");
        let quantised = matches!(&self.exprs[&node.inputs[0]], Expr::Table(table) if table.plain);
        if quantised && let Expr::Weights(weights) = self.exprs[&node.inputs[1]].clone() {
            let &[ref outer @ .., k, n] = weights.values.shape() else {
                bail!("product {expression}")
            };
            ensure!(
                outer.iter().all(|&extent| extent == 1),
                "a stack of {outer:?} constant matrices"
            );
            let width = self
                .shape(node.inputs[0])?
                .last()
                .and_then(Extent::as_fixed);
            ensure!(
                width == Some(k),
                "a product of rows of {width:?} with {k} rows"
            );
            let input = self.bytes(node.inputs[0], false)?;
            let values = weights.bytes()?;
            let products = Products {
                values: &values,
                taps: 1,
                k,
                n,
                at: &|_, k, channel| k * n + channel,
            };
            let scale = product_scales(&weights, outer.len() + 1, input.affine)?;
            let pointwise = Window::pointwise(1);
            let product = self.dense(&input, pointwise, 1, &products, scale, vec![0.0; n])?;
            let kind = Kind::Product(product);
            return Ok(Expr::Pending(Box::new(Pending::new(kind, false))));
        }
        ensure!(
            b.len() == c.len() && b.starts_with(outer),
            "product {expression}"
        );
        let shapes = [self.shape(node.inputs[0])?, self.shape(node.inputs[1])?];
        ensure!(
            shapes[0][..outer.len()] == shapes[1][..outer.len()]
                && shapes[0].last() == shapes[1].get(outer.len()),
            "a product with broadcasting"
        );
        let mut operands = [0; 2];
        for (operand, &input) in operands.iter_mut().zip(&node.inputs) {
            let place = self.real(input)?;
            *operand = self.with_layout(place, input, false)?.value;
        }
        let place = self.step(node, Op::MatMul, &operands, Element::F32, false)?;
        Ok(Expr::Real(place))
    }

    pub(super) fn softmax(&mut self, node: &TypedNode, op: &Softmax) -> TractResult<Expr> {
        let rank = self.fact(node)?.rank();
        ensure!(
            op.axes[..] == [rank - 1] && op.quant_output_dt.is_none(),
            "softmax over {:?} of {rank} axes",
            op.axes
        );
        let place = self.real(node.inputs[0])?;
        let place = self.with_layout(place, node.inputs[0], false)?;
        Ok(Expr::Real(self.step(
            node,
            Op::Softmax,
            &[place.value],
            Element::F32,
            false,
        )?))
    }

    pub(super) fn layer_norm(&mut self, node: &TypedNode, op: &LayerNorm) -> TractResult<Expr> {
        let place = self.real(node.inputs[0])?;
        let place = self.with_layout(place, node.inputs[0], false)?;
        let gamma = self
            .known(node.inputs[1])?
            .context("a gamma that is not constant")?;
        let gamma = gamma.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        let beta = match node.inputs.get(2) {
            None => vec![0.0; gamma.len()],
            Some(&beta) => {
                let beta = self.known(beta)?.context("a beta that is not constant")?;
                beta.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()
            }
        };
        let width = self
            .shape(node.id.into())?
            .last()
            .and_then(Extent::as_fixed);
        ensure!(
            width == Some(gamma.len()),
            "{} gammas for rows of {width:?}",
            gamma.len()
        );
        ensure!(
            gamma.len() == beta.len(),
            "{} gammas but {} betas",
            gamma.len(),
            beta.len()
        );
        let norm = Op::LayerNorm {
            epsilon: op.epsilon,
            gamma,
            beta,
        };
        Ok(Expr::Real(self.step(
            node,
            norm,
            &[place.value],
            Element::F32,
            false,
        )?))
    }

    pub(super) fn axes(&mut self, node: &TypedNode, op: &AxisOp) -> TractResult<Expr> {
        let input = node.inputs[0];
        if let Expr::Weights(weights) = &self.exprs[&input] {
            return Ok(Expr::Weights(weights.change_axes(op)?));
        }
        let step = match op {
            AxisOp::Move(from, to) => {
                let mut perm: Vec<usize> = (0..self.fact(node)?.rank()).collect();
                let axis = perm.remove(*from);
                perm.insert(*to, axis);
                Op::Transpose(perm)
            }
            AxisOp::Add(_) | AxisOp::Rm(_) | AxisOp::Reshape(..) => Op::Reshape,
        };
        self.moved(node, step)
    }

    pub(super) fn slice(&mut self, node: &TypedNode, op: &Slice) -> TractResult<Expr> {
        self.moved(
            node,
            Op::Slice {
                axis: op.axis,
                start: op.start.to_usize()?,
            },
        )
    }

    /// An operator that only moves elements, on whatever the input is made of.
    fn moved(&mut self, node: &TypedNode, op: Op) -> TractResult<Expr> {
        let input = node.inputs[0];
        if let Expr::Table(_) = &self.exprs[&input] {
            let table = self.table(input, false)?;
            let place = self.step(node, op, &[table.bytes.place.value], Element::I8, false)?;
            return Ok(Expr::Table(Table {
                bytes: Bytes {
                    place,
                    ..table.bytes
                },
                ..table
            }));
        }
        let place = self.real(input)?;
        let place = self.with_layout(place, input, false)?;
        Ok(Expr::Real(self.step(
            node,
            op,
            &[place.value],
            Element::F32,
            false,
        )?))
    }
}

/// The weights of a product, wherever the graph has them.
struct Products<'a> {
    values: &'a [i8],
    taps: usize,
    k: usize,
    n: usize,
    /// Where in `values` the weight of `(tap, k, channel)` stands; `k` counts within the channel's group.
    at: &'a dyn Fn(usize, usize, usize) -> usize,
}

impl Products<'_> {
    fn weight(&self, tap: usize, k: usize, channel: usize) -> i8 {
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

fn window(spec: &PoolSpec) -> TractResult<Window> {
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
        PaddingSpec::Explicit(before, _) | PaddingSpec::ExplicitOnnxPool(before, _, false) => {
            Padding::Before(before.iter().map(|&before| before as isize).collect())
        }
        PaddingSpec::ExplicitOnnxPool(_, _, true) => {
            bail!("a window that reaches past the padding")
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

fn unary(op: &ElementWiseOp) -> TractResult<Unary> {
    if let Some(op) = op.0.downcast_ref::<LeakyRelu>() {
        return Ok(Unary::LeakyRelu { alpha: op.alpha });
    }
    Ok(match op.0.name().as_str() {
        "Abs" => Unary::Abs,
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "HardSwish" => Unary::HardSwish,
        "Ln" => Unary::Ln,
        "Neg" => Unary::Neg,
        "Recip" => Unary::Recip,
        "Rsqrt" => Unary::Rsqrt,
        "Sigmoid" => Unary::Sigmoid,
        "Silu" => Unary::Silu,
        "Sqrt" => Unary::Sqrt,
        "Square" => Unary::Square,
        "Tanh" => Unary::Tanh,
        name => bail!("no function {name}"),
    })
}

fn binary(op: &TypedBinOp) -> TractResult<BinaryOp> {
    Ok(match op.0.name() {
        "Add" => BinaryOp::Add,
        "Sub" => BinaryOp::Sub,
        "Mul" => BinaryOp::Mul,
        "Div" => BinaryOp::Div,
        "Min" => BinaryOp::Min,
        "Max" => BinaryOp::Max,
        "Pow" => BinaryOp::Pow,
        name => bail!("no function {name}"),
    })
}
