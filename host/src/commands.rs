//! The commands of `ephemera`, one file each: what the command line says -> calls of the library.

pub(crate) mod bench;
pub(crate) mod build;
mod command;
pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod gpu;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod model;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod submit;
pub(crate) mod top;
pub(crate) mod up;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Id};
use ephemera::build::{self as builder, Artifact, Placement};
use ephemera::config::{Function, Project};
use ephemera::progress::Progress;

/// What all commands share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The path of `spin.toml`.
    pub(crate) manifest: PathBuf,
    /// Where long work is shown.
    pub(crate) progress: Progress,
    /// What is given on the command line, and not by a variable or as a default.
    pub(crate) flags: Flags,
}

/// `command` without the variables that are empty: who passes them on from a file of settings, as `VARIABLE=`, means that they are not set.
pub(crate) fn without_empty_variables(command: Command) -> Command {
    let without = |arg: Arg| {
        let text = arg.get_env().and_then(std::env::var_os);
        match text.is_some_and(|text| text.is_empty()) {
            true => arg.env(None::<&'static str>),
            false => arg,
        }
    };
    command
        .mut_args(without)
        .mut_subcommands(without_empty_variables)
}

/// Names of what is given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags(BTreeSet<String>);

impl Flags {
    /// Those of the innermost command.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        if let Some((_, inner)) = matches.subcommand() {
            return Self::of(inner);
        }
        let given = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let given = matches.ids().filter(given);
        Self(given.map(|id| id.as_str().to_owned()).collect())
    }

    /// Whether the argument `id` is among them.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.contains(id)
    }
}

impl Surroundings {
    /// Reads the manifest.
    pub(crate) fn project(&self) -> Result<Project> {
        Project::open(&self.manifest)
    }

    /// The functions `names`, or all of them if none is named: built now, or as they were last built.
    pub(crate) fn artifacts(
        &self,
        placement: Placement,
        project: &Project,
        names: &[String],
        no_build: bool,
    ) -> Result<Vec<Artifact>> {
        if !no_build {
            return self.build_apart(placement, names);
        }
        let open = |function: &Function| builder::open_as(placement, function, &self.progress);
        project.select(names)?.into_iter().map(open).collect()
    }

    /// Builds functions in a process that ends before this one serves: compilers take hundreds of MiB, components are large, and an
    /// allocator keeps what they gave back.
    fn build_apart(&self, placement: Placement, names: &[String]) -> Result<Vec<Artifact>> {
        // Both builds that are not for the guest are the same; said in any case, because the environment may say another.
        let device = match placement {
            Placement::Guest => "guest",
            Placement::Host => "cpu",
        };
        let output = std::process::Command::new(std::env::current_exe()?)
            .arg("--manifest")
            .arg(&self.manifest)
            .args(["build", "--json", "--device", device])
            .args(names)
            .stderr(Stdio::inherit())
            .output()
            .context("starting the build")?;
        ensure!(output.status.success(), "the build failed");
        serde_json::from_slice(&output.stdout).context("reading what was built")
    }
}

/// Runs what is asynchronous.
pub(crate) fn executor() -> Result<tokio::runtime::Runtime> {
    ephemera::serve::executor()
}
