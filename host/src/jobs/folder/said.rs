//! An item -> what it says, which is read once, and what it asks for.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ephemera_jobs::{Input, Job, Reply};
use hyper::body::Bytes;

use super::{Hot, identity_at};
use crate::jobs::aside::aside;
use crate::jobs::claim::{Identity, now};
use crate::jobs::inbox::{Item, JOB};
use crate::jobs::perform::{Task, named, of_url};
use crate::jobs::queue::MAX_QUEUED_JOB_BYTES;
use crate::jobs::reach::Trouble;
use crate::run::MAX_INPUT_BYTES;

/// What an item says of itself.
pub(super) enum Said {
    /// Nothing: it is the input.
    Nothing,
    /// A description, without the input once that is decoded.
    Job(Job),
    /// It should be a description, and is none.
    NoJob(Trouble),
}

impl Said {
    /// The job, if it is one.
    pub(super) fn job(&self) -> Option<&Job> {
        match self {
            Self::Job(job) => Some(job),
            Self::Nothing | Self::NoJob(_) => None,
        }
    }

    /// How often it was tried elsewhere.
    pub(super) fn attempt(&self) -> u32 {
        self.job().map_or(0, |job| job.attempt)
    }
}

impl Hot {
    /// What `item` says.
    ///
    /// # Errors
    ///
    /// Reading it broke off.
    pub(super) async fn said(&self, item: &Item) -> Result<Said> {
        if !item.is_job() {
            return Ok(Said::Nothing);
        }
        let (inbox, below) = (self.inbox.clone(), item.below.clone());
        let job = aside(move || {
            let text = inbox.read(&below, MAX_QUEUED_JOB_BYTES);
            Ok(Job::parse(&text.context("it cannot be read")?)?)
        });
        Ok(match job.await? {
            Ok(job) => Said::Job(job),
            Err(error) => Said::NoJob(trouble(error)),
        })
    }

    /// Of the file that `item` describes, if it does and that is there.
    pub(super) fn described_identity(&self, item: &Item, said: &Said) -> Option<Identity> {
        match said {
            Said::Nothing => return None,
            // A job with an input of its own says nothing of a file that happens to be called so.
            Said::Job(job) if !matches!(job.input, Input::File(_)) => return None,
            Said::Job(_) | Said::NoJob(_) => {}
        }
        identity_at(&self.inbox.root().join(item.described()?))
    }

    /// What `item` asks for. The input is taken out of what it said.
    pub(super) async fn asked(&self, item: &Item, said: &mut Said) -> Result<Task, Trouble> {
        match said {
            Said::Nothing => {
                let bytes = self.read(&item.below).await;
                let bytes = bytes.context("it cannot be read").map_err(trouble)?;
                let name = item.below.to_string_lossy();
                let options = &self.policy.options;
                let task = self.performer.plain(&name, bytes, options);
                task.map_err(trouble)
            }
            Said::Job(job) => self.described(item, job).await,
            Said::NoJob(why) => Err(why.clone()),
        }
    }

    async fn described(&self, item: &Item, job: &mut Job) -> Result<Task, Trouble> {
        if job.deadline.is_some_and(|deadline| now() >= deadline) {
            return Err(Trouble::Never("its deadline has passed".to_owned()));
        }
        if let Some(Reply::Key(_) | Reply::List(_)) = &job.reply {
            let sentence = "reply: expected `file` or `webhook`, this queue has no keys";
            return Err(Trouble::Never(sentence.to_owned()));
        }
        let (name, input) = match &mut job.input {
            Input::Inline(text) => {
                // It has megabytes, which nobody needs twice.
                let text = std::mem::take(text);
                let bytes = Input::decode(&text).map_err(|error| trouble(error.into()))?;
                (String::new(), bytes.into())
            }
            Input::Url(url) => (named(url), self.reach.get(url).await.map_err(of_url)?),
            Input::File(path) => {
                let bytes = self.beside(item, path).await;
                (path.to_string_lossy().into_owned(), bytes.map_err(trouble)?)
            }
        };
        let task = self.performer.described(job, &name, input);
        task.map_err(trouble)
    }

    /// The file that a job lies beside, which is the only one that it can be about.
    async fn beside(&self, item: &Item, path: &Path) -> Result<Bytes> {
        let described = item.described().context("a name")?;
        let name = described.file_name().unwrap_or_default();
        ensure!(
            item.may_call_it(path),
            "input.file: expected `{}`, the file that {JOB} is beside",
            name.display()
        );
        let bytes = self.read(&described).await;
        bytes.context("input.file cannot be read")
    }

    async fn read(&self, below: &Path) -> Result<Bytes> {
        let (inbox, below) = (self.inbox.clone(), below.to_owned());
        let bytes = aside(move || inbox.read(&below, MAX_INPUT_BYTES)).await?;
        bytes.map(Bytes::from)
    }
}

/// Whether it may pass: what the file system says may, such as of a file that is yet to come, or of rights that somebody is about to give.
fn trouble(error: anyhow::Error) -> Trouble {
    let reason = format!("{error:#}");
    match error.is::<std::io::Error>() {
        true => Trouble::Later(reason),
        false => Trouble::Never(reason),
    }
}
