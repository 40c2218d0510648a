//! Popularity: few videos are watched by most (Zipf), and which ones changes with time.
//!
//! Invariant: the ranking of an epoch is a permutation of the catalogue, and the same whoever computes it.

use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, Zipf};
use serde::{Deserialize, Serialize};

/// How views spread over the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Popularity {
    /// Exponent of Zipf's law; 0 watches all alike. Real catalogues lie between 0.6 and 1.2.
    pub zipf_alpha: f64,
    /// How many of the most watched change at each turn.
    pub churn_head: u32,
    /// Which share (0 to 1) of them gives its place to something less watched.
    pub churn_share: f64,
    /// The time between turns; none keeps the ranking.
    #[serde(with = "humantime_serde")]
    pub churn_every: Option<Duration>,
}

impl Default for Popularity {
    fn default() -> Self {
        Self { zipf_alpha: 1.0, churn_head: 20, churn_share: 0.1, churn_every: None }
    }
}

impl Popularity {
    /// What is wrong with the values, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        if !(0.0..=ALPHA_MAX).contains(&self.zipf_alpha) {
            Some("zipf_alpha is not from 0 to 10")
        } else if !(0.0..=1.0).contains(&self.churn_share) {
            Some("churn_share is not from 0 to 1")
        } else if self.churn_every.is_some_and(|every| every < CHURN_MIN) {
            Some("churn_every is less than 100ms")
        } else {
            None
        }
    }
}

/// Who ranks where, at a time that only goes on.
#[derive(Debug, Clone)]
pub struct Ranking {
    popularity: Popularity,
    zipf: Zipf<f64>,
    /// Videos by rank, the most watched first.
    order: Vec<u32>,
    epoch: u64,
    rng: Xoshiro256PlusPlus,
}

impl Ranking {
    /// A ranking of so many videos, which begins in the catalogue's order.
    #[must_use]
    pub fn new(popularity: &Popularity, videos: usize, seed: u64) -> Self {
        let count = u32::try_from(videos.max(1)).unwrap_or(u32::MAX);
        let alpha = popularity.zipf_alpha.clamp(0.0, ALPHA_MAX);
        Self {
            popularity: popularity.clone(),
            zipf: Zipf::new(f64::from(count), alpha).expect("one video or more, alpha from 0"),
            order: (0..count).collect(),
            epoch: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed ^ SALT),
        }
    }

    /// The video that somebody who comes at this time watches. Times must not fall from call to call.
    pub fn pick(&mut self, at: Duration, draw: &mut impl Rng) -> usize {
        self.turn_to(at);
        let rank = self.zipf.sample(draw) as usize;
        self.order[rank.clamp(1, self.order.len()) - 1] as usize
    }

    /// The video that is watched most at this time, which is where a crowd goes.
    pub fn top(&mut self, at: Duration) -> usize {
        self.turn_to(at);
        self.order[0] as usize
    }

    fn turn_to(&mut self, at: Duration) {
        let Some(every) = self.popularity.churn_every.filter(|every| *every >= CHURN_MIN) else {
            return;
        };
        let epoch = (at.as_nanos() / every.as_nanos()) as u64;
        while self.epoch < epoch {
            self.epoch += 1;
            self.turn();
        }
    }

    /// Some of the head change places with anything.
    fn turn(&mut self) {
        let head = (self.popularity.churn_head as usize).min(self.order.len());
        for rank in 0..head {
            let with = self.rng.random_range(0..self.order.len());
            if self.rng.random::<f64>() < self.popularity.churn_share {
                self.order.swap(rank, with);
            }
        }
    }
}

/// Steeper is one video for all, which a list of one says more plainly.
const ALPHA_MAX: f64 = 10.0;
/// A turn costs work in proportion to the head.
const CHURN_MIN: Duration = Duration::from_millis(100);
/// Keeps these draws apart from those of other parts with the same seed.
const SALT: u64 = 0x636f_6c6c_6563_7473;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(popularity: &Popularity, at: Duration) -> Vec<u32> {
        let mut ranking = Ranking::new(popularity, 100, 5);
        let mut draw = Xoshiro256PlusPlus::seed_from_u64(9);
        let mut counts = vec![0; 100];
        for _ in 0..50_000 {
            counts[ranking.pick(at, &mut draw)] += 1;
        }
        counts
    }

    #[test]
    fn the_first_is_watched_as_often_as_zipf_says() {
        let counts = counts(&Popularity::default(), Duration::ZERO);
        // The sum of 1/n up to 100 is 5.187.
        for (rank, expected) in [(0, 9_639.0), (1, 4_820.0), (9, 964.0)] {
            let off = (f64::from(counts[rank]) - expected).abs();
            assert!(off < 6.0 * f64::sqrt(expected), "{rank}: {}", counts[rank]);
        }
        let alike = Popularity { zipf_alpha: 0.0, ..Popularity::default() };
        let counts = self::counts(&alike, Duration::ZERO);
        assert!(counts.iter().all(|count| (350..650).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_head_changes_with_time() {
        let popularity = Popularity {
            churn_every: Some(Duration::from_secs(1)),
            churn_share: 1.0,
            ..Popularity::default()
        };
        let mut before = Ranking::new(&popularity, 1_000, 5);
        let mut after = before.clone();
        assert_eq!(before.top(Duration::from_millis(999)), 0);
        let tops: Vec<usize> =
            (1..20).map(|second| after.top(Duration::from_secs(second))).collect();
        assert!(tops.iter().any(|top| *top != 0), "{tops:?}");
    }

    proptest! {
        #[test]
        fn a_ranking_stays_a_permutation_and_is_the_same_for_all(
            seed: u64, videos in 1_usize..300, steps in prop::collection::vec(0_u64..20_000, 1..20),
        ) {
            let popularity = Popularity {
                churn_every: Some(Duration::from_millis(500)),
                churn_share: 0.5,
                ..Popularity::default()
            };
            let mut steps = steps;
            steps.sort_unstable();
            let mut often = Ranking::new(&popularity, videos, seed);
            for at in &steps {
                often.top(Duration::from_millis(*at));
            }
            let mut once = Ranking::new(&popularity, videos, seed);
            once.top(Duration::from_millis(*steps.last().unwrap()));
            prop_assert_eq!(&often.order, &once.order);
            let mut sorted = once.order.clone();
            sorted.sort_unstable();
            prop_assert!(sorted.into_iter().eq(0..videos as u32));
        }
    }
}
