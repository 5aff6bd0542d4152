//! Operators that compute in f32.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::nn::{Softmax, SoftmaxKind};

use super::Lowering;
use super::expr::Expr;
use crate::import::elements;
use crate::program::{Element, Extent, Op};

impl Lowering<'_> {
    pub(super) fn softmax(&mut self, node: &TypedNode, op: &Softmax) -> TractResult<Expr> {
        let rank = self.fact(node)?.rank();
        ensure!(
            op.kind == SoftmaxKind::Softmax && op.quant_output_dt.is_none(),
            "a softmax of another kind"
        );
        // The step goes over the axis that is stored last.
        let channels_last = match op.axes[..] {
            [axis] if axis == rank - 1 => false,
            [1] => true,
            _ => bail!("softmax over {:?} of {rank} axes", op.axes),
        };
        let place = self.real(node.inputs[0])?;
        let place = self.with_layout(place, node.inputs[0], channels_last)?;
        let softmax = Op::Softmax;
        let place = self.step(node, softmax, &[place.value], Element::F32, channels_last)?;
        Ok(Expr::Real(place))
    }

    /// Normalisation over the last axis.
    pub(super) fn layer_norm(&mut self, node: &TypedNode, epsilon: f32) -> TractResult<Expr> {
        let place = self.real(node.inputs[0])?;
        let place = self.with_layout(place, node.inputs[0], false)?;
        let gamma = self.known(node.inputs[1])?;
        let gamma = elements::<f32>(&gamma.context("a gamma that is not constant")?)?;
        let beta = match node.inputs.get(2) {
            None => vec![0.0; gamma.len()],
            Some(&beta) => {
                let beta = self.known(beta)?.context("a beta that is not constant")?;
                elements::<f32>(&beta)?
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
            epsilon,
            gamma,
            beta,
        };
        let place = self.step(node, norm, &[place.value], Element::F32, false)?;
        Ok(Expr::Real(place))
    }
}
