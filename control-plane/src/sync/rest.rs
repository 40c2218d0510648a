//! How long a purge lane rests behind what it sent, so that purges which come faster than that share a message.
//!
//! A message costs sender and receiver the same whatever it carries: system calls, a TLS record, tasks that wake up. All
//! lanes rest until the same moments, so that they say the same then, and what they say is made once ([`super::batches`]).
//! Pure.

use std::time::Duration;

use super::Config;
use crate::fleet::Subscription;

/// The rests of one lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rests {
    least: Duration,
    most: Duration,
}

impl Rests {
    /// Those of a node's first or second lane.
    pub(super) fn of(subscription: Subscription, config: &Config) -> Self {
        let times = match subscription {
            Subscription::First => 1,
            Subscription::Second => SECOND_TIMES,
        };
        let least = config.batch_pause.saturating_mul(times);
        Self { least, most: config.batch_pause_max.saturating_mul(times).max(least) }
    }

    /// What is left of a rest behind so many purges; `elapsed` is since a moment that all lanes share.
    pub(super) fn behind(&self, purges: usize, elapsed: Duration) -> Duration {
        // Powers of two, so that long rests end where short ones do.
        let parts = purges.div_ceil(FEW).max(1).checked_next_power_of_two().unwrap_or(usize::MAX);
        let whole = self.least.saturating_mul(u32::try_from(parts).unwrap_or(u32::MAX));
        let whole = whole.min(self.most).as_nanos().max(1);
        let left = whole - elapsed.as_nanos() % whole;
        Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
    }
}

/// A node's second lane makes up for packets that the first one lost, which takes it much longer than this: it rests so
/// many times as long.
const SECOND_TIMES: u32 = 2;
/// Purges behind which a lane rests no longer than behind one. A rest that gathers more than these makes the next one
/// longer: with 20 ms and 80 ms, lanes rest for as short as they may up to 200 purges a second, and for as long as they
/// may from a little above that.
const FEW: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn rests(subscription: Subscription) -> Rests {
        let config = Config { batch_pause: ms(20), batch_pause_max: ms(80), ..Config::default() };
        Rests::of(subscription, &config)
    }

    #[test]
    fn a_lane_rests_the_longer_the_more_it_sent_within_bounds() {
        let (first, second) = (rests(Subscription::First), rests(Subscription::Second));
        for (purges, rest) in
            [(0, 20), (1, 20), (4, 20), (5, 40), (8, 40), (9, 80), (256, 80), (usize::MAX, 80)]
        {
            assert_eq!(first.behind(purges, ms(0)), ms(rest), "{purges}");
            assert_eq!(second.behind(purges, ms(0)), ms(rest) * 2, "{purges}");
        }
        // A least that is more than the most counts; one of nothing is no division by it.
        let of = |pause, most| {
            let config =
                Config { batch_pause: ms(pause), batch_pause_max: ms(most), ..Config::default() };
            Rests::of(Subscription::First, &config)
        };
        assert_eq!(of(20, 0).behind(100, ms(0)), ms(20));
        assert!(of(0, 0).behind(100, ms(7)) <= ms(1));
    }

    proptest! {
        #[test]
        fn what_began_at_different_times_ends_together(
            one in 0_u64..100_000, apart in 0_u64..80, purges in 9_usize..1000,
        ) {
            let first = rests(Subscription::First);
            let end = |at: u64| ms(at) + first.behind(purges, ms(at));
            let (one, other) = (end(one), end(one + apart));
            prop_assert_eq!(one.as_millis() % 80, 0);
            prop_assert!(other == one || other == one + ms(80));
            prop_assert_eq!(one.as_millis() % 20, 0, "and with the short ones");
        }
    }
}
