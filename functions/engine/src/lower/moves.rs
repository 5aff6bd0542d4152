//! Operators that move or pick elements, whatever the elements are made of.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{Gather, Slice, StridedSlice};
use tract_onnx::tract_core::ops::downsample::Downsample;

use super::Lowering;
use super::expr::{Bytes, Expr, Kind, Part, Pending, Place, State, Table};
use crate::import::{Pad, Resize, elements};
use crate::program::{
    Coordinates, Element, Op, Outside, Pick, Pool, PoolKind, PoolReals, Reduce, Reduction, Sample,
    Window,
};

/// What is done to the elements' places, with axes as in the graph.
#[derive(Debug, Clone)]
pub(super) enum Move {
    Axes(AxisOp),
    Slice {
        axis: usize,
        start: usize,
    },
    /// One for each axis, and whether there are elements that come from none.
    Pick(Vec<Pick>, bool),
    /// The greatest of a window, or of the whole image.
    MaxPool(Option<Window>),
}

impl Place {
    /// Where an axis of the graph's tensor of rank `rank` is stored.
    pub(super) fn stored_axis(self, axis: usize, rank: usize) -> usize {
        match axis {
            1 if self.channels_last => rank - 1,
            2.. if self.channels_last => axis - 1,
            _ => axis,
        }
    }

    /// The same for a list with an entry for each axis.
    fn stored<T: Clone>(self, entries: &[T]) -> Vec<T> {
        let mut stored = entries.to_vec();
        if self.channels_last {
            stored[1..].rotate_left(1);
        }
        stored
    }
}

