//! How sure a figure is: what it might have been, had the run met other viewers and other seconds of the same kind.
//!
//! The bootstrap, by what a figure comes from:
//! - a **percentile** of n values: the value at a share drawn from Beta(q(n+1), (1-q)(n+1)), which is how the
//!   percentile of n values drawn again is distributed. Where intervals hold such values, n is first divided by the
//!   design effect: how much more the share below the percentile varies between blocks of intervals than it would
//!   between independent values. A bad minute is one event, not ten thousand.
//! - a **mean**: every count of the histogram drawn again from Poisson (neighbours put together, 256 groups).
//! - a **share** of n views: drawn from Beta(k+½, n-k+½), so that none of few is not certainly none.
//! - a **sum** over time: the intervals drawn again, and the figure moved as their ratio moves.
//!
//! Intervals are drawn in blocks of neighbours (the cube root of their number), each within its own tenth of the run:
//! what the scenario does over time, a ramp or a crowd, is the same for both runs and no chance.
//! Invariant: the same results and seed give the same draws.

use std::cell::OnceCell;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use rand_distr::{Beta, Distribution as _, Poisson};

use crate::results::{
    Histogram, Interval, Results,
    figure::{Sample, Sums, Values},
};

/// One run, to be drawn from.
pub(super) struct Bootstrap<'a> {
    results: &'a Results,
    startup: OnceCell<Vec<Ranks>>,
    first_byte: OnceCell<Vec<Ranks>>,
    loop_lag: OnceCell<Vec<Ranks>>,
}

/// Values, and how many are not above each.
struct Ranks(Vec<(u64, u64)>);

impl<'a> Bootstrap<'a> {
    pub(super) fn new(results: &'a Results) -> Self {
        let (startup, first_byte, loop_lag) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { results, startup, first_byte, loop_lag }
    }

    /// What the figure might have been, `DRAWS` times; `None` where nothing tells how it varies.
    pub(super) fn draws(&self, sample: &Sample<'_>, seed: u64) -> Option<Vec<f64>> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        match sample {
            Sample::Quantile { of, values, share, scale } => {
                let ranks = Ranks::of(values);
                let count = ranks.count() as f64 / self.design_effect(*of, *share, &mut rng);
                let below = Beta::new(share * (count + 1.0), (1.0 - share) * (count + 1.0)).ok()?;
                let draw = |_| Some(ranks.quantile(below.sample(&mut rng))? as f64 * scale);
                (0..DRAWS).map(draw).collect()
            }
            Sample::Mean { values, scale } => {
                let groups = groups(values);
                (groups.len() > 1).then_some(())?;
                (0..DRAWS).map(|_| Some(mean(&groups, &mut rng)? * scale)).collect()
            }
            Sample::Share { part, whole } => {
                (*whole > 0).then_some(())?;
                let (part, rest) = (*part as f64, whole.saturating_sub(*part) as f64);
                let share = Beta::new(part + 0.5, rest + 0.5).ok()?;
                Some((0..DRAWS).map(|_| share.sample(&mut rng)).collect())
            }
            Sample::Sums { total, trace } => {
                let length_s = self.results.interval_s()?;
                let intervals = self.results.intervals.iter();
                let blocks = Blocks::of(intervals.map(|it| trace(it, length_s)));
                let value = total.value()?;
                let measured = blocks.whole().value()?;
                (blocks.count() >= INTERVALS_MIN).then_some(())?;
                if measured == 0.0 {
                    // No interval knows of it: that is sure only if the run does not either.
                    return (value == 0.0).then(|| vec![0.0; DRAWS]);
                }
                let draw = |_| Some(value * blocks.again(&mut rng).value()? / measured);
                (0..DRAWS).map(draw).collect()
            }
            Sample::Number(_) => None,
        }
    }

    /// How much more the share below a percentile varies between blocks of intervals than independent values would
    /// make it; 1 for values that no interval holds.
    fn design_effect(&self, of: Values, share: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
        let read = |of: fn(&Interval) -> &Histogram| {
            move || self.results.intervals.iter().map(|it| Ranks::of(of(it))).collect()
        };
        let (all, ranks): (_, &Vec<Ranks>) = match of {
            Values::Startup => (of, self.startup.get_or_init(read(|it| &it.startup_ms))),
            Values::FirstByte(_) | Values::Took(_) | Values::TimeOverDuration(_) => {
                let ranks = self.first_byte.get_or_init(read(|it| &it.first_byte_us));
                (Values::FirstByte(None), ranks)
            }
            Values::LoopLag | Values::ScheduleError => {
                (Values::LoopLag, self.loop_lag.get_or_init(read(|it| &it.loop_lag_us)))
            }
            _ => return 1.0,
        };
        let Some(limit) = all.find(self.results, None).quantile(share) else { return 1.0 };
        let below = |ranks: &Ranks| Sums {
            over: ranks.count_to(limit) as f64,
            under: ranks.count() as f64,
        };
        let blocks = Blocks::of(ranks.iter().map(below));
        let whole = blocks.whole();
        let Some(mean) = whole.value().filter(|_| blocks.count() >= INTERVALS_MIN) else {
            return 1.0;
        };
        let drawn = (0..EFFECT_DRAWS).filter_map(|_| blocks.again(rng).value());
        let variance = drawn.map(|share| (share - mean).powi(2)).sum::<f64>() / EFFECT_DRAWS as f64;
        let independent = mean * (1.0 - mean) / whole.under;
        if independent > 0.0 { (variance / independent).max(1.0) } else { 1.0 }
    }
}

