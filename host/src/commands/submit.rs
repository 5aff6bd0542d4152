//! `ephemera submit`: files -> jobs of a queue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use ephemera::config::Takes;
use ephemera::jobs::inbox::Inbox;
use ephemera::jobs::streams::submit::{Submitted, submit as queue, wait, wait_for_room};
use ephemera::jobs::submission::{self, Wanted};
use ephemera::run::{Input as Found, bar, find};
use ephemera_jobs::{Input, Job, Report, Status, Urgency};

use super::jobs::RedisOptions;
use super::{Surroundings, executor};

#[derive(Args)]
pub(crate) struct Submit {
    /// Files, patterns such as 'scans/*.png', and folders with all that is below them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The component that is to have them; in a folder, the one that takes files of their kind.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// The folder that workers look into.
    #[arg(long, value_name = "FOLDER")]
    inbox: Option<PathBuf>,
    #[command(flatten)]
    redis: RedisOptions,
    /// A parameter of the function, such as format=json; repeatable.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = super::run::parameter)]
    parameters: Vec<(String, String)>,
    /// Who goes first.
    #[arg(long, value_enum, default_value_t)]
    priority: Priority,
    /// Count the jobs together under this name.
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// Wait until all are finished. The exit status is 1 if any failed.
    #[arg(long)]
    wait: bool,
    /// With --wait and Redis: write answers below this folder.
    #[arg(long, value_name = "FOLDER", requires = "wait")]
    out: Option<PathBuf>,
    /// With Redis: the folder that workers have as --files. Files in it are named and not sent.
    #[arg(long, value_name = "FOLDER")]
    shared: Option<PathBuf>,
    /// With Redis: wait while so many jobs are queued, for what is queued is in its memory.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    max_queued: u64,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Priority {
    Interactive,
    #[default]
    Batch,
}

impl From<Priority> for Urgency {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interactive,
            Priority::Batch => Self::Batch,
        }
    }
}

pub(crate) fn submit(around: &Surroundings, options: Submit) -> Result<ExitCode> {
    let project = around.project()?;
    let takes = match &options.function {
        Some(name) => {
            let run = project.function(name)?.run.as_ref();
            run.with_context(|| format!("component `{name}` takes no files"))?
                .takes
        }
        None => Takes::Pictures,
    };
    let files = find(&options.files, takes)?;
    for file in &files {
        ensure!(
            !file.path.is_dir(),
            "{}: a job has one file, expected no folder of frames; a ZIP of them will do",
            file.path.display()
        );
    }
    let function = match &options.function {
        Some(name) => name.clone(),
        None => submission::taker(&project, takes)?,
    };
    executor()?.block_on(async {
        match &options.inbox {
            Some(inbox) => into_folder(&options, inbox, &function, &files).await,
            None => into_redis(&options, &function, &files).await,
        }
    })
}

async fn into_folder(
    options: &Submit,
    inbox: &Path,
    function: &str,
    files: &[Found],
) -> Result<ExitCode> {
    ensure!(
        options.out.is_none() && options.shared.is_none() && options.batch.is_none(),
        "--out, --shared and --batch are of Redis: a folder's results go where its workers were told"
    );
    let inbox = Inbox::open(inbox, Duration::ZERO)?;
    let parameters = options.parameters();
    let says = options.function.is_some() || !parameters.is_empty();
    let priority = options.priority.into();
    let wanted = (says || priority == Urgency::Interactive).then_some(Wanted {
        function,
        options: &parameters,
        priority,
    });
    let progress = bar(files.len());
    let mut items = Vec::new();
    for file in files {
        let item = submission::put(inbox.root(), &file.path, &file.below, wanted);
        items.push(item.with_context(|| format!("submitting {}", file.path.display()))?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    println!("{} queued", items.len());
    if !options.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let progress = bar(items.len());
    let failed = submission::wait_in(&inbox, items, |item, reason| {
        progress.inc(1);
        if let Some(reason) = reason {
            progress.suspend(|| println!("{}: failed: {reason}", item.display()));
        }
    })
    .await;
    progress.finish_and_clear();
    println!("{} done, {failed} failed", files.len() as u64 - failed);
    Ok(exit(failed))
}

async fn into_redis(options: &Submit, function: &str, files: &[Found]) -> Result<ExitCode> {
    let broker = &options.redis.connect().await?;
    let progress = bar(files.len());
    let mut ids: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut queued = 0;
    for file in files {
        let job = options.job(function, file);
        let job = job.with_context(|| format!("submitting {}", file.path.display()))?;
        let full = || progress.set_message("the queue is full, waiting for workers");
        wait_for_room(broker, options.max_queued, full).await?;
        match queue(broker, &job).await? {
            Submitted::Queued => queued += 1,
            Submitted::Known(state) => {
                progress.suspend(|| println!("{}: {state} as {}", file.path.display(), job.id));
            }
        }
        ids.entry(job.id).or_default().push(file.below.clone());
        progress.inc(1);
    }
    progress.finish_and_clear();
    println!("{queued} queued");
    if !options.wait {
        return Ok(ExitCode::SUCCESS);
    }
    let progress = bar(ids.len());
    let mut failed = 0;
    let all = ids.keys().cloned().collect();
    wait(broker, all, |id, report| {
        progress.inc(1);
        for below in &ids[id] {
            let told = options.take(below, report.as_ref())?;
            failed += u64::from(told.is_some());
            if let Some(reason) = told {
                progress.suspend(|| println!("{}: failed: {reason}", below.display()));
            }
        }
        Ok(())
    })
    .await?;
    progress.finish_and_clear();
    println!("{} done, {failed} failed", files.len() as u64 - failed);
    Ok(exit(failed))
}

fn exit(failed: u64) -> ExitCode {
    match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

impl Submit {
    fn parameters(&self) -> BTreeMap<String, String> {
        self.parameters.iter().cloned().collect()
    }

    /// The job of a file. The same file asked the same is the same job.
    fn job(&self, function: &str, file: &Found) -> Result<Job> {
        let bytes = submission::read(&file.path)?;
        let input = match &self.shared {
            Some(folder) => Input::File(submission::shared(folder, &file.path)?),
            None => Input::Inline(STANDARD.encode(&bytes)),
        };
        let options = self.parameters();
        let id = submission::id(function, &options, &bytes);
        let job = Job {
            options,
            batch: self.batch.clone(),
            priority: self.priority.into(),
            ..Job::new(id, function, input)
        };
        // What is no job would only be found out by a worker.
        Ok(Job::parse(&job.json())?)
    }

    /// Writes the answer of a finished job, or returns why there is none.
    fn take(&self, below: &Path, report: Option<&Report>) -> Result<Option<String>> {
        let Some(report) = report else {
            return Ok(Some("nothing is known of it any more".to_owned()));
        };
        let answer = match (report.status, &report.answer) {
            (Status::Done, Some(answer)) => answer,
            _ => return Ok(Some(report.reason.clone().unwrap_or_default())),
        };
        if let Some(out) = &self.out {
            submission::write(out, below, answer)?;
        }
        Ok(None)
    }
}
