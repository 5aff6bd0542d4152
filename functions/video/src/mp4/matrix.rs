//! Matrices of a movie and of its tracks (ISO/IEC 14496-12, 8.2.2 and 8.3.2) -> how a track is turned.

use super::atoms::Fields;
use crate::Error;
use crate::avc::Turn;

/// Takes `(x, y)` to `(a x + c y, b x + d y)`, in 1 / 65536. What it shifts is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrix {
    a: i64,
    b: i64,
    c: i64,
    d: i64,
}

impl Matrix {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Matrix, Error> {
        let mut number = || Ok::<i64, Error>((fields.u32()? as i32).into());
        let [a, b, _, c, d] = [number()?, number()?, number()?, number()?, number()?];
        Ok(Matrix { a, b, c, d })
    }

    /// This one, and then the other.
    pub(super) fn then(self, other: Matrix) -> Matrix {
        // Each product for itself: their sum may be more than 63 bits hold.
        let product = |x: i64, y: i64| (x * y) >> 16;
        let sum = |x: i64, y: i64, (to_x, to_y): (i64, i64)| product(x, to_x) + product(y, to_y);
        let (first, second) = ((other.a, other.c), (other.b, other.d));
        Matrix {
            a: sum(self.a, self.b, first),
            b: sum(self.a, self.b, second),
            c: sum(self.c, self.d, first),
            d: sum(self.c, self.d, second),
        }
    }

    /// The signs say it.
    pub(super) fn turn(self) -> Turn {
        let [a, b, c, d] = [self.a, self.b, self.c, self.d].map(|value| value.signum() as i32);
        Turn::of(a, b, c, d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_add_up() {
        let one = 1 << 16;
        let matrix = |a: i64, b: i64, c: i64, d: i64| Matrix {
            a: a * one,
            b: b * one,
            c: c * one,
            d: d * one,
        };
        let (none, quarter, mirror) =
            (matrix(1, 0, 0, 1), matrix(0, 1, -1, 0), matrix(-1, 0, 0, 1));
        // A point (1, 0) goes to (0, 1) by a quarter turn, to (-1, 0) by the mirror.
        let cases = [
            (none, quarter, quarter),
            (quarter, none, quarter),
            (quarter, quarter, matrix(-1, 0, 0, -1)),
            (quarter, mirror, matrix(0, 1, 1, 0)),
            (mirror, quarter, matrix(0, -1, -1, 0)),
        ];
        for (first, second, expected) in cases {
            assert_eq!(first.then(second), expected);
        }
        let smallest = i64::from(i32::MIN);
        let largest = Matrix {
            a: smallest,
            b: smallest,
            c: smallest,
            d: smallest,
        };
        assert_eq!(largest.then(largest).turn(), Turn::default());
    }
}
