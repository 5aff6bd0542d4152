//! Planes of luma and chroma -> upright RGB, with the matrix and the range that the stream names.
//!
//! Each chroma sample stands for the four pixels it was made of, and products are rounded down: so do the vector code of ffmpeg's
//! libswscale, and OpenCV's reader through it, where they do not scale. The levels are theirs.

use ephemera_vision::Rgb;

/// How colours were made (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour {
    /// The code of the matrix, table 4.
    pub(crate) matrix: u8,
    /// Samples use all of 0..=255, not 16..=235 and 16..=240.
    pub(crate) full_range: bool,
}

impl Colour {
    pub(crate) const UNSPECIFIED: u8 = 2;

    /// Red of Cr, blue of Cb, green of Cb and of Cr, which are taken off; for samples of the limited range, in 1 / 65536. What is
    /// not named is BT.601, whatever the size, because ffmpeg takes it for that.
    fn chroma(self) -> [i32; 4] {
        match self.matrix {
            // BT.709.
            1 => [117_489, 138_438, 13_975, 34_925],
            // FCC.
            4 => [104_448, 132_798, 24_759, 53_109],
            // SMPTE 240M.
            7 => [117_579, 136_230, 16_907, 35_559],
            // BT.2020.
            9 | 10 => [110_013, 140_363, 12_277, 42_626],
            _ => [104_597, 132_201, 25_675, 53_279],
        }
    }
}

/// How the picture is to be turned: first the axes are swapped, then each may run the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn {
    swap: bool,
    flip_x: bool,
    flip_y: bool,
}

impl Turn {
    /// Of a matrix that takes `(x, y)` to `(a x + c y, b x + d y)`. Only quarter turns and mirrors are; others are none.
    pub(crate) fn of(a: i32, b: i32, c: i32, d: i32) -> Turn {
        let turn = |swap, x: i32, y: i32| Turn {
            swap,
            flip_x: x < 0,
            flip_y: y < 0,
        };
        match (a, b, c, d) {
            (a, 0, 0, d) if a != 0 && d != 0 => turn(false, a, d),
            (0, b, c, 0) if b != 0 && c != 0 => turn(true, c, b),
            _ => Turn::default(),
        }
    }
}

/// A decoded picture: luma at full size, chroma at half, both sides rounded down.
#[derive(Debug)]
pub(super) struct Planes {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) y: Vec<u8>,
    pub(super) u: Vec<u8>,
    pub(super) v: Vec<u8>,
}

/// The part of a picture that is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Converts, cuts and turns a picture. `None` if the window does not lie in it, or its planes are too short.
pub(super) fn convert(planes: &Planes, window: Window, colour: Colour, turn: Turn) -> Option<Rgb> {
    let half = planes.width / 2;
    let inside = window.left + window.width <= half * 2
        && window.top + window.height <= planes.height / 2 * 2
        && planes.y.len() >= planes.width * planes.height
        && planes.u.len().min(planes.v.len()) >= half * (planes.height / 2);
    if !inside {
        return None;
    }
    let (width, height) = if turn.swap {
        (window.height, window.width)
    } else {
        (window.width, window.height)
    };
    let levels = Levels::new(colour);
    let mut data = vec![0; width * height * 3];
    // Where the next pixel of a row, and the next row, go.
    let (step_x, step_y) = if turn.swap { (width, 1) } else { (1, width) };
    let (first_x, first_y) = if turn.swap {
        (turn.flip_y, turn.flip_x)
    } else {
        (turn.flip_x, turn.flip_y)
    };
    let at = |i: usize, side: usize, flipped: bool| if flipped { side - 1 - i } else { i };
    for row in 0..window.height {
        let y = window.top + row;
        let luma = &planes.y[y * planes.width + window.left..][..window.width];
        let blue = &planes.u[y / 2 * half..][..half];
        let red = &planes.v[y / 2 * half..][..half];
        let start = at(row, window.height, first_y) * step_y;
        for (column, &luma) in luma.iter().enumerate() {
            let chroma = (window.left + column) / 2;
            let pixel = levels.pixel(luma, blue[chroma], red[chroma]);
            let to = start + at(column, window.width, first_x) * step_x;
            data[to * 3..][..3].copy_from_slice(&pixel);
        }
    }
    Rgb::new(width, height, data)
}

