//! A line's picture -> which of its pixels are ink.

use ephemera_vision::Rgb;

/// What tells ink from the ground that it is on, light on dark as well as dark on light.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ink {
    /// The median of the picture.
    ground: u8,
    /// Half of the contrast.
    least: u8,
}

impl Ink {
    /// As a picture has it. One without pixels has no ink.
    pub(crate) fn of(picture: &Rgb) -> Ink {
        let mut counts = [0usize; 256];
        for y in 0..picture.height {
            greens(picture, y).for_each(|v| counts[usize::from(v)] += 1);
        }
        let total: usize = counts.iter().sum();
        let mut below = 0;
        let ground = counts.iter().position(|&count| {
            below += count;
            2 * below >= total
        });
        let used = |v: &usize| counts[*v] > 0;
        let (low, high) = ((0..256).find(used), (0..256).rfind(used));
        let [ground, low, high] = [ground, low, high].map(|level| level.unwrap_or(0) as u8);
        Ink {
            ground,
            least: ground.saturating_sub(low).max(high.saturating_sub(ground)) / 2,
        }
    }

    /// For each pixel of a row whether it is ink.
    pub(crate) fn row(self, picture: &Rgb, y: usize) -> impl Iterator<Item = bool> {
        greens(picture, y).map(move |v| v.abs_diff(self.ground) > self.least)
    }
}

/// Green is most of the luma.
fn greens(picture: &Rgb, y: usize) -> impl Iterator<Item = u8> {
    picture.row(y).chunks_exact(3).map(|pixel| pixel[1])
}
