//! What NVIDIA's driver says of its GPUs, through its management library.
//!
//! The library is opened when something is first asked of it, and stays; a host that uses no GPU never opens it.

use std::ffi::OsStr;
use std::sync::OnceLock;

use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::{Device, Nvml};

/// The driver's own name for it, and the one that only developers' packages have.
const NAMES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];

static OPENED: OnceLock<Result<Nvml, String>> = OnceLock::new();

/// A GPU that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Among those that `CUDA_VISIBLE_DEVICES` leaves.
    pub(crate) number: u32,
    /// `GPU-` and 32 hex digits in groups.
    pub(crate) uuid: String,
    /// Its marketing name.
    pub(crate) name: String,
    /// Of its memory.
    pub(crate) total_bytes: u64,
}

/// How busy a GPU is.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuStats {
    /// `cuda:` and its number.
    pub device: String,
    /// Its marketing name.
    pub name: String,
    /// Memory that anything on it has taken, in bytes.
    pub memory_used_bytes: u64,
    /// Its memory, in bytes.
    pub memory_total_bytes: u64,
    /// Share of the last sampling period in which it computed, 0..=1.
    pub utilisation: f64,
}

/// How busy the GPUs are that may be used; none where the driver has not been opened, as in a host that uses no GPU.
pub fn stats() -> Vec<GpuStats> {
    if !matches!(OPENED.get(), Some(Ok(_))) {
        return vec![];
    }
    let found = visible().unwrap_or_default();
    found.into_iter().filter_map(|gpu| gpu.stats()).collect()
}

impl Found {
    fn stats(self) -> Option<GpuStats> {
        with(&self.uuid, |device| {
            let memory = device.memory_info().ok()?;
            Some(GpuStats {
                device: format!("cuda:{}", self.number),
                name: self.name.clone(),
                memory_used_bytes: memory.used,
                memory_total_bytes: memory.total,
                utilisation: utilisation(device).unwrap_or(0.0),
            })
        })
    }
}

/// Share of the last sampling period, 0..=1; a slice of a GPU has none.
pub(crate) fn utilisation(device: &Device<'_>) -> Option<f64> {
    let rates = device.utilization_rates().ok()?;
    Some(f64::from(rates.gpu) / 100.0)
}

/// The opened library.
///
/// # Errors
///
/// A sentence for the operator.
pub(crate) fn open() -> Result<&'static Nvml, String> {
    let opened = OPENED.get_or_init(|| {
        let mut first = None;
        for name in NAMES {
            match Nvml::builder().lib_path(OsStr::new(name)).init() {
                Ok(nvml) => return Ok(nvml),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(match first {
            Some(nvml_wrapper::error::NvmlError::LibloadingError(_)) | None => format!(
                "no NVIDIA driver is here ({} is not found); install one, and give containers the GPU",
                NAMES[0]
            ),
            Some(error) => format!("the NVIDIA driver cannot be used: {error}"),
        })
    });
    opened.as_ref().map_err(Clone::clone)
}

/// All GPUs of the machine, by the driver's numbers.
///
/// # Errors
///
/// A sentence: no driver, or one that does not work.
pub(crate) fn all() -> Result<Vec<Found>, String> {
    let said = |error| format!("the NVIDIA driver cannot be used: {error}");
    let nvml = open()?;
    let count = nvml.device_count().map_err(said)?;
    let mut found = Vec::new();
    for number in 0..count {
        let device = nvml.device_by_index(number).map_err(said)?;
        found.push(Found {
            number,
            uuid: device.uuid().map_err(said)?,
            name: device.name().map_err(said)?,
            total_bytes: device.memory_info().map_err(said)?.total,
        });
    }
    Ok(found)
}

/// The GPUs that `CUDA_VISIBLE_DEVICES` leaves, numbered anew as CUDA does.
///
/// # Errors
///
/// A sentence: no driver, or no GPU.
pub(crate) fn visible() -> Result<Vec<Found>, String> {
    let all = all()?;
    let setting = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let visible = select(all, setting.as_deref());
    if visible.is_empty() {
        return Err(match setting {
            Some(setting) => format!("CUDA_VISIBLE_DEVICES leaves no GPU: `{setting}`"),
            None => "the NVIDIA driver has no GPU".to_owned(),
        });
    }
    Ok(visible)
}

/// What CUDA makes of `setting`: numbers in the order of the bus, or beginnings of UUIDs, up to the first that means nothing.
fn select(all: Vec<Found>, setting: Option<&str>) -> Vec<Found> {
    let Some(setting) = setting else { return all };
    let mut selected: Vec<Found> = Vec::new();
    for entry in setting.split(',').map(str::trim) {
        let meant = all.iter().find(|found| match entry.parse::<u32>() {
            Ok(number) => found.number == number,
            Err(_) => entry.starts_with("GPU-") && found.uuid.starts_with(entry),
        });
        let Some(meant) = meant.filter(|meant| selected.iter().all(|s| s.uuid != meant.uuid))
        else {
            break;
        };
        selected.push(meant.clone());
    }
    for (number, found) in (0..).zip(&mut selected) {
        found.number = number;
    }
    selected
}

/// Bytes that everything on a GPU has taken.
pub(crate) fn used_bytes(uuid: &str) -> Option<u64> {
    with(uuid, |device| Some(device.memory_info().ok()?.used))
}

/// Bytes that nothing has taken.
pub(crate) fn free_bytes(uuid: &str) -> Option<u64> {
    with(uuid, |device| Some(device.memory_info().ok()?.free))
}

/// Bytes that one process has taken; `None` where the driver does not know it by this number.
pub(crate) fn process_bytes(uuid: &str, pid: u32) -> Option<u64> {
    with(uuid, |device| {
        let processes = device.running_compute_processes().ok()?;
        let process = processes.into_iter().find(|process| process.pid == pid)?;
        match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        }
    })
}

fn with<T>(uuid: &str, ask: impl FnOnce(&Device<'_>) -> Option<T>) -> Option<T> {
    let device = open().ok()?.device_by_uuid(uuid).ok()?;
    ask(&device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Found> {
        let found = |number, uuid: &str| Found {
            number,
            uuid: uuid.to_owned(),
            name: "a GPU".to_owned(),
            total_bytes: 1,
        };
        vec![found(0, "GPU-aa"), found(1, "GPU-ab"), found(2, "GPU-b")]
    }

    #[test]
    fn visible_devices_are_numbered_as_cuda_does() {
        for (setting, expected) in [
            (None, &["GPU-aa", "GPU-ab", "GPU-b"][..]),
            (Some(""), &[]),
            (Some("2, 0"), &["GPU-b", "GPU-aa"]),
            (Some("GPU-b"), &["GPU-b"]),
            (Some("1,-1,0"), &["GPU-ab"]),
            (Some("0,0"), &["GPU-aa"]),
            (Some("9"), &[]),
            (Some("x"), &[]),
        ] {
            let selected = select(machine(), setting);
            let uuids: Vec<&str> = selected.iter().map(|found| found.uuid.as_str()).collect();
            assert_eq!(uuids, expected, "{setting:?}");
            assert!((0..).zip(&selected).all(|(number, f)| f.number == number));
        }
    }
}
