//! Poolings and reductions.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec, SumPool};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer};

use super::Lowering;
use super::expr::{Expr, Kind, Pending};
use super::moves::Move;
use super::products::window;
use crate::program::{self, Element, Op, PoolReals, Reduction};

impl Lowering<'_> {
    pub(super) fn max_pool(&mut self, node: &TypedNode, op: &MaxPool) -> TractResult<Expr> {
        ensure!(
            op.with_index_outputs.is_none(),
            "a pooling that gives indices"
        );
        self.moved(node, Move::MaxPool(Some(window(&op.pool_spec)?)))
    }

    pub(super) fn mean_pool(&mut self, node: &TypedNode, op: &SumPool) -> TractResult<Expr> {
        ensure!(op.normalize, "a sum over a window");
        let past = matches!(
            op.pool_spec.padding,
            PaddingSpec::ExplicitOnnxPool(_, _, true)
        );
        ensure!(
            !(past && op.count_include_pad),
            "a mean that counts padding behind which its windows reach"
        );
        let window = window(&op.pool_spec)?;
        if let Ok(input) = self.bytes(node.inputs[0], Some(true)) {
            let kind = Kind::Mean {
                input,
                window: Some(window),
                count_padding: op.count_include_pad,
            };
            let pending = Pending::new(kind, node.id.into(), true);
            return Ok(Expr::Pending(Box::new(pending)));
        }
        let place = self.real(node.inputs[0])?;
        let place = self.with_layout(place, node.inputs[0], true)?;
        let pool = Op::PoolReals(Box::new(PoolReals {
            window,
            mean: Some(op.count_include_pad),
        }));
        let place = self.step(node, pool, &[place.value], Element::F32, true)?;
        Ok(Expr::Real(place))
    }

    /// The mean over axes, which stay with extent one.
    pub(super) fn mean(&mut self, node: &TypedNode, axes: &[usize]) -> TractResult<Expr> {
        let input = node.inputs[0];
        if let Some(channels_last) = self.whole_image(node, axes)?
            && let Ok(input) = self.bytes(input, Some(channels_last))
        {
            let kind = Kind::Mean {
                input,
                window: None,
                count_padding: false,
            };
            let pending = Pending::new(kind, node.id.into(), channels_last);
            return Ok(Expr::Pending(Box::new(pending)));
        }
        self.reduced(node, Reduction::Mean, axes)
    }

    pub(super) fn reduce(&mut self, node: &TypedNode, op: &Reduce) -> TractResult<Expr> {
        let what = match op.reducer {
            Reducer::Max => Reduction::Max,
            Reducer::Min => Reduction::Min,
            Reducer::Sum => Reduction::Sum,
            other => bail!("no reduction {other:?}"),
        };
        let is_image = self.whole_image(node, &op.axes)? == Some(true);
        if what == Reduction::Max && is_image {
            return self.moved(node, Move::MaxPool(None));
        }
        self.reduced(node, what, &op.axes)
    }

    /// Whether `axes` are all but the first and the channels, and the channels then are stored last, or not.
    fn whole_image(&self, node: &TypedNode, axes: &[usize]) -> TractResult<Option<bool>> {
        let rank = self.fact(node)?.rank();
        let is = |mut wanted: std::ops::Range<usize>| {
            axes.len() == wanted.len() && wanted.all(|axis| axes.contains(&axis))
        };
        Ok(match rank {
            3.. if is(2..rank) => Some(true),
            3.. if is(1..rank - 1) => Some(false),
            _ => None,
        })
    }

    /// A reduction in f32.
    fn reduced(&mut self, node: &TypedNode, what: Reduction, axes: &[usize]) -> TractResult<Expr> {
        let place = self.real(node.inputs[0])?;
        let rank = self.fact(node)?.rank();
        let axes = axes
            .iter()
            .map(|&axis| place.stored_axis(axis, rank))
            .collect();
        let reduce = Op::Reduce(program::Reduce { what, axes });
        let place = self.step(
            node,
            reduce,
            &[place.value],
            Element::F32,
            place.channels_last,
        )?;
        Ok(Expr::Real(place))
    }
}
