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
