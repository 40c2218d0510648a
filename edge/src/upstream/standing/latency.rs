//! How long an upstream takes to begin an answer: the mean of late, and what 19 of 20 stay below.
//!
//! Pure. Invariant: what was measured long ago says nothing any more, so that a slow upstream is tried again.

use std::time::{Duration, SystemTime};

/// Times of one upstream.
#[derive(Debug)]
pub(super) struct Latency {
    mean_s: f64,
    counts: [u32; BUCKETS],
    total: u32,
    last: Option<SystemTime>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { mean_s: 0.0, counts: [0; BUCKETS], total: 0, last: None }
    }
}

impl Latency {
    /// An answer began after this time.
    pub(super) fn record(&mut self, took: Duration, now: SystemTime) {
        let seconds = took.as_secs_f64();
        let weight = if self.mean(now).is_some() { WEIGHT } else { 1.0 };
        self.mean_s += weight * (seconds - self.mean_s);
        self.last = Some(now);
        self.counts[bucket(seconds)] += 1;
        self.total += 1;
        if self.total >= HALVE_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// A request was given up after this time without an answer: it takes at least that.
    pub(super) fn at_least(&mut self, took: Duration, now: SystemTime) {
        if self.mean(now).is_some_and(|mean| took > mean) {
            self.record(took, now);
        }
    }

    /// The mean of late; `None` when there was nothing of late.
    pub(super) fn mean(&self, now: SystemTime) -> Option<Duration> {
        let age = now.duration_since(self.last?).unwrap_or_default();
        (age <= FORGET_AFTER).then(|| Duration::from_secs_f64(self.mean_s))
    }

    /// What 19 of 20 answers stay below; `None` when there are too few to say.
    pub(super) fn p95(&self) -> Option<Duration> {
        if self.total < P95_MIN {
            return None;
        }
        let wanted = self.total - self.total / 20;
        let mut below = 0;
        let place = self.counts.iter().position(|count| {
            below += count;
            below >= wanted
        })?;
        Some(Duration::from_secs_f64(FIRST_S * STEP.powi(i32::try_from(place).ok()?)))
    }
}

/// Whose mean stands out from the best of the others. Unknown ones neither stand out nor are compared with.
pub(in crate::upstream) fn outliers(means: &[Option<Duration>]) -> Vec<bool> {
    let stands_out = |(place, mean): (usize, &Option<Duration>)| {
        let others = means.iter().enumerate().filter(|(other, _)| *other != place);
        let best = others.filter_map(|(_, other)| *other).min();
        matches!((mean, best), (Some(mean), Some(best)) if *mean > best * OUTLIER_FACTOR + OUTLIER_MARGIN)
    };
    means.iter().enumerate().map(stands_out).collect()
}

fn bucket(seconds: f64) -> usize {
    let place = ((seconds.max(FIRST_S) / FIRST_S).ln() / STEP.ln()).ceil();
    // Truncation is the point; the value is neither negative nor large.
    (place as usize).min(BUCKETS - 1)
}

/// A new time counts a tenth.
const WEIGHT: f64 = 0.1;
/// Buckets grow by a quarter from 1 ms to about 40 s.
const FIRST_S: f64 = 0.001;
const STEP: f64 = 1.25;
const BUCKETS: usize = 48;
/// Older times fade away.
const HALVE_AT: u32 = 512;
/// Fewer times say nothing about the slowest of 20.
const P95_MIN: u32 = 20;
/// How long a mean counts; then the upstream is asked in its place again.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// Three times the best and a bit is slow, not just farther away.
const OUTLIER_FACTOR: u32 = 3;
const OUTLIER_MARGIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_slowest_of_twenty_sets_the_limit() {
        let mut latency = Latency::default();
        for n in 0..19 {
            latency.record(MS(10 + n % 3), UNIX_EPOCH);
        }
        assert_eq!(latency.p95(), None, "too few");
        for n in 0..181 {
            latency.record(if n % 50 == 0 { MS(900) } else { MS(10) }, UNIX_EPOCH);
        }
        let p95 = latency.p95().unwrap();
        assert!((MS(10)..MS(16)).contains(&p95), "{p95:?}");
    }

    #[test]
    fn the_mean_follows_and_is_forgotten() {
        let mut latency = Latency::default();
        assert_eq!(latency.mean(UNIX_EPOCH), None);
        latency.record(MS(100), UNIX_EPOCH);
        assert_eq!(latency.mean(UNIX_EPOCH), Some(MS(100)));
        (0..50).for_each(|_| latency.record(MS(20), UNIX_EPOCH));
        assert!(latency.mean(UNIX_EPOCH).unwrap() < MS(25));
        assert_eq!(latency.mean(UNIX_EPOCH + Duration::from_secs(11)), None);
        latency.record(MS(300), UNIX_EPOCH + Duration::from_secs(20));
        assert_eq!(latency.mean(UNIX_EPOCH + Duration::from_secs(20)), Some(MS(300)));
        latency.at_least(MS(10), UNIX_EPOCH + Duration::from_secs(20));
        assert_eq!(latency.mean(UNIX_EPOCH + Duration::from_secs(20)), Some(MS(300)));
    }

    #[test]
    fn who_stands_out_is_found() {
        for (means, expected) in [
            (vec![Some(MS(10)), Some(MS(200)), Some(MS(20))], vec![false, true, false]),
            (vec![Some(MS(10)), Some(MS(70))], vec![false, false]),
            (vec![Some(MS(1000)), None], vec![false, false]),
            (vec![], vec![]),
        ] {
            assert_eq!(outliers(&means), expected, "{means:?}");
        }
    }

    proptest! {
        #[test]
        fn the_limit_is_at_least_what_most_took_and_not_much_more(times in prop::collection::vec(1u64..20_000, 20..400)) {
            let mut latency = Latency::default();
            times.iter().for_each(|time| latency.record(MS(*time), UNIX_EPOCH));
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let exact = MS(sorted[(sorted.len() - sorted.len() / 20) - 1]);
            let p95 = latency.p95().unwrap();
            prop_assert!(p95 + MS(1) >= exact && p95 <= exact.mul_f64(1.26) + MS(1), "{p95:?} {exact:?}");
        }
    }
}
