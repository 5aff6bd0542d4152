//! A TrueType font whose glyphs have a width and nothing else.
//!
//! A PDF reader needs a font to place text by, and takes its own, with widths of its own, where none is embedded. This one
//! has the six tables that an embedded CIDFont of type 2 must have (ISO 32000-1, 9.9), laid out as the OpenType
//! specification says.

use super::super::walk::BASELINE;

/// Width of every glyph, in thousandths of the font's size.
pub(super) const ADVANCE: u16 = 500;
/// Ascent and descent together, in the font's size. Readers take a gap for a space by the size: in that of a line's whole box, which marks
/// above and below make high in Devanagari, the spaces there were too narrow for them.
pub(super) const HEIGHT: f64 = 1.5;
/// Above the baseline, in thousandths of the font's size: so that the font is as high as a line's box, and has its baseline
/// where that has it.
pub(super) const ASCENT: i16 = (BASELINE * HEIGHT * 1000.0) as i16;
/// Below the baseline; negative.
pub(super) const DESCENT: i16 = ASCENT - (HEIGHT * 1000.0) as i16;

const UNITS_PER_EM: i16 = 1000;

/// The sum of all words of a font file, with the adjustment that makes it so.
const FILE_CHECKSUM: u32 = 0xb1b0_afba;
/// Where the adjustment is in the table `head`.
const ADJUSTMENT_AT: usize = 8;

/// The font file, with `count` glyphs after `.notdef`.
pub(super) fn without_outlines(count: u16) -> Vec<u8> {
    let glyphs = count.saturating_add(1);
    // In alphabetical order, as the directory must be.
    let tables: [(&[u8; 4], Vec<u8>); 6] = [
        // Some readers take an empty table for a missing one.
        (b"glyf", vec![0; 4]),
        (b"head", head()),
        (b"hhea", hhea()),
        (b"hmtx", hmtx(glyphs)),
        // All glyphs end where they begin.
        (b"loca", vec![0; 2 * (usize::from(glyphs) + 1)]),
        (b"maxp", maxp(glyphs)),
    ];
    let mut file = Vec::new();
    push(&mut file, &[0x0001_0000u32.to_be_bytes()]);
    // Six tables; the largest power of two in six, times 16; its logarithm; what is left of six times 16.
    push(&mut file, &[6u16, 64, 2, 32].map(u16::to_be_bytes));
    let mut offset = file.len() + 16 * tables.len();
    let mut head_at = 0;
    for (tag, table) in &tables {
        if *tag == b"head" {
            head_at = offset;
        }
        file.extend(*tag);
        let numbers = [checksum(table), offset as u32, table.len() as u32];
        push(&mut file, &numbers.map(u32::to_be_bytes));
        offset += table.len().next_multiple_of(4);
    }
    for (_, table) in tables {
        file.extend(table);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    let adjustment = FILE_CHECKSUM.wrapping_sub(checksum(&file));
    file[head_at + ADJUSTMENT_AT..][..4].copy_from_slice(&adjustment.to_be_bytes());
    file
}

fn head() -> Vec<u8> {
    let mut table = Vec::new();
    // Version, revision, adjustment (filled in later), magic number.
    let numbers = [0x0001_0000u32, 0x0001_0000, 0, 0x5f0f_3cf5];
    push(&mut table, &numbers.map(u32::to_be_bytes));
    // Flags, units.
    push(&mut table, &[0, UNITS_PER_EM].map(i16::to_be_bytes));
    // Created and modified: no date, so that the same page gives the same file.
    push(&mut table, &[0u64; 2].map(u64::to_be_bytes));
    // Box around all glyphs, style, smallest readable size, direction hint, short offsets, glyph format.
    let numbers = [0, DESCENT, ADVANCE as i16, ASCENT, 0, 0, 2, 0, 0];
    push(&mut table, &numbers.map(i16::to_be_bytes));
    table
}

fn hhea() -> Vec<u8> {
    let mut table = Vec::new();
    push(&mut table, &[0x0001_0000u32.to_be_bytes()]);
    // Ascent, descent, line gap, widest advance, smallest bearings, largest extent.
    let numbers = [ASCENT, DESCENT, 0, ADVANCE as i16, 0, 0, 0];
    push(&mut table, &numbers.map(i16::to_be_bytes));
    // An upright caret, reserved, format, and the number of widths: one for all.
    push(
        &mut table,
        &[1i16, 0, 0, 0, 0, 0, 0, 0, 1].map(i16::to_be_bytes),
    );
    table
}

fn hmtx(glyphs: u16) -> Vec<u8> {
    let mut table = ADVANCE.to_be_bytes().to_vec();
    // A left bearing for each glyph.
    table.resize(2 + 2 * usize::from(glyphs), 0);
    table
}

fn maxp(glyphs: u16) -> Vec<u8> {
    let mut table = Vec::new();
    push(&mut table, &[0x0001_0000u32.to_be_bytes()]);
    push(&mut table, &[glyphs.to_be_bytes()]);
    // No points, no contours; one zone, which is the least; no instructions.
    let limits = [0u16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    push(&mut table, &limits.map(u16::to_be_bytes));
    table
}

fn push<const N: usize>(table: &mut Vec<u8>, numbers: &[[u8; N]]) {
    table.extend(numbers.as_flattened());
}

/// The sum of big-endian words, the last one filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0u32, |sum, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        sum.wrapping_add(u32::from_be_bytes(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_their_lengths_and_the_file_its_sum() {
        for count in [0u16, 3, 541, u16::MAX] {
            let file = without_outlines(count);
            let glyphs = usize::from(count.saturating_add(1));
            let word = |at: usize| {
                u32::from_be_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize
            };
            let lengths: Vec<(&[u8], usize)> = (0..6)
                .map(|i| (&file[12 + 16 * i..][..4], word(12 + 16 * i + 12)))
                .collect();
            let expected: [(&[u8], usize); 6] = [
                (b"glyf", 4),
                (b"head", 54),
                (b"hhea", 36),
                (b"hmtx", 2 + 2 * glyphs),
                (b"loca", 2 + 2 * glyphs),
                (b"maxp", 32),
            ];
            assert_eq!(lengths, expected);
            assert_eq!(checksum(&file), FILE_CHECKSUM);
            // The magic number, 12 bytes into the second table.
            assert_eq!(word(word(12 + 16 + 8) + 12), 0x5f0f_3cf5);
            assert_eq!(file.len() % 4, 0);
        }
    }
}