impl Lowering<'_> {
    pub(super) fn axes(&mut self, node: &TypedNode, op: &AxisOp) -> TractResult<Expr> {
        if let Expr::Weights(weights) = &self.exprs[&node.inputs[0]] {
            return Ok(Expr::Weights(weights.change_axes(op)?));
        }
        self.moved(node, Move::Axes(op.clone()))
    }

    pub(super) fn slice(&mut self, node: &TypedNode, op: &Slice) -> TractResult<Expr> {
        let start = op.start.to_usize()?;
        self.moved(
            node,
            Move::Slice {
                axis: op.axis,
                start,
            },
        )
    }

    /// `begin..end` by steps along some axes, all of them constants.
    pub(super) fn strided_slice(
        &mut self,
        node: &TypedNode,
        op: &StridedSlice,
    ) -> TractResult<Expr> {
        ensure!(
            op.begin_mask == 0 && op.end_mask == 0 && op.shrink_axis_mask == 0,
            "a slice with masks"
        );
        let shape = self.shape(node.inputs[0])?;
        let mut constant = |index: usize| match &self.exprs[&node.inputs[index]] {
            Expr::Constant(tensor) => elements::<i64>(tensor),
            _ => bail!("a slice by what is not constant"),
        };
        let begins = constant(1)?;
        let axes = op.optional_axes_input.map(&mut constant).transpose()?;
        let steps = op.optional_steps_input.map(&mut constant).transpose()?;
        let mut picks = vec![Pick::All; shape.len()];
        for (index, &begin) in begins.iter().enumerate() {
            let axis = axes.as_ref().map_or(index as i64, |axes| axes[index]);
            let axis = if axis < 0 {
                axis + shape.len() as i64
            } else {
                axis
            };
            let step = steps.as_ref().map_or(1, |steps| steps[index]);
            let axis = usize::try_from(axis)
                .ok()
                .filter(|&axis| axis < shape.len());
            let axis = axis.with_context(|| format!("a slice of axes {axes:?}"))?;
            // From the end that the steps leave.
            let start = match (step, shape[axis].as_fixed().map(|extent| extent as i64)) {
                (1.., _) if begin >= 0 => begin,
                (1.., Some(extent)) => (begin + extent).max(0),
                (..=-1, _) if begin < 0 => -1 - begin,
                (..=-1, Some(extent)) => (extent - 1 - begin).max(0),
                _ => bail!("a slice from {begin} by {step} of {:?}", shape[axis]),
            };
            picks[axis] = Pick::Step {
                start,
                step,
                outside: Outside::Fill,
            };
        }
        self.moved(
            node,
            plain_slice(&picks).unwrap_or(Move::Pick(picks, false)),
        )
    }

    pub(super) fn downsample(&mut self, node: &TypedNode, op: &Downsample) -> TractResult<Expr> {
        let mut picks = vec![Pick::All; self.fact(node)?.rank()];
        picks[op.axis] = Pick::Step {
            start: op.modulo as i64,
            step: op.stride as i64,
            outside: Outside::Fill,
        };
        self.moved(node, Move::Pick(picks, false))
    }

    /// Elements at constant indices of an axis.
    pub(super) fn gather(&mut self, node: &TypedNode, op: &Gather) -> TractResult<Expr> {
        let Expr::Constant(indices) = &self.exprs[&node.inputs[1]] else {
            bail!("elements at indices that are not constant")
        };
        ensure!(op.output_type.is_none(), "elements of another type");
        let shape = self.shape(node.inputs[0])?;
        let extent = shape[op.axis]
            .as_fixed()
            .context("indices of an axis of variable extent")?;
        let rank = indices.rank();
        let counted = |index: &i64| {
            if *index < 0 {
                index.saturating_add(extent as i64)
            } else {
                *index
            }
        };
        let indices = elements::<i64>(indices)?;
        let indices = indices.iter().map(|index| {
            usize::try_from(counted(index))
                .ok()
                .filter(|&at| at < extent)
        });
        let indices: Option<Vec<usize>> = indices.collect();
        let indices = indices.with_context(|| format!("indices outside an axis of {extent}"))?;
        let mut picks = vec![Pick::All; shape.len()];
        // As many axes stand in the place of the one as the indices have.
        ensure!(rank == 1, "indices of rank {rank}");
        picks[op.axis] = Pick::Each(indices);
        self.moved(node, Move::Pick(picks, false))
    }

    /// Axes of extent one repeated.
    pub(super) fn expand(&mut self, node: &TypedNode) -> TractResult<Expr> {
        let (from, to) = (self.shape(node.inputs[0])?, self.shape(node.id.into())?);
        ensure!(from.len() == to.len(), "expanded from {from:?} to {to:?}");
        let pick = |(from, to)| match from == to {
            true => Pick::All,
            false => Pick::Step {
                start: 0,
                step: 0,
                outside: Outside::Fill,
            },
        };
        let picks = from.iter().zip(&to).map(pick).collect();
        self.moved(node, Move::Pick(picks, false))
    }

    /// The whole tensor repeated along each axis.
    pub(super) fn tile(&mut self, node: &TypedNode) -> TractResult<Expr> {
        let (from, to) = (self.shape(node.inputs[0])?, self.shape(node.id.into())?);
        let pick = |(from, to)| match from == to {
            true => Pick::All,
            false => Pick::Step {
                start: 0,
                step: 1,
                outside: Outside::Wrap,
            },
        };
        let picks = from.iter().zip(&to).map(pick).collect();
        self.moved(node, Move::Pick(picks, false))
    }

    pub(super) fn pad(&mut self, node: &TypedNode, op: &Pad) -> TractResult<Expr> {
        let pick = |&(before, behind): &(i64, i64)| match (before, behind) {
            (0, 0) => Pick::All,
            (before, _) => Pick::Step {
                start: -before,
                step: 1,
                outside: op.outside,
            },
        };
        let more = op
            .border
            .iter()
            .any(|&(before, behind)| before > 0 || behind > 0);
        let picks = op.border.iter().map(pick).collect();
        let fills = more && op.outside == Outside::Fill;
        self.moved_with(node, Move::Pick(picks, fills), op.value)
    }

    pub(super) fn resize(&mut self, node: &TypedNode, op: &Resize) -> TractResult<Expr> {
        let unchanged = |sample: &Sample| sample.scale == Some(1.0);
        if !op.linear {
            let pick = |sample: &Sample| match unchanged(sample) {
                true => Pick::All,
                false => Pick::Nearest(sample.clone()),
            };
            let picks = op.axes.iter().map(pick).collect();
            return self.moved(node, Move::Pick(picks, false));
        }
        let [batch, channels, spatial @ ..] = &*op.axes else {
            bail!("a resizing of {} axes", op.axes.len())
        };
        ensure!(
            unchanged(batch) && unchanged(channels) && (1..=3).contains(&spatial.len()),
            "a resizing of the channels"
        );
        if let Ok(input) = self.bytes(node.inputs[0], Some(true)) {
            let kind = Kind::Linear(input, spatial.to_vec());
            return Ok(Expr::Pending(Box::new(Pending::new(
                kind,
                node.id.into(),
                true,
            ))));
        }
        let place = self.real(node.inputs[0])?;
        let place = self.with_layout(place, node.inputs[0], true)?;
        let linear = crate::program::Linear {
            axes: spatial.to_vec(),
            bytes: None,
        };
        let linear = Op::Linear(Box::new(linear));
        Ok(Expr::Real(self.step(
            node,
            linear,
            &[place.value],
            Element::F32,
            true,
        )?))
    }

    pub(super) fn concat(&mut self, node: &TypedNode, axis: usize) -> TractResult<Expr> {
        let mut parts = vec![];
        let mut channels_last = false;
        for &input in &node.inputs {
            let part = match self.expr(input)? {
                Expr::Table(table) if table.function.axis.is_none() => Part::Table(table),
                Expr::Table(_) => Part::Table(Table::stored(self.bytes(input, None)?)),
                // Not one within another, without end.
                Expr::Pending(pending) if !matches!(pending.kind, Kind::Concat { .. }) => {
                    Part::Pending(*pending)
                }
                _ => return self.real_concat(node, axis),
            };
            channels_last |= match &part {
                Part::Table(table) => table.place.channels_last,
                Part::Pending(pending) => pending.channels_last,
            };
            parts.push((input, part));
        }
        let kind = Kind::Concat { axis, parts };
        Ok(Expr::Pending(Box::new(Pending::new(
            kind,
            node.id.into(),
            channels_last,
        ))))
    }

    fn real_concat(&mut self, node: &TypedNode, axis: usize) -> TractResult<Expr> {
        let places = node.inputs.iter().map(|&input| self.real(input));
        let places: Vec<Place> = places.collect::<TractResult<_>>()?;
        let place = self.joined_reals(node.id.into(), axis, &node.inputs, places)?;
        Ok(Expr::Real(place))
    }

    /// One f32 tensor of several.
    pub(super) fn joined_reals(
        &mut self,
        outlet: OutletId,
        axis: usize,
        inputs: &[OutletId],
        mut places: Vec<Place>,
    ) -> TractResult<Place> {
        let channels_last = places.iter().any(|place| place.channels_last);
        for (place, &input) in places.iter_mut().zip(inputs) {
            *place = self.with_layout(*place, input, channels_last)?;
        }
        let axis = self.joined_axis(outlet, axis, channels_last)?;
        let values: Vec<_> = places.iter().map(|place| place.value).collect();
        let concat = Op::Concat {
            axis,
            tables: vec![],
        };
        self.step_for(outlet, concat, &values, Element::F32, channels_last)
    }

    /// Where the axis of a concatenation is stored.
    pub(super) fn joined_axis(
        &self,
        outlet: OutletId,
        axis: usize,
        channels_last: bool,
    ) -> TractResult<usize> {
        let place = Place {
            value: 0,
            channels_last,
        };
        Ok(place.stored_axis(axis, self.shape(outlet)?.len()))
    }

    /// An operator that only moves elements.
    pub(super) fn moved(&mut self, node: &TypedNode, how: Move) -> TractResult<Expr> {
        self.moved_with(node, how, 0.0)
    }

    /// The same; `fill` stands where there is no element.
    fn moved_with(&mut self, node: &TypedNode, how: Move, fill: f32) -> TractResult<Expr> {
        let (input, output) = (node.inputs[0], node.id.into());
        match self.expr(input)? {
            Expr::Table(table) => {
                if let Some(table) = self.moved_table(node, &how, fill, table)? {
                    return Ok(Expr::Table(table));
                }
            }
            Expr::Pending(mut pending) if !how.fills() && pending.moves.len() < MAX_MOVES => {
                pending.moves.push((output, how));
                return Ok(Expr::Pending(pending));
            }
            _ => (),
        }
        let place = self.real(input)?;
        Ok(Expr::Real(self.apply(&how, fill, place, input, output)?))
    }

    /// A table whose bytes are moved; `None` when they have to become reals first.
    fn moved_table(
        &mut self,
        node: &TypedNode,
        how: &Move,
        fill: f32,
        mut table: Table,
    ) -> TractResult<Option<Table>> {
        let (input, output) = (node.inputs[0], node.id.into());
        // One table goes with its elements, and others with their axis; the greatest byte has to be the greatest value.
        let axis = table.function.axis;
        let moved = match (how, axis) {
            (Move::MaxPool(_), None) => (table.state == State::Stored).then_some(None),
            (Move::MaxPool(_), Some(_)) => None,
            (_, None) => Some(None),
            (Move::Axes(op), Some(axis)) => op.transform_axis(axis).map(Some),
            (Move::Slice { axis: sliced, .. }, Some(axis)) => {
                (*sliced != axis).then_some(Some(axis))
            }
            (Move::Pick(picks, fills), Some(axis)) => {
                (picks[axis] == Pick::All && !fills).then_some(Some(axis))
            }
        };
        match moved {
            Some(axis) => table.function.axis = axis,
            None => match self.attempt(|this| this.bytes(input, None)) {
                Ok(bytes) => table = Table::stored(bytes),
                Err(_) => return Ok(None),
            },
        }
        let mut byte = 0;
        if how.fills() {
            let same = |byte: &i8| table.function.at(0, *byte) == fill;
            let Some(found) = (i8::MIN..=i8::MAX).find(same) else {
                return Ok(None);
            };
            byte = found;
        }
        table.place = self.apply(how, f32::from(byte), table.place, input, output)?;
        if let State::Made(_) = table.state {
            table.state = State::Made(output);
        }
        Ok(Some(table))
    }

    /// The step that moves what is at `place`, the tensor of `from`, to become that of `to`. `fill`: an element as stored.
    pub(super) fn apply(
        &mut self,
        how: &Move,
        fill: f32,
        place: Place,
        from: OutletId,
        to: OutletId,
    ) -> TractResult<Place> {
        let element = self.program.values[place.value].element;
        let rank = self.shape(from)?.len();
        let (op, place) = match how {
            Move::Axes(op) => {
                if let Some(channels_last) = place.renamed(op, rank) {
                    return Ok(Place {
                        channels_last,
                        ..place
                    });
                }
                let keeps = place.channels_last
                    && match op {
                        AxisOp::Add(axis) => *axis >= 2,
                        AxisOp::Rm(axis) => *axis >= 2 && rank > 3,
                        AxisOp::Move(..) | AxisOp::Reshape(..) => false,
                    };
                let place = self.with_layout(place, from, keeps)?;
                let op = match op {
                    AxisOp::Move(from, to) => Op::Transpose(permutation(*from, *to, rank)),
                    AxisOp::Add(_) | AxisOp::Rm(_) | AxisOp::Reshape(..) => Op::Reshape,
                };
                (op, place)
            }
            Move::Slice { axis, start } => {
                let axis = place.stored_axis(*axis, rank);
                (
                    Op::Slice {
                        axis,
                        start: *start,
                    },
                    place,
                )
            }
            Move::Pick(picks, _) => {
                if element == Element::I8
                    && let Some(factors) = repeated(picks)
                {
                    let place = self.with_layout(place, from, true)?;
                    (Op::Repeat(factors), place)
                } else {
                    let picks = place.stored(picks);
                    (Op::Pick { picks, fill }, place)
                }
            }
            Move::MaxPool(window) => {
                let place = self.with_layout(place, from, true)?;
                (max_pool(window.clone(), element, rank), place)
            }
        };
        self.step_for(to, op, &[place.value], element, place.channels_last)
    }

    /// The bytes of a pending operator with its moves behind it.
    pub(super) fn moved_bytes(&mut self, pending: &Pending, bytes: Bytes) -> TractResult<Bytes> {
        let place = self.after_moves(pending, bytes.place)?;
        Ok(Bytes { place, ..bytes })
    }

    /// What is at `place`, the operator's own output, after its moves.
    pub(super) fn after_moves(
        &mut self,
        pending: &Pending,
        mut place: Place,
    ) -> TractResult<Place> {
        let mut from = pending.outlet;
        for (to, how) in &pending.moves {
            place = self.apply(how, 0.0, place, from, *to)?;
            from = *to;
        }
        Ok(place)
    }
}

