//! GPUs in `/metrics`: whoever drives some says how they are.

use std::fmt;
use std::sync::Arc;

use super::text::{Kind, Text};

/// Who knows of GPUs.
pub trait GpuSource: Send + Sync {
    /// How they are now. It is asked while somebody waits for `/metrics`, so it says what it knows and starts nothing.
    fn gpus(&self) -> Vec<Gpu>;

    /// What this server may take and takes of GPUs that another source tells of.
    fn ours(&self) -> Vec<Ours> {
        Vec::new()
    }
}

/// What is this server's of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The label of the GPU.
    pub device: String,
    /// Memory that we may use, in bytes.
    pub limit_bytes: u64,
    /// Memory that we use, in bytes, if that is known: 0 while no child process holds the device.
    pub own_bytes: Option<u64>,
}

/// One GPU at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// Its label, such as `cuda:0`.
    pub device: String,
    /// What its maker calls it.
    pub name: String,
    /// Memory in use, by whomever, in bytes.
    pub memory_used_bytes: u64,
    /// Memory that it has, in bytes.
    pub memory_total_bytes: u64,
    /// Memory that we may use, in bytes, if that is less.
    pub memory_limit_bytes: Option<u64>,
    /// Memory that we use, in bytes, if that is known: 0 while no child process holds the device.
    pub memory_own_bytes: Option<u64>,
    /// Share of the last moments in which it computed, 0 to 1, if it tells.
    pub utilisation: Option<f64>,
}

/// All sources.
#[derive(Clone, Default)]
pub struct Gpus(Vec<Arc<dyn GpuSource>>);

impl Gpus {
    /// Adds a source.
    pub fn add(&mut self, source: Arc<dyn GpuSource>) {
        self.0.push(source);
    }

    pub(super) fn read(&self) -> Vec<Gpu> {
        let mut gpus: Vec<Gpu> = self.0.iter().flat_map(|source| source.gpus()).collect();
        for ours in self.0.iter().flat_map(|source| source.ours()) {
            let known = gpus.iter_mut().filter(|gpu| gpu.device == ours.device);
            for gpu in known {
                gpu.memory_limit_bytes = Some(ours.limit_bytes);
                gpu.memory_own_bytes = ours.own_bytes;
            }
        }
        gpus
    }
}

impl fmt::Debug for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpus({})", self.0.len())
    }
}

/// One family for each reading; none without GPUs.
pub(super) fn write(gpus: &[Gpu], text: &mut Text) {
    if gpus.is_empty() {
        return;
    }
    let mut about = text.family(Kind::Gauge, "ephemera_gpu_info", "A GPU and its name.");
    for gpu in gpus {
        about.sample(&[("device", &gpu.device), ("name", &gpu.name)], 1.0);
    }
    type Reading = fn(&Gpu) -> Option<f64>;
    let readings: [(&str, &str, Reading); 5] = [
        (
            "ephemera_gpu_memory_used_bytes",
            "Memory of the GPU in use, by whomever.",
            |gpu| Some(gpu.memory_used_bytes as f64),
        ),
        (
            "ephemera_gpu_memory_total_bytes",
            "Memory that the GPU has.",
            |gpu| Some(gpu.memory_total_bytes as f64),
        ),
        (
            "ephemera_gpu_memory_limit_bytes",
            "Memory of the GPU that this server may use.",
            |gpu| gpu.memory_limit_bytes.map(|bytes| bytes as f64),
        ),
        (
            "ephemera_gpu_memory_own_bytes",
            "Memory of the GPU that this server uses.",
            |gpu| gpu.memory_own_bytes.map(|bytes| bytes as f64),
        ),
        (
            "ephemera_gpu_utilisation_ratio",
            "Share of the last moments in which the GPU computed.",
            |gpu| gpu.utilisation,
        ),
    ];
    for (name, help, reading) in readings {
        let mut family = text.family(Kind::Gauge, name, help);
        for gpu in gpus {
            if let Some(value) = reading(gpu) {
                family.sample(&[("device", &gpu.device)], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::text::Format;

    struct One;

    impl GpuSource for One {
        fn gpus(&self) -> Vec<Gpu> {
            vec![Gpu {
                device: "cuda:0".into(),
                name: "GPU \"A\"".into(),
                memory_used_bytes: 5,
                memory_total_bytes: 10,
                memory_limit_bytes: Some(7),
                memory_own_bytes: Some(3),
                utilisation: None,
            }]
        }
    }

    /// Knows of its own use alone.
    struct User;

    impl GpuSource for User {
        fn gpus(&self) -> Vec<Gpu> {
            Vec::new()
        }

        fn ours(&self) -> Vec<Ours> {
            let ours = |device: &str, limit_bytes| Ours {
                device: device.to_owned(),
                limit_bytes,
                own_bytes: Some(limit_bytes - 1),
            };
            vec![ours("cuda:0", 6), ours("cuda:1", 9)]
        }
    }

    #[test]
    fn what_is_ours_is_told_of_gpus_that_are_there() {
        let mut gpus = Gpus::default();
        gpus.add(Arc::new(User));
        assert_eq!(gpus.read(), []);
        gpus.add(Arc::new(One));
        let read = gpus.read();
        let ours: Vec<_> = read
            .iter()
            .map(|gpu| (gpu.memory_limit_bytes, gpu.memory_own_bytes))
            .collect();
        assert_eq!(ours, [(Some(6), Some(5))]);
    }

    #[test]
    fn a_source_is_asked_and_what_it_does_not_know_is_left_out() {
        let mut gpus = Gpus::default();
        let written = |gpus: &Gpus| {
            let mut text = Text::new(Format::Prometheus);
            write(&gpus.read(), &mut text);
            text.end()
        };
        assert_eq!(written(&gpus), "");
        gpus.add(Arc::new(One));
        let text = written(&gpus);
        assert!(text.contains("ephemera_gpu_info{device=\"cuda:0\",name=\"GPU \\\"A\\\"\"} 1\n"));
        assert!(text.contains("ephemera_gpu_memory_limit_bytes{device=\"cuda:0\"} 7\n"));
        assert!(!text.contains("ephemera_gpu_utilisation_ratio{"));
    }
}
