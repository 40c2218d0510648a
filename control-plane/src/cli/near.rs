//! The word that somebody most likely meant.
//!
//! Pure: how many letters must be put in, taken out, exchanged or swapped with their neighbour to come from one to the
//! other. Invariant: nothing is suggested that shares too little with what was written.

/// The nearest of some words, when one is near enough.
pub(super) fn nearest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if given.chars().count() > GIVEN_CHARS_MAX {
        return None;
    }
    let far = given.chars().count().div_ceil(3).max(1);
    let counted = known.into_iter().map(|word| (distance(given, word), word));
    counted.filter(|(count, _)| *count <= far).min().map(|(_, word)| word)
}

/// Edits between two words; two neighbours that changed places are one.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<_>, Vec<_>) = (from.chars().collect(), to.chars().collect());
    let mut before = vec![0; to.len() + 1];
    let mut last: Vec<_> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let mut least =
                (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(letter != other));
            if i > 0 && j > 0 && *letter == to[j - 1] && from[i - 1] == *other {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

/// Nobody mistypes a longer word.
const GIVEN_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_strange_one_is_not() {
        let known = ["cache", "guard", "upstream", "cache_policy", "hosts"];
        for (given, expected) in [
            ("cahce", Some("cache")),
            ("upsteam", Some("upstream")),
            ("host", Some("hosts")),
            ("cache_polcy", Some("cache_policy")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(nearest(&"x".repeat(9999), known), None);
        assert_eq!((distance("kitten", "sitting"), distance("ab", "ba")), (3, 1));
    }
}