/// Factors in 1 / 8192, for samples in eighths of a level.
struct Levels {
    black: i32,
    luma: i32,
    /// Red of Cr, blue of Cb, green of Cb and of Cr.
    chroma: [i32; 4],
}

impl Levels {
    fn new(colour: Colour) -> Levels {
        let [red, blue, green_cb, green_cr] = colour.chroma();
        let mut chroma = [red, blue, -green_cb, -green_cr];
        // 255 / 219 where black is 16.
        let (mut black, mut luma) = (16, 76_309);
        if colour.full_range {
            (black, luma) = (0, 65_536);
            chroma = chroma.map(|factor| factor * 224 / 255);
        }
        let narrow = |factor: i32| (factor + 4) >> 3;
        Levels {
            black,
            luma: narrow(luma),
            chroma: chroma.map(narrow),
        }
    }

    /// Each product is rounded down to a level before they are added.
    fn pixel(&self, y: u8, cb: u8, cr: u8) -> [u8; 3] {
        let product = |sample: u8, zero: i32, factor: i32| {
            let eighths = (i32::from(sample) - zero) * 8;
            (eighths * factor) >> 16
        };
        let luma = product(y, self.black, self.luma);
        let [red, blue, green_cb, green_cr] = self.chroma;
        [
            luma + product(cr, 128, red),
            luma + product(cb, 128, green_cb) + product(cr, 128, green_cr),
            luma + product(cb, 128, blue),
        ]
        .map(|level| level.clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_by_hand() {
        let of = |matrix, full_range| Levels::new(Colour { matrix, full_range });
        // Black, white and out of range; then pure red of BT.601 and BT.709 as whole samples: 75 + 178, 54 + 200, 76 + 178.
        let cases = [
            (of(2, false), [16, 128, 128], [0, 0, 0]),
            (of(2, false), [235, 128, 128], [255, 255, 255]),
            (of(2, false), [255, 128, 128], [255, 255, 255]),
            (of(6, false), [81, 90, 240], [253, 0, 0]),
            (of(1, false), [63, 102, 240], [254, 0, 0]),
            (of(2, true), [255, 128, 128], [255, 255, 255]),
            (of(2, true), [76, 85, 255], [254, 0, 0]),
        ];
        for (levels, [y, cb, cr], expected) in cases {
            assert_eq!(levels.pixel(y, cb, cr), expected);
        }
    }

    #[test]
    fn windows_and_turns_by_hand() {
        // Luma of the full range 0, 10, .. 70, two rows of four; no colour.
        let planes = Planes {
            width: 4,
            height: 2,
            y: (0..8).map(|i| i * 10).collect(),
            u: vec![128; 2],
            v: vec![128; 2],
        };
        let window = Window {
            left: 2,
            top: 0,
            width: 2,
            height: 2,
        };
        let colour = Colour {
            matrix: 2,
            full_range: true,
        };
        // The window shows 20 30 / 60 70.
        let cases = [
            ([1, 0, 0, 1], [20, 30, 60, 70]),
            // A quarter to the right, half, three quarters.
            ([0, 1, -1, 0], [60, 20, 70, 30]),
            ([-1, 0, 0, -1], [70, 60, 30, 20]),
            ([0, -1, 1, 0], [30, 70, 20, 60]),
            // Mirrors.
            ([-1, 0, 0, 1], [30, 20, 70, 60]),
            ([1, 0, 0, -1], [60, 70, 20, 30]),
            ([0, 1, 1, 0], [20, 60, 30, 70]),
            // No quarter turn.
            ([1, 1, -1, 1], [20, 30, 60, 70]),
        ];
        for ([a, b, c, d], expected) in cases {
            let rgb = convert(&planes, window, colour, Turn::of(a, b, c, d)).expect("inside");
            let reds: Vec<u8> = rgb.data.iter().step_by(3).copied().collect();
            assert_eq!(reds, expected, "{a} {b} {c} {d}");
        }
        let wide = Window { width: 3, ..window };
        assert!(convert(&planes, wide, colour, Turn::default()).is_none());
        let row = Window {
            height: 1,
            ..window
        };
        let turned = convert(&planes, row, colour, Turn::of(0, 1, -1, 0)).expect("inside");
        assert_eq!((turned.width, turned.height), (1, 2));
    }
}
