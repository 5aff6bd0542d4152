//! Functions of single elements: of one tensor's bytes a table, of an operator's output its bias, scale or limits, of two
//! tensors' bytes a sum or product.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::LeakyRelu;

use super::Lowering;
use super::expr::{Expr, Functions, Kind, Pending, Table};
use crate::import::elements;
use crate::program::{Binary, BinaryOp, Element, Extent, Lookup, Op, Unary};

impl Lowering<'_> {
    pub(super) fn unary(&mut self, node: &TypedNode, op: &ElementWiseOp) -> TractResult<Expr> {
        let function = unary(op);
        if let Expr::Table(table) = self.expr(node.inputs[0])? {
            return Ok(Expr::Table(match function {
                Some(function) => table.with(table.function.map(|value| function.apply(value))),
                None => self.tabulated(node)?,
            }));
        }
        let function = function.with_context(|| format!("no function {}", op.0.name()))?;
        let place = self.real(node.inputs[0])?;
        let unary = Op::Unary(function);
        let place = self.step(
            node,
            unary,
            &[place.value],
            Element::F32,
            place.channels_last,
        )?;
        Ok(Expr::Real(place))
    }

    pub(super) fn binary(&mut self, node: &TypedNode, op: &TypedBinOp) -> TractResult<Expr> {
        if let Ok(table) = self.tabulated(node) {
            return Ok(Expr::Table(table));
        }
        let op = binary(op).with_context(|| format!("no function {}", op.0.name()))?;
        let [a, b] = node.inputs[..] else {
            bail!("{} operands", node.inputs.len())
        };
        let shape = self.shape(node.id.into())?;
        let operands = [(a, b, false), (b, a, true)];
        for (tensor, constant, swapped) in operands {
            // A constant that is larger than the tensor makes another tensor of it.
            if self.shape(tensor)? == shape
                && let Expr::Pending(pending) = self.expr(tensor)?
                && let Some(constant) = self.along(constant, &shape)?
                && let Some(pending) = self.folded_into(*pending, op, &constant, swapped)?
            {
                return Ok(Expr::Pending(Box::new(pending)));
            }
        }
        if let Some(pending) = self.of_bytes(node, op)? {
            return Ok(Expr::Pending(Box::new(pending)));
        }
        self.real_binary(node, op)
    }

    /// A function of the bytes of one tensor and of constants.
    ///
    /// # Errors
    /// When the node has other operands.
    pub(super) fn tabulated(&mut self, node: &TypedNode) -> TractResult<Table> {
        let shape = self.shape(node.id.into())?;
        let mut first: Option<Table> = None;
        let mut operands = vec![];
        for &input in &node.inputs {
            let operand = match self.expr(input)? {
                Expr::Table(table) => {
                    ensure!(
                        first
                            .as_ref()
                            .is_none_or(|first| first.place == table.place)
                            && self.shape(input)? == shape,
                        "operands of several tensors"
                    );
                    first.get_or_insert_with(|| table.clone());
                    Operand::Table(table.function)
                }
                _ => {
                    let constant = self.along(input, &shape)?;
                    Operand::Constant(constant.context("an operand that is not quantised")?)
                }
            };
            operands.push(operand);
        }
        let first = first.context("no operand is quantised")?;
        let mut axis: Option<(usize, usize)> = None;
        for operand in &operands {
            let of = operand.axis();
            ensure!(
                axis.is_none() || of.is_none() || axis == of,
                "constants along several axes"
            );
            axis = axis.or(of);
        }
        let count = axis.map_or(1, |(_, count)| count);
        ensure!(count <= MAX_TABLES, "{count} tables, limit is {MAX_TABLES}");
        self.spend(count * size_of::<[f32; 256]>())?;
        let tables: Arc<[Lookup<f32>]> =
            match (node.op_as::<TypedBinOp>().and_then(binary), &*operands) {
                (Some(op), [a, b]) => {
                    let table =
                        |index| Lookup::new(|byte| op.apply(a.at(index, byte), b.at(index, byte)));
                    (0..count).map(table).collect()
                }
                _ => self.evaluated(node, &operands, count)?,
            };
        let axis = axis.map(|(axis, _)| axis);
        Ok(first.with(Functions { axis, tables }))
    }

    /// The tables that tract makes of the operands' tables.
    fn evaluated(
        &self,
        node: &TypedNode,
        operands: &[Operand],
        count: usize,
    ) -> TractResult<Arc<[Lookup<f32>]>> {
        let mut inputs = tvec![];
        for (operand, &input) in operands.iter().zip(&node.inputs) {
            let values =
                (0..count).flat_map(|index| (0..=255u8).map(move |byte| (index, byte as i8)));
            let values: Vec<f32> = values
                .map(|(index, byte)| operand.at(index, byte))
                .collect();
            let tensor = Tensor::from_shape(&[count, 256], &values)?;
            let datum_type = self.model.outlet_fact(input)?.datum_type;
            inputs.push(tensor.cast_to_dt(datum_type)?.into_owned().into_tvalue());
        }
        let outputs = node
            .op
            .eval_out_of_plan(inputs)?
            .context("no function of single elements")?;
        let output = outputs.first().context("no output")?;
        ensure!(
            output.shape() == [count, 256],
            "no function of single elements"
        );
        let values = elements::<f32>(output)?;
        let tables = values.as_chunks::<256>().0.iter();
        Ok(tables
            .map(|table| Lookup::new(|byte| table[usize::from(byte as u8)]))
            .collect())
    }

    /// An operator's output with a function on top that its own limits, bias or scale take.
    ///
    /// `swapped`: the constant is the first operand.
    fn folded_into(
        &mut self,
        mut pending: Pending,
        op: BinaryOp,
        constant: &Along,
        swapped: bool,
    ) -> TractResult<Option<Pending>> {
        if let (BinaryOp::Min | BinaryOp::Max, &[limit]) = (op, &*constant.values) {
            let limited = |value: f32| {
                if op == BinaryOp::Max {
                    value.max(limit)
                } else {
                    value.min(limit)
                }
            };
            (pending.low, pending.high) = (limited(pending.low), limited(pending.high));
            return Ok((!limit.is_nan()).then_some(pending));
        }
        let rank = self.shape(pending.outlet)?.len();
        let channels = if pending.channels_last { 1 } else { rank - 1 };
        let (is_free, is_along) = (
            pending.unclamped() && pending.moves.is_empty(),
            constant.axis.is_none_or(|axis| axis == channels),
        );
        let Kind::Product(product) = &mut pending.kind else {
            return Ok(None);
        };
        if !is_free || !is_along {
            return Ok(None);
        }
        self.spend(product.scale.len() * 12)?;
        let product = Arc::make_mut(product);
        for lane in 0..product.bias.len() {
            let value = constant.values[lane % product.channels % constant.values.len()];
            let (scale, bias) = (&mut product.scale[lane], &mut product.bias[lane]);
            match op {
                BinaryOp::Add => *bias += value,
                BinaryOp::Sub if !swapped => *bias -= value,
                BinaryOp::Sub => (*scale, *bias) = (-*scale, value - *bias),
                BinaryOp::Mul => (*scale, *bias) = (*scale * value, *bias * value),
                BinaryOp::Div if !swapped => (*scale, *bias) = (*scale / value, *bias / value),
                _ => return Ok(None),
            }
            if !scale.is_normal() || !bias.is_finite() {
                return Ok(None);
            }
        }
        Ok(Some(pending))
    }

    /// Sum, difference or product of two quantised tensors.
    fn of_bytes(&mut self, node: &TypedNode, op: BinaryOp) -> TractResult<Option<Pending>> {
        if !matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul) {
            return Ok(None);
        }
        let [a, b] = node.inputs[..] else {
            return Ok(None);
        };
        let (a_shape, b_shape, rank) = (self.shape(a)?, self.shape(b)?, self.fact(node)?.rank());
        let gates = |gate: &[Extent], of: &[Extent]| {
            rank > 2
                && gate[..2] == of[..2]
                && gate[2..].iter().all(|extent| extent.as_fixed() == Some(1))
        };
        let [a_gates, b_gates] = [gates(&a_shape, &b_shape), gates(&b_shape, &a_shape)];
        let mut wanted = None;
        for input in [a, b] {
            match self.expr(input)? {
                Expr::Table(table) if table.place.channels_last => wanted = Some(true),
                Expr::Table(_) => (),
                _ => return Ok(None),
            }
        }
        // A product with a factor for each channel runs along the channels.
        if op == BinaryOp::Mul && (a_gates || b_gates) && a_shape != b_shape {
            wanted = Some(true);
        }
        let wanted = wanted.unwrap_or(false);
        let (Ok(mut a), Ok(mut b)) = (self.bytes(a, Some(wanted)), self.bytes(b, Some(wanted)))
        else {
            return Ok(None);
        };
        if op == BinaryOp::Mul && a_gates && !b_gates {
            std::mem::swap(&mut a, &mut b);
        }
        let kind = match op {
            BinaryOp::Add => Kind::Add(a, b, 1.0),
            BinaryOp::Sub => Kind::Add(a, b, -1.0),
            _ => Kind::Mul(a, b),
        };
        Ok(Some(Pending::new(kind, node.id.into(), wanted)))
    }

    /// A real step of two operands.
    fn real_binary(&mut self, node: &TypedNode, op: BinaryOp) -> TractResult<Expr> {
        let places = [self.real(node.inputs[0])?, self.real(node.inputs[1])?];
        let channels_last = places.iter().any(|place| place.channels_last);
        let mut operands = [0; 2];
        for ((operand, place), &input) in operands.iter_mut().zip(places).zip(&node.inputs) {
            *operand = self.with_layout(place, input, channels_last)?.value;
        }
        let binary = Op::Binary(Binary { op });
        let place = self.step(node, binary, &operands, Element::F32, channels_last)?;
        Ok(Expr::Real(place))
    }

    /// The numbers of a constant that a tensor of this shape meets, if they differ along one axis at most.
    fn along(&self, outlet: OutletId, shape: &[Extent]) -> TractResult<Option<Along>> {
        let Some(tensor) = self.known(outlet)? else {
            return Ok(None);
        };
        let values = elements::<f32>(&tensor)?;
        let Some(&first) = values.first() else {
            return Ok(None);
        };
        if values
            .iter()
            .all(|value| value.to_bits() == first.to_bits())
        {
            let values = vec![first];
            return Ok(Some(Along { axis: None, values }));
        }
        let mut wide = (0..tensor.rank()).filter(|&axis| tensor.shape()[axis] != 1);
        Ok(match (wide.next(), wide.next()) {
            (Some(axis), None)
                if tensor.rank() == shape.len() && shape[axis].as_fixed() == Some(values.len()) =>
            {
                Some(Along {
                    axis: Some(axis),
                    values,
                })
            }
            _ => None,
        })
    }
}

