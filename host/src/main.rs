//! `ephemera`: the command line over the library.

mod commands;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use ephemera::nn::gpu::worker::{self, WorkerOptions};
use ephemera::progress::Progress;
use ephemera::telemetry::logging;

use commands::bench::{self, Bench};
use commands::build::{self, Build};
use commands::doctor::{self, Doctor};
use commands::gpu::{self, Gpu};
use commands::health::{self, Health};
use commands::jobs::{self, Jobs};
use commands::model::{self, Model};
use commands::run::{self, Run};
use commands::sample::{self, Sample};
use commands::submit::{self, Submit};
use commands::top::{self, Top};
use commands::up::{self, Up};
use commands::{Flags, Surroundings, without_empty_variables};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Vision models as serverless WebAssembly functions.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The manifest of the project.
    #[arg(long, global = true, default_value = "spin.toml")]
    manifest: PathBuf,
    /// What lines of the log look like. `EPHEMERA_LOG` says which lines there are.
    #[arg(long, global = true, value_enum, default_value_t)]
    log: logging::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build components: compile, load the models, precompile.
    Build(Build),
    /// Serve what the manifest declares, or run a command of it once.
    Up(Up),
    /// Check what building and serving need of this machine, with a fix for each thing that is missing.
    Doctor(Doctor),
    /// Ask a server whether it is there.
    Health(Health),
    /// Send files through a component, without a server.
    Run(Run),
    /// Work through the jobs of a queue: files that are dropped into a folder, or Redis streams.
    Jobs(Box<Jobs>),
    /// Queue files as jobs.
    Submit(Submit),
    /// Take frames spread evenly over a clip, for functions that take frames.
    Sample(Sample),
    /// Look at a server that runs: rates, times, memory, and what to change.
    Top(Top),
    /// Measure.
    #[command(subcommand)]
    Bench(Bench),
    /// Look at models.
    #[command(subcommand)]
    Model(Model),
    /// Look at GPUs.
    #[command(subcommand)]
    Gpu(Gpu),
    /// Hold a GPU for another process of this program.
    #[command(hide = true)]
    GpuWorker(WorkerOptions),
}

fn main() -> ExitCode {
    let matches = without_empty_variables(Cli::command()).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut Cli::command()).exit(),
    };
    logging::start(cli.log);
    match dispatch(cli, Flags::of(&matches)) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; the exit code still tells.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli, flags: Flags) -> Result<ExitCode> {
    let around = Surroundings {
        manifest: cli.manifest,
        progress: Progress::stderr(),
        flags,
    };
    match cli.command {
        Command::Build(options) => build::build(&around, &options)?,
        Command::Up(options) => return up::up(&around, options),
        Command::Doctor(options) => return doctor::doctor(&around, &options),
        Command::Health(options) => health::health(&options)?,
        Command::Run(options) => return run::run(&around, options),
        Command::Jobs(options) => jobs::jobs(&around, *options)?,
        Command::Submit(options) => return submit::submit(&around, options),
        Command::Sample(options) => sample::sample(&options)?,
        Command::Top(options) => top::top(&options)?,
        Command::Bench(what) => bench::bench(&around, what)?,
        Command::Model(what) => model::model(&around, &what)?,
        Command::Gpu(what) => return gpu::gpu(&around, what),
        Command::GpuWorker(options) => worker::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}
