//! Plain text: a line per row, an empty line between blocks.

use crate::Reading;
use crate::layout::Block;

/// The text alone, ended by a line break unless there is none.
pub(super) fn answer(reading: &Reading) -> String {
    let mut text = joined(reading);
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Blocks in reading order.
pub(super) fn joined(reading: &Reading) -> String {
    reading
        .blocks
        .iter()
        .map(Block::content)
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{blank, reading};
    use super::*;

    #[test]
    fn blocks_are_parted_by_an_empty_line() {
        let mut reading = reading();
        assert_eq!(answer(&reading), "He said\n\"no\"\n");
        reading.blocks.push(reading.blocks[0].clone());
        assert_eq!(answer(&reading), "He said\n\"no\"\n\nHe said\n\"no\"\n");
        assert_eq!(answer(&blank()), "");
    }
}
