//! How slow a client may be: it must not stand still for long, nor stay below a rate for long. Pure.
//!
//! Only the time in which there was something to move counts. A client that moves less than the rate falls behind;
//! one that moves more catches up, but gathers no credit. Invariant: a client that always moves at least the rate is
//! never cut.

use std::time::Duration;

use tokio::time::Instant;

/// The pace of one direction of a connection or a stream.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    rules: Rules,
    /// Since when something waits to be moved.
    waits_since: Option<Instant>,
    /// When something was moved last, while something waits.
    moved_at: Option<Instant>,
    /// How far the client was behind the rate at `moved_at`.
    behind: Duration,
}

/// What is asked of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// In this time at least one byte must move.
    pub(super) still_max: Duration,
    /// Bytes a second; 0 asks for none.
    pub(super) rate_min: u64,
    /// How far it may fall behind the rate.
    pub(super) behind_max: Duration,
}

impl Pace {
    pub(super) fn new(rules: Rules) -> Self {
        Self { rules, waits_since: None, moved_at: None, behind: Duration::ZERO }
    }

    /// Something waits from now on, if nothing did before. Returns when the client is too slow if nothing moves.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        self.waits_since.get_or_insert(now);
        let moved_at = *self.moved_at.get_or_insert(now);
        let still = moved_at + self.rules.still_max;
        if self.rules.rate_min == 0 {
            return still;
        }
        still.min(moved_at + self.rules.behind_max.saturating_sub(self.behind))
    }

    /// Whether something waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits_since.is_some()
    }

    /// Bytes were moved.
    pub(super) fn moved(&mut self, bytes: usize, now: Instant) {
        let Some(moved_at) = self.moved_at else { return };
        if bytes == 0 {
            return;
        }
        let earned = self.worth(bytes);
        let waited = now.saturating_duration_since(moved_at);
        self.behind = (self.behind + waited).saturating_sub(earned);
        self.moved_at = Some(now);
    }

    /// It is not the client's turn: time does not count until the next wait, but what it is behind by stays.
    pub(super) fn pause(&mut self) {
        self.waits_since = None;
        self.moved_at = None;
    }

    /// Nothing waits any more: the client has taken everything.
    pub(super) fn rest(&mut self) {
        self.waits_since = None;
        self.moved_at = None;
        self.behind = Duration::ZERO;
    }

    /// The time that so many bytes may take.
    fn worth(&self, bytes: usize) -> Duration {
        if self.rules.rate_min == 0 {
            return Duration::MAX;
        }
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rules.rate_min);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        still_max: Duration::from_secs(60),
        rate_min: 1000,
        behind_max: Duration::from_secs(30),
    };

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn standing_still_is_cut_at_the_sooner_of_both_rules() {
        let begin = Instant::now();
        assert_eq!(Pace::new(RULES).wait(begin), begin + second(30));
        let slow_allowed = Rules { rate_min: 0, ..RULES };
        assert_eq!(Pace::new(slow_allowed).wait(begin), begin + second(60));
    }

    #[test]
    fn a_trickle_falls_behind_until_it_is_cut() {
        let begin = Instant::now();
        let mut pace = Pace::new(RULES);
        pace.wait(begin);
        pace.moved(1, begin + second(20));
        let limit = pace.wait(begin + second(20));
        assert!(limit < begin + second(31), "one byte buys a millisecond");
        pace.moved(19_999, begin + second(29));
        let limit = begin + second(29) + second(30 - 9);
        assert_eq!(pace.wait(begin + second(29)), limit, "29 s behind, less 20 s that were paid");
    }

    #[test]
    fn time_without_anything_to_move_does_not_count() {
        let begin = Instant::now();
        let mut pace = Pace::new(RULES);
        pace.wait(begin);
        pace.rest();
        assert!(!pace.is_waiting());
        pace.moved(5, begin + second(500));
        assert_eq!(pace.wait(begin + second(1000)), begin + second(1030));
    }

    #[test]
    fn a_pause_of_ours_does_not_count_but_forgives_nothing() {
        let begin = Instant::now();
        let mut pace = Pace::new(RULES);
        pace.wait(begin);
        pace.moved(5_000, begin + second(20));
        pace.pause();
        let later = begin + second(900);
        assert_eq!(pace.wait(later), later + second(30 - 15));
    }

    proptest! {
        #[test]
        fn at_the_rate_nobody_is_cut(steps in prop::collection::vec(1u64..20_000, 1..50)) {
            let mut now = Instant::now();
            let mut pace = Pace::new(RULES);
            for millis in steps {
                let limit = pace.wait(now);
                now += Duration::from_millis(millis);
                prop_assert!(now < limit);
                pace.moved(millis as usize, now);
            }
        }

        #[test]
        fn below_half_the_rate_everybody_is_cut(millis in 1u64..5_000) {
            let begin = Instant::now();
            let (mut now, mut pace) = (begin, Pace::new(RULES));
            while now < pace.wait(now) {
                now += Duration::from_millis(2 * millis);
                pace.moved(millis as usize, now);
                prop_assert!(now < begin + second(75));
            }
        }
    }
}
