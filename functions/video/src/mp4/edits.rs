//! When samples are shown, and an edit list -> samples in the order in which they are shown, as ffmpeg counts frames.

use super::track::Edit;
use crate::{Error, Limits};

/// Numbers of samples, in presentation order. `scale`: ticks of a second in the track and in the movie.
///
/// An edit shows the samples whose time lies in it; a pause shows none. Edits may show samples again.
pub(super) fn order(
    times: &[i64],
    edits: &[Edit],
    scale: (u32, u32),
    limits: &Limits,
) -> Result<Vec<u32>, Error> {
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    order.sort_by_key(|&i| times[i as usize]);
    if edits.iter().all(|edit| edit.start < 0) {
        return Ok(order);
    }
    let mut shown = Vec::new();
    for edit in edits.iter().filter(|edit| edit.start >= 0) {
        let end = match edit.duration {
            0 => i64::MAX,
            duration => edit.start.saturating_add(rescale(duration, scale)),
        };
        let before = |time: i64| order.partition_point(|&i| times[i as usize] < time);
        let part = &order[before(edit.start)..before(end)];
        limits.check_frames((shown.len() + part.len()) as u64)?;
        shown.extend_from_slice(part);
    }
    Ok(shown)
}

/// Ticks of the movie as ticks of the track, rounded to the nearest.
fn rescale(duration: u64, (track, movie): (u32, u32)) -> i64 {
    let movie = u128::from(movie.max(1));
    let ticks = (u128::from(duration) * u128::from(track) + movie / 2) / movie;
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(duration: u64, start: i64) -> Edit {
        Edit { duration, start }
    }

    #[test]
    fn edits_choose_and_repeat() {
        // Decoding order I P B B, shown at 2, 5, 3, 4.
        let times = [2, 5, 3, 4];
        let cases: [(&[Edit], &[u32]); 6] = [
            (&[], &[0, 2, 3, 1]),
            // Only a pause before: all of it.
            (&[edit(9, -1)], &[0, 2, 3, 1]),
            (&[edit(9, -1), edit(0, 2)], &[0, 2, 3, 1]),
            // From 3, two ticks of the movie, four of the track, half of them behind the end.
            (&[edit(1, 3)], &[2, 3]),
            (&[edit(1, 4), edit(1, 2)], &[3, 1, 0, 2]),
            (&[edit(5, 6)], &[]),
        ];
        for (edits, expected) in cases {
            let order = order(&times, edits, (20, 10), &Limits::default());
            assert_eq!(order.expect("few frames"), expected);
        }
    }

    #[test]
    fn repeats_without_end_are_refused() {
        let edits: Vec<Edit> = (0..100).map(|_| edit(0, 0)).collect();
        let limits = Limits {
            max_frames: 99,
            ..Limits::default()
        };
        let order = order(&[0], &edits, (1, 1), &limits);
        assert!(matches!(order, Err(Error::TooManyFrames { .. })));
    }
}
