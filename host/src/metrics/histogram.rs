//! Observations -> how many lie at or below each of a few bounds.

use super::text::Family;

/// Bounds of times, in seconds: from an instance's start (tens of microseconds) to the longest default timeout and a queue's wait.
pub(super) const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

const MIB: f64 = 1_048_576.0;

/// Bounds of an instance's linear memory, in bytes; the edge platforms grant 128 MiB.
pub(super) const BYTES: &[f64] = &[
    MIB,
    2.0 * MIB,
    4.0 * MIB,
    8.0 * MIB,
    12.0 * MIB,
    16.0 * MIB,
    24.0 * MIB,
    32.0 * MIB,
    48.0 * MIB,
    64.0 * MIB,
    96.0 * MIB,
    128.0 * MIB,
    256.0 * MIB,
    512.0 * MIB,
    1024.0 * MIB,
    4096.0 * MIB,
];

/// Counts by bucket.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// Without observations; `bounds` ascend.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    pub(super) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Its samples, as part of `family`.
    pub(super) fn write(&self, family: &mut Family<'_>, labels: &[(&str, &str)]) {
        let mut below = 0;
        for (place, count) in self.counts.iter().enumerate() {
            below += count;
            let bound = self.bounds.get(place).copied().unwrap_or(f64::INFINITY);
            family.bucket(labels, bound, below);
        }
        family.sum_and_count(labels, self.sum, below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_the_first_bucket_that_reaches_it() {
        let mut histogram = Histogram::new(&[1.0, 2.0, 5.0]);
        for value in [0.0, 1.0, 1.5, 5.0, 5.1, 1e9] {
            histogram.observe(value);
        }
        assert_eq!(histogram.counts, [2, 1, 1, 2]);
        assert_eq!(histogram.sum, 0.0 + 1.0 + 1.5 + 5.0 + 5.1 + 1e9);
    }

    #[test]
    fn bounds_ascend() {
        assert!(SECONDS.is_sorted() && BYTES.is_sorted());
    }
}
