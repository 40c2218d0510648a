//! How much one client and one token may ask for: a virtual clock for each (GCRA), in a table of fixed size.
//!
//! A clock says when everything that was let through would have been paid for at the agreed rate. A full set of the
//! table forgets the clock that is paid for soonest: those who ask too much are remembered longest. Each set has a lock
//! of its own, held for a few comparisons. Weighed against `pingora-limits`' `Rate`, a sketch over fixed intervals: it
//! counts different clients as one when they collide, and lets twice the rate through around an interval's end.
//! Invariant: memory never grows, whoever asks.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The clocks of everybody.
pub struct Rates {
    sets: Box<[Mutex<Set>]>,
    /// Keyed at random, so that nobody can choose whom to share a set with.
    hasher: RandomState,
    started: Instant,
}

/// A rate as a clock wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What one costs, in nanoseconds.
    pub cost: u64,
    /// How far a clock may be ahead, in nanoseconds.
    pub ahead_max: u64,
}

#[derive(Default)]
struct Set {
    clocks: [Clock; CLOCKS_PER_SET],
}

#[derive(Default, Clone, Copy)]
struct Clock {
    name: u64,
    /// Nanoseconds since the table was made.
    paid_at: u64,
}

impl Rates {
    /// A table for this many clocks at a time, at [`CLOCK_BYTES`] each.
    #[must_use]
    pub fn new(clocks: usize, started: Instant) -> Self {
        let sets = clocks.div_ceil(CLOCKS_PER_SET).max(1);
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            started,
        }
    }

    /// The name of whoever is counted.
    pub fn name(&self, who: impl Hash) -> u64 {
        // 0 is nobody's.
        self.hasher.hash_one(who) | 1
    }

    /// Takes one, when it may be taken.
    ///
    /// # Errors
    /// How long until it may be.
    pub fn take(&self, name: u64, pace: Pace, now: Instant) -> Result<(), Duration> {
        let now = self.nanos(now);
        self.with(name, |paid_at| {
            let paid = (*paid_at).max(now).saturating_add(pace.cost);
            let late = paid.saturating_sub(now).saturating_sub(pace.ahead_max);
            if late > 0 {
                return Err(Duration::from_nanos(late));
            }
            *paid_at = paid;
            Ok(())
        })
    }

    /// Whether what was charged before is paid for.
    ///
    /// # Errors
    /// How long until it is.
    pub fn is_paid(&self, name: u64, ahead_max: u64, now: Instant) -> Result<(), Duration> {
        let now = self.nanos(now);
        let late = self.with(name, |paid_at| paid_at.saturating_sub(now).saturating_sub(ahead_max));
        if late > 0 { Err(Duration::from_nanos(late)) } else { Ok(()) }
    }

    /// Charges what was already given.
    pub fn charge(&self, name: u64, cost: u64, now: Instant) {
        let now = self.nanos(now);
        self.with(name, |paid_at| *paid_at = (*paid_at).max(now).saturating_add(cost));
    }

    /// Runs with the clock of a name, which is made when there is none.
    fn with<T>(&self, name: u64, run: impl FnOnce(&mut u64) -> T) -> T {
        let at = (name >> 1) as usize % self.sets.len();
        let mut set = self.sets[at].lock().unwrap_or_else(PoisonError::into_inner);
        let clocks = &mut set.clocks;
        let found = clocks.iter().position(|clock| clock.name == name);
        let at = found.unwrap_or_else(|| {
            let soonest = (0..CLOCKS_PER_SET).min_by_key(|at| clocks[*at].paid_at).unwrap_or(0);
            clocks[soonest] = Clock { name, paid_at: 0 };
            soonest
        });
        run(&mut clocks[at].paid_at)
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Pace {
    /// So many a second, so many at once.
    #[must_use]
    pub fn new(per_second: u64, burst: u64) -> Self {
        let cost = NANOS_PER_SECOND / per_second.max(1);
        Self { cost, ahead_max: cost.saturating_mul(burst.max(1)) }
    }
}

/// Whom a client counts as: its IPv4 address, or the 64 bits of an IPv6 network that one subscriber has.
#[must_use]
pub fn subscriber(client: IpAddr) -> (u8, u64) {
    match client.to_canonical() {
        IpAddr::V4(v4) => (4, u64::from(u32::from(v4))),
        IpAddr::V6(v6) => (6, (u128::from(v6) >> 64) as u64),
    }
}

/// What a clock takes of memory, its share of the lock included.
pub const CLOCK_BYTES: usize = 17;
const CLOCKS_PER_SET: usize = 8;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_clock_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let rates = Rates::new(64, start);
        let (name, pace) = (rates.name("a"), Pace::new(10, 3));
        for _ in 0..3 {
            assert_eq!(rates.take(name, pace, start), Ok(()));
        }
        assert_eq!(rates.take(name, pace, start), Err(ms(100)));
        assert_eq!(rates.take(rates.name("b"), pace, start), Ok(()), "others are not kept waiting");
        assert_eq!(rates.take(name, pace, start + ms(100)), Ok(()));
        assert_eq!(rates.take(name, pace, start + ms(150)), Err(ms(50)));
        for _ in 0..3 {
            assert_eq!(
                rates.take(name, pace, start + ms(5000)),
                Ok(()),
                "no more than the burst is saved"
            );
        }
        assert!(rates.take(name, pace, start + ms(5000)).is_err());
    }

    #[test]
    fn what_was_given_is_paid_for_afterwards() {
        let start = Instant::now();
        let rates = Rates::new(64, start);
        let (name, second) = (rates.name("a"), NANOS_PER_SECOND);
        assert_eq!(rates.is_paid(name, second, start), Ok(()));
        rates.charge(name, 3 * second, start);
        assert_eq!(rates.is_paid(name, second, start), Err(ms(2000)));
        assert_eq!(rates.is_paid(name, second, start + ms(2000)), Ok(()));
    }

    #[test]
    fn the_table_does_not_grow_and_forgets_the_quiet_first() {
        let start = Instant::now();
        let rates = Rates::new(CLOCKS_PER_SET, start);
        let pace = Pace::new(1, 2);
        let loud = rates.name("loud");
        assert!(rates.take(loud, pace, start).is_ok() && rates.take(loud, pace, start).is_ok());
        for n in 0..1000 {
            assert_eq!(rates.take(rates.name(n), pace, start), Ok(()));
        }
        assert!(rates.take(loud, pace, start).is_err(), "the loud one is remembered");
        assert_eq!(size_of_val(&*rates.sets) / CLOCKS_PER_SET, CLOCK_BYTES);
    }

    #[test]
    fn a_subscriber_has_one_clock() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 1..1000_u64, burst in 1..50_u64, gaps in prop::collection::vec(0..20_u64, 1..200),
        ) {
            let start = Instant::now();
            let rates = Rates::new(8, start);
            let (name, pace) = (rates.name("a"), Pace::new(per_second, burst));
            let (mut at, mut let_in) = (0, 0);
            for gap in gaps {
                at += gap;
                let_in += u64::from(rates.take(name, pace, start + ms(at)).is_ok());
            }
            prop_assert!(let_in <= burst + per_second * at / 1000 + 1);
        }
    }
}
