//! `ephemera jobs`: files that are dropped into a folder, until a signal.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::build::Placement;
use ephemera::jobs::folder::{Hot, Policy};
use ephemera::jobs::inbox::Inbox;
use ephemera::jobs::perform::{Performer, Takers};
use ephemera::jobs::worker::{Pace, work};
use ephemera::memory;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Surroundings, executor};

/// A job waits for its turn as long as it takes.
const WAIT_TIME: Duration = Duration::from_secs(24 * 3600);

#[derive(Args)]
pub(crate) struct Jobs {
    /// The folder that files are dropped into. Originals go to done/ and failed/ in it.
    #[arg(long, value_name = "FOLDER")]
    inbox: PathBuf,
    /// The folder of results.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// A parameter for files without a description; repeatable.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = super::run::parameter)]
    parameters: Vec<(String, String)>,
    /// End when the folder is empty.
    #[arg(long)]
    once: bool,
    /// Run what was built before.
    #[arg(long)]
    no_build: bool,
    /// What running jobs may take in all, such as 512MiB; three quarters of the memory that is available if not given.
    #[arg(long, value_name = "SIZE", value_parser = memory::parse_bytes, env = "EPHEMERA_MEMORY_BUDGET")]
    memory_budget: Option<u64>,
    /// Jobs at once; as many as there are cores if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024), env = "WORKERS")]
    max_concurrency: Option<u32>,
    /// How often a job may fail before it is given up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// How often a worker may die with a job before it is given up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    deaths: u32,
    /// Seconds in which nothing about a file changes before it counts as complete.
    #[arg(long, default_value_t = 2)]
    settle_s: u16,
    /// Seconds between looks at an empty folder.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    poll_s: u16,
    /// Seconds after which the job of a worker on another machine that says nothing more is taken over.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(3..))]
    lease_s: u16,
    /// Seconds that running jobs may still take after a signal to stop; then they are put back.
    #[arg(long, default_value_t = 30)]
    grace_s: u16,
}

pub(crate) fn jobs(around: &Surroundings, options: Jobs) -> Result<()> {
    let project = around.project()?;
    let artifacts = around.artifacts(Placement::Guest, &project, &[], options.no_build)?;
    let seconds = |seconds: u16| Duration::from_secs(seconds.into());
    let memory_bytes = super::up::memory_budget(&project, options.memory_budget)?;
    let cores = std::thread::available_parallelism()?.get();
    let instances = options.max_concurrency.unwrap_or(cores as u32);
    let budget = Budget {
        memory_bytes,
        instances,
        waiting: instances as usize,
        wait_time: WAIT_TIME,
    };
    let inbox = Inbox::open(&options.inbox, seconds(options.settle_s))?;
    let policy = Policy {
        attempts: options.attempts,
        deaths: options.deaths,
        lease: seconds(options.lease_s),
        options: options.parameters.into_iter().collect(),
    };
    let pace = Pace {
        jobs: instances as usize,
        poll: seconds(options.poll_s),
        once: options.once,
        grace: seconds(options.grace_s),
    };
    let takers = Takers::of(&project)?;
    let app = Arc::new(App::load(project, &artifacts, instances)?);
    let performer = Arc::new(Performer::new(takers, Arc::clone(&app), budget));
    let hot = Arc::new(Hot::new(inbox, &options.out, performer, policy)?);

    executor()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        app.check_ready().await?;
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            stop.send_replace(true);
        });
        let done = work(hot, &pace, stopped).await?;
        tracing::info!("{} stored, {} failed", done.stored, done.failed);
        Ok(())
    })
}
