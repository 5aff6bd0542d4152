//! [`Input`] and a condition -> [`Scores`]: one probability a class.

use ephemera_engine::Tensor;

use crate::clip::{Frames, Input};
use crate::network::{Condition, Network};
use crate::{Error, UnexpectedOutput};

/// What the model says of a clip.
#[derive(Debug)]
pub struct Scores {
    /// One for each class of the network, in order; 0..=1, and 1 in sum but for rounding.
    pub probabilities: Vec<f32>,
    /// The frames that were looked at.
    pub frames: Frames,
}

impl Scores {
    /// The most probable class, by its place; of equals the first.
    pub fn best(&self) -> usize {
        let places = 0..self.probabilities.len();
        let better = |best: usize, next: usize| {
            if self.probabilities[next] > self.probabilities[best] {
                next
            } else {
                best
            }
        };
        places.reduce(better).unwrap_or(0)
    }
}

/// Runs the model.
///
/// # Errors
/// [`Error::Model`] when it fails, [`Error::Output`] when it answers with anything but a finite number for each class.
pub fn classify(network: &Network, input: Input, condition: Condition) -> Result<Scores, Error> {
    let embedding = network.embedding(condition).to_vec();
    let embedding = Tensor::f32(&[1, embedding.len()], embedding)?;
    let inputs = [
        (network.clip.as_str(), input.tensor),
        (network.condition.as_str(), embedding),
    ];
    let outputs = network.model.run(&inputs)?;
    let logits = outputs.first().map(|(_, tensor)| tensor);
    let probabilities = softmax(expect_logits(network, logits)?);
    Ok(Scores {
        probabilities,
        frames: input.frames,
    })
}

/// The values of the output, which must be `[1, classes] f32`.
fn expect_logits<'a>(network: &Network, output: Option<&'a Tensor>) -> Result<&'a [f32], Error> {
    let shape = [1, network.manifest.classes.len()];
    let unexpected = |actual: String| {
        Error::Output(UnexpectedOutput {
            model: network.manifest.name.clone(),
            expected: format!("finite f32 {shape:?}"),
            actual,
        })
    };
    let output = output.ok_or_else(|| unexpected("none".to_owned()))?;
    let values = output.as_f32().filter(|_| output.shape == shape);
    let values = values.ok_or_else(|| unexpected(format!("{:?}", output.shape)))?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(unexpected(value.to_string())),
        None => Ok(values),
    }
}

/// One after the other in double precision, with a library's exponential instead of the platform's: the same bits
/// everywhere. Nothing overflows, the largest exponent is 0.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f64> = logits
        .iter()
        .map(|&logit| libm::exp(f64::from(logit) - f64::from(largest)))
        .collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_worked_out_by_hand() {
        assert_eq!(softmax(&[3.0, 3.0]), [0.5, 0.5]);
        // e^0 = 1 beside e^-ln 3 = 1/3.
        let thirds = softmax(&[0.0, -3f32.ln()]);
        assert!((thirds[0] - 0.75).abs() < 1e-7 && (thirds[1] - 0.25).abs() < 1e-7);
        assert_eq!(softmax(&[f32::MAX, f32::MIN, 0.0]), [1.0, 0.0, 0.0]);
        assert_eq!(softmax(&[-1e30, -1e30]), [0.5, 0.5]);
        // numpy's, in double precision, as the bits of f32.
        let bits: Vec<u32> = softmax(&[0.5, -1.25, 7.75, 2.0])
            .into_iter()
            .map(f32::to_bits)
            .collect();
        assert_eq!(bits, [0x3a39_6c59, 0x3900_e30c, 0x3f7e_f9d6, 0x3b4f_c098]);
    }

    #[test]
    fn the_first_of_equals_is_the_best() {
        for (probabilities, best) in [
            (vec![0.2, 0.5, 0.3], 1),
            (vec![0.4, 0.2, 0.4], 0),
            (vec![0.1, 0.1, 0.8], 2),
        ] {
            let frames = Frames {
                total: 1,
                sampled: vec![0],
                kind: ephemera_video::Kind::Pictures,
            };
            let scores = Scores {
                probabilities,
                frames,
            };
            assert_eq!(scores.best(), best);
        }
    }
}
