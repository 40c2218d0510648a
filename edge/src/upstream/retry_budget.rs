//! How many requests may be repeated: a share of the first ones of the last ten seconds, and a few always.
//!
//! Invariant: in any ten seconds, repeated requests never exceed the share and the few.

use std::{
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// What was sent in the last seconds.
pub(super) struct RetryBudget {
    percent: u64,
    seconds: Mutex<[Second; SECONDS as usize]>,
}

/// What was sent in one second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    first: u64,
    repeated: u64,
}

impl RetryBudget {
    pub(super) fn new(percent: u32) -> Self {
        Self { percent: percent.into(), seconds: Mutex::default() }
    }

    /// A first request was made.
    pub(super) fn began(&self, now: SystemTime) {
        self.with(now, |_, current| current.first += 1);
    }

    /// Takes one repetition, if there is one left.
    pub(super) fn may_repeat(&self, now: SystemTime) -> bool {
        self.with(now, |sum, current| {
            let is_left = sum.repeated < ALWAYS + sum.first * self.percent / 100;
            current.repeated += u64::from(is_left);
            is_left
        })
    }

    fn with<T>(&self, now: SystemTime, act: impl FnOnce(Second, &mut Second) -> T) -> T {
        let number = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |second: &&Second| number.abs_diff(second.number) < SECONDS;
        let mut sum = Second::default();
        for second in seconds.iter().filter(is_recent) {
            sum.first += second.first;
            sum.repeated += second.repeated;
        }
        let current = &mut seconds[(number % SECONDS) as usize];
        if current.number != number {
            *current = Second { number, ..Second::default() };
        }
        act(sum, current)
    }
}

/// The seconds that are looked back on.
const SECONDS: u64 = 10;
/// Repetitions in that time that need no first requests, so that a quiet node may repeat too.
const ALWAYS: u64 = 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn taken(budget: &RetryBudget, now: SystemTime) -> usize {
        (0..1000).filter(|_| budget.may_repeat(now)).count()
    }

    #[test]
    fn only_a_share_of_the_last_seconds_is_repeated() {
        let budget = RetryBudget::new(20);
        assert_eq!(taken(&budget, at(0)), 20, "a few always");
        (0..1000).for_each(|_| budget.began(at(1)));
        assert_eq!(taken(&budget, at(2)), 200, "and the share");
        assert_eq!(taken(&budget, at(9)), 0);
        assert_eq!(taken(&budget, at(10)), 20, "what was repeated ten seconds ago is forgotten");
        assert_eq!(taken(&budget, at(11)), 0, "and what was first then as well");
        assert_eq!(taken(&budget, at(100)), 20);
    }
}
