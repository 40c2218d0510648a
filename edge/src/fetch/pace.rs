//! How fast a fill comes, and when that is too slow for anybody.
//!
//! Looked at once for each window of time, so that an upstream that drips is found out however evenly it drips. Pure but
//! for the wait itself. Invariant: no answer is given up before a whole window has passed.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::{error::Failure, upstream::AnswerBody};

/// The pace of one body.
pub(super) struct Pace {
    /// Bytes that have to come in each window.
    bytes_min: u64,
    window: Duration,
    ends: Instant,
    bytes: u64,
}

impl Pace {
    /// At least so many bytes a second, from now on.
    pub(super) fn new(rate_min: u64, window: Duration, now: Instant) -> Self {
        let window = window.min(WINDOW_MAX);
        let bytes = u128::from(rate_min) * window.as_millis() / 1000;
        let bytes_min = u64::try_from(bytes).unwrap_or(u64::MAX);
        Self { bytes_min, window, ends: now + window, bytes: 0 }
    }

    /// The next piece of a body. May be dropped and called again.
    ///
    /// # Errors
    /// When the body breaks off, or comes too slowly.
    pub(super) async fn next(&mut self, body: &mut AnswerBody) -> Result<Option<Bytes>, Failure> {
        loop {
            let came = timeout_at(self.ends, body.next()).await;
            if let Ok(Ok(Some(data))) = &came {
                self.bytes += data.len() as u64;
            }
            if !matches!(came, Ok(Ok(None))) && self.is_too_slow(Instant::now()) {
                return Err(body.give_up());
            }
            if let Ok(read) = came {
                return read;
            }
        }
    }

    /// Whether a window has passed in which too little came; a new one begins then.
    fn is_too_slow(&mut self, now: Instant) -> bool {
        if now < self.ends {
            return false;
        }
        let is_too_slow = self.bytes < self.bytes_min;
        (self.ends, self.bytes) = (now + self.window, 0);
        is_too_slow
    }
}

/// A longer window than this never ends for anybody who waits; and times beyond it could overflow.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_counts_is_how_much_comes_in_a_whole_window() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut pace = Pace::new(1000, Duration::from_secs(10), began);
        assert!(!pace.is_too_slow(at(9_999)), "not yet");
        pace.bytes = 10_000;
        assert!(!pace.is_too_slow(at(10_000)));
        pace.bytes = 9_999;
        assert!(!pace.is_too_slow(at(19_999)));
        assert!(pace.is_too_slow(at(20_000)));
        let mut any = Pace::new(0, Duration::from_secs(10), began);
        assert!(!any.is_too_slow(at(99_999)));
        let mut endless = Pace::new(u64::MAX, Duration::MAX, began);
        assert!(!endless.is_too_slow(at(86_399_999)), "within a day");
        assert!(endless.is_too_slow(at(86_400_000)));
    }
}
