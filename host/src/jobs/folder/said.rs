//! An item -> what it says, which is read once, and what it asks for.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ephemera_jobs::{Input, Job, Reply};
use hyper::body::Bytes;
use rustix::fs::OFlags;

use super::{Hot, identity_at};
use crate::files::read_open_at_most;
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
    pub(super) fn said(&self, item: &Item) -> Said {
        if !item.is_job() {
            return Said::Nothing;
        }
        let text = self.read(&item.below, MAX_QUEUED_JOB_BYTES);
        let job = text
            .context("it cannot be read")
            .and_then(|text| Ok(Job::parse(&text)?));
        job.map_or_else(|error| Said::NoJob(trouble(error)), Said::Job)
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
                let bytes = self.read(&item.below, MAX_INPUT_BYTES);
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
                let bytes = self.beside(item, path);
                (path.to_string_lossy().into_owned(), bytes.map_err(trouble)?)
            }
        };
        let task = self.performer.described(job, &name, input);
        task.map_err(trouble)
    }

    /// The file that a job lies beside, which is the only one that it can be about.
    fn beside(&self, item: &Item, path: &Path) -> Result<Bytes> {
        let described = item.described().context("a name")?;
        let name = described.file_name().unwrap_or_default();
        ensure!(
            item.may_call_it(path),
            "input.file: expected `{}`, the file that {JOB} is beside",
            name.display()
        );
        let bytes = self.read(&described, MAX_INPUT_BYTES);
        bytes.context("input.file cannot be read")
    }

    /// A plain file below the inbox. A link that took its place since it was found is not followed.
    fn read(&self, below: &Path, limit: u64) -> Result<Bytes> {
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).context("a flag")?;
        let file = std::fs::File::options()
            .read(true)
            .custom_flags(no_link)
            .open(self.inbox.root().join(below))?;
        ensure!(file.metadata()?.is_file(), "it is no file");
        Ok(read_open_at_most(&file, limit)?.into())
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
