//! `ephemera jobs`: a queue's jobs, until a signal; and what is in the queue.

mod admin;
mod queue;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use ephemera::admission::Budget;
use ephemera::app::App;
use ephemera::config::Project;
use ephemera::jobs::folder::{Hot, Policy};
use ephemera::jobs::inbox::Inbox;
use ephemera::jobs::perform::{Performer, Takers};
use ephemera::jobs::progress::Progress;
use ephemera::jobs::queue::Queue;
use ephemera::jobs::reach::Reach;
use ephemera::jobs::streams::{self, Streams};
use ephemera::jobs::worker::{Pace, work};
use ephemera::metrics::gpu::Gpus;
use ephemera::{gpu, memory, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::device::{self, DeviceOptions};
use super::{Surroundings, executor};
pub(crate) use queue::RedisOptions;

/// A job waits for its turn as long as it takes.
const WAIT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Where jobs wait for other machines, more than there are cores may pay.
const PLACES_PER_CORE: usize = 4;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    worker: Worker,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is in a queue and what became of its jobs.
    Status(admin::Status),
    /// Have jobs that were given up done again.
    Retry(admin::Retry),
    /// Delete what nobody needs any more.
    Purge(admin::Purge),
}

#[derive(Args)]
struct Worker {
    /// The folder that files are dropped into. Originals go to done/ and failed/ in it.
    #[arg(long, value_name = "FOLDER", requires = "out")]
    inbox: Option<PathBuf>,
    /// The folder of results; with Redis, of those that a job wants as files.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    redis: RedisOptions,
    /// With Redis, the folder of inputs that jobs name as files.
    #[arg(long, value_name = "FOLDER", conflicts_with = "inbox")]
    files: Option<PathBuf>,
    /// A host that inputs are fetched from and reports posted to, such as https://example.org; repeatable, and as in
    /// `allowed_outbound_hosts` of spin.toml.
    #[arg(long = "allow-host", value_name = "URL")]
    allow_hosts: Vec<String>,
    /// A parameter for files without a description; repeatable.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = super::run::parameter)]
    parameters: Vec<(String, String)>,
    /// End when there is nothing left.
    #[arg(long)]
    once: bool,
    /// Run what was built before.
    #[arg(long)]
    no_build: bool,
    /// What running jobs may take in all, such as 512MiB; three quarters of the memory that is available if not given.
    #[arg(long, value_name = "SIZE", value_parser = memory::parse_bytes, env = "EPHEMERA_MEMORY_BUDGET")]
    memory_budget: Option<u64>,
    /// Jobs at once, at most; as many as memory allows, up to four for each core, if not given. Within that, as many as pays.
    #[arg(long, visible_alias = "concurrency", value_parser = clap::value_parser!(u32).range(1..=1024), env = "CELERY_WORKER_CONCURRENCY")]
    max_concurrency: Option<u32>,
    /// Jobs in hand for each one that runs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), env = "CELERY_WORKER_PREFETCH_MULTIPLIER")]
    prefetch_multiplier: u32,
    #[command(flatten)]
    old: OldNames,
    #[command(flatten)]
    device: DeviceOptions,
    /// How often a job may fail before it is given up.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// How often a worker may die with a job before it is given up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    deaths: u32,
    /// Seconds in which nothing about a file changes before it counts as complete.
    #[arg(long, default_value_t = 2)]
    settle_s: u16,
    /// Seconds between looks at an empty queue.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    poll_s: u16,
    /// Seconds after which the job of a worker that says nothing more is taken over: 60 with Redis, 300 with a folder, where workers of the same
    /// machine know at once.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    lease_s: Option<u16>,
    /// Days for which reports are kept in Redis.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    keep_days: u16,
    /// Serve /metrics here. An address of the variable that is taken is a warning: several workers may have the same.
    #[arg(long, value_name = "ADDRESS", env = "EPHEMERA_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// Seconds that running jobs may still take after a signal to stop; then they are put back.
    #[arg(long, default_value_t = 30)]
    grace_s: u16,
}

/// Settings of the workers that came before, which mean here what they meant there or are errors.
#[derive(Args)]
struct OldNames {
    /// Acknowledge a job when its result is stored, which is always so.
    #[arg(long, value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new(), env = "CELERY_TASK_ACKS_LATE")]
    acks_late: Option<bool>,
    /// Jobs of one instance, which is always 1: nothing is left of one when the next begins.
    #[arg(long, value_name = "N", env = "CELERY_WORKER_MAX_TASKS_PER_CHILD")]
    max_tasks_per_child: Option<u32>,
    /// What one instance may take, in KiB, where that is less than spin.toml allows.
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..), env = "CELERY_WORKER_MAX_MEMORY_PER_CHILD")]
    max_memory_per_child: Option<u64>,
}

impl OldNames {
    fn check(&self) -> Result<()> {
        ensure!(
            self.acks_late != Some(false),
            "--acks-late: expected true, a job is acknowledged when its result is stored and never before"
        );
        if self.max_tasks_per_child.is_some_and(|tasks| tasks != 1) {
            tracing::warn!("--max-tasks-per-child is 1: each job has an instance of its own");
        }
        Ok(())
    }

    fn limit(&self, project: &mut Project) {
        let Some(kib) = self.max_memory_per_child else {
            return;
        };
        let most = usize::try_from(kib.saturating_mul(1024)).unwrap_or(usize::MAX);
        for function in project.functions.values_mut() {
            let bytes = &mut function.limits.memory_bytes;
            *bytes = (*bytes).min(most);
        }
    }
}

