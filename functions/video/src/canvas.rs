//! What an animation draws on: parts of frames in, whole frames out.

use ephemera_vision::Rgb;

/// A rectangle in pixels of the canvas. What lies outside is not drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// How pixels come onto the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blend {
    /// They replace what is there, transparency included.
    Replace,
    /// They are laid over what is there.
    Over,
}

/// What becomes of a frame's area before the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dispose {
    Keep,
    /// It becomes transparent.
    Clear,
    /// It becomes what it was before the frame.
    Restore,
}

/// The canvas: transparent at first.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    /// `[height, width, 4] u8`, RGBA, not multiplied.
    rgba: Vec<u8>,
    /// The last frame's area, and what is to become of it.
    last: Option<(Area, Dispose)>,
    /// What was there before the last frame, if that is to be restored.
    before: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Canvas {
        Canvas {
            width,
            height,
            rgba: vec![0; width * height * 4],
            last: None,
            before: Vec::new(),
        }
    }

    /// Draws the next frame: `pixels` is `[area.height, area.width, 4]`.
    pub(crate) fn draw(&mut self, area: Area, pixels: &[u8], blend: Blend, dispose: Dispose) {
        self.dispose();
        if dispose == Dispose::Restore {
            self.before.clear();
            for y in self.rows(area) {
                let row = self.span(area, y);
                self.before.extend_from_slice(&self.rgba[row]);
            }
        }
        self.last = Some((area, dispose));
        for (y, pixels) in self.rows(area).zip(pixels.chunks_exact(area.width * 4)) {
            let span = self.span(area, y);
            let row = &mut self.rgba[span];
            let pixels = &pixels[..row.len()];
            match blend {
                Blend::Replace => row.copy_from_slice(pixels),
                Blend::Over => {
                    for (under, over) in row.chunks_exact_mut(4).zip(pixels.chunks_exact(4)) {
                        lay_over(under, over);
                    }
                }
            }
        }
    }

    /// The canvas as it is now. What is transparent shows white.
    pub(crate) fn rgb(&self) -> Rgb {
        let mut data = Vec::with_capacity(self.width * self.height * 3);
        for pixel in self.rgba.chunks_exact(4) {
            let alpha = u32::from(pixel[3]);
            let over_white = |v: u8| (u32::from(v) * alpha + 255 * (255 - alpha) + 127) / 255;
            data.extend(pixel[..3].iter().map(|&v| over_white(v) as u8));
        }
        Rgb::new(self.width, self.height, data).expect("a canvas has pixels")
    }

    /// What the last frame asked for.
    fn dispose(&mut self) {
        let Some((area, dispose)) = self.last.take() else {
            return;
        };
        let mut before = &self.before[..];
        for y in self.rows(area) {
            let span = self.span(area, y);
            let row = &mut self.rgba[span];
            match dispose {
                Dispose::Keep => return,
                Dispose::Clear => row.fill(0),
                Dispose::Restore => {
                    let (saved, rest) = before.split_at(row.len());
                    row.copy_from_slice(saved);
                    before = rest;
                }
            }
        }
    }

    fn rows(&self, area: Area) -> std::ops::Range<usize> {
        area.y.min(self.height)..(area.y + area.height).min(self.height)
    }

    /// The bytes of an area in row `y`.
    fn span(&self, area: Area, y: usize) -> std::ops::Range<usize> {
        let (left, right) = (
            area.x.min(self.width),
            (area.x + area.width).min(self.width),
        );
        (y * self.width + left) * 4..(y * self.width + right) * 4
    }
}

/// Lays one pixel over another, RGBA that is not multiplied.
fn lay_over(under: &mut [u8], over: &[u8]) {
    match over[3] {
        0 => {}
        255 => under.copy_from_slice(over),
        alpha => {
            let alpha = u32::from(alpha);
            // In units of 1 / 255 of a level, of 255 in all.
            let below = u32::from(under[3]) * (255 - alpha);
            let all = alpha * 255 + below;
            for (under, &over) in under[..3].iter_mut().zip(over) {
                let sum = u32::from(over) * alpha * 255 + u32::from(*under) * below;
                *under = ((sum + all / 2) / all) as u8;
            }
            under[3] = ((all + 127) / 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 4] = [255, 0, 0, 255];
    const HALF_BLUE: [u8; 4] = [0, 0, 255, 128];
    const NOTHING: [u8; 4] = [9, 9, 9, 0];

    fn area(x: usize, width: usize) -> Area {
        Area {
            x,
            y: 0,
            width,
            height: 1,
        }
    }

    fn pixels(canvas: &Canvas) -> Vec<[u8; 3]> {
        let rgb = canvas.rgb();
        (0..rgb.width).map(|x| rgb.at(x, 0)).collect()
    }

    #[test]
    fn frames_by_hand() {
        let mut canvas = Canvas::new(3, 1);
        let white = [255; 3];
        let red = [255, 0, 0];
        canvas.draw(area(0, 2), &RED.repeat(2), Blend::Over, Dispose::Keep);
        assert_eq!(pixels(&canvas), [red, red, white]);
        // Half of blue over red: 255 * 127 / 255; over nothing it stays half of blue, and white shows through.
        let blue = HALF_BLUE.repeat(2);
        canvas.draw(area(1, 2), &blue, Blend::Over, Dispose::Restore);
        assert_eq!(pixels(&canvas), [red, [127, 0, 128], [127, 127, 255]]);
        // What was there before comes back first.
        canvas.draw(area(2, 1), &NOTHING, Blend::Over, Dispose::Keep);
        assert_eq!(pixels(&canvas), [red, red, white]);
        canvas.draw(area(0, 1), &NOTHING, Blend::Replace, Dispose::Keep);
        assert_eq!(pixels(&canvas), [white, red, white]);
        canvas.draw(area(1, 2), &RED.repeat(2), Blend::Over, Dispose::Clear);
        assert_eq!(pixels(&canvas), [white, red, red]);
        canvas.draw(area(0, 1), &RED, Blend::Over, Dispose::Keep);
        assert_eq!(pixels(&canvas), [red, white, white]);
    }

    #[test]
    fn what_lies_outside_is_not_drawn() {
        let mut canvas = Canvas::new(2, 1);
        for (x, dispose) in [
            (1, Dispose::Restore),
            (7, Dispose::Clear),
            (1, Dispose::Keep),
        ] {
            let tall = Area {
                height: 3,
                ..area(x, 5)
            };
            canvas.draw(tall, &RED.repeat(15), Blend::Over, dispose);
        }
        assert_eq!(pixels(&canvas), [[255; 3], [255, 0, 0]]);
    }
}
