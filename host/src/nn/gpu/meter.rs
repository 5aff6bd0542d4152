//! How much memory a worker has taken, and of how much.

use crate::gpu::nvml;
use crate::memory::field_kib;

/// What tells.
#[derive(Debug, Clone)]
pub(super) enum Meter {
    /// NVIDIA's driver, of the GPU with this UUID.
    Device(String),
    /// The kernel: what is resident of the process.
    Process,
}

impl Meter {
    /// Bytes that everything on the device takes: what a worker takes, where the driver cannot name it, is counted from there.
    pub(super) fn baseline(&self) -> u64 {
        match self {
            Self::Device(uuid) => nvml::used_bytes(uuid).unwrap_or(0),
            Self::Process => 0,
        }
    }

    /// Bytes that the worker with this process id takes; `None` where nothing tells.
    pub(super) fn used_bytes(&self, pid: u32, baseline: u64) -> Option<u64> {
        match self {
            Self::Device(uuid) => match nvml::process_bytes(uuid, pid) {
                Some(bytes) => Some(bytes),
                // In a container, the driver knows processes by other numbers.
                None => Some(nvml::used_bytes(uuid)?.saturating_sub(baseline)),
            },
            Self::Process => {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                Some(field_kib(&status, "VmRSS:")? * 1024)
            }
        }
    }
}
