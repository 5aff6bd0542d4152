//! `ephemera build`.

use anyhow::Result;
use clap::Args;
use ephemera::build;

use super::Surroundings;

#[derive(Args)]
pub(crate) struct Build {
    /// The components to build; all of them if none is named.
    components: Vec<String>,
}

pub(crate) fn build(around: &Surroundings, options: &Build) -> Result<()> {
    build::build(&around.project()?, &options.components, &around.progress)?;
    Ok(())
}
