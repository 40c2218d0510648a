//! A session's link at work: what its fetches read together takes the time that the shape says.
//!
//! Invariant: a body is said to have come no earlier than its last byte has passed the link; idle time is not saved up.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

use super::shape::Shape;

/// One session's link; its fetches share it.
#[derive(Debug)]
pub(super) struct Pace {
    shape: Option<Shape>,
    began: Instant,
    /// When the last byte that was read has passed, since the beginning.
    free_at: Cell<Duration>,
}

impl Pace {
    pub(super) fn new(shape: Option<Shape>) -> Self {
        Self { shape, began: Instant::now(), free_at: Cell::new(Duration::ZERO) }
    }

    /// Waits for the round trip that a step needs.
    pub(super) async fn round_trip(&self) {
        if let Some(shape) = &self.shape
            && !shape.rtt.is_zero()
        {
            tokio::time::sleep(shape.rtt).await;
        }
    }

    /// Takes note of bytes that were read, and waits when they are far ahead of the link.
    pub(super) async fn pass(&self, bytes: u64) {
        if self.shape.is_some()
            && let Some(until) = self.passed(self.began.elapsed(), bytes)
        {
            tokio::time::sleep_until(self.began + until).await;
        }
    }

    /// Waits until everything that was read has passed.
    pub(super) async fn settle(&self) {
        if self.shape.is_some() && self.free_at.get() > self.began.elapsed() {
            tokio::time::sleep_until(self.began + self.free_at.get()).await;
        }
    }

    /// Until when to wait after bytes were read at a time.
    fn passed(&self, now: Duration, bytes: u64) -> Option<Duration> {
        let free_at = self.shape.as_ref()?.passed(self.free_at.get().max(now), bytes);
        self.free_at.set(free_at);
        (free_at > now + AHEAD_MAX).then_some(free_at)
    }

    /// The most that is read at once.
    pub(super) fn read_max(&self) -> usize {
        let most = self.shape.as_ref().map(|shape| shape.most_in(AHEAD_MAX));
        most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX).max(READ_MIN))
    }

    /// What a server may send ahead: so little on a slow link that its own queue is where bytes wait.
    pub(super) fn window(&self, otherwise: u64) -> u64 {
        match &self.shape {
            Some(shape) => {
                let time = WINDOW_TIME + shape.rtt;
                shape.most_in(time).clamp(WINDOW_MIN, otherwise.max(WINDOW_MIN))
            }
            None => otherwise,
        }
    }

    pub(super) fn is_shaped(&self) -> bool {
        self.shape.is_some()
    }
}

/// Reading runs ahead of the link by no more: many small waits cost more than they tell.
const AHEAD_MAX: Duration = Duration::from_millis(50);
/// A read below a packet's content is not worth a call.
const READ_MIN: usize = 1400;
/// A window is what passes in this time at the best rate, and a round trip's worth.
const WINDOW_TIME: Duration = Duration::from_millis(200);
/// HTTP/2 has no smaller one for a connection.
const WINDOW_MIN: u64 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace::new(Some(Shape::constant(rate, Duration::from_millis(30)).unwrap()))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_megabyte_at_eight_megabits_takes_a_second() {
        let pace = pace(8_000_000);
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            if let Some(until) = pace.passed(now, 10_000) {
                now = until;
            }
            assert!(pace.free_at.get() <= now + AHEAD_MAX);
        }
        assert_eq!(pace.free_at.get(), SECOND);
    }

    #[test]
    fn two_fetches_share_the_link_and_rest_is_not_saved() {
        let pace = pace(8_000_000);
        let after_rest = 10 * SECOND;
        assert_eq!(pace.passed(after_rest, 500_000), Some(10 * SECOND + SECOND / 2));
        assert_eq!(pace.passed(after_rest, 500_000), Some(11 * SECOND));
        assert_eq!(pace.passed(11 * SECOND, 10_000), None, "within what may be ahead");
        assert_eq!(pace.free_at.get(), 11 * SECOND + Duration::from_millis(10));
    }

    #[tokio::test]
    async fn waits_are_at_least_as_long_as_the_link_needs() {
        let pace = pace(8_000_000);
        let began = Instant::now();
        pace.pass(100_000).await;
        pace.pass(20_000).await;
        pace.settle().await;
        assert!(began.elapsed() >= Duration::from_millis(119));
        pace.round_trip().await;
        assert!(began.elapsed() >= Duration::from_millis(149));
    }

    #[tokio::test]
    async fn a_link_without_shape_never_waits() {
        let pace = Pace::new(None);
        let all = async {
            pace.round_trip().await;
            pace.pass(u64::MAX).await;
            pace.settle().await;
        };
        // Ready at once: not a single wait.
        assert!(futures::FutureExt::now_or_never(all).is_some());
        assert_eq!((pace.window(1 << 24), pace.read_max()), (1 << 24, usize::MAX));
    }

    #[test]
    fn a_slow_link_has_a_small_window() {
        assert_eq!(pace(1_000_000).window(1 << 24), WINDOW_MIN);
        assert_eq!(pace(80_000_000).window(1 << 24), 2_300_000);
        assert_eq!(pace(80_000_000_000).window(1 << 24), 1 << 24);
    }
}
