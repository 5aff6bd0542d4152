//! How many inputs may be in hand at once, by how large the last ones were.

use std::collections::VecDeque;

use crate::run::MAX_INPUT_BYTES;

/// So many of the last inputs say how large the next ones may be. A large one is forgotten after so many others.
const REMEMBERED: usize = 32;

/// Sizes of the last inputs.
#[derive(Debug, Default)]
pub(super) struct Inputs(VecDeque<u64>);

impl Inputs {
    /// One of so many bytes is here. None has more than inputs may have, whatever stands around it.
    pub(super) fn came(&mut self, bytes: u64) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(bytes.min(MAX_INPUT_BYTES));
    }

    /// How many more may be taken beside `in_hand` others, of which those that are here take `held_bytes`: all together fill at most half of
    /// `budget_bytes` if none is larger than the largest of the last.
    pub(super) fn room(&self, budget_bytes: u64, held_bytes: u64, in_hand: usize) -> usize {
        let half = budget_bytes / 2;
        let largest = self.0.iter().max().map_or(1, |&bytes| bytes.max(1));
        let count = |bytes: u64| usize::try_from(bytes / largest).unwrap_or(usize::MAX);
        // Those that are still fetched take nothing yet.
        let beside = count(half).saturating_sub(in_hand);
        beside.min(count(half.saturating_sub(held_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_taken_fills_half_of_the_budget() {
        for (sizes, held, in_hand, expected) in [
            (&[2, 1][..], 0, 0, 4),
            (&[2, 1], 0, 3, 1),
            (&[2, 1], 0, 5, 0),
            (&[2, 1], 7, 1, 0),
            (&[2, 1], 4, 1, 2),
            (&[1000], 0, 0, 0),
        ] {
            let mut inputs = Inputs::default();
            sizes.iter().for_each(|size| inputs.came(size * MIB));
            let actual = inputs.room(16 * MIB, held * MIB, in_hand);
            assert_eq!(actual, expected, "{sizes:?} {held} {in_hand}");
        }
        assert!(Inputs::default().room(16 * MIB, 0, 0) > 1000, "who knows");
    }

    #[test]
    fn a_large_one_is_forgotten_and_counts_as_what_is_allowed() {
        let mut inputs = Inputs::default();
        inputs.came(1000 * MAX_INPUT_BYTES);
        let room = |inputs: &Inputs| inputs.room(4 * MAX_INPUT_BYTES, 0, 0);
        assert_eq!(room(&inputs), 2);
        (1..REMEMBERED).for_each(|_| inputs.came(MIB));
        assert_eq!(room(&inputs), 2);
        inputs.came(MIB);
        assert_eq!(room(&inputs), 256);
    }
}