/// The greatest of a window or, without one, of the image, channels last.
fn max_pool(window: Option<Window>, element: Element, rank: usize) -> Op {
    match (element, window) {
        (Element::I8, window) => {
            let kind = PoolKind::Max;
            Op::Pool(Box::new(Pool { kind, window }))
        }
        (Element::F32, Some(window)) => Op::PoolReals(Box::new(PoolReals { window, mean: None })),
        (Element::F32, None) => Op::Reduce(Reduce {
            what: Reduction::Max,
            axes: (1..rank - 1).collect(),
        }),
    }
}

/// Most moves that are put off: one operator is followed by a few.
const MAX_MOVES: usize = 16;

impl Move {
    /// Whether there are elements that come from nowhere.
    fn fills(&self) -> bool {
        matches!(self, Self::Pick(_, true))
    }
}

impl Place {
    /// Whether the channels are last when the axes of the graph's tensor are renamed by `op`; `None` if elements must move.
    fn renamed(self, op: &AxisOp, rank: usize) -> Option<bool> {
        let AxisOp::Move(from, to) = op else {
            return None;
        };
        // Which axis of the new tensor each stored axis is.
        let new = permutation(*from, *to, rank);
        let axes: Vec<usize> = (0..rank).collect();
        let stored = self.stored(&axes);
        let stored: Option<Vec<usize>> = stored
            .iter()
            .map(|axis| new.iter().position(|from| from == axis))
            .collect();
        let stored = stored?;
        let last = Self {
            channels_last: true,
            ..self
        }
        .stored(&axes);
        match stored {
            stored if stored == axes => Some(false),
            stored if stored == last && rank > 2 => Some(true),
            _ => None,
        }
    }
}

