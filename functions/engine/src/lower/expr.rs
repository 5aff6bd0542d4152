//! What is known of a float tensor of the graph before it has to exist.
//!
//! A QDQ graph computes on floats that were bytes a moment ago and will be bytes again. The lowering follows each float
//! as an expression over bytes, and makes a step only when a `QuantizeLinear`, or an operator that has to stay in f32, asks
//! for its value.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;

use super::moves::Move;
use crate::import::{Mapping, elements};
use crate::program::{Affine, Conv, Depthwise, Lookup, Requant, Sample, ValueId, Window, requant};

/// A tensor of the graph.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    /// The graph's input of this index, before it is quantised.
    Input(usize),
    /// Known now.
    Constant(Arc<Tensor>),
    /// Dequantised constants: a kernel or a bias.
    Weights(Weights),
    /// The output of a `QuantizeLinear`.
    Integers(Integers),
    /// A function of each byte.
    Table(Table),
    /// An integer operator whose output's quantisation is not known yet.
    Pending(Box<Pending>),
    /// An f32 value that a step makes.
    Real(Place),
    /// There is no form for the node: tract evaluates it, when its value is asked for.
    Foreign,
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

/// Quantised integers: stored bytes, or a function of stored bytes that no step has computed yet.
#[derive(Debug, Clone)]
pub(super) struct Integers {
    pub(super) place: Place,
    pub(super) function: Option<Functions<i8>>,
    /// The `QuantizeLinear`.
    pub(super) origin: OutletId,
}

/// One table for all bytes, or one for each index along an axis of the graph's tensor.
#[derive(Debug, Clone)]
pub(super) struct Functions<T> {
    /// `None` for one table.
    pub(super) axis: Option<usize>,
    pub(super) tables: Arc<[Lookup<T>]>,
}

impl<T: Copy> Functions<T> {
    /// The same function everywhere.
    pub(super) fn one(table: Lookup<T>) -> Self {
        Self {
            axis: None,
            tables: Arc::new([table]),
        }
    }

    /// The value of a byte at `index` along the axis.
    pub(super) fn at(&self, index: usize, byte: i8) -> T {
        let index = if self.axis.is_some() { index } else { 0 };
        self.tables[index].at(byte)
    }

    /// Another function on top.
    pub(super) fn map<U: Copy>(&self, function: impl Fn(T) -> U) -> Functions<U> {
        let tables = self.tables.iter();
        Functions {
            axis: self.axis,
            tables: tables
                .map(|table| Lookup::new(|byte| function(table.at(byte))))
                .collect(),
        }
    }

    /// The table, when there is only one.
    pub(super) fn single(&self) -> Option<&Lookup<T>> {
        self.axis.is_none().then(|| &self.tables[0])
    }
}

/// A real number for each byte of a tensor.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) place: Place,
    pub(super) function: Functions<f32>,
    /// A quantisation that the values may be multiples of, as `state` says.
    pub(super) affine: Affine,
    pub(super) state: State,
}

/// How the values of a table are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The stored bytes are the integers.
    Stored,
    /// They are integers that this outlet has made.
    Made(OutletId),
    /// Not known to be.
    Open,
}

impl Table {
    /// What the bytes stand for.
    pub(super) fn stored(bytes: Bytes) -> Self {
        Self {
            place: bytes.place,
            function: Functions::one(requant::reals(bytes.affine)),
            affine: bytes.affine,
            state: State::Stored,
        }
    }

    /// Another function on top.
    pub(super) fn with(&self, function: Functions<f32>) -> Self {
        Self {
            function,
            state: State::Open,
            ..*self
        }
    }

    /// The byte that each byte becomes under a quantisation.
    pub(super) fn requantised(&self, affine: Affine) -> Functions<i8> {
        self.function.map(|value| requant::quantise(value, affine))
    }

    /// Whether every value is a multiple of the quantisation, so that it is the same as bytes.
    pub(super) fn fits(&self) -> bool {
        let reals = requant::reals(self.affine);
        let fits = |value: f32| reals.at(requant::quantise(value, self.affine)) == value;
        let mut tables = self.function.tables.iter();
        tables.all(|table| (i8::MIN..=i8::MAX).all(|byte| fits(table.at(byte))))
    }
}

