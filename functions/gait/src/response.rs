//! [`Scores`] -> the answer's JSON.
//!
//! Fields stand in a fixed order, `timing_ms` last: it is the only part of an answer that differs from run to run, and is
//! left out where there is no clock. What stands before it has the same bytes from every runner.

use std::time::Duration;

use ephemera_http::HttpAnswer;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::classify::Scores;
use crate::network::Network;

/// The answer to a clip. `laps`: the steps that were timed.
pub(crate) fn prediction(
    network: &Network,
    scores: &Scores,
    laps: &[(&'static str, Duration)],
) -> HttpAnswer {
    let classes = &network.manifest.classes;
    let total: Duration = laps.iter().map(|(_, took)| took).sum();
    let timed: Vec<(&str, f64)> = laps
        .iter()
        .copied()
        .chain([("total", total)])
        .map(|(step, took)| (step, milliseconds(took)))
        .collect();
    let frames = &scores.frames;
    HttpAnswer::json(
        200,
        &Prediction {
            predicted_class: &classes[scores.best()],
            probabilities: Map(classes
                .iter()
                .map(String::as_str)
                .zip(scores.probabilities.iter().copied())
                .collect()),
            model: network.manifest.title(),
            clinical_validation: format!(
                "none: research software, not for diagnosis or treatment; trained on: {}",
                network.manifest.training_data
            ),
            frames: FramesLooked {
                total: frames.total,
                sampled: &frames.sampled,
                kind: frames.kind.to_string(),
            },
            timing_ms: (!laps.is_empty()).then_some(Map(timed)),
        },
    )
}

/// The body of `GET /conditions`.
pub(crate) fn conditions(network: &Network) -> HttpAnswer {
    let conditions = network.conditions();
    HttpAnswer::json(200, &Conditions { conditions })
}

/// The body of `GET /ready` when requests can be answered.
pub(crate) fn ready(network: &Network) -> HttpAnswer {
    let ready = Ready {
        ready: true,
        model: network.manifest.title(),
        sha256: &network.manifest.sha256,
    };
    HttpAnswer::json(200, &ready)
}

/// The body of `GET /ready` when they cannot.
pub(crate) fn not_ready(reason: String) -> HttpAnswer {
    let ready = false;
    HttpAnswer::json(503, &NotReady { ready, reason })
}

/// Tenths are what a clock is worth that also counts the neighbours' work.
fn milliseconds(took: Duration) -> f64 {
    took.as_micros().div_ceil(100) as f64 / 10.0
}

#[derive(Serialize)]
struct Prediction<'a> {
    predicted_class: &'a str,
    probabilities: Map<'a, f32>,
    model: String,
    clinical_validation: String,
    frames: FramesLooked<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timing_ms: Option<Map<'a, f64>>,
}

#[derive(Serialize)]
struct FramesLooked<'a> {
    total: usize,
    sampled: &'a [usize],
    kind: String,
}

#[derive(Serialize)]
struct Conditions<'a> {
    conditions: &'a [String],
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    model: String,
    sha256: &'a str,
}

#[derive(Serialize)]
struct NotReady {
    ready: bool,
    reason: String,
}

/// An object whose fields keep their order.
struct Map<'a, T>(Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for Map<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
