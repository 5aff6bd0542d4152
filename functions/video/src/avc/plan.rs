//! Wanted frames -> what has to be decoded for them, and what that costs, before any of it is done.

use super::units::Access;
use crate::{Error, Limits};

/// A frame that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its number in presentation order.
    pub(super) index: usize,
    /// Its sample.
    pub(super) sample: usize,
}

/// Samples that are decoded one behind the other, from one where decoding can begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: usize,
    /// What is handed out, in presentation order.
    pub(super) wanted: Vec<Wanted>,
}

/// What the samples are, up to the last that is needed.
pub(super) struct Samples {
    access: Vec<Access>,
    /// For each, where decoding begins.
    start: Vec<u32>,
    /// For each, how many before it are referred to.
    references: Vec<u32>,
}

impl Samples {
    pub(super) fn new(samples: impl Iterator<Item = Access>) -> Samples {
        let access: Vec<Access> = samples.collect();
        let mut start = Vec::with_capacity(access.len());
        let mut references = Vec::with_capacity(access.len() + 1);
        let (mut from, mut count) = (0, 0);
        for (i, access) in access.iter().enumerate() {
            if access.sync {
                from = i as u32;
            }
            start.push(from);
            references.push(count);
            count += u32::from(access.reference);
        }
        references.push(count);
        Samples {
            access,
            start,
            references,
        }
    }

    pub(super) fn is_reference(&self, sample: usize) -> bool {
        self.access[sample].reference
    }

    /// Frames that are decoded for these runs.
    fn cost(&self, runs: &[Run]) -> u64 {
        let cost = |run: &Run| {
            let mut samples: Vec<usize> = run.wanted.iter().map(|wanted| wanted.sample).collect();
            samples.sort_unstable();
            samples.dedup();
            let end = samples.last().map_or(run.from, |last| last + 1);
            let passed = self.references[end] - self.references[run.from];
            let others = samples.iter().filter(|&&i| !self.access[i].reference);
            u64::from(passed) + others.count() as u64
        };
        runs.iter().map(cost).sum()
    }

    fn runs(&self, wanted: impl Iterator<Item = Wanted>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for wanted in wanted {
            let from = self.start[wanted.sample] as usize;
            match runs.last_mut() {
                Some(run) if run.from == from => run.wanted.push(wanted),
                _ => runs.push(Run {
                    from,
                    wanted: vec![wanted],
                }),
            }
        }
        runs
    }

    /// Each wanted frame's nearest one where decoding begins, if that makes no two of them the same.
    fn snapped(&self, order: &[u32], wanted: &[Wanted]) -> Option<Vec<Wanted>> {
        let known = |sample: u32| self.access.get(sample as usize);
        let syncs: Vec<usize> = (0..order.len())
            .filter(|&index| known(order[index]).is_some_and(|access| access.sync))
            .collect();
        let mut snapped = Vec::with_capacity(wanted.len());
        for frame in wanted {
            let after = syncs.partition_point(|&index| index < frame.index);
            let near = [after.checked_sub(1), Some(after)];
            let near = near.into_iter().flatten().filter_map(|at| syncs.get(at));
            let index = *near.min_by_key(|index| index.abs_diff(frame.index))?;
            snapped.push(Wanted {
                index,
                sample: order[index] as usize,
            });
        }
        let merged = |i: usize| {
            snapped[i].index == snapped[i - 1].index && wanted[i].index != wanted[i - 1].index
        };
        (1..wanted.len()).all(|i| !merged(i)).then_some(snapped)
    }
}

/// Plans the decoding of `wanted`, which ascends. `order`: samples in presentation order; `pixels`: of a frame.
///
/// Where that is more than the limit, each frame is replaced by the nearest at which decoding can begin, if they stay different ones.
pub(super) fn plan(
    samples: &Samples,
    order: &[u32],
    wanted: &[Wanted],
    pixels: u64,
    limits: &Limits,
) -> Result<Vec<Run>, Error> {
    let runs = samples.runs(wanted.iter().copied());
    let exact = limits.check_work(samples.cost(&runs).saturating_mul(pixels));
    let Err(error) = exact else {
        return Ok(runs);
    };
    let Some(snapped) = samples.snapped(order, wanted) else {
        return Err(error);
    };
    let runs = samples.runs(snapped.into_iter());
    match limits.check_work(samples.cost(&runs).saturating_mul(pixels)) {
        Ok(()) => Ok(runs),
        Err(_) => Err(error),
    }
}

