//! Is a client fast enough to be waited for? (Slow readers and slow senders hold memory and streams.)
//!
//! Pure. Only time spent waiting for the client counts, and only what it took or gave in that time. Invariant: a client
//! that moves at the minimum rate is never cut off, one that moves nothing is cut off after the grace time.

use std::time::Duration;

/// The waiting of one stream in one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// How much longer the client may be waited for without a byte; `None` without a limit.
    pub(super) fn left(&self, rate_min: u64, grace: Duration) -> Option<Duration> {
        let earned = self.bytes.saturating_mul(1_000).checked_div(rate_min)?;
        Some((grace.saturating_add(Duration::from_millis(earned))).saturating_sub(self.waited))
    }

    /// The client was waited for, and moved so many bytes at the end of it.
    pub(super) fn add(&mut self, waited: Duration, bytes: u64) {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn time_is_earned_with_bytes() {
        let mut pace = Pace::default();
        assert_eq!(pace.left(0, GRACE), None, "switched off");
        assert_eq!(pace.left(1024, GRACE), Some(GRACE));
        pace.add(Duration::from_secs(30), 0);
        assert_eq!(pace.left(1024, GRACE), Some(Duration::ZERO));
        pace.add(Duration::from_secs(10), 20 * 1024);
        assert_eq!(pace.left(1024, GRACE), Some(Duration::from_secs(10)));
        for _ in 0..1_000 {
            pace.add(Duration::from_secs(1), 1024);
        }
        assert_eq!(
            pace.left(1024, GRACE),
            Some(Duration::from_secs(10)),
            "at the rate it goes on for ever"
        );
        pace.add(Duration::MAX / 2, u64::MAX);
        assert!(pace.left(1, GRACE).is_some());
    }
}
