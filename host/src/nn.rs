//! Named graphs run outside the guest: `models/<name>` + tensors -> tensors, on a device of this machine.
//!
//! ```text
//! device.rs   what runs a named graph once, and why it may not
//! gpu.rs      GPUs, each behind a process that holds it
//! ```

pub mod device;
pub mod gpu;
