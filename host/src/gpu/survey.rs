//! `ephemera gpu list`: the machine -> its GPUs, the driver, what CUDA needs -> a table or JSON.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::libraries::{self, Needed};
use super::nvml;

/// What is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// Version of the driver.
    pub driver: Option<String>,
    /// Newest version of CUDA that the driver runs, such as `13.0`.
    pub cuda: Option<String>,
    /// Why no GPU can be used; a sentence.
    pub problem: Option<String>,
    /// Those that `CUDA_VISIBLE_DEVICES` leaves.
    pub gpus: Vec<Listed>,
    /// Libraries and headers.
    pub needed: Vec<Needed>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// As in `cuda:N`.
    pub index: u32,
    /// Its marketing name.
    pub name: String,
    /// Of its memory, in bytes.
    pub memory_total_bytes: u64,
    /// Taken by anything, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Share of the last sampling period in which it computed, 0..=1.
    pub utilisation: Option<f64>,
}

/// Looks around.
pub fn survey() -> Survey {
    let nvml = nvml::open().ok();
    let cuda = nvml.and_then(|nvml| nvml.sys_cuda_driver_version().ok());
    let found = nvml::visible();
    let problem = found.as_ref().err().cloned();
    let listed = |found: nvml::Found| {
        let device = nvml.and_then(|nvml| nvml.device_by_uuid(found.uuid.as_str()).ok());
        Listed {
            index: found.number,
            name: found.name,
            memory_total_bytes: found.total_bytes,
            memory_used_bytes: nvml::used_bytes(&found.uuid),
            utilisation: device.as_ref().and_then(nvml::utilisation),
        }
    };
    Survey {
        driver: nvml.and_then(|nvml| nvml.sys_driver_version().ok()),
        cuda: cuda.map(|version| format!("{}.{}", version / 1000, version % 1000 / 10)),
        problem,
        gpus: found.unwrap_or_default().into_iter().map(listed).collect(),
        needed: libraries::needed(),
    }
}

impl Survey {
    /// Prints a table, or one JSON object.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to.
    pub fn print(&self, json: bool, out: &mut impl Write) -> Result<()> {
        if json {
            return Ok(writeln!(out, "{}", serde_json::to_string(self)?)?);
        }
        let unknown = || "unknown".to_owned();
        writeln!(
            out,
            "driver {}, CUDA {}",
            self.driver.clone().unwrap_or_else(unknown),
            self.cuda.clone().unwrap_or_else(unknown)
        )?;
        for gpu in &self.gpus {
            let mib = |bytes: u64| bytes >> 20;
            let used = gpu.memory_used_bytes.map(mib);
            let busy = gpu
                .utilisation
                .map(|share| format!("{:.0} %", share * 100.0));
            writeln!(
                out,
                "cuda:{}  {}  {} of {} MiB used  {} busy",
                gpu.index,
                gpu.name,
                used.map_or_else(unknown, |used| used.to_string()),
                mib(gpu.memory_total_bytes),
                busy.unwrap_or_else(unknown)
            )?;
        }
        for Needed {
            name,
            purpose,
            path,
        } in &self.needed
        {
            let place = match path {
                Some(path) => path.display().to_string(),
                None => "not found".to_owned(),
            };
            writeln!(out, "{name:<18} {place:<48} {purpose}")?;
        }
        Ok(())
    }
}
