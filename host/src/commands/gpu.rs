//! `ephemera gpu`: looks at this machine's GPUs.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use ephemera::gpu::{check, survey};
use ephemera::nn::gpu::{DeviceChoice, GpuFlags};

use super::Surroundings;

#[derive(Subcommand)]
pub(crate) enum Gpu {
    /// The GPUs, the driver, and whether what CUDA needs is there. Exit code 1 without a GPU.
    List {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Runs every model on each GPU and compares with the processor. Exit code 1 without a GPU, or where too little agrees.
    Test {
        /// `auto` for all GPUs, or `cuda:N`.
        #[arg(long, default_value = "auto", env = "SURYA_GPU_DEVICE")]
        device: DeviceChoice,
        #[command(flatten)]
        flags: GpuFlags,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn gpu(around: &Surroundings, what: Gpu) -> Result<ExitCode> {
    match what {
        Gpu::List { json } => {
            let survey = survey::survey();
            survey.print(json, &mut std::io::stdout())?;
            match survey.problem {
                Some(problem) => Err(anyhow!(problem)),
                None => Ok(ExitCode::SUCCESS),
            }
        }
        Gpu::Test {
            device,
            flags,
            json,
        } => {
            let models = around.project()?.workspace().join("models");
            let settings = flags.settings(device, models, vec![])?;
            let report = check::check(&settings)?;
            report.print(json, &mut std::io::stdout())?;
            Ok(match report.agrees() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            })
        }
    }
}