/// A constant that differs along one axis at most.
struct Along {
    axis: Option<usize>,
    values: Vec<f32>,
}

/// What a function of single elements is applied to.
enum Operand {
    Table(Functions<f32>),
    Constant(Along),
}

impl Operand {
    /// The axis along which it differs, and how many indices that has.
    fn axis(&self) -> Option<(usize, usize)> {
        match self {
            Self::Table(function) => Some((function.axis?, function.tables.len())),
            Self::Constant(along) => Some((along.axis?, along.values.len())),
        }
    }

    fn at(&self, index: usize, byte: i8) -> f32 {
        match self {
            Self::Table(function) => function.at(index, byte),
            Self::Constant(along) => along.values[index % along.values.len()],
        }
    }
}

/// Most tables of one step: far more than channels.
const MAX_TABLES: usize = 1 << 13;

fn unary(op: &ElementWiseOp) -> Option<Unary> {
    if let Some(op) = op.0.downcast_ref::<LeakyRelu>() {
        return Some(Unary::LeakyRelu { alpha: op.alpha });
    }
    Some(match op.0.name().as_str() {
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
        _ => return None,
    })
}

fn binary(op: &TypedBinOp) -> Option<BinaryOp> {
    if op
        .1
        .is_some_and(|datum_type| datum_type != f32::datum_type())
    {
        return None;
    }
    Some(match op.0.name() {
        "Add" => BinaryOp::Add,
        "Sub" => BinaryOp::Sub,
        "Mul" => BinaryOp::Mul,
        "Div" => BinaryOp::Div,
        "Min" => BinaryOp::Min,
        "Max" => BinaryOp::Max,
        "Pow" => BinaryOp::Pow,
        _ => return None,
    })
}
