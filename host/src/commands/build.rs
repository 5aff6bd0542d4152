//! `ephemera build`.

use anyhow::Result;
use clap::Args;
use ephemera::build;

use super::Surroundings;
use super::device::DeviceOptions;

#[derive(Args)]
pub(crate) struct Build {
    /// The components to build; all of them if none is named.
    components: Vec<String>,
    #[command(flatten)]
    device: DeviceOptions,
}

pub(crate) fn build(around: &Surroundings, options: &Build) -> Result<()> {
    let placement = options.device.placement()?;
    let project = around.project()?;
    build::build_as(placement, &project, &options.components, &around.progress)?;
    Ok(())
}
