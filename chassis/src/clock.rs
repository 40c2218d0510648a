//! The time of day as a value that is handed in, so that a test can move it.
//!
//! Code that decides takes `now`; code that asks for `now` asks a [`Clock`]. Waiting is tokio's business, not
//! this clock's.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// The time of day: the system's, or one that stands still until a test moves it. Clones share the time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<SystemTime>>>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `start` until [`Clock::advance`].
    #[must_use]
    pub fn manual(start: SystemTime) -> Self {
        Self(Some(Arc::new(Mutex::new(start))))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward, for every clone of it.
    ///
    /// # Panics
    /// On the system's clock, which nobody moves: only tests call this.
    pub fn advance(&self, by: Duration) {
        let time = self.0.as_ref().expect("only a manual clock is moved");
        *time.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_for_every_clone() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::manual(start);
        let other = clock.clone();
        assert_eq!(other.now(), start);
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.now(), start + Duration::from_secs(5));
    }

    #[test]
    fn the_system_clock_reads_the_system() {
        let before = SystemTime::now();
        let now = Clock::system().now();
        assert!(before <= now && now <= SystemTime::now());
    }
}
