//! Where a resized axis reads: ONNX's coordinate transformations and roundings.

use serde::{Deserialize, Serialize};

/// How positions along one resized axis map to positions of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Output extent over input extent; `None`: as the extents are.
    pub(crate) scale: Option<f32>,
    pub(crate) coordinates: Coordinates,
    pub(crate) rounding: Nearest,
}

/// ONNX `coordinate_transformation_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Coordinates {
    AlignCorners,
    Asymmetric,
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
}

/// ONNX `nearest_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Nearest {
    Ceil,
    Floor,
    PreferCeil,
    PreferFloor,
}

impl Sample {
    /// The position in an input of `from` elements of element `index` of `to`, at least 0 and at most the last.
    pub(crate) fn position(&self, index: usize, from: usize, to: usize) -> f32 {
        let (x, from, to) = (index as f32, from as f32, to as f32);
        let scale = self.scale.unwrap_or(to / from);
        let half = (x + 0.5) / scale - 0.5;
        let at = match self.coordinates {
            Coordinates::AlignCorners if to <= 1.0 => 0.0,
            Coordinates::AlignCorners => x * (from - 1.0) / (to - 1.0),
            Coordinates::Asymmetric => x / scale,
            Coordinates::HalfPixel => half,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = to / (scale * from);
                from / 2.0 * (1.0 - adjustment) + half
            }
            Coordinates::PytorchHalfPixel if to <= 1.0 => 0.0,
            Coordinates::PytorchHalfPixel => half,
        };
        at.clamp(0.0, (from - 1.0).max(0.0))
    }

    /// The nearest element to that position.
    pub(crate) fn nearest(&self, index: usize, from: usize, to: usize) -> usize {
        let at = self.position(index, from, to);
        let at = match self.rounding {
            Nearest::Ceil => at.ceil(),
            Nearest::Floor => at.floor(),
            Nearest::PreferCeil => (at + 0.5).floor(),
            Nearest::PreferFloor => (at - 0.5).ceil(),
        };
        (at as usize).min(from.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_the_specification() {
        // Two elements to four.
        for (coordinates, expected) in [
            (Coordinates::AlignCorners, [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]),
            (Coordinates::Asymmetric, [0.0, 0.5, 1.0, 1.0]),
            (Coordinates::HalfPixel, [0.0, 0.25, 0.75, 1.0]),
            (Coordinates::HalfPixelSymmetric, [0.0, 0.25, 0.75, 1.0]),
            (Coordinates::PytorchHalfPixel, [0.0, 0.25, 0.75, 1.0]),
        ] {
            let sample = Sample {
                scale: Some(2.0),
                coordinates,
                rounding: Nearest::Floor,
            };
            let positions: Vec<f32> = (0..4).map(|index| sample.position(index, 2, 4)).collect();
            assert_eq!(positions, expected, "{coordinates:?}");
        }
    }

    #[test]
    fn roundings_differ_at_halves() {
        for (rounding, expected) in [
            (Nearest::Floor, [0, 0, 1, 1]),
            (Nearest::Ceil, [0, 1, 1, 1]),
            (Nearest::PreferFloor, [0, 0, 1, 1]),
            (Nearest::PreferCeil, [0, 1, 1, 1]),
        ] {
            let sample = Sample {
                scale: None,
                coordinates: Coordinates::Asymmetric,
                rounding,
            };
            let picked: Vec<usize> = (0..4).map(|index| sample.nearest(index, 2, 4)).collect();
            assert_eq!(picked, expected, "{rounding:?}");
        }
    }
}
