//! `ephemera`: the command line over the library.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use ephemera::app::App;
use ephemera::bench::engine::Runner;
use ephemera::build::{self, Artifact};
use ephemera::config::{FileRequests, Function, Project};
use ephemera::progress::Progress;
use ephemera::run::Format;
use ephemera::sample::Decoder;
use ephemera::serve::{Options, Server};
use ephemera::shapes::Shape;
use ephemera::{bench, inspect, memory, run, sample};
use tokio::signal::unix::{SignalKind, signal};

/// Vision models as serverless WebAssembly functions.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The manifest of the project.
    #[arg(long, global = true, default_value = "spin.toml")]
    manifest: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build components: compile, load the models, precompile.
    Build {
        /// The components to build; all of them if none is named.
        components: Vec<String>,
    },
    /// Serve what the manifest declares.
    Up(Up),
    /// Send files through a component, without a server.
    Run(Run),
    /// Take frames spread evenly over a clip, for functions that take frames.
    Sample(Sample),
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
    /// Look at models.
    #[command(subcommand)]
    Model(Model),
}

#[derive(Args)]
struct Up {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:3000", env = "EPHEMERA_LISTEN")]
    listen: SocketAddr,
    /// Serve what was built before.
    #[arg(long)]
    no_build: bool,
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

#[derive(Args)]
struct Run {
    /// The component.
    component: String,
    /// Files, patterns such as 'scans/*.png', and folders with all that is below them: pictures, or clips and folders of frames. One
    /// request for each.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The shape of the answers, of functions that have several; the manifest says which it is otherwise.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// The language to read.
    #[arg(long)]
    language: Option<String>,
    /// The condition that a clip is looked at for.
    #[arg(long)]
    condition: Option<String>,
    /// Any other parameter of the requests; repeatable.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Write answers below this folder instead of printing them.
    #[arg(long, value_name = "FOLDER", conflicts_with = "beside")]
    out: Option<PathBuf>,
    /// Write each answer beside its file instead of printing it.
    #[arg(long)]
    beside: bool,
    /// Instances at once, as far as there are processors and memory for them; as many as possible if not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Run what was built before.
    #[arg(long)]
    no_build: bool,
}

#[derive(Args)]
struct Sample {
    /// The clip.
    clip: PathBuf,
    /// How many frames.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
    frames: u16,
    /// The folder that they are written to.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Width and height of the frames in pixels: what the gait network looks at.
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u16).range(1..=4096))]
    size: u16,
    /// Leave the frames as large as they are.
    #[arg(long, conflicts_with = "size")]
    full: bool,
    /// Who decodes.
    #[arg(long, value_enum, default_value_t)]
    decoder: Decoder,
}

