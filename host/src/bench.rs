//! `ephemera bench`: how soon models are ready, what many requests leave behind, what hostile ones cost others, how throughput grows with
//! cores, how fast graphs run, how many pages of a queue are read a minute.

pub mod ceiling;
pub mod child;
pub mod client;
pub mod engine;
pub mod jobs;
pub mod neighbours;
mod plot;
pub mod scale;
pub mod soak;
pub mod start;

/// The route that answers once the models are there, and does nothing else.
const READY: &str = "/health";

/// Of an even number, the mean of the two in the middle; of none, not a number.
fn median(samples: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