pub(crate) fn jobs(around: &Surroundings, options: Jobs) -> Result<()> {
    match options.command {
        Some(Command::Status(options)) => executor()?.block_on(admin::status(options)),
        Some(Command::Retry(options)) => executor()?.block_on(admin::retry(options)),
        Some(Command::Purge(options)) => executor()?.block_on(admin::purge(options)),
        None => options.worker.run(around),
    }
}

impl Worker {
    fn run(self, around: &Surroundings) -> Result<()> {
        ensure!(
            self.inbox.is_some() || self.redis.is_given(),
            "expected --inbox FOLDER --out FOLDER, or --redis URL"
        );
        self.old.check()?;
        let mut project = around.project()?;
        self.old.limit(&mut project);
        let reach = Reach::to(&self.allow_hosts)?;
        let found = self.device.find(&project)?;
        let takers = Takers::of(&project)?;
        let names = takers.names();
        let artifacts = around.artifacts(found.placement(), &project, &names, self.no_build)?;
        let memory_bytes = super::up::memory_budget(&project, self.memory_budget)?;
        let places = self.places(memory_bytes, super::up::largest_ceiling(&project))?;
        let in_hand = places * self.prefetch_multiplier as usize;
        let budget = Budget {
            memory_bytes,
            instances: u32::try_from(places)?,
            waiting: in_hand,
            wait_time: WAIT_TIME,
        };
        let devices = device::open(&found, &artifacts, budget.instances)?;
        let mut gpus = Gpus::default();
        gpus.add(Arc::new(gpu::Driver));
        if let Some(devices) = &devices {
            gpus.add(Arc::clone(devices) as _);
        }
        let app = App::load_on(devices.as_ref(), project, &artifacts, budget.instances)?;
        let app = Arc::new(app);
        let performer = Performer::new(takers, Arc::clone(&app), budget).telling_of(gpus);
        let performer = Arc::new(performer);
        let pace = self.pace(places)?;

        let executor = executor()?;
        let done = executor.block_on(async {
            let stopped = stopped()?;
            app.check_ready().await?;
            let told = match self.metrics_listen {
                Some(address) => match performer.serve_metrics(address).await {
                    Ok(told) => Some(told),
                    // Another worker of this machine, which has the same variable, is there already.
                    Err(error) if !around.flags.has("metrics_listen") => {
                        tracing::warn!("no metrics are served: EPHEMERA_METRICS_LISTEN: {error:#}");
                        None
                    }
                    Err(error) => return Err(error),
                },
                None => None,
            };
            if let Some(told) = &told {
                tracing::info!("metrics at http://{}{}", told.address(), telemetry::PATH);
            }
            match &self.inbox {
                Some(inbox) => {
                    let hot = self.hot(inbox, Arc::clone(&performer), reach)?;
                    run(hot, performer, &pace, stopped).await
                }
                None => {
                    let broker = self.redis.connect().await?;
                    let options = self.stream_options();
                    let performing = Arc::clone(&performer);
                    let streams = Streams::join(broker, performing, reach, options).await?;
                    run(streams, performer, &pace, stopped).await
                }
            }
        })?;
        tracing::info!("{} stored, {} failed", done.stored, done.failed);
        Ok(())
    }

    /// Jobs at once, at most: what was asked for, or what there are cores and memory for.
    fn places(&self, memory_bytes: u64, ceiling: u64) -> Result<usize> {
        let cores = std::thread::available_parallelism()?.get();
        let room = usize::try_from(memory_bytes / ceiling.max(1)).unwrap_or(usize::MAX);
        Ok(match self.max_concurrency {
            Some(places) => places as usize,
            None => room.min(cores * PLACES_PER_CORE).max(1),
        })
    }

    fn pace(&self, places: usize) -> Result<Pace> {
        let cores = std::thread::available_parallelism()?.get();
        Ok(Pace {
            first: cores.min(places),
            most: places,
            prefetch: self.prefetch_multiplier as usize,
            poll: seconds(self.poll_s),
            once: self.once,
            grace: seconds(self.grace_s),
        })
    }

    fn hot(&self, inbox: &Path, performer: Arc<Performer>, reach: Reach) -> Result<Hot> {
        let policy = Policy {
            attempts: self.attempts,
            deaths: self.deaths,
            lease: seconds(self.lease_s.unwrap_or(300)),
            options: self.parameters.iter().cloned().collect(),
        };
        let inbox = Inbox::open(inbox, seconds(self.settle_s))?;
        let out = self.out.as_deref().context("expected --out FOLDER")?;
        Hot::new(inbox, out, performer, reach, policy)
    }

    fn stream_options(&self) -> streams::Options {
        streams::Options {
            attempts: self.attempts,
            deaths: self.deaths.into(),
            lease: seconds(self.lease_s.unwrap_or(60)),
            keep: Duration::from_secs(u64::from(self.keep_days) * 24 * 3600),
            files: self.files.clone(),
            out: self.out.clone(),
        }
    }
}

async fn run(
    queue: impl Queue,
    performer: Arc<Performer>,
    pace: &Pace,
    stopped: watch::Receiver<bool>,
) -> Result<Progress> {
    work(Arc::new(queue), performer, pace, stopped).await
}

/// Becomes true with the first signal to stop.
fn stopped() -> Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.send_replace(true);
    });
    Ok(stopped)
}

fn seconds(seconds: u16) -> Duration {
    Duration::from_secs(seconds.into())
}
