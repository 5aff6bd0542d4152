//! What the command line asks of each file -> a path with its query.

use anyhow::Result;
pub use ephemera_jobs::Format;

use crate::config::FileRequests;

/// What to ask of each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question(ephemera_jobs::Question);

impl Question {
    /// What `run` declares, with `format` and `parameters` in place of its own. An answer without a format of its own is JSON.
    ///
    /// # Errors
    ///
    /// A format asked of a function that has but one, or a declared format that is none of ours.
    pub fn new(
        run: &FileRequests,
        format: Option<Format>,
        parameters: &[(String, String)],
    ) -> Result<Self> {
        let question = ephemera_jobs::Question::new(&run.path, format, parameters)?;
        Ok(Self(question))
    }

    /// Path and query of the requests.
    pub(crate) fn target(&self) -> &str {
        self.0.target()
    }

    /// The extension of files that hold an answer.
    pub(crate) fn extension(&self) -> &'static str {
        self.0.extension()
    }
}