impl Ranks {
    fn of(values: &Histogram) -> Self {
        let mut below = 0;
        let counts = values.counts();
        Self(
            counts
                .map(|(value, count)| {
                    (value, {
                        below = u64::saturating_add(below, count);
                        below
                    })
                })
                .collect(),
        )
    }

    fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, below)| *below)
    }

    fn count_to(&self, limit: u64) -> u64 {
        let place = self.0.partition_point(|(value, _)| *value <= limit);
        place.checked_sub(1).map_or(0, |place| self.0[place].1)
    }

    fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (share * self.count() as f64).ceil() as u64;
        let place = self.0.partition_point(|(_, below)| *below < rank);
        self.0.get(place).or(self.0.last()).map(|(value, _)| *value)
    }
}

/// Intervals to be drawn from: sums up to each of them, so that a block is one difference.
struct Blocks {
    sums: Vec<Sums>,
}

impl Blocks {
    fn of(traces: impl Iterator<Item = Sums>) -> Self {
        let mut sums = vec![Sums::default()];
        for trace in traces {
            let last = sums[sums.len() - 1];
            sums.push(Sums { over: last.over + trace.over, under: last.under + trace.under });
        }
        Self { sums }
    }

    fn count(&self) -> usize {
        self.sums.len() - 1
    }

    fn whole(&self) -> Sums {
        self.sums[self.count()]
    }

    /// The sum over as many intervals as there are, drawn in blocks of neighbours; within a tenth of the run, after its
    /// last comes its first.
    fn again(&self, rng: &mut Xoshiro256PlusPlus) -> Sums {
        let length = (self.count() as f64).cbrt().ceil() as usize;
        let stretch = self.count().div_ceil(STRETCHES).max(length).max(1);
        let mut drawn = Sums::default();
        let mut add = |from: usize, to: usize| {
            drawn.over += self.sums[to].over - self.sums[from].over;
            drawn.under += self.sums[to].under - self.sums[from].under;
        };
        for begin in (0..self.count()).step_by(stretch) {
            let end = (begin + stretch).min(self.count());
            let mut left = end - begin;
            while left > 0 {
                let start = rng.random_range(begin..end);
                let block = length.min(left);
                let over = (start + block).saturating_sub(end);
                add(start, start + block - over);
                add(begin, begin + over);
                left -= block;
            }
        }
        drawn
    }
}

/// The mean with every count drawn again.
fn mean(groups: &[(f64, f64)], rng: &mut Xoshiro256PlusPlus) -> Option<f64> {
    let mut sums = Sums::default();
    for (value, count) in groups {
        let count = Poisson::new(*count).ok()?.sample(rng);
        sums.over += value * count;
        sums.under += count;
    }
    sums.value()
}

/// Values and counts, neighbours put together at their mean.
fn groups(values: &Histogram) -> Vec<(f64, f64)> {
    let each = values.count().div_ceil(GROUPS_MAX).max(1);
    let mut groups: Vec<(f64, f64)> = Vec::new();
    let mut open = (0.0, 0.0);
    for (value, count) in values.counts() {
        open.0 += value as f64 * count as f64;
        open.1 += count as f64;
        if open.1 >= each as f64 {
            groups.push((open.0 / open.1, open.1));
            open = (0.0, 0.0);
        }
    }
    if open.1 > 0.0 {
        groups.push((open.0 / open.1, open.1));
    }
    groups
}

