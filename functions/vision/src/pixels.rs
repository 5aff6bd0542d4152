//! The one pixel layout that leaves this crate.

/// A picture: `data` is `[height, width, 3] u8`, RGB, top row first. Both sides are at least 1.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub data: Vec<u8>,
}

impl Rgb {
    /// Wraps pixels. `None` unless both sides are at least 1 and `data` holds exactly `width * height * 3` bytes.
    pub fn new(width: usize, height: usize, data: Vec<u8>) -> Option<Rgb> {
        let expected = width.checked_mul(height)?.checked_mul(3)?;
        (expected > 0 && data.len() == expected).then_some(Rgb {
            width,
            height,
            data,
        })
    }

    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Rgb {
        assert!(width > 0 && height > 0, "a picture has pixels");
        Rgb {
            width,
            height,
            data: colour.repeat(width * height),
        }
    }

    /// Row `y` from the top, `[width, 3]`.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width * 3..][..self.width * 3]
    }

    /// The pixel in column `x` of row `y`.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

impl std::fmt::Debug for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb({} x {})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_must_match_the_sides() {
        assert!(Rgb::new(2, 1, vec![0; 6]).is_some());
        assert!(Rgb::new(2, 1, vec![0; 5]).is_none());
        assert!(Rgb::new(0, 1, vec![]).is_none());
        assert!(Rgb::new(usize::MAX, 2, vec![]).is_none());
    }
}
