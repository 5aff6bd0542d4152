//! `ephemera doctor`: what building and serving need of this machine.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use ephemera::doctor::{self, State};

use super::Surroundings;

#[derive(Args)]
pub(crate) struct Doctor {
    /// Where `up` would listen.
    #[arg(long, default_value = "127.0.0.1:3000", env = "EPHEMERA_LISTEN")]
    listen: SocketAddr,
    /// Print the checks as JSON.
    #[arg(long)]
    json: bool,
}

/// Exits with 1 if something that is needed is missing.
pub(crate) fn doctor(around: &Surroundings, options: &Doctor) -> Result<ExitCode> {
    let checks = doctor::examine(&around.manifest, options.listen);
    let missing = checks.iter().any(|check| check.state == State::Missing);
    let mut out = std::io::stdout().lock();
    if options.json {
        let report = serde_json::json!({ "ok": !missing, "checks": checks });
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        for check in &checks {
            let mark = match check.state {
                State::Good => "ok     ",
                State::Note => "note   ",
                State::Warning => "warning",
                State::Missing => "MISSING",
            };
            writeln!(out, "{mark}  {}: {}", check.name, check.found)?;
            if let Some(fix) = &check.fix {
                writeln!(out, "         fix: {fix}")?;
            }
        }
    }
    out.flush()?;
    Ok(match missing {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