/// Enough for the ends of an interval that holds 99 of 100.
pub(super) const DRAWS: usize = 2_000;
const EFFECT_DRAWS: usize = 200;
/// Fewer tell nothing of how they vary.
const INTERVALS_MIN: usize = 10;
const GROUPS_MAX: u64 = 256;
/// Parts of a run within which its intervals are alike.
const STRETCHES: usize = 10;

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn spread(draws: &[f64]) -> (f64, f64) {
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>();
        (mean, (variance / draws.len() as f64).sqrt())
    }

    fn about(value: f64, wanted: f64, within: f64) {
        assert!((value / wanted - 1.0).abs() < within, "{value} is not about {wanted}");
    }

    #[test]
    fn percentiles_means_and_shares_vary_as_statistics_say() {
        let results = Results::new("steady", 1);
        let bootstrap = Bootstrap::new(&results);
        let mut values = Histogram::default();
        (1..=1_000).for_each(|value| values.record(value));
        let values: Cow<'_, Histogram> = Cow::Owned(values);
        // Of n even values to 1,000: sqrt(q(1-q)/n) of the range, and sd/sqrt(n).
        let sample = Sample::Quantile {
            of: Values::Bitrate,
            values: values.clone(),
            share: 0.5,
            scale: 2.0,
        };
        let (mean, deviation) = spread(&bootstrap.draws(&sample, 3).unwrap());
        about(mean, 1_000.0, 0.01);
        about(deviation, 31.6, 0.1);
        let (mean, deviation) =
            spread(&bootstrap.draws(&Sample::Mean { values, scale: 1.0 }, 3).unwrap());
        about(mean, 500.5, 0.01);
        about(deviation, 9.13, 0.1);
        let sample = Sample::Share { part: 100, whole: 1_000 };
        let (mean, deviation) = spread(&bootstrap.draws(&sample, 3).unwrap());
        about(mean, 0.1, 0.02);
        about(deviation, 0.0095, 0.1);
        let none = bootstrap.draws(&Sample::Share { part: 0, whole: 50 }, 3).unwrap();
        assert!(none.iter().copied().fold(0.0, f64::max) > 0.02);
        assert_eq!(bootstrap.draws(&Sample::Share { part: 0, whole: 0 }, 3), None);
        assert_eq!(bootstrap.draws(&Sample::Number(Some(1.0)), 3), None);
    }

    /// A run of 400 seconds; `is_together` puts what is slow of each tenth into one stretch.
    fn run(is_together: bool) -> Results {
        let mut results = Results { duration_s: 400.0, ..Results::new("steady", 1) };
        for second in 0..400_u32 {
            let mut interval = Interval { at_s: f64::from(second), ..Interval::default() };
            let is_slow = if is_together { second % 40 < 8 } else { second % 5 == 0 };
            interval.startup_ms.record_many(if is_slow { 3_000 } else { 200 }, 20);
            interval.requests = 100;
            interval.failures = if is_slow { 50 } else { 0 };
            results.quality.startup_ms.merge(&interval.startup_ms);
            results.intervals.push(interval);
        }
        results
    }

    #[test]
    fn a_bad_stretch_makes_less_sure_than_as_many_bad_seconds() {
        let deviation = |is_together| {
            let results = run(is_together);
            let trace = |interval: &Interval, _| Sums {
                over: interval.failures as f64,
                under: interval.requests as f64,
            };
            let total = Sums { over: 4_000.0, under: 40_000.0 };
            let sample = Sample::Sums { total, trace };
            let (mean, deviation) = spread(&Bootstrap::new(&results).draws(&sample, 5).unwrap());
            about(mean, 0.1, 0.1);
            deviation
        };
        assert!(deviation(true) > 2.0 * deviation(false));

        let effect = |is_together, of| {
            let results = run(is_together);
            let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
            Bootstrap::new(&results).design_effect(of, 0.7, rng)
        };
        assert!(effect(true, Values::Startup) > 20.0);
        assert!(effect(true, Values::Startup) > 2.0 * effect(false, Values::Startup));
        assert_eq!(effect(true, Values::Stall), 1.0);
        assert_eq!(effect(true, Values::LoopLag), 1.0);
    }

    #[test]
    fn what_the_scenario_does_over_time_is_no_chance() {
        let level = |at: u32| Sums { over: f64::from(at / 10), under: 1.0 };
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(1);
        let blocks = Blocks::of((0..100).map(level));
        for _ in 0..20 {
            assert_eq!(blocks.again(rng), Sums { over: 450.0, under: 100.0 });
        }
        // Within a tenth it is: everything can come twice, or not at all.
        let blocks = Blocks::of((0..100).map(|at| level(at * 10)));
        let drawn: Vec<f64> = (0..20).map(|_| blocks.again(rng).over).collect();
        assert!(drawn.iter().any(|sum| *sum > 4_950.0) && drawn.iter().any(|sum| *sum < 4_950.0));
        assert_eq!(Blocks::of(std::iter::empty()).again(rng), Sums::default());
    }

    #[test]
    fn ranks_are_those_of_the_histogram() {
        let mut values = Histogram::default();
        (1..=500).for_each(|value| values.record(value * 7));
        let ranks = Ranks::of(&values);
        for share in [0.0, 0.1, 0.5, 0.99, 1.0] {
            assert_eq!(ranks.quantile(share), values.quantile(share), "{share}");
        }
        assert_eq!((ranks.count_to(6), ranks.count_to(7), ranks.count_to(9_999)), (0, 1, 500));
        assert_eq!(Ranks::of(&Histogram::default()).quantile(0.5), None);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let sample = Sample::Share { part: 5, whole: 50 };
        let results = Results::new("steady", 1);
        let bootstrap = Bootstrap::new(&results);
        assert_eq!(bootstrap.draws(&sample, 1), bootstrap.draws(&sample, 1));
        assert_ne!(bootstrap.draws(&sample, 1), bootstrap.draws(&sample, 2));
    }
}
