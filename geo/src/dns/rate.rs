//! How many answers of one kind go to one network over UDP: what keeps this node from being used to flood others.
//!
//! For each network, kind and name there is a time at which its answers so far would have been due at the allowed rate; one
//! that runs too far ahead is over (the generic cell rate algorithm, which is a token bucket in one number). Invariant: the
//! table never grows; what it forgets is what was quiet longest.

use std::{
    hash::Hasher,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::{Context, ensure};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// The section `[rate]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether there are limits.
    pub enabled: bool,
    /// Answers a second with records, or that a name has none, of one name to one network; 0: no limit.
    pub answers_per_second: u32,
    /// Answers a second that names of one zone are not there, to one network; 0: no limit.
    pub missing_per_second: u32,
    /// Refusals and errors a second to one network; 0: no limit.
    pub errors_per_second: u32,
    /// How many seconds' worth may come at once.
    pub burst_seconds: u32,
    /// One in how many answers over the limit goes out, cut short (TC): a client that is no victim asks again over TCP. 0:
    /// none.
    pub slip: u32,
    /// Networks, kinds and names that are remembered at once.
    pub table_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            answers_per_second: 500,
            missing_per_second: 50,
            errors_per_second: 50,
            burst_seconds: 2,
            slip: 2,
            table_max: 65_536,
        }
    }
}

/// Kinds of answers, each with a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records, or that a name has none; by name.
    Answer,
    /// That a name is not there; by zone.
    Missing,
    /// Refusals and errors; all of them together.
    Error,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out.
    Pass,
    /// It goes out cut short.
    Slip,
    /// It does not go out.
    Drop,
}

/// Counts answers.
#[derive(Debug)]
pub struct Limiter {
    /// Sets of [`WAYS`] entries: a tag above, a time in µs below.
    entries: Box<[AtomicU64]>,
    key: [u8; 16],
    /// µs between two answers, by kind; 0: no limit.
    intervals: [u64; 3],
    burst: u64,
    slip: u64,
    over: AtomicU64,
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, rate) in [
            ("answers_per_second", self.answers_per_second),
            ("missing_per_second", self.missing_per_second),
            ("errors_per_second", self.errors_per_second),
        ] {
            ensure!(rate <= RATE_MAX, "rate.{name} is {rate}: at most {RATE_MAX}");
        }
        ensure!(
            (1..=BURST_MAX).contains(&self.burst_seconds),
            "rate.burst_seconds is {}: 1 to {BURST_MAX}",
            self.burst_seconds
        );
        ensure!(
            (WAYS..=TABLE_MAX).contains(&self.table_max),
            "rate.table_max is {}: {WAYS} to {TABLE_MAX}",
            self.table_max
        );
        Ok(())
    }
}

impl Limiter {
    /// With these limits; `None` when there are to be none.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(config: &Config) -> anyhow::Result<Option<Self>> {
        if !config.enabled {
            return Ok(None);
        }
        let mut key = [0; 16];
        rand::fill(&mut key).context("no random numbers")?;
        let interval = |rate: u32| if rate == 0 { 0 } else { SECOND / u64::from(rate) };
        let count = config.table_max.next_multiple_of(WAYS);
        Ok(Some(Self {
            entries: (0..count).map(|_| AtomicU64::new(0)).collect(),
            key,
            intervals: [
                interval(config.answers_per_second),
                interval(config.missing_per_second),
                interval(config.errors_per_second),
            ],
            burst: u64::from(config.burst_seconds) * SECOND,
            slip: u64::from(config.slip),
            over: AtomicU64::new(0),
        }))
    }

    /// Counts an answer to a client. `name` is that of [`Kind`] in small letters, as bytes of any form that is always the
    /// same; `now` is in µs since whenever.
    #[must_use]
    pub fn check(&self, client: IpAddr, kind: Kind, name: &[u8], now: u64) -> Verdict {
        let interval = self.intervals[kind as usize];
        if interval == 0 || self.count(self.hash(client, kind, name), interval, now) {
            return Verdict::Pass;
        }
        let number = self.over.fetch_add(1, Relaxed);
        if self.slip > 0 && number.is_multiple_of(self.slip) {
            Verdict::Slip
        } else {
            Verdict::Drop
        }
    }

    /// Whether one more fits.
    fn count(&self, hash: u64, interval: u64, now: u64) -> bool {
        let now = now & TIME_MASK;
        let tag = hash & !TIME_MASK;
        let sets = self.entries.len() / WAYS;
        let first = (hash & TIME_MASK) as usize % sets * WAYS;
        let set = &self.entries[first..first + WAYS];
        // Somebody else may change an entry at the same time; then one answer too many goes out, which costs nothing.
        let values: [u64; WAYS] = std::array::from_fn(|way| set[way].load(Relaxed));
        let is_own = |value: &u64| value & !TIME_MASK == tag && *value != 0;
        let due = |value: u64| {
            let due = value & TIME_MASK;
            // What lies further ahead than can be was written before the clock went round.
            if due > now + self.burst + interval { 0 } else { due }
        };
        let way = values.iter().position(is_own);
        let before = way.map_or(0, |way| due(values[way])).max(now);
        if before - now > self.burst {
            return false;
        }
        let way = way
            .unwrap_or_else(|| (0..WAYS).min_by_key(|way| due(values[*way])).unwrap_or_default());
        set[way].store(tag | (before + interval) & TIME_MASK, Relaxed);
        true
    }

    fn hash(&self, client: IpAddr, kind: Kind, name: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        match client.to_canonical() {
            IpAddr::V4(client) => hasher.write(&client.octets()[..3]),
            IpAddr::V6(client) => hasher.write(&client.octets()[..7]),
        }
        hasher.write(&[kind as u8]);
        hasher.write(name);
        hasher.finish()
    }
}

