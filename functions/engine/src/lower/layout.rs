//! From expressions to values in the wanted form: as reals, as bytes, as constants, with the channels where an operator
//! wants them.

use tract_onnx::tract_core::internal::*;

use super::Lowering;
use super::expr::{
    Bytes, Expr, Functions, Integers, Kind, Part, Pending, Place, Product, State, Table,
};
use super::products::{quantised_product, real_product};
use crate::import::{Kept, elements};
use crate::program::{
    self, AddQ, Affine, Along, Binary, BinaryOp, Broadcast, Element, Extent, Lookup, Op, Pool,
    PoolKind, PoolReals, Reduce, Reduction, Rescale, ScaleQ, Value, ValueId, requant,
};

impl Lowering<'_> {
    /// What is known of an outlet. An operator that several others read, and not all in the same quantisation, is made real
    /// once, and not computed for each.
    pub(super) fn expr(&mut self, outlet: OutletId) -> TractResult<Expr> {
        let expr = self.exprs.get(&outlet).context("used before it is made")?;
        let computes = |pending: &Pending| match &pending.kind {
            Kind::Product(_) => true,
            Kind::Concat { parts, .. } => parts
                .iter()
                .any(|(_, part)| matches!(part, Part::Pending(_))),
            _ => false,
        };
        if matches!(expr, Expr::Pending(pending) if computes(pending)) && self.is_shared(outlet) {
            return Ok(Expr::Real(self.real(outlet)?));
        }
        Ok(expr.clone())
    }

    /// Whether an outlet has readers that want different things of it.
    fn is_shared(&self, outlet: OutletId) -> bool {
        let readers = &self.model.node(outlet.node).outputs[outlet.slot].successors;
        let mut mappings =
            readers.iter().map(
                |reader| match self.model.node(reader.node).op_as::<Kept>() {
                    Some(Kept::Quantize(mapping)) => Some(mapping),
                    _ => None,
                },
            );
        let Some(first) = mappings.next() else {
            return false;
        };
        let is_output = self.model.outputs.contains(&outlet);
        is_output || readers.len() > 1 && (first.is_none() || mappings.any(|other| other != first))
    }

    /// An f32 value that holds the outlet's tensor, made if there is none yet.
    pub(super) fn real(&mut self, outlet: OutletId) -> TractResult<Place> {
        if let Some(place) = self.reals.get(&outlet) {
            return Ok(*place);
        }
        let expr = self
            .exprs
            .get(&outlet)
            .context("used before it is made")?
            .clone();
        let place = match expr {
            Expr::Real(place) => place,
            Expr::Table(table) => self.decoded(outlet, &table)?,
            Expr::Pending(pending) => match self.attempt(|this| this.real_of_pending(&pending)) {
                Ok(place) => place,
                Err(reason) => self.island(outlet, &reason)?,
            },
            Expr::Constant(tensor) => self.constant(&tensor)?,
            Expr::Weights(weights) => self.constant(&weights.dequantised()?)?,
            Expr::Input(index) => self.real_image(outlet, index)?,
            Expr::Integers(_) => bail!("integers are used as reals"),
            Expr::Foreign => bail!("the value is not f32"),
        };
        self.reals.insert(outlet, place);
        Ok(place)
    }

    /// The reals of a table.
    fn decoded(&mut self, outlet: OutletId, table: &Table) -> TractResult<Place> {
        let rank = self.shape(outlet)?.len();
        let op = match table.function.axis {
            None => Op::Decode(table.function.tables[0].clone()),
            Some(axis) => Op::DecodeAlong(Along {
                axis: table.place.stored_axis(axis, rank),
                tables: table.function.tables.to_vec(),
            }),
        };
        self.step_for(
            outlet,
            op,
            &[table.place.value],
            Element::F32,
            table.place.channels_last,
        )
    }

    pub(super) fn constant(&mut self, tensor: &Tensor) -> TractResult<Place> {
        self.spend(tensor.len().saturating_mul(size_of::<f32>()))?;
        let shape = tensor
            .shape()
            .iter()
            .map(|&extent| self.symbols.fixed(extent))
            .collect();
        let values = elements::<f32>(tensor)?;
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

    fn real_of_pending(&mut self, pending: &Pending) -> TractResult<Place> {
        let (outlet, channels_last) = (pending.outlet, pending.channels_last);
        let unlimited = (f32::NEG_INFINITY, f32::INFINITY);
        let (mut low, mut high) = (pending.low, pending.high);
        let place = match &pending.kind {
            Kind::Product(product) => {
                let op = real_product(product, low, high);
                (low, high) = unlimited;
                self.step_for(outlet, op, &[product.input], Element::F32, channels_last)?
            }
            Kind::Add(a, b, sign) => {
                let op = if *sign < 0.0 {
                    BinaryOp::Sub
                } else {
                    BinaryOp::Add
                };
                self.real_of_two(outlet, op, [a, b], channels_last)?
            }
            Kind::Mul(a, b) => self.real_of_two(outlet, BinaryOp::Mul, [a, b], channels_last)?,
            Kind::Mean {
                input,
                window: Some(window),
                count_padding,
            } => {
                let x = self.real_of_bytes(outlet, input)?;
                let pool = Op::PoolReals(Box::new(PoolReals {
                    window: window.clone(),
                    mean: Some(*count_padding),
                }));
                self.step_for(outlet, pool, &[x], Element::F32, channels_last)?
            }
            Kind::Mean { input, .. } => {
                let x = self.real_of_bytes(outlet, input)?;
                let rank = self.shape(outlet)?.len();
                let axes = (1..rank - 1).collect();
                let what = Reduction::Mean;
                let reduce = Op::Reduce(Reduce { what, axes });
                self.step_for(outlet, reduce, &[x], Element::F32, channels_last)?
            }
            Kind::Concat { axis, parts } => {
                let inputs: Vec<OutletId> = parts.iter().map(|(input, _)| *input).collect();
                let places = inputs.iter().map(|&input| self.real(input));
                let places: Vec<Place> = places.collect::<TractResult<_>>()?;
                self.joined_reals(outlet, *axis, &inputs, places)?
            }
            Kind::Linear(input, axes) => {
                let x = self.real_of_bytes(outlet, input)?;
                let axes = axes.clone();
                let linear = Op::Linear(Box::new(program::Linear { axes, bytes: None }));
                self.step_for(outlet, linear, &[x], Element::F32, channels_last)?
            }
        };
        let place = self.limited(outlet, place, low, high)?;
        self.after_moves(pending, place)
    }

    /// A real value within limits.
    fn limited(
        &mut self,
        outlet: OutletId,
        place: Place,
        low: f32,
        high: f32,
    ) -> TractResult<Place> {
        let rank = self.shape(outlet)?.len();
        let mut limited = place;
        for (op, limit) in [(BinaryOp::Max, low), (BinaryOp::Min, high)] {
            if limit.is_finite() {
                let limit = self.constant(&tensor0(limit).broadcast_into_rank(rank)?)?;
                let operands = [limited.value, limit.value];
                let binary = Op::Binary(Binary { op });
                limited =
                    self.step_for(outlet, binary, &operands, Element::F32, place.channels_last)?;
            }
        }
        Ok(limited)
    }

    fn real_of_two(
        &mut self,
        outlet: OutletId,
        op: BinaryOp,
        operands: [&Bytes; 2],
        channels_last: bool,
    ) -> TractResult<Place> {
        let operands = [
            self.real_of_bytes(outlet, operands[0])?,
            self.real_of_bytes(outlet, operands[1])?,
        ];
        let binary = Op::Binary(Binary { op });
        self.step_for(outlet, binary, &operands, Element::F32, channels_last)
    }

    /// The reals of an operand of `outlet`'s operator.
    fn real_of_bytes(&mut self, outlet: OutletId, bytes: &Bytes) -> TractResult<ValueId> {
        let shape = self.program.values[bytes.place.value].shape.clone();
        let decode = Op::Decode(requant::reals(bytes.affine));
        let place = self.step_shaped(outlet, decode, &[bytes.place.value], Element::F32, shape)?;
        Ok(place.value)
    }

    /// A pending operator with its output's quantisation.
    pub(super) fn finish(&mut self, pending: &Pending, affine: Affine) -> TractResult<Bytes> {
        let (op, inputs) = self.finished(pending, affine)?;
        let place = self.step_for(
            pending.outlet,
            op,
            &inputs,
            Element::I8,
            pending.channels_last,
        )?;
        self.moved_bytes(pending, Bytes { place, affine })
    }

    /// The step of a pending operator whose output is quantised to `affine`.
    fn finished(&mut self, pending: &Pending, affine: Affine) -> TractResult<(Op, Vec<ValueId>)> {
        let requant = pending.requant(affine);
        Ok(match &pending.kind {
            Kind::Product(product) => {
                let product: &Product = product;
                (
                    quantised_product(product, requant, affine)?,
                    vec![product.input],
                )
            }
            Kind::Add(a, b, sign) => {
                let add = AddQ {
                    a_zero: a.affine.zero_point,
                    a_scale: a.affine.scale / affine.scale,
                    b_zero: b.affine.zero_point,
                    b_scale: sign * (b.affine.scale / affine.scale),
                    requant,
                };
                let op = match self.stored_alike(a, b) {
                    true => Op::Add(Box::new(add)),
                    false => Op::Broadcast(Box::new(Broadcast::Add(add))),
                };
                (op, vec![a.place.value, b.place.value])
            }
            Kind::Mul(a, b) => {
                let mul = ScaleQ {
                    a_zero: a.affine.zero_point,
                    b_zero: b.affine.zero_point,
                    scale: a.affine.scale * b.affine.scale / affine.scale,
                    requant,
                };
                let op = match self.stored_alike(a, b) || self.gates(a, b) {
                    true => Op::Scale(Box::new(mul)),
                    false => Op::Broadcast(Box::new(Broadcast::Mul(mul))),
                };
                (op, vec![a.place.value, b.place.value])
            }
            Kind::Mean {
                input,
                window,
                count_padding,
            } => {
                let kind = PoolKind::Mean {
                    zero_point: input.affine.zero_point,
                    scale: input.affine.scale / affine.scale,
                    count_padding: *count_padding,
                    requant,
                };
                let pool = Pool {
                    kind,
                    window: window.clone(),
                };
                (Op::Pool(Box::new(pool)), vec![input.place.value])
            }
            Kind::Concat { axis, parts } => {
                ensure!(pending.unclamped(), "a clamped concatenation");
                let channels_last = pending.channels_last;
                let (mut tables, mut values) = (vec![], vec![]);
                for (input, part) in parts {
                    let (place, table) = match part {
                        Part::Table(table) => {
                            let function = table.requantised(affine);
                            let single = function.single().context("tables along an axis")?;
                            (table.place, single.clone())
                        }
                        Part::Pending(pending) => (
                            self.finish(pending, affine)?.place,
                            Lookup::new(|byte| byte),
                        ),
                    };
                    tables.push(table);
                    values.push(self.with_layout(place, *input, channels_last)?.value);
                }
                let axis = self.joined_axis(pending.outlet, *axis, channels_last)?;
                (Op::Concat { axis, tables }, values)
            }
            Kind::Linear(input, axes) => {
                let bytes = Rescale {
                    zero_point: input.affine.zero_point,
                    scale: input.affine.scale / affine.scale,
                    requant,
                };
                let linear = program::Linear {
                    axes: axes.clone(),
                    bytes: Some(bytes),
                };
                (Op::Linear(Box::new(linear)), vec![input.place.value])
            }
        })
    }

    /// Whether two tensors have one shape.
    fn stored_alike(&self, a: &Bytes, b: &Bytes) -> bool {
        self.program.values[a.place.value].shape == self.program.values[b.place.value].shape
    }

    /// Whether `b` has one factor for each image and channel of `a`.
    fn gates(&self, a: &Bytes, b: &Bytes) -> bool {
        let [a, b] = [a, b].map(|bytes| &self.program.values[bytes.place.value].shape[..]);
        let one = |extent: &Extent| extent.as_fixed() == Some(1);
        match (a, b) {
            ([a_first, .., a_last], [b_first, spatial @ .., b_last]) => {
                a_first == b_first && a_last == b_last && spatial.iter().all(one)
            }
            _ => false,
        }
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
        if let Some(&value) = self.layouts.get(&place.value) {
            return Ok(Place {
                value,
                channels_last,
            });
        }
        let shape = self.stored_shape(outlet, channels_last)?;
        let rank = shape.len();
        let element = self.program.values[place.value].element;
        let perm: Vec<usize> = if channels_last {
            [0].into_iter().chain(2..rank).chain([1]).collect()
        } else {
            [0, rank - 1].into_iter().chain(1..rank - 1).collect()
        };
        let from = &self.program.values[place.value].shape;
        let wide = perm
            .iter()
            .filter(|&&axis| from[axis].as_fixed() != Some(1));
        // Axes of extent one have no order.
        let op = if wide.is_sorted() {
            Op::Reshape
        } else {
            Op::Transpose(perm)
        };
        let other = if let Some(constant) = self.program.values[place.value].constant.clone() {
            // A constant is small: it is moved now.
            let from = fixed(&self.program.values[place.value].shape)?;
            let mut tensor = Tensor::from_shape(&from, &constant)?;
            if let Op::Transpose(perm) = &op {
                tensor = tensor.permute_axes(perm)?;
            }
            let tensor = tensor.into_shape(&fixed(&shape)?)?;
            Place {
                channels_last,
                ..self.constant(&tensor)?
            }
        } else {
            self.step_for(outlet, op, &[place.value], element, channels_last)?
        };
        self.layouts.insert(place.value, other.value);
        self.layouts.insert(other.value, place.value);
        Ok(other)
    }

    /// The outlet's bytes, channels where they are wanted, when the tensor is quantised.
    pub(super) fn bytes(
        &mut self,
        outlet: OutletId,
        channels_last: Option<bool>,
    ) -> TractResult<Bytes> {
        let Expr::Table(table) = self.expr(outlet)? else {
            bail!("input {outlet:?} is not quantised")
        };
        let affine = table.affine;
        let mut place = match table.state {
            State::Stored => table.place,
            State::Made(origin) => {
                let function = Some(table.requantised(affine));
                let place = table.place;
                self.written(
                    outlet,
                    &Integers {
                        place,
                        function,
                        origin,
                    },
                )?
            }
            State::Open => {
                ensure!(
                    table.fits(),
                    "a function of the quantised input is not quantised"
                );
                let (place, function) = (table.place, Some(table.requantised(affine)));
                let origin = outlet;
                self.written(
                    outlet,
                    &Integers {
                        place,
                        function,
                        origin,
                    },
                )?
            }
        };
        if let Some(channels_last) = channels_last {
            place = self.with_layout(place, outlet, channels_last)?;
        }
        Ok(Bytes { place, affine })
    }

    /// The stored bytes of integers, which have the shape of `outlet`.
    pub(super) fn written(&mut self, outlet: OutletId, integers: &Integers) -> TractResult<Place> {
        let place = integers.place;
        let Some(function) = &integers.function else {
            return Ok(place);
        };
        if let Some(place) = self.written.get(&integers.origin) {
            return Ok(*place);
        }
        let op = map(function, place, self.shape(outlet)?.len());
        let made = self.step_for(outlet, op, &[place.value], Element::I8, place.channels_last)?;
        self.written.insert(integers.origin, made);
        Ok(made)
    }

    /// The f32 constant of an outlet; `None` when it is not constant.
    pub(super) fn known(&self, outlet: OutletId) -> TractResult<Option<Tensor>> {
        Ok(match &self.exprs[&outlet] {
            Expr::Constant(tensor) => Some(tensor.cast_to::<f32>()?.into_owned()),
            Expr::Weights(weights) => Some(weights.dequantised()?),
            _ => None,
        })
    }
}

/// The step of a function of bytes.
fn map(function: &Functions<i8>, place: Place, rank: usize) -> Op {
    match function.axis {
        None => Op::Map(function.tables[0].clone()),
        Some(axis) => Op::MapAlong(Along {
            axis: place.stored_axis(axis, rank),
            tables: function.tables.to_vec(),
        }),
    }
}

/// A constant's shape.
fn fixed(shape: &[Extent]) -> TractResult<TVec<usize>> {
    shape
        .iter()
        .map(|extent| extent.as_fixed().context("a constant of variable shape"))
        .collect()
}
