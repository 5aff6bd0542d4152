//! A job -> what became of it: its input found, its function run, its answer written where it wants it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use ephemera_jobs::{Input, Job, Reply};
use hyper::body::Bytes;

use super::Streams;
use crate::files::{is_unfit, open_below, read_open_at_most};
use crate::jobs::aside::aside;
use crate::jobs::claim::now;
use crate::jobs::perform::{Outcome, named, of_url};
use crate::jobs::reach::Trouble;
use crate::jobs::results::Results;
use crate::metrics::work::Phase;
use crate::run::MAX_INPUT_BYTES;

impl Streams {
    /// Runs `job`.
    pub(super) async fn run(&self, job: &Job) -> Outcome {
        if job.deadline.is_some_and(|deadline| now() >= deadline) {
            return Outcome::Refused("its deadline has passed".to_owned());
        }
        if matches!(job.reply, Some(Reply::File(_))) && self.results.is_none() {
            return Outcome::Refused("reply.file: this worker has no folder of results".to_owned());
        }
        if matches!(job.input, Input::File(_)) && self.options.files.is_none() {
            return Outcome::Refused("input.file: this worker has no folder of inputs".to_owned());
        }
        let (name, input) = match self
            .performer
            .work()
            .time("", Phase::Fetch, self.input(job))
            .await
        {
            Ok(input) => input,
            Err(Trouble::Never(reason)) => return Outcome::Refused(reason),
            Err(Trouble::Later(reason)) => return Outcome::Broke(reason),
        };
        match self.performer.described(job, &name, input) {
            Ok(task) => self.performer.perform(task).await,
            Err(error) => Outcome::Refused(format!("{error:#}")),
        }
    }

    /// The name of the input, for its type, and its bytes.
    async fn input(&self, job: &Job) -> Result<(String, Bytes), Trouble> {
        match &job.input {
            Input::Inline(text) => {
                let bytes = Input::decode(text);
                let bytes = bytes.map_err(|error| Trouble::Never(error.to_string()))?;
                Ok((String::new(), bytes.into()))
            }
            Input::Url(url) => {
                let bytes = self.reach.get(url).await.map_err(of_url)?;
                Ok((named(url), bytes))
            }
            Input::File(path) => {
                let bytes = self.read(path).await;
                // A file system of the network may be back the next time.
                let bytes =
                    bytes.map_err(|error| Trouble::Later(format!("input.file: {error}")))?;
                Ok((path.to_string_lossy().into_owned(), bytes.into()))
            }
        }
    }

    async fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let folder = self.options.files.clone();
        let folder = folder.context("this worker has no folder of inputs")?;
        let path = path.to_owned();
        aside(move || read(&folder, &path)).await?
    }

    /// Writes the answer to the file that `job` wants it in, if it wants one.
    ///
    /// # Errors
    ///
    /// [`Trouble::Later`]: such as a full disk, which is not the job's fault.
    pub(super) async fn write(&self, job: &Job, answer: &Bytes) -> Result<(), Trouble> {
        let Some((results, path)) = self.result_of(job) else {
            return Ok(());
        };
        let answer = answer.clone();
        let (writer, to) = (Arc::clone(&results), path.clone());
        let written = aside(move || writer.write(&to, &writer.find(&to)?, &answer));
        // If the entry became another's meanwhile, nobody is here any more to give it its name.
        let part = written.await.flatten().map_err(unwritten)?;
        let named = aside(move || results.replace(&path, part));
        named.await.flatten().map_err(unwritten)
    }

    /// That it can be written, where it is known that another could not be.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(super) async fn check_room(&self, job: &Job) -> Result<(), Trouble> {
        let Some((results, path)) = self.result_of(job) else {
            return Ok(());
        };
        let checked = aside(move || results.check(&path));
        checked.await.flatten().map_err(unwritten)
    }

    /// Removes what a dead worker had begun to write. Nobody has heard of it for a lease; it was heard of up to a third of one before it
    /// wrote.
    ///
    /// # Errors
    ///
    /// It broke off.
    pub(super) async fn sweep(&self, job: &Job) -> Result<()> {
        let Some((results, path)) = self.result_of(job) else {
            return Ok(());
        };
        let age = self.options.lease / 2;
        aside(move || results.sweep_stale(&path, age)).await
    }

    /// The file that `job` wants its answer in, and where that is.
    fn result_of(&self, job: &Job) -> Option<(Arc<Results>, PathBuf)> {
        match (&job.reply, &self.results) {
            (Some(Reply::File(path)), Some(results)) => Some((Arc::clone(results), path.clone())),
            _ => None,
        }
    }
}

/// A file below the folder of inputs. A link that leads out of it is not followed.
fn read(folder: &Path, path: &Path) -> Result<Vec<u8>> {
    let folder = folder.canonicalize()?;
    let found = folder.join(path).canonicalize()?;
    let below = found.strip_prefix(&folder);
    let below = below.context("expected a file below the folder of inputs")?;
    // By now it may be something else.
    read_open_at_most(&open_below(&folder, below)?, MAX_INPUT_BYTES)
}

fn unwritten(error: anyhow::Error) -> Trouble {
    let reason = format!("reply.file: {}", error.root_cause());
    match is_unfit(&error) {
        true => Trouble::Never(reason),
        false => Trouble::Later(reason),
    }
}
