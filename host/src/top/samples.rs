//! Text in Prometheus's format -> samples. What it cannot read is an error with the line's number; what it does not know is kept.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Samples by their names.
#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<String, Vec<Sample>>);

/// One line: a series and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Samples {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// A line that is neither a comment nor a sample.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut samples = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, sample) =
                sample(line).with_context(|| format!("line {} of the metrics", index + 1))?;
            samples.0.entry(name.to_owned()).or_default().push(sample);
        }
        Ok(samples)
    }

    /// All series called `name`.
    pub(super) fn all(&self, name: &str) -> &[Sample] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The series called `name` that has these labels, among others perhaps.
    pub(super) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut all = self.all(name).iter();
        let found = all.find(|sample| sample.has(labels))?;
        Some(found.value)
    }

    /// The same, or 0.
    pub(super) fn or_zero(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or(0.0)
    }
}

impl Sample {
    /// The value of the label `name`; empty if it has none, as Prometheus has it.
    pub(super) fn label(&self, name: &str) -> &str {
        let mut labels = self.labels.iter();
        let found = labels.find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == *value)
    }
}

/// `name{label="value",...} value [timestamp]`.
fn sample(line: &str) -> Result<(&str, Sample)> {
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    ensure!(!name.is_empty(), "expected a name, got `{line}`");
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (vec![], rest),
    };
    let value = rest.split_ascii_whitespace().next();
    let value = value.with_context(|| format!("{name} has no value"))?;
    // Rust knows `+Inf` and `NaN` as well.
    let value = value
        .parse()
        .with_context(|| format!("{name}: expected a number, got `{value}`"))?;
    Ok((name, Sample { labels, value }))
}

/// What stands between the braces, and what follows them.
fn labels(mut rest: &str) -> Result<(Vec<(String, String)>, &str)> {
    let mut labels = vec![];
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').context("a label without a value")?;
        let after = after.trim_start().strip_prefix('"');
        let (value, after) = quoted(after.context("a label's value without quotes")?)?;
        labels.push((name.trim().to_owned(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest);
        ensure!(
            rest.len() < after.len() || rest.starts_with('}'),
            "expected a comma between labels"
        );
    }
}

/// What stands before the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => match characters.next().context("an escape without an end")?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    anyhow::bail!("a label's value without an end")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::text::{Format, Kind, Text};

    #[test]
    fn samples_are_found_by_name_and_labels() {
        let text = "# TYPE a gauge\na 1\n\nb{x=\"1\",y=\"\\\"\\\\\\n}\"} 2.5e3 1700000000\n\
                    b { x = \"2\" , } +Inf\nc{} NaN";
        let samples = Samples::parse(text).expect("valid");
        assert_eq!(samples.get("a", &[]), Some(1.0));
        assert_eq!(samples.get("a", &[("x", "")]), Some(1.0));
        assert_eq!(samples.get("b", &[("y", "\"\\\n}")]), Some(2500.0));
        assert_eq!(samples.get("b", &[("x", "2")]), Some(f64::INFINITY));
        assert!(samples.or_zero("c", &[]).is_nan());
        assert_eq!(samples.get("d", &[]), None);
        assert_eq!(samples.all("b").len(), 2);
    }

    #[test]
    fn what_is_no_sample_is_named_by_its_line() {
        for line in [
            "a",
            "a b",
            "{x=\"1\"} 2",
            "a{x} 1",
            "a{x=1} 1",
            "a{x=\"1\" 1",
            "a{x=\"1\\",
            "<html>",
            "a{x=\"1\"y=\"2\"} 1",
        ] {
            let error = Samples::parse(&format!("ok 1\n{line}")).expect_err(line);
            assert!(error.to_string().contains("line 2"), "{line}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_written_is_read(label in "\\PC{0,12}|[\"\\\\\n,}= ]{0,8}", value in any::<f64>()) {
            let mut text = Text::new(Format::Prometheus);
            text.family(Kind::Gauge, "a", "Help.").sample(&[("x", &label), ("y", "z")], value);
            let samples = Samples::parse(&text.end()).expect("valid");
            // Lines end at carriage returns of their own accord nowhere.
            let read = samples.get("a", &[("x", &label), ("y", "z")]).expect("there");
            prop_assert!(read == value || (read.is_nan() && value.is_nan()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC{0,20}|[a-z{}=\", 0-9\\\\]{0,30}|\n){0,5}") {
            let _ = Samples::parse(&text);
        }
    }
}
