//! How many frames there are and are wanted -> which.

/// Indices of `count` frames spread evenly over `total`, the first and the last among them, ascending: numpy's
/// `linspace(0, total - 1, count)`, truncated. A clip of fewer frames gives each of them, and its last again until there are
/// `count`. Nothing at all is taken of nothing.
pub fn spread(total: usize, count: usize) -> Vec<usize> {
    if total == 0 {
        return vec![];
    }
    let last = total - 1;
    if total < count {
        return (0..count).map(|i| i.min(last)).collect();
    }
    // In the floating-point operations of numpy, so that its roundings are ours: the step first, then its multiples, and the
    // end set by hand.
    let step = last as f64 / (count.saturating_sub(1)).max(1) as f64;
    (0..count)
        .map(|i| {
            if i + 1 == count && count > 1 {
                last
            } else {
                (i as f64 * step) as usize
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn indices_by_hand() {
        for (total, count, expected) in [
            (0, 4, &[][..]),
            (1, 3, &[0, 0, 0]),
            (3, 5, &[0, 1, 2, 2, 2]),
            (4, 4, &[0, 1, 2, 3]),
            (7, 3, &[0, 3, 6]),
            (3, 2, &[0, 2]),
            // 29 / 3: 9.67 and 19.33 lose their fractions.
            (30, 4, &[0, 9, 19, 29]),
            (5, 1, &[0]),
            (5, 0, &[]),
        ] {
            assert_eq!(spread(total, count), expected, "{count} of {total}");
        }
    }

    /// `numpy.linspace(0, total - 1, 16).astype(int)`, numpy 2.4.
    #[test]
    fn indices_are_numpys() {
        for (total, expected) in [
            (16, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
            (17, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16]),
            (
                94,
                [0, 6, 12, 18, 24, 31, 37, 43, 49, 55, 62, 68, 74, 80, 86, 93],
            ),
            (
                500,
                [
                    0, 33, 66, 99, 133, 166, 199, 232, 266, 299, 332, 365, 399, 432, 465, 499,
                ],
            ),
        ] {
            assert_eq!(spread(total, 16), expected, "{total}");
        }
    }

    proptest! {
        #[test]
        fn indices_ascend_from_the_first_frame_to_the_last(total in 1usize..300_000, count in 2usize..70) {
            let indices = spread(total, count);
            prop_assert_eq!(indices.len(), count);
            prop_assert_eq!((indices[0], indices[count - 1]), (0, total - 1));
            prop_assert!(indices.is_sorted());
            let exact = |i: usize| i * (total - 1) / (count - 1);
            // Off by one where the exact value is whole, and never more.
            prop_assert!(total < count || (0..count).all(|i| exact(i) - indices[i] <= 1));
        }
    }
}
