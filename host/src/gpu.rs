//! The GPUs of this machine, for operators: what is there, how busy it is, and whether it computes what the processor does.
//!
//! ```text
//! nvml.rs        what NVIDIA's driver says
//! libraries.rs   CUDA's libraries and headers, where the loader would find them
//! survey.rs      both, as a table or JSON: `ephemera gpu list`
//! check.rs       every model on every GPU against the processor: `ephemera gpu test`
//! inputs.rs      what the models are checked with
//! ```

pub mod check;
mod inputs;
pub mod libraries;
pub(crate) mod nvml;
pub mod survey;

pub use nvml::{GpuStats, stats};

use crate::metrics::gpu::{Gpu, GpuSource};

/// The GPUs in `/metrics`; none while no GPU is used.
#[derive(Debug)]
pub struct Driver;

impl GpuSource for Driver {
    fn gpus(&self) -> Vec<Gpu> {
        let gpu = |stats: GpuStats| Gpu {
            device: stats.device,
            name: stats.name,
            memory_used_bytes: stats.memory_used_bytes,
            memory_total_bytes: stats.memory_total_bytes,
            memory_limit_bytes: None,
            memory_own_bytes: None,
            utilisation: Some(stats.utilisation),
        };
        stats().into_iter().map(gpu).collect()
    }
}
