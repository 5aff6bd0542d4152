//! How throughput grows with instances: the same pages, one at a time and as many as there are cores.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::child::Child;
use super::client::{Message, drive};
use super::median;

/// One number of instances.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Instances at once, with as many clients.
    pub instances: u32,
    /// Answers a second: the median of the rounds.
    pub per_second: f64,
    /// That of one instance, times the instances, is 1.
    pub efficiency: f64,
}

/// What is sent.
#[derive(Debug)]
pub struct Options<'a> {
    /// The page.
    pub file: &'a Path,
    /// Where it is posted to.
    pub path: &'a str,
    /// How often in one round.
    pub requests: u32,
    /// Rounds; each number of instances has its turn in each.
    pub rounds: u32,
}

/// Measures 1 to `cores` instances, each number in a server of its own, in turns.
///
/// # Errors
///
/// A server does not start, or does not answer everything with 200.
pub fn scale(
    program: &Path,
    manifest: &Path,
    cores: u32,
    options: &Options<'_>,
) -> Result<Vec<Row>> {
    let message = Message::new(options.path, Some(options.file))?;
    let mut rates = vec![Vec::new(); cores as usize];
    for _ in 0..options.rounds {
        for (instances, rates) in (1..=cores).zip(&mut rates) {
            rates.push(round(
                program,
                manifest,
                instances,
                &message,
                options.requests,
            )?);
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    let row = |(instances, &per_second): (u32, &f64)| Row {
        instances,
        per_second,
        efficiency: per_second / rates[0] / f64::from(instances),
    };
    Ok((1..=cores).zip(&rates).map(row).collect())
}

/// Answers a second.
fn round(
    program: &Path,
    manifest: &Path,
    instances: u32,
    message: &Message,
    requests: u32,
) -> Result<f64> {
    let arguments = ["--max-concurrency".to_owned(), instances.to_string()];
    let server = Child::host(program, manifest, &arguments, None)?;
    drive(server.address(), message, instances, instances);
    let since = Instant::now();
    let answers = drive(server.address(), message, requests, instances);
    ensure!(
        answers.ok == requests,
        "expected 200 alone, got {answers:?}"
    );
    Ok(f64::from(requests) / since.elapsed().as_secs_f64())
}

/// Prints `rows` as a table, or as one JSON object a line.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn print(rows: &[Row], json: bool, out: &mut impl Write) -> Result<()> {
    if !json {
        writeln!(out, "instances  answers/s  efficiency")?;
    }
    for row in rows {
        if json {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        } else {
            let Row {
                instances,
                per_second,
                efficiency,
            } = row;
            writeln!(out, "{instances:>9}{per_second:>11.2}{efficiency:>12.2}")?;
        }
    }
    Ok(())
}
