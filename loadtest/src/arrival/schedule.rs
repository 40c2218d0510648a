//! The schedule: one arrival after the other, and whose they are.
//!
//! Invariant: times never fall, and an arrival's number, time and draws do not depend on who else takes part.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use serde::{Deserialize, Serialize};

use super::{profile::Profile, rate::RateCurve, replay::LogEntry};

/// The beginning of one session.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// From 0, over the whole run, all workers and all agents.
    pub index: u64,
    /// Since the beginning of the run.
    pub at: Duration,
    /// It came with a crowd, for the one video.
    pub is_crowd: bool,
    /// Path of a replayed log.
    pub path: Option<Arc<str>>,
}

/// How arrivals lie around their rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// As independent people come.
    #[default]
    Poisson,
    /// At equal distances, the first at once.
    Even,
}

/// The arrivals of a run, in order.
#[derive(Debug, Clone)]
pub struct Schedule {
    source: Source,
    rng: Xoshiro256PlusPlus,
    next: u64,
    /// Which arrivals are given out: every `of`-th, from `part` on.
    part: u64,
    of: u64,
}

#[derive(Debug, Clone)]
enum Source {
    Curve { curve: RateCurve, profile: Profile, spacing: Spacing, mass: f64 },
    Log { entries: Arc<[LogEntry]>, warm_up: Duration, end: Duration, has_paths: bool },
}

impl Schedule {
    /// The arrivals of a profile, in the warm-up and after it. `entries` are those of a replay's log, which begins
    /// after the warm-up.
    #[must_use]
    pub fn new(
        profile: &Profile,
        spacing: Spacing,
        (warm_up, duration): (Duration, Duration),
        seed: u64,
        entries: Arc<[LogEntry]>,
    ) -> Self {
        let source = match profile.curve(warm_up, duration) {
            Some(curve) => Source::Curve { curve, profile: profile.clone(), spacing, mass: 0.0 },
            None => Source::Log {
                entries,
                warm_up,
                end: duration,
                has_paths: matches!(profile, Profile::Replay { paths: true, .. }),
            },
        };
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ SALT);
        Self { source, rng, next: 0, part: 0, of: 1 }
    }

    /// Only every `of`-th arrival, from number `part` on.
    #[must_use]
    pub fn part(mut self, part: u64, of: u64) -> Self {
        self.part = part;
        self.of = of.max(1);
        self
    }

    fn any(&mut self) -> Option<Arrival> {
        let index = self.next;
        self.next += 1;
        match &mut self.source {
            Source::Curve { curve, profile, spacing, mass } => {
                match spacing {
                    // The distance of two arrivals is exponential; of (0, 1] the logarithm is finite.
                    Spacing::Poisson => *mass -= (1.0 - self.rng.random::<f64>()).ln(),
                    Spacing::Even if index > 0 => *mass += 1.0,
                    Spacing::Even => {}
                }
                let seconds = curve.time_of(*mass)?;
                // Drawn for every profile, so that a crowd does not move the times.
                let is_crowd = self.rng.random::<f64>() < profile.crowd_share(curve.at(seconds));
                Some(Arrival { index, at: Duration::from_secs_f64(seconds), is_crowd, path: None })
            }
            Source::Log { entries, warm_up, end, has_paths } => {
                let entry = entries.get(usize::try_from(index).ok()?)?;
                let path = has_paths.then(|| Arc::from(entry.path.as_str()));
                let at = entry.at + *warm_up;
                (entry.at < *end).then_some(Arrival { index, at, is_crowd: false, path })
            }
        }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let arrival = self.any()?;
            if arrival.index % self.of == self.part {
                return Some(arrival);
            }
        }
    }
}

