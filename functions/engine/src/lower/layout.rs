//! From expressions to values in the wanted form: as reals, with the channels where an operator wants them, as constants.

use tract_onnx::tract_core::internal::*;

use super::Lowering;
use super::expr::{Bytes, Expr, Kind, Pending, Place, Table};
use super::operators::real_product;
use crate::program::{Binary, BinaryOp, Element, Extent, Op, Unary, Value};

impl Lowering<'_> {
    /// An f32 value that holds the outlet's tensor, made if there is none yet.
    pub(super) fn real(&mut self, outlet: OutletId) -> TractResult<Place> {
        if let Some(place) = self.reals.get(&outlet) {
            return Ok(*place);
        }
        let place = match self.exprs[&outlet].clone() {
            Expr::Real(place) => place,
            Expr::Table(Table {
                bytes: Bytes { place, .. },
                table,
                ..
            }) => self.step_for(
                outlet,
                Op::Decode(table),
                &[place.value],
                Element::F32,
                place.channels_last,
            )?,
            Expr::Pending(pending) => self.real_of_pending(outlet, *pending)?,
            Expr::Constant(tensor) => self.constant(&tensor)?,
            Expr::Weights(weights) => self.constant(&weights.dequantised()?)?,
            Expr::Input(_) => bail!("the image is used before it is quantised"),
            Expr::Bytes(_) => bail!("integers are used as reals"),
        };
        self.reals.insert(outlet, place);
        Ok(place)
    }

    fn constant(&mut self, tensor: &Tensor) -> TractResult<Place> {
        let shape = tensor
            .shape()
            .iter()
            .map(|&extent| self.symbols.fixed(extent))
            .collect();
        let values = tensor
            .cast_to::<f32>()?
            .try_as_plain_ram()?
            .as_slice::<f32>()?
            .to_vec();
        self.program.values.push(Value {
            element: Element::F32,
            shape,
            constant: Some(values),
        });
        Ok(Place {
            value: self.program.values.len() - 1,
            channels_last: false,
        })
    }

    fn real_of_pending(&mut self, outlet: OutletId, pending: Pending) -> TractResult<Place> {
        let channels_last = pending.channels_last;
        let place = match &pending.kind {
            Kind::Product(product) => {
                let op = real_product(product, pending.low, pending.high);
                return self.step_for(outlet, op, &[product.input], Element::F32, channels_last);
            }
            Kind::Add(a, b) => self.real_of_two(outlet, BinaryOp::Add, [a, b], channels_last)?,
            Kind::Mul(a, b) => self.real_of_two(outlet, BinaryOp::Mul, [a, b], channels_last)?,
            Kind::Mean { .. } | Kind::Concat(_) => {
                bail!("the output is not quantised")
            }
        };
        ensure!(pending.unclamped(), "a clamped output is not quantised");
        Ok(place)
    }

    fn real_of_two(
        &mut self,
        outlet: OutletId,
        op: BinaryOp,
        operands: [&Bytes; 2],
        channels_last: bool,
    ) -> TractResult<Place> {
        let mut decode = |bytes: &Bytes| {
            let shape = self.program.values[bytes.place.value].shape.clone();
            let value = self.value(Element::F32, shape);
            let table = Table::plain(*bytes).table;
            let name = self.model.node(outlet.node).name.clone();
            self.program.steps.push(crate::program::Step {
                name,
                op: Op::Decode(table),
                inputs: vec![bytes.place.value],
                output: value,
            });
            value
        };
        let operands = [decode(operands[0]), decode(operands[1])];
        self.step_for(
            outlet,
            Op::Binary(Binary { op }),
            &operands,
            Element::F32,
            channels_last,
        )
    }

    /// The same tensor with its channels last or where the graph has them.
    pub(super) fn with_layout(
        &mut self,
        place: Place,
        outlet: OutletId,
        channels_last: bool,
    ) -> TractResult<Place> {
        if place.channels_last == channels_last {
            return Ok(place);
        }
        let shape = self.stored_shape(outlet, channels_last)?;
        let rank = shape.len();
        let element = self.program.values[place.value].element;
        let channels = &self.shape(outlet)?[1];
        let op = if channels.as_fixed() == Some(1) {
            Op::Reshape
        } else if channels_last {
            Op::Transpose([0].into_iter().chain(2..rank).chain([1]).collect())
        } else {
            Op::Transpose([0, rank - 1].into_iter().chain(1..rank - 1).collect())
        };
        if let Some(constant) = self.program.values[place.value].constant.clone() {
            // A constant is small: it is moved now.
            let from = fixed(&self.program.values[place.value].shape)?;
            let mut tensor = Tensor::from_shape(&from, &constant)?;
            if let Op::Transpose(perm) = &op {
                tensor = tensor.permute_axes(perm)?;
            }
            let tensor = tensor.into_shape(&fixed(&shape)?)?;
            let value = self.constant(&tensor)?.value;
            return Ok(Place {
                value,
                channels_last,
            });
        }
        self.step_for(outlet, op, &[place.value], element, channels_last)
    }

    /// The outlet's bytes with the function they stand for, channels where they are wanted.
    pub(super) fn table(&mut self, outlet: OutletId, channels_last: bool) -> TractResult<Table> {
        let Expr::Table(mut table) = self.exprs[&outlet].clone() else {
            bail!("input {outlet:?} is not quantised")
        };
        table.bytes.place = self.with_layout(table.bytes.place, outlet, channels_last)?;
        Ok(table)
    }

    /// The outlet's bytes, channels where they are wanted, when they are just what the tensor is.
    pub(super) fn bytes(&mut self, outlet: OutletId, channels_last: bool) -> TractResult<Bytes> {
        let table = self.table(outlet, channels_last)?;
        ensure!(
            table.plain,
            "a function of the quantised input is not quantised"
        );
        Ok(table.bytes)
    }

    /// The f32 constant of an outlet; `None` when it is not constant.
    pub(super) fn known(&self, outlet: OutletId) -> TractResult<Option<Tensor>> {
        Ok(match &self.exprs[&outlet] {
            Expr::Constant(tensor) => Some(tensor.cast_to::<f32>()?.into_owned()),
            Expr::Weights(weights) => Some(weights.dequantised()?),
            _ => None,
        })
    }

    /// The one number that a constant outlet holds everywhere.
    pub(super) fn scalar(&self, outlet: OutletId) -> TractResult<Option<f32>> {
        let Some(tensor) = self.known(outlet)? else {
            return Ok(None);
        };
        let values = tensor.try_as_plain_ram()?.as_slice::<f32>()?;
        Ok(values
            .first()
            .copied()
            .filter(|first| values.iter().all(|value| value == first)))
    }

    /// A real step of one operand.
    pub(super) fn real_unary(&mut self, node: &TypedNode, function: Unary) -> TractResult<Expr> {
        let place = self.real(node.inputs[0])?;
        let place = self.step(
            node,
            Op::Unary(function),
            &[place.value],
            Element::F32,
            place.channels_last,
        )?;
        Ok(Expr::Real(place))
    }

    /// A real step of two operands.
    pub(super) fn real_binary(&mut self, node: &TypedNode, op: BinaryOp) -> TractResult<Expr> {
        let places = [self.real(node.inputs[0])?, self.real(node.inputs[1])?];
        let channels_last = places.iter().any(|place| place.channels_last);
        let mut operands = [0; 2];
        for ((operand, place), &input) in operands.iter_mut().zip(places).zip(&node.inputs) {
            *operand = self.with_layout(place, input, channels_last)?.value;
        }
        let place = self.step(
            node,
            Op::Binary(Binary { op }),
            &operands,
            Element::F32,
            channels_last,
        )?;
        Ok(Expr::Real(place))
    }
}

/// A constant's shape.
fn fixed(shape: &[Extent]) -> TractResult<TVec<usize>> {
    shape
        .iter()
        .map(|extent| extent.as_fixed().context("a constant of variable shape"))
        .collect()
}
