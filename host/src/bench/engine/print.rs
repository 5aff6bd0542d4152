//! Rows as a table for people, or as JSON, one object a line.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value};

use super::{Row, Runner, Step};
use crate::shapes::extents;

/// Prints `rows`; step by step too, where they were profiled.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn print(rows: &[Row], json: bool, out: &mut impl Write) -> Result<()> {
    if json {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(&rounded(row)?)?)?;
        }
        return Ok(());
    }
    writeln!(
        out,
        "{:<25}{:<18}{:>10}{:>10}{:>6}{:>9}{:>10}{:>13}{:>13}",
        "case",
        "runner",
        "median ms",
        "min ms",
        "runs",
        "GMAC/s",
        "peak MiB",
        "of ort-f32",
        "of ort-int8"
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<25}{:<18}{:>10.2}{:>10.2}{:>6}{:>9}{:>10.1}{:>13}{:>13}",
            row.case,
            row.runner.name(),
            row.median_ms,
            row.min_ms,
            row.runs,
            row.gmac_per_s
                .map_or_else(String::new, |rate| format!("{rate:.1}")),
            row.peak_bytes as f64 / f64::from(1 << 20),
            share(rows, row, Runner::OrtF32),
            share(rows, row, Runner::OrtInt8),
        )?;
    }
    for row in rows {
        if let Some(steps) = &row.steps {
            profile(row, steps, out)?;
        }
    }
    Ok(())
}

/// `row`'s time in units of `other`'s on the same case: 2.00 takes twice as long.
fn share(rows: &[Row], row: &Row, other: Runner) -> String {
    let other = rows
        .iter()
        .find(|candidate| candidate.case == row.case && candidate.runner == other);
    other.map_or_else(String::new, |other| {
        format!("{:.2}", row.median_ms / other.median_ms)
    })
}

/// Microseconds are as fine as a clock is worth here.
fn rounded(row: &Row) -> Result<Value> {
    let mut value = serde_json::to_value(row)?;
    fn round(map: &mut Map<String, Value>) {
        for value in map.values_mut() {
            match value {
                Value::Number(number) if number.is_f64() => {
                    let rounded = number.as_f64().map(|x| (x * 1e3).round() / 1e3);
                    *value = rounded.into();
                }
                Value::Array(items) => items
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .for_each(round),
                _ => {}
            }
        }
    }
    if let Some(map) = value.as_object_mut() {
        round(map);
    }
    Ok(value)
}

/// Time by kind of operator, then by step; both the slowest first.
fn profile(row: &Row, steps: &[Step], out: &mut impl Write) -> Result<()> {
    let total: f64 = steps.iter().map(|step| step.median_ms).sum();
    writeln!(
        out,
        "\n{} by {}: {} steps, {total:.2} ms",
        row.case,
        row.runner.name(),
        steps.len()
    )?;
    let mut kinds: BTreeMap<&str, Sum> = BTreeMap::new();
    for step in steps {
        let kind = kinds.entry(&step.op).or_default();
        kind.count += 1;
        kind.macs += step.macs;
        kind.ms += step.median_ms;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|(_, a), (_, b)| b.ms.total_cmp(&a.ms));
    writeln!(out, "{}", head("count"))?;
    for (op, sum) in kinds {
        writeln!(out, "{}{:>21}  {op}", sum.line(total), sum.count)?;
    }
    let mut steps: Vec<_> = steps.iter().collect();
    steps.sort_by(|a, b| b.median_ms.total_cmp(&a.median_ms));
    writeln!(out, "{}, step", head("output"))?;
    for step in steps {
        let sum = Sum {
            count: 1,
            macs: step.macs,
            ms: step.median_ms,
        };
        writeln!(
            out,
            "{}{:>21}  {}, {}",
            sum.line(total),
            extents(&step.output),
            step.op,
            step.name
        )?;
    }
    Ok(())
}

#[derive(Default)]
struct Sum {
    count: usize,
    macs: u64,
    ms: f64,
}

fn head(what: &str) -> String {
    format!(
        "{:>9}{:>8}{:>10}{:>9}{what:>21}  operator and form",
        "ms", "share", "MMAC", "GMAC/s"
    )
}

impl Sum {
    /// Milliseconds, share of `total`, MMAC, GMAC/s.
    fn line(&self, total: f64) -> String {
        let mega = self.macs as f64 / 1e6;
        // MMAC a millisecond is GMAC a second.
        let rate = if self.ms > 0.0 { mega / self.ms } else { 0.0 };
        format!(
            "{:>9.3}{:>7.1}%{mega:>10.1}{rate:>9.1}",
            self.ms,
            100.0 * self.ms / total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, runner: Runner, median_ms: f64) -> Row {
        Row {
            case: case.to_owned(),
            runner,
            median_ms,
            min_ms: median_ms,
            runs: 15,
            gmac_per_s: Some(1.0),
            peak_bytes: 3 << 20,
            steps: None,
        }
    }

    fn printed(rows: &[Row], json: bool) -> String {
        let mut out = Vec::new();
        print(rows, json, &mut out).expect("a vector takes every write");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn ratios_are_to_the_same_case() {
        let rows = [
            row("a", Runner::WasmRelaxed, 3.0),
            row("a", Runner::OrtF32, 2.0),
            row("b", Runner::OrtInt8, 9.0),
        ];
        let text = printed(&rows, false);
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let first = [
            "a",
            "wasm-relaxed",
            "3.00",
            "3.00",
            "15",
            "1.0",
            "3.0",
            "1.50",
        ];
        assert_eq!(words[1], first);
        assert_eq!(words[2].last(), Some(&"1.00"));
        assert_eq!(words[3].last(), Some(&"1.00"));
    }

    #[test]
    fn json_is_one_rounded_object_a_line() {
        let text = printed(&[row("a", Runner::OrtInt8, 1.234_56)], true);
        let expected = "{\"case\":\"a\",\"gmac_per_s\":1.0,\"median_ms\":1.235,\"min_ms\":1.235,\"peak_bytes\":3145728,\
                        \"runner\":\"ort-int8\",\"runs\":15}\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_profile_is_summed_by_kind_and_sorted() {
        let step = |name: &str, op: &str, median_ms| Step {
            name: name.to_owned(),
            op: op.to_owned(),
            output: vec![1, 2],
            macs: 2_000_000,
            median_ms,
        };
        let mut row = row("a", Runner::Native, 4.0);
        row.steps = Some(vec![
            step("s0", "add", 1.0),
            step("s1", "conv", 2.0),
            step("s2", "add", 1.5),
        ]);
        let text = printed(&[row], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3], "a by native: 3 steps, 4.50 ms");
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(5), ["2.500", "55.6%", "4.0", "1.6", "2", "add"]);
        assert_eq!(words(6), ["2.000", "44.4%", "2.0", "1.0", "1", "conv"]);
        let order: Vec<_> = lines[8..]
            .iter()
            .filter_map(|l| l.split(", ").last())
            .collect();
        assert_eq!(order, ["s1", "s2", "s0"]);
    }
}
