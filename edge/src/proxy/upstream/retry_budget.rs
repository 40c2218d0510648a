//! How many requests may be repeated: a share of the first ones, and a few always.
//!
//! Invariant: over time, repeated requests never exceed the share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hundredths of a retry that are in hand.
pub(super) struct RetryBudget {
    percent: u64,
    hundredths: AtomicU64,
}

impl RetryBudget {
    /// A full budget.
    pub(super) fn new(percent: u32) -> Self {
        Self { percent: percent.into(), hundredths: AtomicU64::new(HUNDREDTHS_MAX) }
    }

    /// A first request was made.
    pub(super) fn began(&self) {
        let add = |now: u64| (now < HUNDREDTHS_MAX).then(|| HUNDREDTHS_MAX.min(now + self.percent));
        let _ = self.hundredths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes a retry, if there is one.
    pub(super) fn may_retry(&self) -> bool {
        let take = |now: u64| now.checked_sub(100);
        self.hundredths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// A burst of 100 retries after a quiet time.
const HUNDREDTHS_MAX: u64 = 100 * 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_burst_only_a_share_is_repeated() {
        let budget = RetryBudget::new(20);
        assert_eq!((0..1000).filter(|_| budget.may_retry()).count(), 100);
        let mut retries = 0;
        for _ in 0..1000 {
            budget.began();
            retries += u32::from(budget.may_retry());
        }
        assert_eq!(retries, 200);
    }
}
