//! The symbols of a model's shapes, and tract's dimensions as linear expressions over them.

use tract_onnx::tract_core::internal::*;

use crate::program::Extent;

/// The symbols; an extent's factors have the same indices.
#[derive(Debug, Clone, Default)]
pub(super) struct Symbols(pub(super) Vec<Symbol>);

impl Symbols {
    /// The linear form of a tract dimension.
    ///
    /// tract carries roundings along, such as `(31 + 32 * h) / 32`, and cannot tell that this is `h`; here the expression
    /// is sampled, so equal extents are equal.
    ///
    /// # Errors
    /// When the samples do not lie on one plane, as for `(1 + w) / 2` or `w / 8`.
    pub(super) fn extent(&self, dim: &TDim) -> TractResult<Extent> {
        let ones = vec![1; self.0.len()];
        let at_ones = self.sample(dim, &ones)?;
        let mut factors = vec![];
        for index in 0..ones.len() {
            let mut point = ones.clone();
            point[index] = 2;
            factors.push(self.sample(dim, &point)? - at_ones);
        }
        let extent = Extent {
            base: at_ones - factors.iter().sum::<i64>(),
            factors,
        };
        // Far apart too: a division is flat, and so seems linear, as far as its divisor.
        for seed in (3..8).chain([1_009, 65_537, 1_000_003]) {
            let point: Vec<i64> = (0..ones.len() as i64)
                .map(|index| seed + 4 * index * (seed % 3))
                .collect();
            ensure!(
                self.sample(dim, &point)? == extent.at(&point),
                "extent {dim} is not linear"
            );
        }
        Ok(extent)
    }

    fn sample(&self, dim: &TDim, point: &[i64]) -> TractResult<i64> {
        let values = self
            .0
            .iter()
            .zip(point)
            .fold(SymbolValues::default(), |values, (symbol, &at)| {
                values.with(symbol, at)
            });
        dim.eval_to_i64(&values)
    }

    /// The dimension without tract's roundings.
    pub(super) fn dim(&self, extent: &Extent) -> TDim {
        let terms = self.0.iter().zip(&extent.factors);
        terms.fold(extent.base.to_dim(), |dim, (symbol, &factor)| {
            dim + symbol.to_dim() * factor
        })
    }

    /// The symbol that alone decides an extent.
    pub(super) fn only(&self, extent: &Extent) -> Option<&Symbol> {
        let mut terms = self
            .0
            .iter()
            .zip(&extent.factors)
            .filter(|(_, factor)| **factor != 0);
        match (terms.next(), terms.next()) {
            (Some((symbol, _)), None) => Some(symbol),
            _ => None,
        }
    }

    /// A number.
    pub(super) fn fixed(&self, extent: usize) -> Extent {
        Extent {
            base: extent as i64,
            factors: vec![0; self.0.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_roundings_hide() {
        let scope = SymbolScope::default();
        let symbols = Symbols(vec![scope.sym("h"), scope.sym("w")]);
        let (h, w) = (symbols.0[0].to_dim(), symbols.0[1].to_dim());
        let rounded = (h.clone() * 32 + 31) / 32;
        assert_eq!(
            symbols.extent(&rounded).expect("linear"),
            symbols.extent(&h).expect("linear")
        );
        let both = symbols
            .extent(&(h * 2 + w.clone() * 3 + 1))
            .expect("linear");
        assert_eq!(both.at(&[5, 7]), 32);
        assert_eq!(both.as_fixed(), None);
        assert_eq!(
            symbols.extent(&4.to_dim()).expect("a number").as_fixed(),
            Some(4)
        );
        for rounded in [(w.clone() + 1) / 2, w.clone() / 8, (w + 15) / 16] {
            assert!(symbols.extent(&rounded).is_err(), "{rounded}");
        }
    }
}
