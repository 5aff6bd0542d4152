//! Upright rectangles, and how they lie to each other.

use ephemera_vision::Quad;

/// The upright rectangle around something, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Extent {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Extent {
    pub(super) fn of(quad: &Quad) -> Extent {
        Extent::around(quad.iter().map(|p| Extent {
            left: p.x,
            top: p.y,
            right: p.x,
            bottom: p.y,
        }))
    }

    /// Around nothing it is inside out.
    pub(super) fn around(parts: impl Iterator<Item = Extent>) -> Extent {
        let nothing = Extent {
            left: f32::MAX,
            top: f32::MAX,
            right: f32::MIN,
            bottom: f32::MIN,
        };
        parts.fold(nothing, |a, b| Extent {
            left: a.left.min(b.left),
            top: a.top.min(b.top),
            right: a.right.max(b.right),
            bottom: a.bottom.max(b.bottom),
        })
    }

    pub(super) fn width(&self) -> f32 {
        self.right - self.left
    }

    pub(super) fn height(&self) -> f32 {
        self.bottom - self.top
    }

    pub(super) fn middle_x(&self) -> f32 {
        (self.left + self.right) / 2.0
    }

    pub(super) fn middle_y(&self) -> f32 {
        (self.top + self.bottom) / 2.0
    }

    /// Shared part of the lower one's height.
    pub(super) fn overlap_y(&self, other: &Extent) -> f32 {
        (self.bottom.min(other.bottom) - self.top.max(other.top))
            / self.height().min(other.height()).max(1.0)
    }

    /// Pixels that both cover from left to right; negative: the gap between them.
    pub(super) fn shared_x(&self, other: &Extent) -> f32 {
        self.right.min(other.right) - self.left.max(other.left)
    }

    /// Pixels that both cover from top to bottom; negative: the gap between them.
    pub(super) fn shared_y(&self, other: &Extent) -> f32 {
        self.bottom.min(other.bottom) - self.top.max(other.top)
    }
}

/// The middle one of some values, the upper of two; `None` of none.
pub(super) fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied()
}
