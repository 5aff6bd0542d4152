//! Elements picked along each axis: padding, strided slices, resizing to the nearest.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::sample::Sample;

/// Where one axis of the output takes its elements from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pick {
    /// From where they stand.
    All,
    /// `start + i * step`; with a negative step `start` counts from the last, backwards.
    Step {
        start: i64,
        step: i64,
        outside: Outside,
    },
    /// From the nearest.
    Nearest(Sample),
    /// From these.
    Each(Vec<usize>),
}

/// What stands where an index is outside the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outside {
    /// A given value.
    Fill,
    /// The first or last element.
    Edge,
    /// The elements in reverse, the edge not repeated.
    Reflect,
    /// The elements from the other end.
    Wrap,
}

impl Pick {
    /// The index in an input of `from` elements for each of `to`; `None` where the fill stands.
    fn indices(&self, from: usize, to: usize) -> anyhow::Result<Vec<Option<usize>>> {
        let (last, extent) = (from as i64 - 1, from as i64);
        let index = |i: usize| match self {
            Self::All => Some(i).filter(|&i| i < from),
            Self::Nearest(sample) => Some(sample.nearest(i, from, to)).filter(|_| from > 0),
            Self::Each(indices) => indices.get(i).copied().filter(|&at| at < from),
            Self::Step {
                start,
                step,
                outside,
            } => {
                let first = if *step < 0 {
                    last.saturating_sub(*start)
                } else {
                    *start
                };
                let at = step.saturating_mul(i as i64).saturating_add(first);
                if extent == 0 {
                    return None;
                }
                let at = match outside {
                    Outside::Fill => at,
                    Outside::Edge => at.clamp(0, last),
                    Outside::Wrap => at.rem_euclid(extent),
                    Outside::Reflect => {
                        let period = (2 * last).max(1);
                        let at = at.rem_euclid(period);
                        at.min(period - at)
                    }
                };
                usize::try_from(at).ok().filter(|&at| at < from)
            }
        };
        let indices: Vec<_> = (0..to).map(index).collect();
        let filled = matches!(
            self,
            Self::Step {
                outside: Outside::Fill,
                ..
            }
        );
        ensure!(
            filled || indices.iter().all(Option::is_some),
            "{to} elements picked from {from}"
        );
        Ok(indices)
    }
}

/// `out[i, j, ...] = x[picks[0](i), picks[1](j), ...]`, `fill` where one of them is outside.
#[inline(always)]
pub(super) fn pick<T: Copy>(
    picks: &[Pick],
    fill: T,
    x: &[T],
    shape: &[usize],
    out: &mut [T],
    out_shape: &[usize],
) -> anyhow::Result<()> {
    ensure!(
        picks.len() == shape.len() && shape.len() == out_shape.len(),
        "{shape:?} to {out_shape:?} by {} picks",
        picks.len()
    );
    // Axes at the end that stay whole are one run of elements.
    let whole = |axis: &usize| picks[*axis] == Pick::All && shape[*axis] == out_shape[*axis];
    let kept = (0..shape.len()).rev().take_while(whole).count();
    let outer = shape.len() - kept;
    let run: usize = shape[outer..].iter().product();
    let mut offsets = Vec::with_capacity(outer);
    for axis in 0..outer {
        let stride: usize = shape[axis + 1..].iter().product();
        let indices = picks[axis].indices(shape[axis], out_shape[axis])?;
        let scaled = indices.into_iter().map(|index| Some(index? * stride));
        offsets.push(scaled.collect::<Vec<_>>());
    }
    if out.is_empty() {
        return Ok(());
    }
    let mut index = vec![0; outer];
    for out in out.chunks_exact_mut(run) {
        let at = index
            .iter()
            .zip(&offsets)
            .try_fold(0, |at, (&i, offsets)| Some(at + offsets[i]?));
        match at {
            Some(at) => out.copy_from_slice(&x[at..at + run]),
            None => out.fill(fill),
        }
        for axis in (0..outer).rev() {
            index[axis] += 1;
            if index[axis] < out_shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pick: Pick, to: usize) -> anyhow::Result<Vec<i8>> {
        let mut out = vec![0; to];
        super::pick(&[pick], 9, &[1, 2, 3, 4], &[4], &mut out, &[to])?;
        Ok(out)
    }

    fn step(start: i64, step: i64, outside: Outside) -> Pick {
        Pick::Step {
            start,
            step,
            outside,
        }
    }

    #[test]
    fn pads_in_four_ways() {
        for (outside, expected) in [
            (Outside::Fill, [9, 9, 1, 2, 3, 4, 9]),
            (Outside::Edge, [1, 1, 1, 2, 3, 4, 4]),
            (Outside::Reflect, [3, 2, 1, 2, 3, 4, 3]),
            (Outside::Wrap, [3, 4, 1, 2, 3, 4, 1]),
        ] {
            let padded = row(step(-2, 1, outside), 7).expect("a row");
            assert_eq!(padded, expected, "{outside:?}");
        }
    }

    #[test]
    fn slices_with_steps_either_way() {
        assert_eq!(row(step(1, 2, Outside::Fill), 2).expect("a row"), [2, 4]);
        assert_eq!(
            row(step(0, -1, Outside::Fill), 4).expect("a row"),
            [4, 3, 2, 1]
        );
        assert_eq!(row(step(1, -2, Outside::Fill), 2).expect("a row"), [3, 1]);
        assert!(row(Pick::All, 5).is_err(), "there is no fifth");
    }

    #[test]
    fn repeats_and_reorders() {
        assert_eq!(row(step(2, 0, Outside::Fill), 3).expect("a row"), [3, 3, 3]);
        assert_eq!(row(Pick::Each(vec![3, 0, 0]), 3).expect("a row"), [4, 1, 1]);
        assert!(row(Pick::Each(vec![4]), 1).is_err(), "there is no fifth");
        assert!(row(Pick::Each(vec![1]), 2).is_err(), "there is one");
    }

    #[test]
    fn whole_inner_axes_move_together() {
        let x = [1, 2, 3, 4, 5, 6];
        let mut out = [0; 8];
        let picks = [step(-1, 1, Outside::Fill), Pick::All];
        pick(&picks, 0, &x, &[3, 2], &mut out, &[4, 2]).expect("shapes fit");
        assert_eq!(out, [0, 0, 1, 2, 3, 4, 5, 6]);
    }
}
