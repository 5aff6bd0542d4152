//! `ephemera up`: serves what the manifest declares, until a signal; or runs a command of it once (`command.rs`).

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use ephemera::app::App;
use ephemera::build::Placement;
use ephemera::config::{Function, Project, Subscription};
use ephemera::redis_trigger::Listener;
use ephemera::serve::{Options, Server};
use ephemera::telemetry::otlp::Collector;
use ephemera::telemetry::{self, Place};
use ephemera::{gpu, memory};
use tokio::signal::unix::{SignalKind, signal};

use super::command::{self, Once};
use super::device::{self, DeviceOptions};
use super::{Flags, Surroundings, executor, watch};

// Variables say what flags say otherwise. Whoever sets one for all that is started need not unset it for what has no use for it.
#[derive(Args)]
pub(crate) struct Up {
    /// Where to listen; 127.0.0.1:3000 if not given.
    #[arg(long, value_name = "ADDRESS", env = "EPHEMERA_LISTEN")]
    listen: Option<SocketAddr>,
    /// Only this component, of those that the manifest has; repeatable. A command is run once, with this process's standard streams.
    #[arg(long, short = 'c', value_name = "NAME")]
    component_id: Vec<String>,
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
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    telling: Telling,
    #[command(flatten)]
    once: Once,
}

/// What the server tells of itself.
#[derive(Args)]
struct Telling {
    /// Serve /metrics here instead of beside the functions.
    #[arg(long, value_name = "ADDRESS", env = "EPHEMERA_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// Serve no /metrics.
    #[arg(long, conflicts_with = "metrics_listen")]
    no_metrics: bool,
    /// Log every request, not only those that went wrong.
    #[arg(long)]
    access_log: bool,
    /// Send traces to the OpenTelemetry collector here, such as http://localhost:4318, by OTLP over HTTP.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp: Option<String>,
    /// What traces call this server.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "ephemera",
        env = "OTEL_SERVICE_NAME"
    )]
    otlp_service: String,
}

impl Telling {
    /// # Errors
    ///
    /// There is something in it, given on the command line alone, that nobody would look at where no requests are served.
    fn refuse(&self, flags: &Flags) -> Result<()> {
        ensure!(
            !self.access_log && !self.no_metrics && !flags.has("otlp"),
            "--access-log, --no-metrics and --otlp are for HTTP, which nothing here answers"
        );
        Ok(())
    }

    fn settings(self) -> Result<telemetry::Settings> {
        let metrics = match (self.metrics_listen, self.no_metrics) {
            (Some(address), _) => Place::Apart(address),
            (None, true) => Place::Nowhere,
            (None, false) => Place::Beside,
        };
        let collector = self.otlp.map(|url| Collector::new(&url, self.otlp_service));
        Ok(telemetry::Settings {
            metrics,
            access_log: self.access_log,
            otlp: collector.transpose().context("--otlp")?,
            ..telemetry::Settings::default()
        })
    }
}

impl Up {
    /// # Errors
    ///
    /// Something is given on the command line alone that only means something where requests are answered.
    fn refuse_http(&self, flags: &Flags) -> Result<()> {
        ensure!(
            !flags.has("listen"),
            "--listen is for HTTP, which nothing here answers"
        );
        self.telling.refuse(flags)
    }

    /// # Errors
    ///
    /// As [`refuse_http`](Self::refuse_http), and what only means something for what is served at all; or the budget is too small for
    /// `command`, which runs alone.
    fn refuse_served(&self, command: &Function, flags: &Flags) -> Result<()> {
        self.refuse_http(flags)?;
        let name = &command.name;
        ensure!(
            !self.watch && !flags.has("metrics_listen") && !flags.has("max_concurrency"),
            "--watch, --metrics-listen and --max-concurrency are for what is served: `{name}` is a command"
        );
        let inside = self.device.placement() == Placement::Guest;
        ensure!(
            inside || !flags.has("device"),
            "--device: `{name}` is a command, whose models are inside it: expected guest"
        );
        let ceiling = command.limits.memory_bytes as u64;
        check_budget(ceiling, self.memory_budget.unwrap_or(u64::MAX))
    }
}

pub(crate) fn up(around: &Surroundings, options: Up) -> Result<ExitCode> {
    let project = around.project()?;
    let selected = project.select(&options.component_id)?;
    let (commands, served): (Vec<&Function>, Vec<&Function>) = selected
        .into_iter()
        .partition(|function| function.is_command());
    if served.is_empty() {
        let [command] = commands[..] else {
            let names: Vec<_> = commands.iter().map(|c| c.name.as_str()).collect();
            bail!(
                "expected one command to run, by --component-id: {}",
                names.join(", ")
            );
        };
        options.refuse_served(command, &around.flags)?;
        let name = command.name.clone();
        return command::run(around, project, &name, options.once, options.no_build);
    }
    options.once.refuse()?;
    for command in commands {
        tracing::info!(
            "`{0}` is a command: `up --component-id {0}` runs it",
            command.name
        );
    }
    let names: Vec<String> = served.iter().map(|f| f.name.clone()).collect();
    let http = served.iter().any(|function| function.serves_http());
    serve(around, project, &names, http, options)?;
    Ok(ExitCode::SUCCESS)
}

