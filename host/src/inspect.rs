//! `ephemera model inspect`: what a model becomes. Model folder -> lowered graph -> a table of its steps.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use ephemera_engine::Graph;
use serde::Serialize;

use crate::models;
use crate::shapes::{self, Shape};

/// A model, as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// `int8`: forms of ours throughout. `mixed`: some steps run in tract, in f32. `f32`: all of it does.
    pub form: &'static str,
    /// What runs in tract, and why.
    pub in_tract: Vec<String>,
    /// The shapes that the figures are for, such as `x=1x3x736x736`.
    pub inputs: Vec<String>,
    /// Multiplications that are added up, in one run.
    pub macs: u64,
    /// Packed weights, padding included.
    pub weight_bytes: usize,
    /// Activations that one run holds at once.
    pub arena_bytes: usize,
    /// In the order in which they run; none for a graph in f32.
    pub steps: Vec<Step>,
}

/// One step of a lowered graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The graph's node that it comes from.
    pub name: String,
    /// What it does, and in which form.
    pub op: String,
    /// Shape of the result as stored, channels last.
    pub output: Vec<usize>,
    /// Multiplications that are added up.
    pub macs: u64,
    /// Packed weights, padding included.
    pub weight_bytes: usize,
}

/// Lowers the model in `folder` and takes stock of it for `inputs`, or for usual shapes where none are given.
///
/// # Errors
///
/// A folder that is no model's, a graph that neither the lowering nor tract takes, inputs that are not the model's.
pub fn inspect(folder: &Path, inputs: &[Shape]) -> Result<Report> {
    let model = models::read(folder).with_context(|| format!("in {}", folder.display()))?;
    let manifest = model.manifest;
    let graph = Graph::load(&manifest, &model.onnx)
        .with_context(|| format!("lowering {}", manifest.name))?;
    let shapes = match inputs {
        [] => shapes::usual(&manifest)?,
        inputs => inputs.to_vec(),
    };
    let tensors = shapes::zeros(&manifest, &shapes)?;
    let steps = graph.report(&tensors)?.into_iter().map(|step| Step {
        name: step.name,
        op: step.op,
        output: step.output,
        macs: step.macs,
        weight_bytes: step.weight_bytes,
    });
    let steps: Vec<Step> = steps.collect();
    let in_tract = models::in_tract(&graph);
    Ok(Report {
        form: match (in_tract.is_empty(), graph.float_reason()) {
            (true, _) => "int8",
            (false, None) => "mixed",
            (false, Some(_)) => "f32",
        },
        in_tract,
        inputs: shapes.iter().map(ToString::to_string).collect(),
        macs: steps.iter().map(|step| step.macs).sum(),
        weight_bytes: steps.iter().map(|step| step.weight_bytes).sum(),
        arena_bytes: graph.arena_bytes(&tensors)?,
        steps,
        model: manifest.name,
        version: manifest.version,
    })
}

impl Report {
    /// Prints a table, or one JSON object.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn print(&self, json: bool, out: &mut impl Write) -> Result<()> {
        if json {
            return Ok(writeln!(out, "{}", serde_json::to_string(self)?)?);
        }
        let inputs = self.inputs.join(" ");
        writeln!(out, "{} {} at {inputs}", self.model, self.version)?;
        for part in &self.in_tract {
            writeln!(out, "{part}")?;
        }
        if self.steps.is_empty() {
            return Ok(());
        }
        let name_width = self.width("step", |step| &step.name);
        let op_width = self.width("operator and form", |step| &step.op);
        writeln!(
            out,
            "{:<name_width$}  {:<op_width$}  {:>17}{:>12}{:>15}",
            "step", "operator and form", "output", "MMAC", "weight bytes"
        )?;
        for step in &self.steps {
            writeln!(
                out,
                "{:<name_width$}  {:<op_width$}  {:>17}{:>12.3}{:>15}",
                step.name,
                step.op,
                shapes::extents(&step.output),
                mega(step.macs),
                step.weight_bytes
            )?;
        }
        writeln!(
            out,
            "{} steps: {:.1} MMAC, {} bytes of weights, {} bytes of activations at once",
            self.steps.len(),
            mega(self.macs),
            self.weight_bytes,
            self.arena_bytes
        )?;
        Ok(())
    }

    /// As wide as the widest of these texts.
    fn width(&self, head: &str, text: fn(&Step) -> &str) -> usize {
        let widths = self.steps.iter().map(|step| text(step).chars().count());
        widths.max().unwrap_or(0).max(head.len())
    }
}

fn mega(macs: u64) -> f64 {
    macs as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let step = Step {
            name: "conv0".into(),
            op: "conv 3x3".into(),
            output: vec![1, 8, 8, 16],
            macs: 1_500_000,
            weight_bytes: 432,
        };
        Report {
            model: "m".into(),
            version: "1".into(),
            form: "int8",
            in_tract: vec![],
            inputs: vec!["x=1x3x16x16".into()],
            macs: step.macs,
            weight_bytes: step.weight_bytes,
            arena_bytes: 2048,
            steps: vec![step],
        }
    }

    fn printed(report: &Report, json: bool) -> String {
        let mut out = Vec::new();
        report
            .print(json, &mut out)
            .expect("a vector takes every write");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_table_has_its_steps_and_totals() {
        let text = printed(&report(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "m 1 at x=1x3x16x16");
        assert_eq!(
            lines[2].split_whitespace().collect::<Vec<_>>(),
            ["conv0", "conv", "3x3", "1x8x8x16", "1.500", "432"]
        );
        assert!(lines[3].starts_with("1 steps"), "{text}");
        assert!(
            lines[3].ends_with("1.5 MMAC, 432 bytes of weights, 2048 bytes of activations at once")
        );
    }

    #[test]
    fn a_graph_in_f32_says_why() {
        let report = Report {
            form: "f32",
            in_tract: vec!["all of it: no form for Einsum".into()],
            steps: vec![],
            ..report()
        };
        let text = printed(&report, false);
        assert!(text.ends_with("all of it: no form for Einsum\n"), "{text}");
        let json: serde_json::Value =
            serde_json::from_str(&printed(&report, true)).expect("one object");
        assert_eq!(json["form"], "f32");
        assert_eq!(json["in_tract"][0], "all of it: no form for Einsum");
    }

    #[test]
    fn json_is_one_object() {
        let json = printed(&report(), true);
        let value: serde_json::Value = serde_json::from_str(&json).expect("one object");
        assert_eq!(value["steps"][0]["output"][3], 16);
        assert_eq!(json.lines().count(), 1);
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = inspect(folder.path(), &[]).expect_err("it is empty");
        assert!(format!("{error:#}").contains("model.toml"), "{error:#}");
    }
}