/// Keeps the schedule's draws apart from those of other parts with the same seed.
const SALT: u64 = 0x7363_6865_6475_6c65;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(profile: &Profile, seed: u64, seconds: u64) -> Schedule {
        let lasts = (Duration::ZERO, Duration::from_secs(seconds));
        Schedule::new(profile, Spacing::Poisson, lasts, seed, Arc::new([]))
    }

    #[test]
    fn even_arrivals_begin_at_once_and_keep_their_distance() {
        let profile = Profile::Constant { rate: 4.0 };
        let schedule = Schedule::new(
            &profile,
            Spacing::Even,
            (Duration::ZERO, Duration::from_secs(1)),
            1,
            Arc::new([]),
        );
        let times: Vec<u128> = schedule.map(|arrival| arrival.at.as_millis()).collect();
        assert_eq!(times, [0, 250, 500, 750]);
    }

    #[test]
    fn the_crowd_comes_when_the_rate_is_above_the_base() {
        let profile = Profile::FlashCrowd {
            base: 10.0,
            factor: 50.0,
            at: Duration::from_secs(10),
            within: Duration::from_secs(2),
            hold: Duration::from_secs(10),
        };
        let all: Vec<Arrival> = schedule(&profile, 3, 60).collect();
        let crowd = all.iter().filter(|arrival| arrival.is_crowd);
        assert!(crowd.clone().all(|arrival| (10..24).contains(&arrival.at.as_secs())));
        // Expected: 49 × 10 for each of the 10 + 2 seconds.
        let share = crowd.count() as f64 / (490.0 * 12.0);
        assert!((0.95..1.05).contains(&share), "{share}");
    }

    #[test]
    fn a_log_is_replayed_with_its_paths() {
        let entry =
            |at, path: &str| LogEntry { at: Duration::from_secs(at), path: path.to_owned() };
        let entries: Arc<[LogEntry]> = Arc::new([entry(0, "/a"), entry(1, "/b"), entry(9, "/c")]);
        let profile =
            Profile::Replay { file: "x".into(), matching: String::new(), speed: 1.0, paths: true };
        let schedule = Schedule::new(
            &profile,
            Spacing::Poisson,
            (WARM_UP, Duration::from_secs(5)),
            1,
            entries,
        );
        let all: Vec<(u64, String)> = schedule
            .map(|arrival| (arrival.at.as_secs(), arrival.path.unwrap_or_default().to_string()))
            .collect();
        assert_eq!(all, [(3, "/a".to_owned()), (4, "/b".to_owned())]);
    }

    const WARM_UP: Duration = Duration::from_secs(3);

    proptest! {
        #[test]
        fn times_never_fall_and_are_as_many_as_the_rate_says(
            seed: u64, rate in 50.0..200.0_f64, to in 50.0..200.0_f64,
        ) {
            let profile = Profile::Ramp { from: rate, to, over: Duration::from_secs(40) };
            let times: Vec<Duration> = schedule(&profile, seed, 40).map(|a| a.at).collect();
            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|at| *at <= Duration::from_secs(40)));
            // 6 standard deviations of a Poisson count.
            let expected = (rate + to) / 2.0 * 40.0;
            let off = (times.len() as f64 - expected).abs();
            prop_assert!(off <= 6.0 * expected.sqrt(), "{} of {expected}", times.len());
        }

        #[test]
        fn the_same_seed_gives_the_same_and_another_one_does_not(seed: u64) {
            let profile = Profile::Constant { rate: 20.0 };
            let one: Vec<Arrival> = schedule(&profile, seed, 10).collect();
            let two: Vec<Arrival> = schedule(&profile, seed, 10).collect();
            let other: Vec<Arrival> = schedule(&profile, seed ^ 1, 10).collect();
            prop_assert_eq!(&one, &two);
            prop_assert_ne!(&one, &other);
        }

        #[test]
        fn parts_together_are_the_whole(seed: u64, of in 1_u64..7) {
            let profile = Profile::Constant { rate: 20.0 };
            let whole: Vec<Arrival> = schedule(&profile, seed, 10).collect();
            let mut parts: Vec<Arrival> =
                (0..of).flat_map(|part| schedule(&profile, seed, 10).part(part, of)).collect();
            parts.sort_by_key(|arrival| arrival.index);
            prop_assert_eq!(whole, parts);
        }
    }
}
