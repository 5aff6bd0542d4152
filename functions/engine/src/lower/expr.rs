//! What is known of a float tensor of the graph before it has to exist.
//!
//! A QDQ graph computes on floats that were bytes a moment ago and will be bytes again. The lowering follows each float
//! as an expression over bytes, and makes a step only when a `QuantizeLinear`, or an operator that has to stay in f32, asks
//! for its value.

use tract_onnx::tract_core::internal::*;

use crate::program::{Affine, Conv, Depthwise, Lookup, Requant, ValueId, Window, requant};

/// A tensor of the graph.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// The graph's input of this index, before it is quantised.
    Input(usize),
    /// Known now.
    Constant(Arc<Tensor>),
    /// Dequantised constants: a kernel or a bias.
    Weights(Weights),
    /// The output of a `QuantizeLinear`: integers.
    Bytes(Bytes),
    /// A function of each byte.
    Table(Table),
    /// An integer operator whose output's quantisation is not known yet.
    Pending(Box<Pending>),
    /// An f32 value that a step makes.
    Real(Place),
}

/// A value of the program that holds a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) value: ValueId,
    /// Whether the axis of channels, 1 in the graph, is stored last.
    pub(super) channels_last: bool,
}

/// Stored bytes and what they stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bytes {
    pub(super) place: Place,
    pub(super) affine: Affine,
}

/// `table[byte]` for each byte.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) bytes: Bytes,
    pub(super) table: Lookup<f32>,
    /// Whether the function is just what the bytes stand for.
    pub(super) plain: bool,
}

impl Table {
    /// What the bytes stand for.
    pub(super) fn plain(bytes: Bytes) -> Self {
        Self {
            bytes,
            table: requant::reals(bytes.affine),
            plain: true,
        }
    }

    /// Another function on top.
    pub(super) fn map(&self, function: impl Fn(f32) -> f32) -> Self {
        Self {
            bytes: self.bytes,
            table: Lookup::new(|byte| function(self.table.at(byte))),
            plain: false,
        }
    }

    /// The byte that each byte becomes under another quantisation.
    pub(super) fn requantised(&self, affine: Affine) -> Lookup<i8> {
        Lookup::new(|byte| requant::quantise(self.table.at(byte), affine))
    }
}

/// Constant integers with their scales: `real = scale[i] * (value - zero_point[i])`, `i` along `axis`.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// i8, u8 or i32.
    pub(super) values: Arc<Tensor>,
    pub(super) scales: Arc<[f32]>,
    pub(super) zero_points: Arc<[i32]>,
    pub(super) axis: usize,
}

impl Weights {
    /// The reals.
    pub(super) fn dequantised(&self) -> TractResult<Tensor> {
        let values = self.values.cast_to::<i32>()?;
        let mut reals = Tensor::zero::<f32>(values.shape())?;
        let inner: usize = values.shape().iter().skip(self.axis + 1).product();
        let of = |index: usize| (index / inner.max(1)) % self.scales.len();
        let integers = values.try_as_plain_ram()?.as_slice::<i32>()?;
        let mut plain = reals.try_as_plain_ram_mut()?;
        for (index, (real, &value)) in plain
            .as_slice_mut::<f32>()?
            .iter_mut()
            .zip(integers)
            .enumerate()
        {
            let zero_point = f64::from(self.zero_points[of(index)]);
            *real = self.scales[of(index)] * (f64::from(value) - zero_point) as f32;
        }
        Ok(reals)
    }

    /// The values less their zero points, which must fit bytes.
    pub(super) fn bytes(&self) -> TractResult<Vec<i8>> {
        ensure!(
            self.values.len() > 0,
            "weights of shape {:?}",
            self.values.shape()
        );
        ensure!(
            [i8::datum_type(), u8::datum_type()].contains(&self.values.datum_type()),
            "weights of type {:?}",
            self.values.datum_type()
        );
        let values = self.values.cast_to::<i32>()?;
        let inner: usize = values.shape().iter().skip(self.axis + 1).product();
        let values = values.try_as_plain_ram()?.as_slice::<i32>()?;
        let byte = |(index, &value): (usize, &i32)| {
            let channel = (index / inner.max(1)) % self.zero_points.len();
            i8::try_from(i64::from(value) - i64::from(self.zero_points[channel]))
        };
        let bytes: Result<_, _> = values.iter().enumerate().map(byte).collect();
        bytes.context("weights that take more than eight bits without their zero point")
    }

    /// One scale for each index of `axis`.
    pub(super) fn scales_along(&self, axis: usize) -> TractResult<Vec<f32>> {
        let extent = self.values.shape()[axis];
        match self.scales.len() {
            1 => Ok(vec![self.scales[0]; extent]),
            _ if self.axis == axis => Ok(self.scales.to_vec()),
            _ => bail!(
                "weights quantised along axis {}, expected {axis}",
                self.axis
            ),
        }
    }

    /// The weights with their axes changed.
    pub(super) fn change_axes(&self, op: &AxisOp) -> TractResult<Self> {
        let mut values = self.values.clone().into_tensor();
        op.change_tensor(&mut values, false)?;
        let axis = if self.scales.len() == 1 {
            0
        } else {
            op.transform_axis(self.axis)
                .context("the quantised axis is taken apart")?
        };
        Ok(Self {
            values: values.into_arc_tensor(),
            axis,
            ..self.clone()
        })
    }
}

/// An integer operator with the reals that its output is clamped to.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) kind: Kind,
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) channels_last: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Product(Product),
    Add(Bytes, Bytes),
    /// The second is `[N, C, 1...]` or of the first's shape.
    Mul(Bytes, Bytes),
    Mean {
        input: Bytes,
        window: Option<Window>,
        count_padding: bool,
    },
    Concat(Vec<Table>),
}

/// Sums of products with constant weights.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) input: ValueId,
    pub(super) form: ProductForm,
    /// Groups of output channels, each padded to whole panels.
    pub(super) groups: usize,
    /// For each result of a pixel: the input's zero point times the sum of the weights,
    pub(super) zero: Vec<i32>,
    /// input scale times weight scale,
    pub(super) scale: Vec<f32>,
    /// and the bias.
    pub(super) bias: Vec<f32>,
}

/// An operator without its channels and epilogue, which depend on what the output becomes.
#[derive(Debug, Clone)]
pub(super) enum ProductForm {
    Conv(Conv),
    Depthwise(Depthwise),
}

impl Pending {
    pub(super) fn new(kind: Kind, channels_last: bool) -> Self {
        Self {
            kind,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            channels_last,
        }
    }

    /// The requantisation of the output to `affine`.
    pub(super) fn requant(&self, affine: Affine) -> Requant {
        Requant::new(affine, self.low, self.high)
    }

    /// Whether the output is not clamped.
    pub(super) fn unclamped(&self) -> bool {
        self.low == f32::NEG_INFINITY && self.high == f32::INFINITY
    }
}
