//! How long to wait before the next try: exponential with full jitter, under a cap.
//!
//! A thousand nodes that lost one control plane must not come back in step, so the wait is drawn evenly from zero
//! to the bound, and only the bound grows.

use std::time::Duration;

/// The waits between tries.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Bounds of the first wait and of all later ones.
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max: max.max(min), failures: 0 }
    }

    /// The wait after one more failure. `random` is drawn evenly from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.min(DOUBLINGS_MAX));
        self.failures = self.failures.saturating_add(1);
        let bound = self.min.saturating_mul(factor).min(self.max);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }

    /// Something worked: the next failure waits the shortest time again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Keeps the doubling inside of `u32`.
const DOUBLINGS_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn the_bound_doubles_up_to_the_cap_and_starts_over_after_success() {
        let mut backoff = Backoff::new(MIN, MAX);
        let bounds: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), MIN);
    }

    #[test]
    fn the_wait_is_drawn_from_zero_to_the_bound() {
        for (random, expected_ms) in [(0.0, 0), (0.5, 50), (1.0, 100), (7.0, 100), (-1.0, 0)] {
            assert_eq!(Backoff::new(MIN, MAX).next(random).as_millis(), expected_ms, "{random}");
        }
    }

    #[test]
    fn years_of_failure_do_not_overflow() {
        let mut backoff = Backoff::new(MIN, MAX);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.next(1.0), MAX);
    }
}
