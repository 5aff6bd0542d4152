//! `--device`: where the models of functions run.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use ephemera::build::{Artifact, Placement};
use ephemera::config::Project;
use ephemera::nn::devices::{Choice, Devices, Found};
use ephemera::nn::gpu::GpuFlags;

#[derive(Args, Clone)]
pub(crate) struct DeviceOptions {
    /// Where models run: `guest`, inside the function's instance; `cpu`, this machine's processor; `cuda:N`, the GPU of that number; `auto`,
    /// a GPU if one works, else the processor.
    #[arg(long, value_name = "DEVICE", default_value_t, env = "SURYA_GPU_DEVICE")]
    device: Choice,
    #[command(flatten)]
    gpu: GpuFlags,
}

impl DeviceOptions {
    /// What there is of what is asked for: looked for before anything is built, so that what cannot be had is said at once.
    pub(crate) fn find(&self, project: &Project) -> Result<Found> {
        let functions = project.functions.values();
        let (outside, inside): (Vec<_>, Vec<_>) = functions.partition(|function| function.wasi_nn);
        let graphs: BTreeSet<&String> = outside.iter().flat_map(|f| &f.models).collect();
        let graphs = graphs.into_iter().cloned().collect();
        let models = project.workspace().join("models");
        let found = self.device.find(&self.gpu, models, graphs)?;
        if found.placement() == Placement::Host {
            for function in inside.iter().filter(|function| !function.models.is_empty()) {
                tracing::warn!(
                    "`{}` has no build for a device (wasi_nn): its models run inside it",
                    function.name
                );
            }
        }
        Ok(found)
    }

    /// Which build of the functions is asked for.
    pub(crate) fn placement(&self) -> Placement {
        self.device.placement()
    }
}

/// The devices of `found`, for at most `runs` runs at once of the graphs of `artifacts`.
pub(crate) fn open(
    found: &Found,
    artifacts: &[Artifact],
    runs: u32,
) -> Result<Option<Arc<Devices>>> {
    let graphs = artifacts.iter().filter_map(|a| a.graphs.as_deref());
    found.open(runs, &graphs.collect::<Vec<_>>())
}
