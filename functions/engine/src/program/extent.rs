//! Extents of axes as linear expressions over the input's symbols, such as `8 * w` or `2 * w + 1`.

use serde::{Deserialize, Serialize};

/// `base + sum of factors[i] * symbol[i]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) base: i64,
    /// One for each symbol of the model.
    pub(crate) factors: Vec<i64>,
}

impl Extent {
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
