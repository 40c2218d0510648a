//! Round trips that PoPs measured to the clients they had.
//!
//! A PoP sees the round trip of every handshake for nothing. It sends them as digests, per unit, every few seconds;
//! they are merged here, and what is older than some minutes fades, so that a route that changed is noticed. Only
//! numbers from PoPs that the control plane knows get here: no client can steer others by what it says of itself.

mod digest;

use std::collections::HashMap;

pub use digest::Digest;

use crate::unit::UnitKey;

/// Samples behind a median before it is believed.
pub const SAMPLES_MIN: f64 = 20.0;
/// The most pairs of unit and PoP that are kept: with some 300 bytes each, below 1.3 GB.
pub const PAIRS_MAX: usize = 4_000_000;
/// How much of the old samples' weight is left when a round of fading has passed.
pub const FADE: f64 = 0.5;

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    units: HashMap<UnitKey, Measured>,
    networks: HashMap<Network, Measured>,
    pairs: usize,
}

/// Digests by PoP, in the order of PoPs.
type Measured = Vec<(u16, Digest)>;

/// A network in a region: what units share when they are near one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network {
    country: [u8; 2],
    asn: u32,
    /// Five degrees: about the area of a large city's surroundings.
    region: (i16, i16),
}

/// A PoP says more than is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {PAIRS_MAX} pairs of units and PoPs")]
pub struct TooManyPairs;

impl Latency {
    /// Takes in what a PoP measured to a unit.
    ///
    /// # Errors
    /// [`TooManyPairs`]: it was not taken in; what is known of other pairs stays.
    pub fn observe(
        &mut self,
        key: &UnitKey,
        pop: u16,
        digest: &Digest,
    ) -> Result<(), TooManyPairs> {
        if self.pairs >= PAIRS_MAX {
            return Err(TooManyPairs);
        }
        self.pairs += merge(self.units.entry(*key).or_default(), pop, digest);
        if let Some(network) = Network::of(key) {
            merge(self.networks.entry(network).or_default(), pop, digest);
        }
        Ok(())
    }

    /// Lets what is known lose weight; what has next to none is forgotten.
    pub fn fade(&mut self) {
        let keep = |measured: &mut Measured| {
            for (_, digest) in measured.iter_mut() {
                digest.fade(FADE);
            }
            measured.retain(|(_, digest)| digest.weight() >= 1.0);
            !measured.is_empty()
        };
        self.units.retain(|_, measured| keep(measured));
        self.networks.retain(|_, measured| keep(measured));
        self.pairs = self.units.values().map(Vec::len).sum();
    }

    /// The median round trip from a unit to a PoP, in ms, when enough is known.
    #[must_use]
    pub fn of_unit(&self, key: &UnitKey, pop: u16) -> Option<f32> {
        believed(self.units.get(key)?, pop)
    }

    /// The median round trip from the unit's network, around there, in ms, when enough is known.
    #[must_use]
    pub fn of_network(&self, key: &UnitKey, pop: u16) -> Option<f32> {
        believed(self.networks.get(&Network::of(key)?)?, pop)
    }

    /// The PoPs that a unit has measurements of that are believed, with the median round trip in ms.
    pub fn measured(&self, key: &UnitKey) -> impl Iterator<Item = (u16, f32)> {
        let all = self.units.get(key).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(|(pop, digest)| Some((*pop, median(digest)?)))
    }

    /// How many pairs are known.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }
}

/// Adds to what is known of a PoP; 1 when that is new.
fn merge(measured: &mut Measured, pop: u16, digest: &Digest) -> usize {
    match measured.binary_search_by_key(&pop, |(known, _)| *known) {
        Ok(at) => {
            measured[at].1.merge(digest);
            0
        }
        Err(at) => {
            measured.insert(at, (pop, digest.clone()));
            1
        }
    }
}

fn believed(measured: &Measured, pop: u16) -> Option<f32> {
    let at = measured.binary_search_by_key(&pop, |(known, _)| *known).ok()?;
    median(&measured[at].1)
}

fn median(digest: &Digest) -> Option<f32> {
    if digest.weight() >= SAMPLES_MIN { digest.median_ms().map(|ms| ms as f32) } else { None }
}

impl Network {
    fn of(key: &UnitKey) -> Option<Self> {
        let region = |tenths: i16| tenths.div_euclid(REGION_TENTHS);
        let region = (region(key.cell.0), region(key.cell.1));
        (key.asn != 0).then_some(Self { country: key.country, asn: key.asn, region })
    }
}

const REGION_TENTHS: i16 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    fn key(asn: u32, latitude: f64) -> UnitKey {
        UnitKey::new(*b"DE", asn, &Place::new(latitude, 8.0).expect("a place"))
    }

    fn digest(ms: f64, samples: usize) -> Digest {
        Digest::of(vec![ms; samples])
    }

    #[test]
    fn a_few_samples_are_not_believed_and_many_are() {
        let mut latency = Latency::default();
        let here = key(1, 50.0);
        latency.observe(&here, 3, &digest(12.0, 19)).expect("room");
        assert_eq!(latency.of_unit(&here, 3), None);
        latency.observe(&here, 3, &digest(12.0, 1)).expect("room");
        assert_eq!(latency.of_unit(&here, 3), Some(12.0));
        assert_eq!(latency.of_unit(&here, 4), None);
        assert_eq!(latency.measured(&here).collect::<Vec<_>>(), [(3, 12.0)]);
    }

    #[test]
    fn a_network_speaks_for_its_neighbours_but_not_for_those_far_away_or_unknown() {
        let mut latency = Latency::default();
        latency.observe(&key(1, 50.1), 0, &digest(30.0, 100)).expect("room");
        assert_eq!(latency.of_network(&key(1, 51.0), 0), Some(30.0));
        assert_eq!(latency.of_network(&key(1, 41.0), 0), None);
        assert_eq!(latency.of_network(&key(2, 50.1), 0), None);
        latency.observe(&key(0, 50.1), 0, &digest(30.0, 100)).expect("room");
        assert_eq!(latency.of_network(&key(0, 50.1), 0), None, "0 is no network");
    }

    #[test]
    fn a_route_that_changed_shows_after_a_few_rounds_and_silence_is_forgotten() {
        let mut latency = Latency::default();
        let here = key(1, 50.0);
        latency.observe(&here, 0, &digest(10.0, 1000)).expect("room");
        for _ in 0..4 {
            latency.fade();
            latency.observe(&here, 0, &digest(80.0, 200)).expect("room");
        }
        let now = latency.of_unit(&here, 0).expect("known");
        assert!(now > 70.0, "{now}");
        for _ in 0..20 {
            latency.fade();
        }
        assert_eq!((latency.of_unit(&here, 0), latency.pairs()), (None, 0));
    }
}
