//! Token buckets: so much a second, so much at once.
//!
//! A bucket is a value; time is handed in. The number of buckets is bounded: full ones are forgotten first, since a
//! full bucket and no bucket allow the same.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Allowed each second in the long run.
    pub per_second: f64,
    /// Allowed at once.
    pub burst: f64,
}

/// One bucket.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: Rate,
    tokens: f64,
    filled: Instant,
}

/// What a look into a bucket finds; nothing is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whole tokens that could be taken now.
    pub left: u64,
    /// How long to wait for the next one; zero while one is left.
    pub wait: Duration,
}

/// One bucket for each name.
pub struct Buckets {
    rate: Rate,
    names_max: usize,
    by_name: Mutex<HashMap<String, Bucket>>,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst, filled: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = passed.mul_add(self.rate.per_second, self.tokens).min(self.rate.burst);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.rate.per_second.max(f64::MIN_POSITIVE);
        Err(Duration::from_secs_f64(wait.min(WAIT_MAX.as_secs_f64())))
    }

    fn is_full(mut self, now: Instant) -> bool {
        let _ = self.take(now);
        self.tokens >= self.rate.burst - 1.0
    }

    /// What could be taken now, and when the next one can be.
    fn look(mut self, now: Instant) -> Look {
        match self.take(now) {
            // Whole ones alone count; with the one that this copy gave.
            Ok(()) => Look { left: self.tokens as u64 + 1, wait: Duration::ZERO },
            Err(wait) => Look { left: 0, wait },
        }
    }
}

impl Buckets {
    /// Buckets of one rate for at most `names_max` names at a time.
    #[must_use]
    pub fn new(rate: Rate, names_max: usize) -> Self {
        Self { rate, names_max: names_max.max(1), by_name: Mutex::default() }
    }

    /// Takes one token from a name's bucket.
    ///
    /// # Errors
    /// How long to wait for the next one.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = by_name.get_mut(name) {
            return bucket.take(now);
        }
        if by_name.len() >= self.names_max {
            by_name.retain(|_, bucket| !bucket.is_full(now));
        }
        if by_name.len() >= self.names_max {
            return Err(WAIT_MIN);
        }
        by_name.entry(name.to_owned()).or_insert_with(|| Bucket::full(self.rate, now)).take(now)
    }

    /// What [`Buckets::take`] would find. Takes nothing, and remembers no name.
    #[must_use]
    pub fn look(&self, name: &str, now: Instant) -> Look {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        match by_name.get(name) {
            Some(bucket) => bucket.look(now),
            None if by_name.len() >= self.names_max
                && !by_name.values().any(|bucket| bucket.is_full(now)) =>
            {
                Look { left: 0, wait: WAIT_MIN }
            }
            None => Bucket::full(self.rate, now).look(now),
        }
    }

    /// How much is allowed.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }
}

const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2.0, burst: 3.0 };

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(500)));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Ok(()));
        assert!(bucket.take(start + Duration::from_millis(600)).is_err());
    }

    #[test]
    fn a_look_takes_nothing() {
        let start = Instant::now();
        let buckets = Buckets::new(RATE, 1);
        let full = Look { left: 3, wait: Duration::ZERO };
        for _ in 0..9 {
            assert_eq!(buckets.look("a", start), full, "a look is no use of a name either");
        }
        for left in [2, 1] {
            assert_eq!(buckets.take("a", start), Ok(()));
            assert_eq!(buckets.look("a", start), Look { left, wait: Duration::ZERO });
        }
        assert_eq!(buckets.take("a", start), Ok(()));
        let empty = Look { left: 0, wait: Duration::from_millis(500) };
        assert_eq!(buckets.look("a", start), empty);
        assert_eq!(buckets.look("b", start), Look { left: 0, wait: WAIT_MIN }, "no room for it");
        assert_eq!(buckets.look("b", start + Duration::from_millis(1500)), full, "a's makes room");
    }

    #[test]
    fn names_do_not_share_and_full_buckets_are_forgotten() {
        let start = Instant::now();
        let buckets = Buckets::new(RATE, 2);
        for _ in 0..3 {
            assert_eq!(buckets.take("a", start), Ok(()));
        }
        assert!(buckets.take("a", start).is_err());
        assert_eq!(buckets.take("b", start), Ok(()));
        assert_eq!(buckets.take("c", start), Err(WAIT_MIN), "both are in use");
        assert_eq!(buckets.take("c", start + Duration::from_secs(1)), Ok(()), "b is full again");
    }
}
