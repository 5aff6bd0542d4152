//! Copies of a few bytes from many places, which bounds checks would take longer than.

/// Bytes that are copied at a time: one register.
pub(crate) const CHUNK: usize = 16;

/// Lines of bytes under each of several pixels, as they are laid out and as they are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    /// Where the first pixel's part of the first line begins.
    pub(crate) start: usize,
    pub(crate) count: usize,
    /// Bytes from one line to the next.
    pub(crate) apart: usize,
    /// Bytes of a line that are wanted, up to [`CHUNK`].
    pub(crate) width: usize,
    pub(crate) pixels: usize,
    /// Bytes from one pixel's part of a line to the next one's.
    pub(crate) step: usize,
    /// Bytes from one pixel to the next where they are put together.
    pub(crate) row: usize,
}

/// Puts each pixel's lines behind each other: the first `width` bytes of line `l` of pixel `p` to `to[p * row + l * width..]`. Whole chunks are
/// copied, so what lies up to a chunk behind is overwritten.
///
/// # Panics
/// When a chunk does not lie inside `from` or `to`.
pub(crate) fn gather(from: &[i8], lines: Lines, to: &mut [i8]) {
    let end = |first: usize, inner: [usize; 2], outer: [usize; 2]| {
        let last = |[count, by]: [usize; 2]| count.saturating_sub(1).checked_mul(by);
        let at = first.checked_add(last(inner)?)?.checked_add(last(outer)?)?;
        at.checked_add(CHUNK)
    };
    let Lines {
        start,
        count,
        apart,
        width,
        pixels,
        step,
        row,
    } = lines;
    let read = end(start, [count, apart], [pixels, step]);
    let written = end(0, [count, width], [pixels, row]);
    assert!(
        read.is_some_and(|end| end <= from.len()) && written.is_some_and(|end| end <= to.len()),
        "{lines:?} from {} to {} bytes",
        from.len(),
        to.len()
    );
    // SAFETY: the ends of the last chunks were checked, and no other ends behind them.
    unsafe {
        let (from, to) = (from.as_ptr().add(start), to.as_mut_ptr());
        match count {
            // A cube and a square of three: a loop of a known length is none.
            9 => copy(from, lines, 9, to),
            3 => copy(from, lines, 3, to),
            _ => copy(from, lines, count, to),
        }
    }
}

/// # Safety
/// Every chunk of `count` lines must lie inside what the pointers point to.
#[inline(always)]
unsafe fn copy(from: *const i8, lines: Lines, count: usize, to: *mut i8) {
    for pixel in 0..lines.pixels {
        // SAFETY: as the caller vouches for.
        unsafe {
            let (mut from, mut to) = (from.add(pixel * lines.step), to.add(pixel * lines.row));
            for _ in 0..count {
                let chunk = from.cast::<[i8; CHUNK]>().read_unaligned();
                to.cast::<[i8; CHUNK]>().write_unaligned(chunk);
                from = from.wrapping_add(lines.apart);
                to = to.wrapping_add(lines.width);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_lines_behind_each_other() {
        // Two lines of forty bytes; of each, three pixels' five bytes, two apart.
        let from: Vec<i8> = (0..80).collect();
        let lines = Lines {
            start: 1,
            count: 2,
            apart: 40,
            width: 5,
            pixels: 3,
            step: 2,
            row: 12,
        };
        let mut to = [0; 3 * 12 + CHUNK];
        gather(&from, lines, &mut to);
        assert_eq!(to[..10], [1, 2, 3, 4, 5, 41, 42, 43, 44, 45]);
        assert_eq!(to[12..22], [3, 4, 5, 6, 7, 43, 44, 45, 46, 47]);
        assert_eq!(to[24..34], [5, 6, 7, 8, 9, 45, 46, 47, 48, 49]);
    }

    #[test]
    #[should_panic(expected = "from 60 to 52 bytes")]
    fn does_not_read_behind_the_end() {
        let lines = Lines {
            start: 1,
            count: 2,
            apart: 40,
            width: 5,
            pixels: 3,
            step: 2,
            row: 12,
        };
        gather(&[0; 60], lines, &mut [0; 52]);
    }
}