/// Most frames of a run that have been decoded and wait for others which are shown before them.
pub(super) fn most_held(run: &Run) -> usize {
    let mut samples: Vec<usize> = run.wanted.iter().map(|wanted| wanted.sample).collect();
    samples.sort_unstable();
    samples.dedup();
    let (mut held, mut most, mut next) = (0, 0, 0);
    // Uses of each, so that a frame is let go with the last.
    let mut uses = vec![0usize; samples.len()];
    let place = |sample: usize| samples.partition_point(|&other| other < sample);
    for wanted in &run.wanted {
        uses[place(wanted.sample)] += 1;
    }
    for decoded in 0..samples.len() {
        held += 1;
        most = most.max(held);
        while let Some(wanted) = run.wanted.get(next) {
            let at = place(wanted.sample);
            if at > decoded {
                break;
            }
            uses[at] -= 1;
            held -= usize::from(uses[at] == 0);
            next += 1;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `I`: decoding begins; `P`: is referred to; `b`: is not.
    fn samples(kinds: &str) -> Samples {
        Samples::new(kinds.chars().map(|kind| Access {
            sync: kind == 'I',
            reference: kind != 'b',
        }))
    }

    fn wanted(order: &[u32], indices: &[usize]) -> Vec<Wanted> {
        let wanted = |&index: &usize| Wanted {
            index,
            sample: order[index] as usize,
        };
        indices.iter().map(wanted).collect()
    }

    fn limits(frames: u64) -> Limits {
        Limits {
            max_decoded_pixels: frames * 100,
            ..Limits::default()
        }
    }

    // Decoded I P b b P b b I P b b, shown I b b P b b P I b b P.
    const KINDS: &str = "IPbbPbbIPbb";
    const ORDER: [u32; 11] = [0, 2, 3, 1, 5, 6, 4, 7, 9, 10, 8];

    #[test]
    fn only_what_is_needed_is_decoded() {
        let samples = samples(KINDS);
        // Frames and what they cost: what is referred to on the way, and themselves.
        let cases: [(&[usize], u64, &[usize]); 5] = [
            (&[0], 1, &[0]),
            (&[1, 1], 3, &[0]),
            (&[4], 4, &[0]),
            (&[6, 7], 4, &[0, 7]),
            (&[0, 10], 3, &[0, 7]),
        ];
        for (indices, cost, starts) in cases {
            let wanted = wanted(&ORDER, indices);
            let runs = plan(&samples, &ORDER, &wanted, 100, &limits(cost)).expect("enough");
            let from: Vec<usize> = runs.iter().map(|run| run.from).collect();
            assert_eq!(from, starts, "{indices:?}");
            assert_eq!(
                runs.iter()
                    .flat_map(|run| run.wanted.clone())
                    .collect::<Vec<_>>(),
                wanted
            );
            assert_eq!(samples.cost(&runs), cost, "{indices:?}");
        }
    }

    #[test]
    fn over_the_limit_frames_move_to_where_decoding_begins() {
        let samples = samples(KINDS);
        let moved = plan(&samples, &ORDER, &wanted(&ORDER, &[1, 6]), 100, &limits(2));
        let indices: Vec<usize> = moved
            .expect("two frames to begin at")
            .iter()
            .flat_map(|run| run.wanted.iter().map(|wanted| wanted.index))
            .collect();
        assert_eq!(indices, [0, 7]);
        // Two wanted frames would become one.
        let merged = plan(&samples, &ORDER, &wanted(&ORDER, &[5, 6]), 100, &limits(2));
        assert!(matches!(
            merged,
            Err(Error::TooLong {
                needed_pixels: 400,
                ..
            })
        ));
    }

    #[test]
    fn frames_that_wait_are_counted() {
        let run = |samples: &[usize]| Run {
            from: 0,
            wanted: samples
                .iter()
                .map(|&sample| Wanted { index: 0, sample })
                .collect(),
        };
        let cases: [(&[usize], usize); 5] = [
            (&[0, 1, 2], 1),
            (&[2, 1, 0], 3),
            (&[0, 2, 3, 1], 2),
            (&[5, 5, 5], 1),
            (&[1, 0, 1], 2),
        ];
        for (samples, expected) in cases {
            assert_eq!(most_held(&run(samples)), expected, "{samples:?}");
        }
    }
}