/// µs.
const SECOND: u64 = 1_000_000;
/// Below it an interval would be no time.
const RATE_MAX: u32 = 1_000_000;
/// So that no burst is longer than the clock goes round.
const BURST_MAX: u32 = 60;
/// Places where one entry may be.
const WAYS: usize = 4;
/// 128 MiB.
const TABLE_MAX: usize = 16 * 1024 * 1024;
/// µs of a time in an entry: it goes round after 203 days.
const TIME_MASK: u64 = (1 << 44) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limiter(answers_per_second: u32, slip: u32, table_max: usize) -> Limiter {
        let config = Config { answers_per_second, slip, table_max, ..Config::default() };
        config.check().unwrap();
        Limiter::new(&config).unwrap().unwrap()
    }

    fn passed(limiter: &Limiter, client: &str, name: &[u8], times: u64, now: u64) -> usize {
        let client = client.parse().unwrap();
        (0..times)
            .filter(|_| limiter.check(client, Kind::Answer, name, now) == Verdict::Pass)
            .count()
    }

    #[test]
    fn a_network_gets_its_burst_and_then_its_rate() {
        let limiter = limiter(10, 0, 1024);
        assert_eq!(passed(&limiter, "192.0.2.1", b"a", 100, 5 * SECOND), 21);
        assert_eq!(passed(&limiter, "192.0.2.77", b"a", 100, 5 * SECOND), 0);
        assert_eq!(passed(&limiter, "192.0.2.1", b"b", 100, 5 * SECOND), 21);
        assert_eq!(passed(&limiter, "192.0.3.1", b"a", 100, 5 * SECOND), 21);
        assert_eq!(passed(&limiter, "2001:db8:0:12::1", b"a", 100, 5 * SECOND), 21);
        assert_eq!(passed(&limiter, "2001:db8:0:34::1", b"a", 100, 5 * SECOND), 0);
        assert_eq!(passed(&limiter, "2001:db8:0:134::1", b"a", 100, 5 * SECOND), 21);
        assert_eq!(passed(&limiter, "192.0.2.1", b"a", 100, 6 * SECOND), 10);
        assert_eq!(passed(&limiter, "::ffff:192.0.2.1", b"a", 1, 6 * SECOND), 0);
    }

    #[test]
    fn every_second_over_the_limit_slips() {
        let limiter = limiter(1, 2, 64);
        let client = "192.0.2.1".parse().unwrap();
        let verdicts: Vec<_> =
            (0..7).map(|_| limiter.check(client, Kind::Answer, b"", SECOND)).collect();
        use Verdict::{Drop, Pass, Slip};
        assert_eq!(verdicts, [Pass, Pass, Pass, Slip, Drop, Slip, Drop]);
        assert_eq!(limiter.check(client, Kind::Error, b"", SECOND), Pass);
    }

    #[test]
    fn the_clock_may_go_round() {
        let limiter = limiter(10, 0, 64);
        assert_eq!(passed(&limiter, "192.0.2.1", b"a", 100, TIME_MASK - 3 * SECOND), 21);
        assert_eq!(passed(&limiter, "192.0.2.1", b"a", 100, TIME_MASK + SECOND), 21);
    }

    proptest! {
        #[test]
        fn no_network_gets_more_than_burst_and_rate(
            steps in prop::collection::vec((0..200_000_u64, 0..8_u8), 1..400),
        ) {
            let limiter = limiter(10, 0, 4);
            let (mut now, mut counts) = (SECOND, [0_u64; 8]);
            for (step, network) in steps {
                now += step;
                let client = IpAddr::from([10, 0, network, 1]);
                // Of few places, those that are busy stay.
                if network < 4 && limiter.check(client, Kind::Answer, b"n", now) == Verdict::Pass {
                    counts[usize::from(network)] += 1;
                }
            }
            for count in counts {
                prop_assert!(count <= 21 + (now - SECOND) * 10 / SECOND + 1, "{count}");
            }
        }
    }
}
