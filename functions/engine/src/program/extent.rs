//! Extents of axes as linear expressions over the input's symbols, such as `8 * w` or `2 * w + 1`.

use tract_onnx::tract_core::internal::*;

/// Names of the symbols, and with the same indices their values or factors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Symbols(pub(crate) Vec<Symbol>);

/// `base + sum of factors[i] * symbol[i]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    base: i64,
    /// As many as there are symbols.
    factors: TVec<i64>,
}

impl Symbols {
    /// The linear form of a tract dimension.
    ///
    /// tract carries roundings along, such as `(31 + 32 * h) / 32`, and cannot tell that this is `h`; here the expression
    /// is sampled, so equal extents are equal.
    ///
    /// # Errors
    /// When the samples do not lie on one plane, as for `(1 + w) / 2` or `w / 8`.
    pub(crate) fn extent(&self, dim: &TDim) -> TractResult<Extent> {
        let ones = vec![1; self.0.len()];
        let at_ones = self.sample(dim, &ones)?;
        let mut factors = tvec![];
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
}

impl Extent {
    /// A number.
    pub(crate) fn fixed(extent: usize, symbols: &Symbols) -> Self {
        Self {
            base: extent as i64,
            factors: tvec![0; symbols.0.len()],
        }
    }

    /// The number, where it does not depend on a symbol.
    pub(crate) fn as_fixed(&self) -> Option<usize> {
        if self.factors.iter().any(|&factor| factor != 0) {
            None
        } else {
            usize::try_from(self.base).ok()
        }
    }

    /// The extent for given values of the symbols.
    pub(crate) fn at(&self, values: &[i64]) -> i64 {
        let terms = self
            .factors
            .iter()
            .zip(values)
            .map(|(factor, value)| factor.saturating_mul(*value));
        terms.fold(self.base, i64::saturating_add)
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
