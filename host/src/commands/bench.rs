//! `ephemera bench`: measurements.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use ephemera::bench::child::Child;
use ephemera::bench::engine::{Options, Runner};
use ephemera::bench::{ceiling, engine, jobs, neighbours, scale, soak, start};
use ephemera::config::Project;
use ephemera::{build, memory};

use super::Surroundings;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// From an accepted request to loaded models: the snapshot against loading at request time, and the whole way over HTTP against
    /// `wasmtime serve`.
    Start(StartOptions),
    /// Memory of a server over many requests.
    Soak(SoakOptions),
    /// Answers a second with one instance, and with as many as there are cores, beside what the machine gives at most.
    Scale(ScaleOptions),
    /// A process of `scale`'s, which runs graphs as it is asked on its standard input.
    #[command(hide = true)]
    Ceiling,
    /// Good requests beside hostile guests, against alone.
    Neighbours(NeighboursOptions),
    /// Pages a minute of a worker on a folder, and its memory; beside another worker, in turns.
    Jobs(JobsOptions),
    /// Graphs: ours in WebAssembly and natively, beside tract and onnxruntime, on one thread each.
    Engine(EngineOptions),
}

#[derive(Args)]
pub(crate) struct StartOptions {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Samples of each.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The component.
    #[arg(long, default_value = "ocr")]
    component: String,
    /// A `wasmtime` to compare with; `cargo build --release -p ephemera-tests --bin wasmtime` makes one.
    #[arg(long, env = "EPHEMERA_WASMTIME")]
    wasmtime: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct SoakOptions {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Requests in all.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// At a time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    clients: u32,
    /// A file to send; without one, `/health` is asked.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Where the file is sent to.
    #[arg(long, default_value = "/v1/ocr")]
    path: String,
    /// The server's budget, as of `up`.
    #[arg(long, value_name = "SIZE")]
    memory_budget: Option<String>,
    /// Run the server in a control group with this limit, such as 768MiB; needs the right to make one.
    #[arg(long, value_name = "SIZE", value_parser = memory::parse_bytes)]
    memory_limit: Option<u64>,
    /// Write `soak.csv` and `soak.svg` to this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct NeighboursOptions {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// How often each hostile guest has its turn.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Requests of `/health` in one turn.
    #[arg(long, default_value_t = 200)]
    healths: u32,
    /// Small pages in one turn.
    #[arg(long, default_value_t = 30)]
    pages: u32,
    /// A hostile guest, such as `loop`; repeatable. All of them if none is named.
    #[arg(long, value_name = "GUEST")]
    beside: Vec<String>,
}

#[derive(Args)]
pub(crate) struct ScaleOptions {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// The page.
    #[arg(long, default_value = "tests/cases/ocr/clean-page/request.png")]
    file: PathBuf,
    /// Where it is sent to.
    #[arg(long, default_value = "/v1/ocr")]
    path: String,
    /// How often in one round.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

#[derive(Args)]
pub(crate) struct JobsOptions {
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Pages in all.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pages: u32,
    /// Rounds; each worker has its turn in each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A page, or a folder of pages, which are repeated under other names; `models/tools/bench_pages.py` draws some.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "tests/cases/ocr/clean-page/request.png"
    )]
    from: PathBuf,
    /// The worker's budget, as of `jobs`; with this one two pages are read at once.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    memory_budget: String,
    /// Have our worker read them from a stream too, on a Redis of its own; needs redis-server.
    #[arg(long)]
    redis: bool,
    /// The other worker, as a program and its arguments: `PYTHON host/benches/celery_rapidocr.py`.
    #[arg(long, value_name = "COMMAND", num_args = 1.., allow_hyphen_values = true)]
    peer: Vec<String>,
}

#[derive(Args)]
pub(crate) struct EngineOptions {
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

pub(crate) fn bench(around: &Surroundings, what: Bench) -> Result<()> {
    let project = around.project()?;
    let mut out = std::io::stdout();
    match what {
        Bench::Start(options) => measure_start(around, &project, &options),
        Bench::Soak(options) => {
            around.artifacts(build::Placement::Guest, &project, &[], false)?;
            let budget = options.memory_budget.into_iter();
            let arguments = budget.flat_map(|size| ["--memory-budget".to_owned(), size]);
            let asked = soak::Options {
                requests: options.requests,
                clients: options.clients,
                file: options.file,
                path: options.path,
                memory_limit: options.memory_limit,
                arguments: arguments.collect(),
                out: options.out,
            };
            let program = std::env::current_exe()?;
            let soak = soak::soak(&program, &around.manifest, &asked)?;
            soak.print(options.json, &mut out)
        }
        Bench::Scale(options) => {
            around.artifacts(build::Placement::Guest, &project, &[], false)?;
            let asked = scale::Options {
                file: &options.file,
                path: &options.path,
                requests: options.requests,
                rounds: options.rounds,
            };
            let cores = std::thread::available_parallelism()?.get();
            let program = std::env::current_exe()?;
            let rows = scale::scale(&program, &around.manifest, cores as u32, &asked)?;
            scale::print(&rows, options.json, &mut out)
        }
        Bench::Ceiling => {
            let models = project.workspace().join("models");
            ceiling::work(&models, std::io::stdin().lock(), out)
        }
        Bench::Neighbours(options) => {
            let NeighboursOptions {
                json,
                rounds,
                healths,
                pages,
                beside,
            } = options;
            let size = neighbours::Size {
                rounds,
                healths,
                pages,
                beside,
            };
            let rows = neighbours::neighbours(&project, &size, &around.progress)?;
            neighbours::print(&rows, json, &mut out)
        }
        Bench::Jobs(options) => {
            around.artifacts(build::Placement::Guest, &project, &[], false)?;
            let asked = jobs::Options {
                from: options.from,
                pages: options.pages,
                rounds: options.rounds,
                arguments: vec!["--memory-budget".to_owned(), options.memory_budget],
                redis: options.redis,
                peer: options.peer,
            };
            let program = std::env::current_exe()?;
            let rows = jobs::jobs(&program, &around.manifest, &asked, &around.progress)?;
            jobs::print(&rows, options.json, &mut out)
        }
        Bench::Engine(options) => {
            let EngineOptions {
                json,
                cases,
                runners,
                rounds,
                profile,
                python,
            } = options;
            let options = Options {
                cases,
                runners,
                rounds,
                profile,
                python,
            };
            let rows = engine::run(&project.root, &options, &around.progress)?;
            engine::print(&rows, json, &mut out)
        }
    }
}

fn measure_start(around: &Surroundings, project: &Project, options: &StartOptions) -> Result<()> {
    let progress = &around.progress;
    let names = std::slice::from_ref(&options.component);
    let artifact = &build::build(project, names, progress)?[0];
    let function = project.function(&artifact.name)?;
    let models = project.workspace().join("models");
    let mut rows = start::start(function, artifact, &models, options.runs, progress)?;

    if project.routes.find("/health") == Some(&artifact.name) {
        let program = std::env::current_exe()?;
        let server = Child::host(&program, &around.manifest, &[], None)?;
        let peer = options.wasmtime.as_ref();
        let peer = peer.map(|wasmtime| Child::wasmtime(wasmtime, &artifact.component));
        let peer = peer.transpose()?;
        rows.extend(start::over_http(
            artifact,
            &server,
            peer.as_ref(),
            options.runs,
        )?);
    }
    start::print(&rows, options.json, &mut std::io::stdout())
}
