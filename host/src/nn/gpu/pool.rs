//! Several GPUs as one device: a run goes to the least loaded.

use std::cmp::Reverse;
use std::sync::Arc;

use ephemera_engine::Tensor;

use super::super::device::{Device, DeviceError};
use super::Gpu;

/// At least two GPUs.
pub(super) struct Pool {
    /// Theirs, with commas between.
    label: String,
    gpus: Vec<Arc<Gpu>>,
}

impl Pool {
    pub(super) fn new(gpus: Vec<Arc<Gpu>>) -> Self {
        let labels: Vec<&str> = gpus.iter().map(Device::label).collect();
        Self {
            label: labels.join(","),
            gpus,
        }
    }
}

impl Device for Pool {
    fn label(&self) -> &str {
        &self.label
    }

    fn run(
        &self,
        graph: &str,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, DeviceError> {
        let loads = self.gpus.iter().map(|gpu| gpu.load());
        // The driver is asked only where loads are equal.
        let chosen = least(&loads.collect::<Vec<_>>(), |index| {
            self.gpus[index].free_bytes()
        });
        self.gpus[chosen.unwrap_or(0)].run(graph, inputs)
    }
}

/// The index of the least load; of equal ones, the one with the most free memory.
fn least(loads: &[usize], free_bytes: impl Fn(usize) -> u64) -> Option<usize> {
    let least = loads.iter().min()?;
    let mut equal = (0..loads.len()).filter(|&index| loads[index] == *least);
    match loads.iter().filter(|load| *load == least).count() {
        1 => equal.next(),
        _ => equal.min_by_key(|&index| Reverse(free_bytes(index))),
    }
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn the_least_loaded_is_chosen_and_then_the_emptiest() {
        for (loads, free, expected) in [
            (&[][..], &[][..], None),
            (&[3], &[0], Some(0)),
            (&[2, 1, 2], &[9, 0, 9], Some(1)),
            (&[1, 0, 0], &[9, 5, 6], Some(2)),
            (&[0, 0, 0], &[7, 7, 6], Some(0)),
        ] {
            assert_eq!(least(loads, |index| free[index]), expected, "{loads:?}");
        }
    }
}
