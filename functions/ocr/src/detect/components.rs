//! A map of probabilities -> its connected regions, as runs of pixels.

/// A stretch of pixels of one row: columns `start..end` of row `y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) y: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The regions of pixels above `threshold` that touch by a side or a corner, in the order of their first pixel; within
/// a region, runs from top to bottom, left to right. `map`: `[height, width]`.
pub(super) fn components(map: &[f32], width: usize, threshold: f32) -> Vec<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    // Parent of each run; a region's root is its first run.
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0..0;
    for (y, row) in map.chunks_exact(width).enumerate() {
        let first = runs.len();
        let mut x = 0;
        while x < width {
            // A comparison that NaN fails.
            let text = |x: usize| row[x] > threshold;
            if !text(x) {
                x += 1;
                continue;
            }
            let start = x;
            while x < width && text(x) {
                x += 1;
            }
            let index = runs.len();
            runs.push(Run { y, start, end: x });
            parents.push(index);
            // Runs above that end left of this one, corner contact counted, cannot touch any later run either.
            while above.start < above.end && runs[above.start].end < start {
                above.start += 1;
            }
            for touching in above.clone().take_while(|&i| runs[i].start <= x) {
                union(&mut parents, touching, index);
            }
        }
        above = first..runs.len();
    }

    let mut regions: Vec<Vec<Run>> = Vec::new();
    let mut region_of = vec![usize::MAX; runs.len()];
    for (i, &run) in runs.iter().enumerate() {
        let root = find(&mut parents, i);
        if root == i {
            region_of[i] = regions.len();
            regions.push(Vec::new());
        }
        regions[region_of[root]].push(run);
    }
    regions
}

fn find(parents: &mut [usize], mut i: usize) -> usize {
    while parents[i] != i {
        // Halve the path on the way.
        parents[i] = parents[parents[i]];
        i = parents[i];
    }
    i
}

fn union(parents: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(parents, a), find(parents, b));
    parents[a.max(b)] = a.min(b);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regions of a drawing, each as the list of its runs `(y, start, end)`.
    fn regions(drawing: &[&str]) -> Vec<Vec<(usize, usize, usize)>> {
        let map: Vec<f32> = drawing
            .iter()
            .flat_map(|row| row.bytes().map(|b| if b == b'#' { 1.0 } else { 0.0 }))
            .collect();
        components(&map, drawing[0].len(), 0.3)
            .into_iter()
            .map(|runs| runs.into_iter().map(|r| (r.y, r.start, r.end)).collect())
            .collect()
    }

    #[test]
    fn corners_touch() {
        assert_eq!(
            regions(&["#..", ".#.", "..#"]),
            [vec![(0, 0, 1), (1, 1, 2), (2, 2, 3)]]
        );
        assert_eq!(
            regions(&["..#", ".#.", "#.."]),
            [vec![(0, 2, 3), (1, 1, 2), (2, 0, 1)]]
        );
        assert_eq!(regions(&["#..", "..#"]).len(), 2);
    }

    #[test]
    fn a_u_is_one_region_and_its_inside_another() {
        let expected = [
            vec![(0, 0, 1), (0, 4, 5), (1, 0, 1), (1, 4, 5), (2, 0, 5)],
            vec![(0, 2, 3)],
        ];
        assert_eq!(regions(&["#.#.#", "#...#", "#####"]), expected);
    }

    #[test]
    fn a_comb_joins_late() {
        assert_eq!(regions(&["#.#.#.#", "#######"]).len(), 1);
        assert_eq!(regions(&["#######", "#.#.#.#"]).len(), 1);
        assert_eq!(regions(&["##..##", "......", "##..##"]).len(), 4);
        assert_eq!(regions(&["......"]).len(), 0);
    }
}
