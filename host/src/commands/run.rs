//! `ephemera run`: files through a component, without a server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use ephemera::app::App;
use ephemera::config::FileRequests;
use ephemera::memory;
use ephemera::run::{self as batch, Format};

use super::device::{self, DeviceOptions};
use super::{Surroundings, executor};

#[derive(Args)]
pub(crate) struct Run {
    /// The component.
    component: String,
    /// Files, patterns such as 'scans/*.png', and folders with all that is below them: pictures, or clips and folders of frames. One
    /// request for each.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The shape of the answers, of functions that have several; the manifest says which it is otherwise.
    #[arg(long, value_parser = formats())]
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
    #[command(flatten)]
    device: DeviceOptions,
}

pub(crate) fn run(around: &Surroundings, options: Run) -> Result<ExitCode> {
    let project = around.project()?;
    let names = std::slice::from_ref(&options.component);
    let found = options.device.find(&project)?;
    let artifacts = around.artifacts(found.placement(), &project, names, options.no_build)?;
    let function = project.function(&options.component)?;
    let limits = function.limits;
    let requests = function.run.as_ref().with_context(|| {
        let name = &function.name;
        format!("component `{name}` takes no files: its tool.ephemera has no `run`")
    })?;
    let inputs = batch::find(&options.files, requests.takes)?;
    let question = question(requests, &options)?;
    let jobs = batch::jobs(
        options.jobs,
        limits.memory_bytes,
        memory::available_bytes()?,
    );
    if let Some(wanted) = options.jobs.filter(|&wanted| wanted > jobs) {
        eprintln!("{wanted} jobs wanted, there are processors and memory for {jobs}");
    }
    let devices = device::open(&found, &artifacts, jobs)?;
    let app = App::load_on(devices.as_ref(), project, &artifacts, jobs)?;
    let app = Arc::new(app);
    let destination = match (options.out, options.beside) {
        (Some(folder), _) => batch::Destination::Folder(folder),
        (None, true) => batch::Destination::Beside,
        (None, false) => batch::Destination::Output,
    };
    let summary = executor()?.block_on(batch::run(
        &app,
        &options.component,
        batch::Work {
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

/// What the command line asks of each file.
fn question(requests: &FileRequests, options: &Run) -> Result<batch::Question> {
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
    batch::Question::new(requests, format, &parameters)
}

/// `NAME=VALUE`.
pub(crate) fn parameter(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The names of formats, with what each is.
fn formats() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.map(|format| PossibleValue::new(format.name()).help(format.about()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}
