//! `--device`: where the models of functions run.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{ArgAction, Args};
use ephemera::build::{Artifact, Placement};
use ephemera::nn::cpu::Cpu;
use ephemera::nn::devices::{Choice, Devices, Found};

#[derive(Args)]
pub(crate) struct DeviceOptions {
    /// Where models run: `guest`, inside the function's instance; `cpu`, this machine's processor; `cuda:N`, the GPU of that number; `auto`,
    /// a GPU if one works, else the processor.
    #[arg(long, value_name = "DEVICE", default_value_t, env = "SURYA_GPU_DEVICE")]
    device: Choice,
    /// Use no GPU: `auto` is the processor, and `cuda:N` an error.
    #[arg(
        long,
        value_name = "true|false",
        env = "DISABLE_GPU",
        action = ArgAction::Set,
        value_parser = truth,
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true"
    )]
    disable_gpu: bool,
}

impl DeviceOptions {
    /// What there is of what is asked for: looked for before anything is built, so that what cannot be had is said at once.
    pub(crate) fn find(&self) -> Result<Found> {
        Ok(self.choice()?.find()?)
    }

    /// Which build of the functions is asked for.
    pub(crate) fn placement(&self) -> Result<Placement> {
        Ok(match self.choice()? {
            Choice::Guest => Placement::Guest,
            Choice::Cpu | Choice::Cuda(_) | Choice::Auto => Placement::Host,
        })
    }

    fn choice(&self) -> Result<Choice> {
        match self.disable_gpu {
            true => self.device.without_gpu(),
            false => Ok(self.device),
        }
    }
}

/// The devices of `found`, for at most `runs` runs at once of the graphs of `artifacts`.
pub(crate) fn open(
    found: Found,
    artifacts: &[Artifact],
    runs: u32,
) -> Result<Option<Arc<Devices>>> {
    found.open(runs, || {
        let mut cpu = Cpu::default();
        for artifact in artifacts {
            let graphs = artifact.graphs.as_ref();
            let graphs = graphs.with_context(|| format!("`{}` has no graphs", artifact.name));
            cpu.load(graphs?)?;
        }
        Ok(cpu)
    })
}

/// `true` or `false`, in capitals or not, as functions read their settings.
fn truth(text: &str) -> Result<bool, String> {
    let parsed = text.to_ascii_lowercase().parse();
    parsed.map_err(|_| format!("expected true or false, got `{text}`"))
}
