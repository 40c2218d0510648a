//! Percentiles of latencies: exact, by rank, of all that was measured.

use std::collections::BTreeMap;

/// Times in milliseconds.
#[derive(Debug, Default, Clone)]
pub(super) struct Times(Vec<f64>);

/// When each purge was ordered and by whom it was applied.
#[derive(Debug, Default, Clone)]
pub(super) struct Latencies {
    /// Of each PoP and purge.
    pub(super) per_pop: Times,
    /// Of each purge, at the last PoP.
    pub(super) last: Times,
    /// Purges that some PoP never applied.
    pub(super) lost: usize,
}

impl Times {
    pub(super) fn push(&mut self, ms: f64) {
        self.0.push(ms);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that at least so many of a hundred do not exceed.
    pub(super) fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }
}

impl Latencies {
    /// From when each offset was ordered, and when each PoP applied it; nanoseconds since 1970.
    pub(super) fn of(ordered: &BTreeMap<u64, u64>, applied: &[BTreeMap<u64, u64>]) -> Self {
        let mut all = Self::default();
        for (offset, ordered_ns) in ordered {
            let times: Vec<_> = applied
                .iter()
                .filter_map(|pop| pop.get(offset))
                .map(|applied_ns| applied_ns.saturating_sub(*ordered_ns) as f64 / 1e6)
                .collect();
            if times.len() < applied.len() {
                all.lost += 1;
                continue;
            }
            all.last.push(times.iter().copied().fold(0.0, f64::max));
            times.into_iter().for_each(|ms| all.per_pop.push(ms));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_rank() {
        let mut times = Times::default();
        assert!(times.percentile(50.0).is_nan());
        (1..=100).rev().for_each(|ms| times.push(f64::from(ms)));
        let found = [0.0, 50.0, 99.0, 99.5, 100.0].map(|percent| times.percentile(percent));
        assert_eq!(found, [1.0, 50.0, 99.0, 100.0, 100.0]);
    }

    #[test]
    fn the_last_pop_counts_and_what_is_missing_is_lost() {
        let ordered = BTreeMap::from([(1, 1_000_000), (2, 2_000_000)]);
        let applied =
            [BTreeMap::from([(1, 3_000_000), (2, 9_000_000)]), BTreeMap::from([(1, 6_000_000)])];
        let all = Latencies::of(&ordered, &applied);
        assert_eq!((all.lost, all.last.percentile(100.0), all.per_pop.len()), (1, 5.0, 2));
        assert_eq!(all.per_pop.percentile(1.0), 2.0);
    }
}
