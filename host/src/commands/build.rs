//! `ephemera build`.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use ephemera::build;

use super::Surroundings;

#[derive(Args)]
pub(crate) struct Build {
    /// The components to build; all of them if none is named.
    components: Vec<String>,
    /// Print what was built, as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn build(around: &Surroundings, options: &Build) -> Result<()> {
    let built = build::build(&around.project()?, &options.components, &around.progress)?;
    if options.json {
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&built)?)?;
    }
    Ok(())
}
