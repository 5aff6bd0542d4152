//! `ephemera`: the command line over the library.

mod commands;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use ephemera::nn::gpu::worker::{self, WorkerOptions};
use ephemera::progress::Progress;

use commands::Surroundings;
use commands::bench::{self, Bench};
use commands::build::{self, Build};
use commands::gpu::{self, Gpu};
use commands::model::{self, Model};
use commands::run::{self, Run};
use commands::sample::{self, Sample};
use commands::up::{self, Up};

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
    Build(Build),
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
    /// Look at GPUs.
    #[command(subcommand)]
    Gpu(Gpu),
    /// Hold a GPU for another process of this program.
    #[command(hide = true)]
    GpuWorker(WorkerOptions),
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
    let around = Surroundings {
        manifest: cli.manifest,
        progress: Progress::stderr(),
    };
    match cli.command {
        Command::Build(options) => build::build(&around, &options)?,
        Command::Up(options) => up::up(&around, options)?,
        Command::Run(options) => return run::run(&around, options),
        Command::Sample(options) => sample::sample(&options)?,
        Command::Bench(what) => bench::bench(&around, what)?,
        Command::Model(what) => model::model(&around, &what)?,
        Command::Gpu(what) => return gpu::gpu(&around, what),
        Command::GpuWorker(options) => worker::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}