/// Constant integers with what they stand for.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    /// i8, u8 or i32.
    pub(super) values: Arc<Tensor>,
    pub(super) mapping: Mapping,
}

impl Weights {
    /// The reals.
    pub(super) fn dequantised(&self) -> TractResult<Tensor> {
        self.mapping.dequantised(&self.values)
    }

    /// The values less their zero points, which must span eight bits.
    pub(super) fn differences(&self) -> TractResult<Vec<i16>> {
        let (values, mapping) = (&self.values, &self.mapping);
        ensure!(values.len() > 0, "weights of shape {:?}", values.shape());
        ensure!(
            [i8::datum_type(), u8::datum_type()].contains(&values.datum_type()),
            "weights of type {:?}",
            values.datum_type()
        );
        let inner: usize = values.shape().iter().skip(mapping.axis + 1).product();
        let integers = elements::<i16>(values)?;
        let mut differences = Vec::with_capacity(integers.len());
        let (mut lowest, mut highest) = (0, 0);
        for (index, value) in integers.into_iter().enumerate() {
            let channel = (index / inner.max(1)) % mapping.zero_points.len();
            let difference = i32::from(value).saturating_sub(mapping.zero_points[channel]);
            (lowest, highest) = (difference.min(lowest), difference.max(highest));
            ensure!(
                highest - lowest <= 255,
                "weights from {lowest} to {highest}"
            );
            differences.push(difference as i16);
        }
        Ok(differences)
    }

    /// One scale for each index of `axis`.
    pub(super) fn scales_along(&self, axis: usize) -> TractResult<Vec<f32>> {
        let extent = self.values.shape()[axis];
        match &*self.mapping.scales {
            &[scale] => Ok(vec![scale; extent]),
            scales if self.mapping.axis == axis && scales.len() == extent => Ok(scales.to_vec()),
            scales => bail!(
                "weights with {} scales along axis {}, expected {extent} along {axis}",
                scales.len(),
                self.mapping.axis
            ),
        }
    }

    /// The weights with their axes changed.
    pub(super) fn change_axes(&self, op: &AxisOp) -> TractResult<Self> {
        let mut values = self.values.clone().into_tensor();
        op.change_tensor(&mut values, false)?;
        let mut mapping = self.mapping.clone();
        if mapping.scales.len() > 1 {
            let axis = op.transform_axis(mapping.axis);
            mapping.axis = axis.context("the quantised axis is taken apart")?;
        }
        Ok(Self {
            values: values.into_arc_tensor(),
            mapping,
        })
    }
}

/// An integer operator with what becomes of its output: clamped to reals, then moved.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) kind: Kind,
    /// The operator's own output.
    pub(super) outlet: OutletId,
    pub(super) channels_last: bool,
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) moves: Vec<(OutletId, Move)>,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Product(Arc<Product>),
    /// `a + b`, or with a sign of -1 `a - b`.
    Add(Bytes, Bytes, f32),
    Mul(Bytes, Bytes),
    Mean {
        input: Bytes,
        /// `None`: the whole image.
        window: Option<Window>,
        count_padding: bool,
    },
    Concat {
        /// In the graph.
        axis: usize,
        /// With the outlets that they are.
        parts: Vec<(OutletId, Part)>,
    },
    /// Resized between pixels, by one sample for each spatial axis.
    Linear(Bytes, Vec<Sample>),
}

/// One of several tensors that are joined.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Table(Table),
    Pending(Pending),
}

/// Sums of products with constant weights.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) input: ValueId,
    pub(super) form: ProductForm,
    /// Groups of output channels, each padded to whole panels.
    pub(super) groups: usize,
    /// Channels of the graph's tensor; there may be several results of a pixel for each.
    pub(super) channels: usize,
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
    pub(super) fn new(kind: Kind, outlet: OutletId, channels_last: bool) -> Self {
        Self {
            kind,
            outlet,
            channels_last,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            moves: vec![],
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
