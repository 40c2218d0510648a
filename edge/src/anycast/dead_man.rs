//! When a node that does not serve any more is taken off the Internet, and when it may come back.
//!
//! Pure: probes and times in, what the gate shall be out. A few failures in a row close it at once; it opens only after
//! a long time of health, longer each time it had to close again soon. Invariant: probes of this node's own data plane
//! are the only input there is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How patient the switch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Between the beginnings of two probes. Three of them are a second and a half.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Failures in a row that close the gate.
    pub failures: u32,
    /// Health without a failure before the gate is opened again; doubles every time it closes again soon.
    #[serde(with = "humantime_serde")]
    pub healthy_for: Duration,
    /// The longest that this grows to.
    #[serde(with = "humantime_serde")]
    pub healthy_for_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            failures: 3,
            healthy_for: Duration::from_secs(60),
            healthy_for_max: Duration::from_secs(3600),
        }
    }
}

/// What the gate shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Levels count.
    Open,
    /// Nothing is announced.
    Closed,
}

/// The switch.
#[derive(Debug, Clone)]
pub struct DeadMan {
    config: Config,
    gate: Gate,
    failed_in_a_row: u32,
    healthy_since: Option<Duration>,
    opened_at: Duration,
    /// How often it closed soon after it was opened.
    relapses: u32,
}

impl DeadMan {
    /// A switch that finds the gate as it is. Times are counted from any one moment on.
    #[must_use]
    pub fn new(config: Config, gate: Gate, now: Duration) -> Self {
        let (failed_in_a_row, healthy_since, relapses) = (0, None, 0);
        Self { config, gate, failed_in_a_row, healthy_since, opened_at: now, relapses }
    }

    /// What the gate shall be after a probe that ended now.
    pub fn probed(&mut self, is_good: bool, now: Duration) -> Gate {
        if !is_good {
            self.healthy_since = None;
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            if self.gate == Gate::Open && self.failed_in_a_row >= self.config.failures {
                self.relapses = if self.was_open_for_long(now) { 0 } else { self.relapses + 1 };
                self.gate = Gate::Closed;
            }
            return self.gate;
        }
        self.failed_in_a_row = 0;
        let since = *self.healthy_since.get_or_insert(now);
        if self.gate == Gate::Closed && now.saturating_sub(since) >= self.wait() {
            self.gate = Gate::Open;
            self.opened_at = now;
        }
        self.gate
    }

    /// How long the node must be healthy before the gate opens.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let doubled = 1u32.checked_shl(self.relapses).unwrap_or(u32::MAX);
        self.config.healthy_for.saturating_mul(doubled).min(self.config.healthy_for_max)
    }

    /// Whether the last opening has proved itself: then the next trouble is a new one.
    fn was_open_for_long(&self, now: Duration) -> bool {
        let proof = self.wait().saturating_mul(PROOF_FACTOR);
        self.opened_at == Duration::ZERO || now.saturating_sub(self.opened_at) >= proof
    }
}

/// An opening counts as good after this many times the wait that led to it.
const PROOF_FACTOR: u32 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HALF: Duration = Duration::from_millis(500);

    fn man() -> DeadMan {
        DeadMan::new(Config::default(), Gate::Open, Duration::ZERO)
    }

    /// Health until the gate opens; how long that took.
    fn heal(man: &mut DeadMan, now: &mut Duration) -> Duration {
        let began = *now;
        while man.probed(true, *now) == Gate::Closed {
            *now += HALF;
        }
        *now - began
    }

    fn fail(man: &mut DeadMan, now: &mut Duration) {
        for expected in [Gate::Open, Gate::Open, Gate::Closed] {
            assert_eq!(man.probed(false, *now), expected);
            *now += HALF;
        }
    }

    #[test]
    fn three_failures_in_a_row_close_it_and_two_do_not() {
        let mut man = man();
        for is_good in [false, false, true, false, false, true] {
            assert_eq!(man.probed(is_good, SECOND), Gate::Open);
        }
        fail(&mut man, &mut SECOND.clone());
    }

    #[test]
    fn it_opens_after_a_minute_of_health_and_later_each_time_it_relapses() {
        let (mut man, mut now) = (man(), SECOND);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            fail(&mut man, &mut now);
            assert_eq!(heal(&mut man, &mut now), 60 * minutes * SECOND, "{minutes}");
        }
        // A long good time, and the next trouble is a new one.
        now += 6 * 3600 * SECOND;
        fail(&mut man, &mut now);
        assert_eq!(heal(&mut man, &mut now), 60 * SECOND);
    }

    #[test]
    fn a_failure_while_it_waits_begins_the_wait_anew() {
        let (mut man, mut now) = (man(), SECOND);
        fail(&mut man, &mut now);
        for _ in 0..119 {
            assert_eq!(man.probed(true, now), Gate::Closed);
            now += HALF;
        }
        assert_eq!(man.probed(false, now), Gate::Closed);
        assert_eq!(heal(&mut man, &mut now), 60 * SECOND);
    }

    proptest! {
        #[test]
        fn it_never_closes_without_failures_in_a_row_and_never_opens_without_a_minute_of_health(
            probes in prop::collection::vec(any::<bool>(), 1..600)
        ) {
            let (mut man, mut now, mut gate) = (man(), SECOND, Gate::Open);
            let (mut bad, mut good) = (0u32, 0u32);
            for is_good in probes {
                (bad, good) = if is_good { (0, good + 1) } else { (bad + 1, 0) };
                let next = man.probed(is_good, now);
                match (gate, next) {
                    (Gate::Open, Gate::Closed) => prop_assert!(bad >= 3),
                    (Gate::Closed, Gate::Open) => prop_assert!(good > 120),
                    _ => {}
                }
                gate = next;
                now += HALF;
            }
        }
    }
}
