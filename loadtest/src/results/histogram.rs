//! A histogram over a wide range of values with 3 digits (HdrHistogram), written in its V2 form in base64.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize, de::Error as _, ser::Error as _};

/// Counts of values from 0 to 2^62; the unit is in the name of the field that holds it.
#[derive(Clone, PartialEq)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Histogram {
    /// Adds a value. Larger values than the largest count as the largest.
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Adds all values of another, unless they are more than any run has.
    pub fn merge(&mut self, other: &Self) {
        if other.count() <= COUNT_MAX - self.count() {
            self.0.add(&other.0).expect("both take the same range and resize themselves");
        }
    }

    /// Adds a value that came this often. What is beyond the largest total is not counted.
    pub fn record_many(&mut self, value: u64, count: u64) {
        let count = count.min(COUNT_MAX - self.count());
        if count == 0 {
            return;
        }
        // Not the saturating call: that one never resizes, and counts everything as what there is room for.
        self.0.record_n(value.min(VALUE_MAX), count).expect("it resizes itself up to the largest");
    }

    /// Of several histograms, one.
    #[must_use]
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for one in all {
            sum.merge(one);
        }
        sum
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value below which this share (0 to 1) of all values lies; `None` without values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share))
    }

    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean())
    }

    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.max())
    }

    /// Values and how often they came, ascending.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
    }

    /// For what the crate itself writes, as `.hgrm` is.
    #[must_use]
    pub fn inner(&self) -> &hdrhistogram::Histogram<u64> {
        &self.0
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let mut inner = hdrhistogram::Histogram::new(DIGITS).expect("3 digits are allowed");
        inner.auto(true);
        Self(inner)
    }
}

/// Short: the counts themselves are thousands of numbers.
impl fmt::Debug for Histogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, half, max) = (self.count(), self.quantile(0.5), self.max());
        write!(formatter, "Histogram({count} values, half below {half:?}, max {max:?})")
    }
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(D::Error::custom)?;
        let mut inner: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(D::Error::custom)?;
        // Another precision would not merge, and a high one takes memory by the megabyte.
        if inner.sigfig() != DIGITS || inner.low() != 1 || inner.max() > VALUE_MAX_EQUIVALENT {
            return Err(D::Error::custom("a histogram of another precision or range"));
        }
        if inner.len() > COUNT_MAX {
            return Err(D::Error::custom("a histogram of more values than any run has"));
        }
        inner.auto(true);
        Ok(Self(inner))
    }
}

const DIGITS: u8 = 3;
/// Far from where counts end, and from what the written form can hold.
const COUNT_MAX: u64 = 1 << 60;
const VALUE_MAX: u64 = 1 << 62;
/// The largest value of the step in which the largest value lies.
const VALUE_MAX_EQUIVALENT: u64 = VALUE_MAX + (VALUE_MAX >> 10) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_written_and_merges_exactly() {
        let (mut a, mut b, mut all) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for value in [0, 1, 999, 5_000_000, u64::MAX] {
            a.record(value);
            all.record(value);
        }
        for value in 0..2_000 {
            b.record(value * value);
            all.record(value * value);
        }
        let json = serde_json::to_string(&a).unwrap();
        let mut merged: Histogram = serde_json::from_str(&json).unwrap();
        merged.merge(&b);
        assert!(merged.counts().eq(all.counts()));
        assert_eq!(merged.count(), 2_005);
        assert_eq!(a.quantile(0.5), Some(999));
        assert!(a.max().unwrap() >= VALUE_MAX);
        assert!((b.mean().unwrap() / 1_332_666.5 - 1.0).abs() < 1e-3);
        assert_eq!(Histogram::default().quantile(0.5), None);
        a.record_many(7, u64::MAX);
        a.merge(&a.clone());
        assert_eq!(a.count(), COUNT_MAX);
        assert_eq!(
            serde_json::from_value::<Histogram>(serde_json::to_value(&a).unwrap()).unwrap(),
            a
        );
        assert!(serde_json::from_str::<Histogram>("\"AAAA\"").is_err());
    }
}
