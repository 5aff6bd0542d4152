//! `ephemera bench`: measurements.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use ephemera::bench::engine::{Options, Runner};
use ephemera::bench::{engine, neighbours, soak, start};
use ephemera::build;

use super::{Surroundings, executor};

#[derive(Subcommand)]
pub(crate) enum Bench {
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
    /// Good requests beside hostile guests, against alone.
    Neighbours {
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
    },
    /// Graphs: ours in WebAssembly and natively, beside tract and onnxruntime, on one thread each.
    Engine(EngineOptions),
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
    let progress = &around.progress;
    let mut out = std::io::stdout();
    match what {
        Bench::Start {
            json,
            runs,
            component,
        } => {
            let artifact = &build::build(&project, &[component], progress)?[0];
            let function = project.function(&artifact.name)?;
            let models = project.root.join("models");
            let rows = start::start(function, artifact, &models, runs, progress)?;
            start::print(&rows, json, &mut out)
        }
        Bench::Soak {
            json,
            requests,
            file,
        } => {
            let artifacts = around.artifacts(&project, &[], false)?;
            let soak = soak::soak(project, &artifacts, requests, file);
            executor()?.block_on(soak)?.print(json, &mut out)
        }
        Bench::Neighbours {
            json,
            rounds,
            healths,
            pages,
            beside,
        } => {
            let size = neighbours::Size {
                rounds,
                healths,
                pages,
                beside,
            };
            let rows = neighbours::neighbours(&project, &size, progress)?;
            neighbours::print(&rows, json, &mut out)
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
            let rows = engine::run(&project.root, &options, progress)?;
            engine::print(&rows, json, &mut out)
        }
    }
}
