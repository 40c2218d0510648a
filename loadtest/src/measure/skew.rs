//! How far the server's clock is ahead of ours, from `Date`.
//!
//! An answer that was not stored says a second in which it was made, and it was made between the request and the
//! answer. Each such answer bounds the difference from both sides; many of them leave little between.
//!
//! Invariant: an answer that lay in a cache says nothing.

/// Bounds on the difference.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Skew {
    /// Milliseconds ahead, at least and at most.
    bounds: Option<(i64, i64)>,
}

impl Skew {
    /// One answer: what it says, and when it was asked for and had come, in milliseconds since 1970.
    pub(super) fn see(&mut self, date_s: i64, age_s: Option<u64>, asked_ms: i64, came_ms: i64) {
        let is_plausible = (0..YEAR_9999_S).contains(&date_s);
        if age_s.is_some_and(|age| age > 0) || !is_plausible {
            return;
        }
        let (least, most) = (date_s * 1_000 - came_ms, date_s * 1_000 + 1_000 - asked_ms);
        self.bounds = Some(match self.bounds {
            Some((known_least, known_most)) => (known_least.max(least), known_most.min(most)),
            None => (least, most),
        });
    }

    /// Milliseconds that the server is ahead; `None` when no answer told.
    pub(super) fn estimate(&self) -> Option<i64> {
        let (least, most) = self.bounds?;
        if least <= most {
            return Some(least + (most - least) / 2);
        }
        // Servers that disagree: the worse of both.
        Some(if least.abs() > most.abs() { least } else { most })
    }
}

const YEAR_9999_S: i64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_answers_find_the_difference_within_a_few_milliseconds() {
        for ahead in [-7_300, -40, 0, 250, 90_000] {
            let mut skew = Skew::default();
            for step in 0..200_i64 {
                let asked = 1_800_000_000_000 + step * 37;
                let made = asked + 5 + ahead;
                skew.see(made.div_euclid(1_000), None, asked, asked + 10);
            }
            let estimate = skew.estimate().unwrap();
            assert!((estimate - ahead).abs() <= 25, "{ahead}: {estimate}");
        }
    }

    #[test]
    fn what_lay_in_a_cache_says_nothing() {
        let mut skew = Skew::default();
        skew.see(1_700_000_000, Some(30), 1_800_000_000_000, 1_800_000_000_010);
        skew.see(i64::MAX, None, 0, 0);
        assert_eq!(skew.estimate(), None);
    }

    #[test]
    fn servers_that_disagree_give_the_worse_one() {
        let mut skew = Skew::default();
        skew.see(1_800_000_000, None, 1_800_000_000_000, 1_800_000_000_001);
        skew.see(1_800_000_100, None, 1_800_000_000_000, 1_800_000_000_001);
        assert_eq!(skew.estimate(), Some(99_999));
    }
}
