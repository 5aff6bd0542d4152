//! `ephemera up`: serves what the manifest declares, until a signal.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use ephemera::app::App;
use ephemera::config::Project;
use ephemera::memory;
use ephemera::serve::{Options, Server};
use tokio::signal::unix::{SignalKind, signal};

use super::{Surroundings, executor, watch};

#[derive(Args)]
pub(crate) struct Up {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:3000", env = "EPHEMERA_LISTEN")]
    listen: SocketAddr,
    /// Serve what was built before.
    #[arg(long)]
    no_build: bool,
    /// Build again when a source, a model or the manifest changes, and serve that from the next request on.
    #[arg(long, conflicts_with = "no_build")]
    watch: bool,
    /// What running requests may take in all, such as 512MiB, each counted with its function's ceiling; three quarters of the memory that is
    /// available if not given.
    #[arg(long, value_name = "SIZE", value_parser = memory::parse_bytes, env = "EPHEMERA_MEMORY_BUDGET")]
    memory_budget: Option<u64>,
    /// Requests that run at once; as many as there are cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024), env = "WORKERS")]
    max_concurrency: Option<u32>,
    /// Seconds that running requests may still take after a signal to stop.
    #[arg(long, default_value_t = 30)]
    grace_s: u16,
}

pub(crate) fn up(around: &Surroundings, options: Up) -> Result<()> {
    let project = around.project()?;
    let artifacts = around.artifacts(&project, &[], options.no_build)?;
    let examples: Vec<String> = artifacts
        .iter()
        .filter_map(|artifact| project.functions.get(&artifact.name)?.example.clone())
        .collect();
    let mut settings = Options {
        listen: options.listen,
        grace: Duration::from_secs(options.grace_s.into()),
        ..Options::default()
    };
    let budget = &mut settings.budget;
    budget.instances = options.max_concurrency.unwrap_or(budget.instances);
    budget.memory_bytes = match options.memory_budget {
        Some(bytes) => bytes,
        // One request runs in any case.
        None => (memory::available_bytes()? / 4 * 3).max(largest_ceiling(&project)),
    };
    let budget = *budget;
    ensure!(
        largest_ceiling(&project) <= budget.memory_bytes,
        "a function may take {} MiB, the memory budget is {} MiB",
        largest_ceiling(&project) >> 20,
        budget.memory_bytes >> 20
    );
    let app = App::load(project, &artifacts, budget.instances)?;

    executor()?.block_on(async {
        // Listened for before the address is printed: who reads it may stop us at once.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        app.check_ready().await?;
        let server = Server::start(Arc::new(app), settings).await?;
        announce(server.address(), &examples)?;
        let watching = async {
            match options.watch {
                true => watch::swap(around, &server, budget).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            error = watching => return Err(error),
        }
        tracing::info!("stopping");
        if !server.stop().await {
            tracing::warn!("requests still running after the grace time were dropped");
        }
        Ok(())
    })
}

/// What one request of the largest function may take, in bytes.
pub(super) fn largest_ceiling(project: &Project) -> u64 {
    let ceilings = project.functions.values();
    let ceilings = ceilings.map(|function| function.limits.memory_bytes as u64);
    ceilings.max().unwrap_or(0)
}

/// Says where the server is, and commands to try it with, as the manifest has them.
fn announce(address: SocketAddr, examples: &[String]) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{address}")?;
    for example in examples {
        let command = example.replace("{url}", &format!("http://{address}"));
        writeln!(out, "try: {command}")?;
    }
    Ok(out.flush()?)
}
