//! `ephemera doctor`: what building and serving need, looked for on this machine, with a fix for each thing that is not as it should be.
//!
//! Nothing is changed, but that what was built on another machine is compiled for this one. Each check looks at one thing; what it reads of the kernel's files is taken apart by functions
//! that tests give texts to.

mod gpu;
mod limits;
mod machine;
mod project;
mod toolchain;

use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// It works, worse than it could, or something that only some need is not there.
    Warning,
    /// Building or serving fails without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Check {
    fn new(name: &str, state: State, found: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            state,
            found: found.into(),
            fix: None,
        }
    }

    fn good(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, State::Good, found)
    }

    fn note(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, State::Note, found)
    }

    fn warning(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..Self::new(name, State::Warning, found)
        }
    }

    fn missing(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..Self::new(name, State::Missing, found)
        }
    }
}

/// Looks at everything: the tools that build, the machine, its limits, its GPU, the project of `manifest` and the address to listen on.
pub fn examine(manifest: &Path, listen: SocketAddr) -> Vec<Check> {
    let mut checks = toolchain::checks();
    checks.extend(machine::checks());
    checks.extend(limits::checks());
    checks.extend(gpu::checks());
    checks.push(project::port(listen));
    checks.extend(project::checks(manifest));
    checks
}

/// A file of the kernel's, or nothing.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
