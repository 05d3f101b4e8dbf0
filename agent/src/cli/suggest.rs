//! The word that was probably meant.

/// The known word nearest to a mistyped one, if any is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = 1 + word.chars().count() / 3;
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= near)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed, replaced, or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let mut best = (last[column] + usize::from(a != b))
                .min(last[column + 1] + 1)
                .min(current[column] + 1);
            if row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 4] = ["migrate", "nodes", "ps", "status"];

    #[test]
    fn a_mistyped_word_finds_the_one_meant_and_nonsense_finds_none() {
        assert_eq!(nearest("nods", KNOWN), Some("nodes"));
        assert_eq!(nearest("migarte", KNOWN), Some("migrate"));
        assert_eq!(nearest("sp", KNOWN), Some("ps"));
        assert_eq!(nearest("frobnicate", KNOWN), None);
    }

    proptest! {
        #[test]
        fn a_word_is_nearest_to_itself(index in 0..KNOWN.len()) {
            prop_assert_eq!(nearest(KNOWN[index], KNOWN), Some(KNOWN[index]));
        }

        #[test]
        fn the_distance_is_the_same_in_both_directions(left: String, right: String) {
            prop_assert_eq!(distance(&left, &right), distance(&right, &left));
        }
    }
}
