//! The models and shapes that are measured.

use anyhow::{Context, Result};

use crate::shapes::{Shape, extents};

/// A model at one shape.
#[derive(Debug)]
pub(super) struct Case {
    /// Its short name, before the shape.
    label: &'static str,
    /// Its folder under `models/`, or what `models/tools/bench_models.py` calls it.
    pub(super) model: &'static str,
    /// Whether it is a folder under `models/`; the others have random weights and are made where they are needed.
    pub(super) shipped: bool,
    /// Every input with its shape in the graph.
    inputs: &'static [(&'static str, &'static [usize])],
    /// Timed runs in each round: more for what takes little time.
    pub(super) runs: u32,
}

const CASES: [Case; 6] = [
    detector(&[("x", &[1, 3, 736, 736])]),
    detector(&[("x", &[1, 3, 960, 960])]),
    recogniser(&[("x", &[1, 3, 48, 320])]),
    recogniser(&[("x", &[1, 3, 48, 960])]),
    Case {
        label: "gait-student",
        model: "gait-student",
        shipped: false,
        inputs: &[("clip", &[1, 3, 16, 224, 224]), ("condition", &[1, 768])],
        runs: 3,
    },
    Case {
        label: "mobilenetv2",
        model: "mobilenetv2",
        shipped: false,
        inputs: &[("x", &[1, 3, 224, 224])],
        runs: 15,
    },
];

const fn detector(inputs: &'static [(&'static str, &'static [usize])]) -> Case {
    Case {
        label: "detector",
        model: "ocr-detector",
        shipped: true,
        inputs,
        runs: 3,
    }
}

const fn recogniser(inputs: &'static [(&'static str, &'static [usize])]) -> Case {
    Case {
        label: "recogniser",
        model: "ocr-recogniser-latin",
        shipped: true,
        inputs,
        runs: 7,
    }
}

impl Case {
    /// Such as `recogniser-48x320`.
    pub(super) fn name(&self) -> String {
        let (_, first) = self.inputs[0];
        // Batch and channels are the same in all of them.
        format!("{}-{}", self.label, extents(&first[2..]))
    }

    pub(super) fn shapes(&self) -> Vec<Shape> {
        let shape = |(name, extents): &(&str, &[usize])| Shape {
            name: (*name).to_owned(),
            extents: extents.to_vec(),
        };
        self.inputs.iter().map(shape).collect()
    }
}

/// The cases named, or all of them when none is.
///
/// # Errors
///
/// A name that no case has.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Case>> {
    if names.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let case = |name: &String| {
        let known = || CASES.iter().map(Case::name).collect::<Vec<_>>().join(", ");
        let found = CASES.iter().find(|case| case.name() == *name);
        found.with_context(|| format!("no case `{name}`, there are: {}", known()))
    };
    names.iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_by_name() {
        let names: Vec<_> = CASES.iter().map(Case::name).collect();
        let expected = [
            "detector-736x736",
            "detector-960x960",
            "recogniser-48x320",
            "recogniser-48x960",
            "gait-student-16x224x224",
            "mobilenetv2-224x224",
        ];
        assert_eq!(names, expected);
        let found = select(&["recogniser-48x320".into()]).expect("it is there");
        assert_eq!(found[0].shapes()[0].to_string(), "x=1x3x48x320");
        assert_eq!(select(&[]).expect("all of them").len(), 6);
        let error = select(&["detector".into()]).expect_err("no such case");
        assert!(error.to_string().contains("mobilenetv2-224x224"), "{error}");
    }
}
