//! The commands of `ephemera`, one file each: what the command line says -> calls of the library.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod gpu;
pub(crate) mod model;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod up;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ephemera::build::{self as builder, Artifact};
use ephemera::config::{Function, Project};
use ephemera::progress::Progress;

/// What all commands share.
pub(crate) struct Surroundings {
    /// The path of `spin.toml`.
    pub(crate) manifest: PathBuf,
    /// Where long work is shown.
    pub(crate) progress: Progress,
}

impl Surroundings {
    /// Reads the manifest.
    pub(crate) fn project(&self) -> Result<Project> {
        Project::open(&self.manifest)
    }

    /// The functions `names`, or all of them if none is named: built now, or as they were last built.
    pub(crate) fn artifacts(
        &self,
        project: &Project,
        names: &[String],
        no_build: bool,
    ) -> Result<Vec<Artifact>> {
        if !no_build {
            self.build_apart(names)?;
        }
        let open = |function: &Function| builder::open(function, &self.progress);
        project.select(names)?.into_iter().map(open).collect()
    }

    /// Builds functions in a process that ends before this one serves: compilers take hundreds of MiB, and an allocator keeps what they
    /// gave back.
    fn build_apart(&self, names: &[String]) -> Result<()> {
        let status = std::process::Command::new(std::env::current_exe()?)
            .arg("--manifest")
            .arg(&self.manifest)
            .arg("build")
            .args(names)
            .status()
            .context("starting the build")?;
        ensure!(status.success(), "the build failed");
        Ok(())
    }
}

/// Runs what is asynchronous.
pub(crate) fn executor() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the executor")
}
