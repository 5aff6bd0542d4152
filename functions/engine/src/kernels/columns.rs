//! Sums of bytes over lines that lie behind each other: what neighbouring windows have in common, once.

use super::{Isa, Wide, widest};

/// Bytes of a column are multiples of this many.
pub(crate) const COLUMN: usize = 16;

/// Lines whose sums an i16 holds.
pub(crate) const MAX_LINES: usize = 255;

/// Sets each of `sums` to the sum of the bytes of its column: `width` bytes of every line in `bytes`. The lines are as long as all columns.
///
/// # Panics
/// When `width` is no multiple of [`COLUMN`], or `bytes` are not up to [`MAX_LINES`] such lines.
pub(crate) fn column_sums(isa: Isa, bytes: &[i8], width: usize, sums: &mut [i32]) {
    let line = width * sums.len();
    let lines = bytes.len().checked_div(line).unwrap_or(0);
    assert!(
        width.is_multiple_of(COLUMN) && lines * line == bytes.len() && lines <= MAX_LINES,
        "{} bytes in lines of {} columns of {width}",
        bytes.len(),
        sums.len()
    );
    widest(
        isa,
        ColumnSums {
            bytes,
            lines,
            width,
            sums,
        },
    );
}

struct ColumnSums<'a> {
    bytes: &'a [i8],
    lines: usize,
    width: usize,
    sums: &'a mut [i32],
}

impl Wide for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let line = self.width * self.sums.len();
        for (column, sum) in self.sums.iter_mut().enumerate() {
            *sum = 0;
            for start in (column * self.width..(column + 1) * self.width).step_by(COLUMN) {
                let mut totals = [0i16; COLUMN];
                for index in 0..self.lines {
                    // SAFETY: `start + COLUMN` is at most `line`, and there are `lines` of them.
                    let bytes = unsafe {
                        let at = self.bytes.as_ptr().add(index * line + start);
                        at.cast::<[i8; COLUMN]>().read_unaligned()
                    };
                    for (total, byte) in totals.iter_mut().zip(bytes) {
                        *total += i16::from(byte);
                    }
                }
                *sum += totals.iter().map(|&total| i32::from(total)).sum::<i32>();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_summed_over_all_lines() {
        let (width, columns) = (32, 5);
        for lines in [1, 9, MAX_LINES] {
            let byte = |i: usize| {
                if lines == MAX_LINES {
                    i8::MIN
                } else {
                    (i * 37) as i8
                }
            };
            let bytes: Vec<i8> = (0..lines * width * columns).map(byte).collect();
            let expected: Vec<i32> = (0..columns)
                .map(|column| {
                    let at = |i: usize| i / width % columns == column;
                    let inside = bytes.iter().enumerate().filter(|(i, _)| at(*i));
                    inside.map(|(_, &byte)| i32::from(byte)).sum()
                })
                .collect();
            for isa in Isa::available() {
                let mut sums = [99; 5];
                column_sums(isa, &bytes, width, &mut sums);
                assert_eq!(sums[..], expected, "{lines} lines on {}", isa.name());
            }
        }
    }

    #[test]
    #[should_panic(expected = "99 bytes in lines of 2 columns of 16")]
    fn only_whole_lines_are_summed() {
        column_sums(Isa::Scalar, &[0; 99], 16, &mut [0; 2]);
    }
}