/// Serves the components `names`, over HTTP if any of them answers requests.
fn serve(
    around: &Surroundings,
    project: Project,
    names: &[String],
    http: bool,
    options: Up,
) -> Result<()> {
    // What is wrong with it is said before minutes of building.
    let subscriptions = project.subscriptions(names)?;
    if !http {
        options.refuse_http(&around.flags)?;
    }
    let metrics_listen = options.telling.metrics_listen;
    let mut telemetry = options.telling.settings()?;
    telemetry.gpus.add(Arc::new(gpu::Driver));
    let found = options.device.find(&project)?;
    ensure!(
        !options.watch || (http && subscriptions.is_empty() && options.component_id.is_empty()),
        "--watch is for manifests of HTTP functions, all of them"
    );
    let artifacts = around.artifacts(found.placement(), &project, names, options.no_build)?;
    let examples: Vec<String> = artifacts
        .iter()
        .filter_map(|artifact| project.functions.get(&artifact.name)?.example.clone())
        .collect();
    let mut settings = Options {
        grace: Duration::from_secs(options.grace_s.into()),
        telemetry,
        ..Options::default()
    };
    settings.listen = options.listen.unwrap_or(settings.listen);
    let budget = &mut settings.budget;
    budget.instances = options.max_concurrency.unwrap_or(budget.instances);
    budget.memory_bytes = memory_budget(&project, options.memory_budget)?;
    let budget = *budget;
    let devices = device::open(&found, &artifacts, budget.instances)?;
    if let Some(devices) = &devices {
        settings.telemetry.gpus.add(Arc::clone(devices) as _);
    }
    let app = App::load_on(devices.as_ref(), project, &artifacts, budget.instances)?;
    let grace = settings.grace;

    let executor = executor()?;
    let ended = executor.block_on(async {
        // Listened for before the address is printed: who reads it may stop us at once.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        app.check_ready().await?;
        let app = Arc::new(app);
        let gpus = settings.telemetry.gpus.clone();
        let server = match http {
            true => Some(Server::start(Arc::clone(&app), settings).await?),
            false => None,
        };
        if let Some(server) = &server {
            announce(server.address(), &examples)?;
            if let Some(address) = server.metrics_address() {
                tracing::info!("metrics at http://{address}{}", telemetry::PATH);
            }
        }
        let listen = |subscriptions: &[Subscription]| {
            Listener::start(app, subscriptions, server.as_ref(), budget, grace)
        };
        let mut listener = match subscriptions.is_empty() {
            true => None,
            false => Some(listen(&subscriptions)?),
        };
        if let (None, Some(listener), Some(address)) = (&server, &mut listener, metrics_listen) {
            let address = listener.serve_metrics(address, gpus).await?;
            tracing::info!("metrics at http://{address}{}", telemetry::PATH);
        }
        let watching = async {
            match &server {
                Some(server) if options.watch => watch::swap(around, server, budget, &found).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            error = watching => return Err(error),
        }
        tracing::info!("stopping");
        stop(server, listener).await;
        Ok(())
    });
    // Runs that nobody waits for any more are not waited for here either.
    executor.shutdown_background();
    ended
}

/// Takes no more work, and lets what runs finish.
async fn stop(server: Option<Server>, listener: Option<Listener>) {
    let requests = async {
        match server {
            Some(server) => server.stop().await,
            None => true,
        }
    };
    let messages = async {
        match listener {
            Some(listener) => listener.stop().await,
            None => true,
        }
    };
    let (requests, messages) = tokio::join!(requests, messages);
    if !requests {
        tracing::warn!("requests still running after the grace time were dropped");
    }
    if !messages {
        tracing::warn!("messages still running after the grace time were dropped");
    }
}

/// The bytes to give out: `given`, or a share of what is available.
pub(super) fn memory_budget(project: &Project, given: Option<u64>) -> Result<u64> {
    let largest = largest_ceiling(project);
    let budget = match given {
        Some(bytes) => bytes,
        // One request runs in any case.
        None => (memory::available_bytes()? / 4 * 3).max(largest),
    };
    check_budget(largest, budget)?;
    Ok(budget)
}

/// Whether the largest function, which may take `largest` bytes, ever runs within `budget`.
pub(super) fn check_budget(largest: u64, budget: u64) -> Result<()> {
    ensure!(
        largest <= budget,
        "a function may take {} MiB, the memory budget is {} MiB",
        largest >> 20,
        budget >> 20
    );
    Ok(())
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
