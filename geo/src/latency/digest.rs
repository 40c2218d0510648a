//! A t-digest of round trips, with weights that can fade.
//!
//! The arithmetic is the crate's; its digests cannot lose weight, so one is kept as its centroids (T. Dunning, O. Ertl,
//! "Computing extremely accurate quantiles using t-digests"), which is also how it travels.

use serde::{Deserialize, Serialize};
use tdigest::{Centroid, TDigest};

/// The most centroids: within about a percent at the median.
const CENTROIDS_MAX: usize = 20;
/// Longer round trips are no client's.
const RTT_MS_MAX: f64 = 10_000.0;
/// More samples than that at once are not believed.
const WEIGHT_MAX: f64 = 1e9;

/// A digest of round trips in ms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Digest {
    /// Mean and weight, in the order of means.
    centroids: Vec<(f64, f64)>,
}

/// Not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a digest has at most {CENTROIDS_MAX} pairs of a round trip in ms and a number of samples, in order"
)]
pub struct DigestError;

impl Digest {
    /// The digest of samples in ms; what is no round trip is left out.
    #[must_use]
    pub fn of(samples: Vec<f64>) -> Self {
        let good = samples.into_iter().filter(|ms| (0.0..=RTT_MS_MAX).contains(ms));
        Self::from_pairs(good.map(|ms| (ms, 1.0)).collect())
    }

    /// Adds another one's samples.
    pub fn merge(&mut self, other: &Self) {
        let mut pairs = std::mem::take(&mut self.centroids);
        pairs.extend_from_slice(&other.centroids);
        *self = Self::from_pairs(pairs);
    }

    /// Multiplies the weight of all samples.
    pub fn fade(&mut self, factor: f64) {
        for (_, weight) in &mut self.centroids {
            *weight *= factor;
        }
    }

    /// The same in fewer centroids: less exact, and shorter to write down.
    #[must_use]
    pub fn coarser(&self, centroids_max: usize) -> Self {
        Self::from_tdigest(&tdigest(&self.centroids, centroids_max.max(1)))
    }

    /// How many samples it stands for.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.centroids.iter().map(|(_, weight)| weight).sum()
    }

    /// The median; `None` without samples.
    #[must_use]
    pub fn median_ms(&self) -> Option<f64> {
        tdigest(&self.centroids, CENTROIDS_MAX).estimate_quantile(0.5)
    }

    fn from_pairs(pairs: Vec<(f64, f64)>) -> Self {
        Self::from_tdigest(&tdigest(&pairs, CENTROIDS_MAX))
    }

    fn from_tdigest(digest: &TDigest) -> Self {
        let pair = |centroid: &Centroid| (centroid.mean(), centroid.weight());
        Self { centroids: digest.centroids().iter().map(pair).collect() }
    }
}

/// A digest of the crate's, which makes few centroids of many.
fn tdigest(pairs: &[(f64, f64)], centroids_max: usize) -> TDigest {
    let centroids = pairs.iter().map(|(mean, weight)| Centroid::new(*mean, *weight)).collect();
    let sum = pairs.iter().map(|(mean, weight)| mean * weight).sum();
    let count = pairs.iter().map(|(_, weight)| weight).sum();
    let means = || pairs.iter().map(|(mean, _)| *mean);
    let (max, min) = (means().reduce(f64::max), means().reduce(f64::min));
    TDigest::new(centroids, sum, count, max, min, centroids_max)
}

impl TryFrom<Vec<(f64, f64)>> for Digest {
    type Error = DigestError;

    fn try_from(pairs: Vec<(f64, f64)>) -> Result<Self, DigestError> {
        let is_good = |(mean, weight): &(f64, f64)| {
            (0.0..=RTT_MS_MAX).contains(mean) && (f64::MIN_POSITIVE..=WEIGHT_MAX).contains(weight)
        };
        let is_ordered = pairs.is_sorted_by(|one, other| one.0 <= other.0);
        if pairs.len() > CENTROIDS_MAX || !is_ordered || !pairs.iter().all(is_good) {
            return Err(DigestError);
        }
        Ok(Self { centroids: pairs })
    }
}

impl From<Digest> for Vec<(f64, f64)> {
    fn from(digest: Digest) -> Self {
        digest.centroids
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_travels_is_checked() {
        let good: Digest = serde_json::from_str("[[1.5,2],[7,40.5]]").expect("a digest");
        assert_eq!(good.weight(), 42.5);
        assert_eq!(serde_json::to_string(&good).expect("plain"), "[[1.5,2.0],[7.0,40.5]]");
        let many = format!("[{}[1,1]]", "[1,1],".repeat(CENTROIDS_MAX));
        for bad in [
            "[[-1,1]]",
            "[[1,0]]",
            "[[1,-3]]",
            "[[20000,1]]",
            "[[2,1],[1,1]]",
            "[[1,1e30]]",
            many.as_str(),
        ] {
            assert!(serde_json::from_str::<Digest>(bad).is_err(), "{bad}");
        }
        assert_eq!(Digest::default().median_ms(), None);
    }

    proptest! {
        #[test]
        fn the_median_is_near_the_true_one_however_it_was_put_together(
            samples in prop::collection::vec(1.0..300.0f64, 1..400), parts in 1usize..7,
        ) {
            let mut merged = Digest::default();
            for part in samples.chunks(samples.len().div_ceil(parts)) {
                merged.merge(&Digest::of(part.to_vec()));
            }
            let mut sorted = samples.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
            let median = merged.median_ms().expect("samples");
            let coarser = merged.coarser(5);
            prop_assert!(Vec::from(coarser.clone()).len() <= 5);
            prop_assert!((coarser.weight() - samples.len() as f64).abs() < 1e-6);
            prop_assert!((merged.weight() - samples.len() as f64).abs() < 1e-6);
            prop_assert!(rank(0.35) - 1e-9 <= median && median <= rank(0.65) + 1e-9 || samples.len() < 8,
                "{median} not in {}..{}", rank(0.35), rank(0.65));
        }
    }
}
