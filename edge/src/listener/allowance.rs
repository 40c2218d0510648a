//! How often a client may do something: a number at once, and that number again in every minute. Pure.
//!
//! Invariant: over any span of time no more is allowed than the number and the span's share of it.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of an allowance.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    per_minute: f64,
    left: f64,
    counted_at: Instant,
}

impl Allowance {
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute: per_minute.into(), left: per_minute.into(), counted_at: now }
    }

    /// Takes one; false when none is left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.left < 1.0 {
            let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
            self.counted_at = now;
            let earned = self.per_minute * passed / MINUTE.as_secs_f64();
            self.left = (self.left + earned).min(self.per_minute);
        }
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Adds to it, up to what a minute allows.
    pub(super) fn add(&mut self, more: f64) {
        self.left = (self.left + more).min(self.per_minute);
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_used_up_and_comes_back() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(6, begin);
        let taken =
            |allowance: &mut Allowance, now| (0..100).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(&mut allowance, begin), 6);
        assert_eq!(taken(&mut allowance, begin + Duration::from_secs(9)), 0);
        assert_eq!(taken(&mut allowance, begin + Duration::from_secs(21)), 2);
        assert_eq!(taken(&mut allowance, begin + Duration::from_secs(9_000)), 6);
        allowance.add(2.5);
        assert_eq!(taken(&mut allowance, begin + Duration::from_secs(9_000)), 2);
    }
}