/// Which axis of the old tensor each axis of the new one is.
fn permutation(from: usize, to: usize, rank: usize) -> Vec<usize> {
    let mut perm: Vec<usize> = (0..rank).collect();
    let axis = perm.remove(from);
    perm.insert(to, axis);
    perm
}

/// A slice along one axis without steps.
fn plain_slice(picks: &[Pick]) -> Option<Move> {
    let mut sliced = picks
        .iter()
        .enumerate()
        .filter(|(_, pick)| **pick != Pick::All);
    match (sliced.next(), sliced.next()) {
        (Some((axis, Pick::Step { start, step: 1, .. })), None) => Some(Move::Slice {
            axis,
            start: usize::try_from(*start).ok()?,
        }),
        _ => None,
    }
}

/// The factors by which each pixel of an image is repeated, if that is what is picked.
fn repeated(picks: &[Pick]) -> Option<Vec<usize>> {
    let [Pick::All, Pick::All, y, x] = picks else {
        return None;
    };
    let factor = |pick: &Pick| match pick {
        Pick::All => Some(1),
        Pick::Nearest(sample) => {
            let scale = sample.scale?;
            let factor = scale as usize;
            let (from, to) = (SAMPLE, SAMPLE.checked_mul(factor)?);
            let repeats = |index| sample.nearest(index, from, to) == index / factor;
            let whole = factor as f32 == scale && (1..=64).contains(&factor);
            let free = sample.coordinates != Coordinates::AlignCorners;
            (whole && free && (0..to).all(repeats)).then_some(factor)
        }
        Pick::Step { .. } | Pick::Each(_) => None,
    };
    Some(vec![factor(y)?, factor(x)?])
}

/// Extent on which a resizing is tried: whether it repeats is the same for any, unless it aligns corners.
const SAMPLE: usize = 16;
