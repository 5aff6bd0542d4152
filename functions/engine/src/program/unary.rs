//! One-operand functions, the same bits on every target.

use serde::{Deserialize, Serialize};

/// A one-operand function of a real number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Unary {
    Abs,
    Erf,
    Exp,
    /// `x * max(0, min(1, x / 6 + 1 / 2))`
    HardSwish,
    LeakyRelu {
        alpha: f32,
    },
    Ln,
    Neg,
    Recip,
    Rsqrt,
    Sigmoid,
    /// `x * sigmoid(x)`
    Silu,
    Sqrt,
    Square,
    Tanh,
}

impl Unary {
    /// The function's value, computed in f64 where the function is transcendental, so that the result is the f32 nearest to
    /// the true one but in rare ties.
    pub(crate) fn apply(self, x: f32) -> f32 {
        let wide = f64::from(x);
        match self {
            Self::Abs => x.abs(),
            Self::Erf => libm::erf(wide) as f32,
            Self::Exp => libm::exp(wide) as f32,
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Ln => libm::log(wide) as f32,
            Self::Neg => -x,
            Self::Recip => 1.0 / x,
            Self::Rsqrt => 1.0 / x.sqrt(),
            Self::Sigmoid => sigmoid(wide) as f32,
            Self::Silu => (wide * sigmoid(wide)) as f32,
            Self::Sqrt => x.sqrt(),
            Self::Square => x * x,
            Self::Tanh => libm::tanh(wide) as f32,
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_known_values() {
        for (function, x, expected) in [
            (Unary::Erf, 0.5, 0.520_499_9),
            (Unary::Sigmoid, 0.0, 0.5),
            (Unary::Sigmoid, -200.0, 0.0),
            (Unary::Silu, 1.0, 0.731_058_6),
            (Unary::HardSwish, 3.0, 3.0),
            (Unary::HardSwish, -3.0, 0.0),
            (Unary::LeakyRelu { alpha: 0.1 }, -2.0, -0.2),
            (Unary::Tanh, 0.5, 0.462_117_17),
        ] {
            assert_eq!(function.apply(x), expected, "{function:?} of {x}");
        }
    }
}