#[derive(Subcommand)]
enum Bench {
    /// From an accepted request to loaded models: the snapshot against loading at request time.
    Start {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// Samples of each.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// The component.
        #[arg(long, default_value = "ocr")]
        component: String,
    },
    /// Memory of a server over many requests.
    Soak {
        /// One JSON object.
        #[arg(long)]
        json: bool,
        /// Requests in all.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(20..))]
        requests: u32,
        /// A file to send; without one, `/health` is asked.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Graphs: ours in WebAssembly and natively, beside tract and onnxruntime, on one thread each.
    Engine(Engine),
}

#[derive(Args)]
struct Engine {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// What to measure, such as `recogniser-48x320`; repeatable. All cases if none is named.
    #[arg(long = "case", value_name = "CASE")]
    cases: Vec<String>,
    /// What to compare; repeatable. All runners if none is named.
    #[arg(long = "runner", value_name = "RUNNER")]
    runners: Vec<Runner>,
    /// How often each runner has its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Time our runners step by step as well.
    #[arg(long)]
    profile: bool,
    /// An interpreter that has onnx and onnxruntime; the tools' own environment if not given.
    #[arg(long, env = "EPHEMERA_PYTHON")]
    python: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Model {
    /// The steps of a model's lowered graph, or why it has none.
    Inspect {
        /// Its name, a folder of models/, or the path of such a folder.
        model: String,
        /// The shape of an input in the graph, such as `x=1x3x736x736`; repeatable. Usual ones if none is given.
        #[arg(long = "input", value_name = "NAME=SHAPE")]
        inputs: Vec<Shape>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("EPHEMERA_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; the exit code still tells.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    let manifest = cli.manifest.as_path();
    let project = || Project::open(manifest);
    let progress = Progress::stderr();
    match cli.command {
        Command::Build { components } => {
            build::build(&project()?, &components, &progress)?;
        }
        Command::Up(options) => {
            let project = project()?;
            let artifacts = match options.no_build {
                true => opened(&project, &[], &progress)?,
                false => built(manifest, &project, &[], &progress)?,
            };
            up(project, &artifacts, options)?;
        }
        Command::Run(options) => {
            let project = project()?;
            let names = std::slice::from_ref(&options.component);
            let artifacts = match options.no_build {
                true => opened(&project, names, &progress)?,
                false => built(manifest, &project, names, &progress)?,
            };
            return run_files(project, &artifacts, options);
        }
        Command::Sample(options) => sample_clip(&options)?,
        Command::Bench(Bench::Start {
            json,
            runs,
            component,
        }) => {
            let project = project()?;
            let artifact = &build::build(&project, &[component], &progress)?[0];
            let function = project.function(&artifact.name)?;
            let models = project.root.join("models");
            let rows = bench::start::start(function, artifact, &models, runs, &progress)?;
            bench::start::print(&rows, json, &mut std::io::stdout())?;
        }
        Command::Bench(Bench::Soak {
            json,
            requests,
            file,
        }) => {
            let project = project()?;
            let artifacts = built(manifest, &project, &[], &progress)?;
            let soak =
                executor()?.block_on(bench::soak::soak(project, &artifacts, requests, file))?;
            soak.print(json, &mut std::io::stdout())?;
        }
        Command::Bench(Bench::Engine(options)) => {
            let Engine {
                json,
                cases,
                runners,
                rounds,
                profile,
                python,
            } = options;
            let options = bench::engine::Options {
                cases,
                runners,
                rounds,
                profile,
                python,
            };
            let rows = bench::engine::run(&project()?.root, &options, &progress)?;
            bench::engine::print(&rows, json, &mut std::io::stdout())?;
        }
        Command::Model(Model::Inspect {
            model,
            inputs,
            json,
        }) => {
            let folder = model_folder(manifest, &model)?;
            inspect::inspect(&folder, &inputs)?.print(json, &mut std::io::stdout())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder that `model` means. A name is looked up in the project; a path needs none.
fn model_folder(manifest: &Path, model: &str) -> Result<PathBuf> {
    let path = Path::new(model);
    if path.components().count() > 1 || path.join("model.toml").is_file() {
        // Its own name is what the manifest in it is compared with.
        return path
            .canonicalize()
            .with_context(|| format!("no model at {model}"));
    }
    let folder = Project::open(manifest)?.root.join("models").join(model);
    ensure!(
        folder.is_dir(),
        "no model `{model}`: {} is not there",
        folder.display()
    );
    Ok(folder)
}

fn executor() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the executor")
}

/// The functions as they were last built.
fn opened(project: &Project, names: &[String], progress: &Progress) -> Result<Vec<Artifact>> {
    let open = |function: &Function| build::open(function, progress);
    project.select(names)?.into_iter().map(open).collect()
}

/// The functions, built now.
///
/// Compilers take hundreds of MiB and an allocator keeps what they gave back, so they run in a process that ends before this one serves.
fn built(
    manifest: &Path,
    project: &Project,
    names: &[String],
    progress: &Progress,
) -> Result<Vec<Artifact>> {
    let status = std::process::Command::new(std::env::current_exe()?)
        .arg("--manifest")
        .arg(manifest)
        .arg("build")
        .args(names)
        .status()
        .context("starting the build")?;
    ensure!(status.success(), "the build failed");
    opened(project, names, progress)
}

fn up(project: Project, artifacts: &[Artifact], options: Up) -> Result<()> {
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
    let app = App::load(project, artifacts, budget.instances)?;

    executor()?.block_on(async {
        // Listened for before the address is printed: who reads it may stop us at once.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        app.check_ready().await?;
        let server = Server::start(Arc::new(app), settings).await?;
        announce(server.address(), &examples)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        if !server.stop().await {
            tracing::warn!("requests still running after the grace time were dropped");
        }
        Ok(())
    })
}

/// What one request of the largest function may take, in bytes.
fn largest_ceiling(project: &Project) -> u64 {
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

fn run_files(project: Project, artifacts: &[Artifact], options: Run) -> Result<ExitCode> {
    let function = project.function(&options.component)?;
    let limits = function.limits;
    let requests = function.run.as_ref().with_context(|| {
        let name = &function.name;
        format!("component `{name}` takes no files: its tool.ephemera has no `run`")
    })?;
    let inputs = run::find(&options.files, requests.takes)?;
    let question = question(requests, &options)?;
    let jobs = run::jobs(
        options.jobs,
        limits.memory_bytes,
        memory::available_bytes()?,
    );
    if let Some(wanted) = options.jobs.filter(|&wanted| wanted > jobs) {
        eprintln!("{wanted} jobs wanted, there are processors and memory for {jobs}");
    }
    let app = Arc::new(App::load(project, artifacts, jobs)?);
    let destination = match (options.out, options.beside) {
        (Some(folder), _) => run::Destination::Folder(folder),
        (None, true) => run::Destination::Beside,
        (None, false) => run::Destination::Output,
    };
    let summary = executor()?.block_on(run::run(
        &app,
        &options.component,
        run::Work {
            inputs,
            question,
            destination,
            jobs,
        },
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ))?;
    Ok(match summary.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn sample_clip(options: &Sample) -> Result<()> {
    let sampling = sample::Sampling {
        frames: options.frames.into(),
        side_px: (!options.full).then_some(options.size.into()),
        decoder: options.decoder,
    };
    let sampled = sample::sample(&options.clip, &options.out, &sampling)?;
    let by = match sampled.decoder {
        Decoder::Ffmpeg => "ffmpeg",
        Decoder::Auto | Decoder::Own => "the built-in decoder",
    };
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{} of {} frames by {by}: {:?}",
        sampled.files.len(),
        sampled.total,
        sampled.indices
    )?;
    Ok(())
}

/// What the command line asks of each file.
fn question(requests: &FileRequests, options: &Run) -> Result<run::Question> {
    let format = match options.json {
        true => Some(Format::Json),
        false => options.format,
    };
    let mut parameters = options.parameters.clone();
    for (name, value) in [
        ("language", &options.language),
        ("clinical_condition", &options.condition),
    ] {
        parameters.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    run::Question::new(requests, format, &parameters)
}

/// `NAME=VALUE`.
fn parameter(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
