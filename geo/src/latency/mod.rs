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

/// What is known of each PoP, in the order of PoPs.
type Measured = Vec<ToPop>;

/// What is known of the way to one PoP.
#[derive(Debug, Clone)]
struct ToPop {
    pop: u16,
    digest: Digest,
    /// The median, once it is believed; kept, because rounds ask for it far more often than it changes.
    median_ms: Option<f32>,
}

/// What is known of one unit and of its network, found once for all PoPs.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    unit: &'a [ToPop],
    network: &'a [ToPop],
}

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
            measured.retain_mut(|to| {
                to.digest.fade(FADE);
                let weight = to.digest.weight();
                // The weights of all samples changed alike, so the median is what it was.
                to.median_ms = to.median_ms.filter(|_| weight >= SAMPLES_MIN);
                weight >= 1.0
            });
            !measured.is_empty()
        };
        self.units.retain(|_, measured| keep(measured));
        self.networks.retain(|_, measured| keep(measured));
        self.pairs = self.units.values().map(Vec::len).sum();
    }

    /// Gives every PoP the number that it has in another fleet; what is known of PoPs that are not in it is forgotten.
    pub fn renumber(&mut self, new: impl Fn(u16) -> Option<u16>) {
        let keep = |measured: &mut Measured| {
            measured.retain_mut(|to| match new(to.pop) {
                Some(pop) => {
                    to.pop = pop;
                    true
                }
                None => false,
            });
            measured.sort_unstable_by_key(|to| to.pop);
            !measured.is_empty()
        };
        self.units.retain(|_, measured| keep(measured));
        self.networks.retain(|_, measured| keep(measured));
        self.pairs = self.units.values().map(Vec::len).sum();
    }

    /// Everything that is known of a unit.
    #[must_use]
    pub fn of(&self, key: &UnitKey) -> Known<'_> {
        let network = Network::of(key).and_then(|network| self.networks.get(&network));
        Known {
            unit: self.units.get(key).map(Vec::as_slice).unwrap_or_default(),
            network: network.map(Vec::as_slice).unwrap_or_default(),
        }
    }

    /// All that was measured, by unit: the PoPs and their digests.
    pub fn units(&self) -> impl Iterator<Item = (&UnitKey, impl Iterator<Item = (u16, &Digest)>)> {
        self.units.iter().map(|(key, to)| (key, to.iter().map(|to| (to.pop, &to.digest))))
    }

    /// How many pairs are known.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }
}

impl Known<'_> {
    /// The median round trip from the unit to a PoP, in ms, when enough is known.
    #[must_use]
    pub fn of_unit(&self, pop: u16) -> Option<f32> {
        believed(self.unit, pop)
    }

    /// The median round trip from the unit's network, around there, in ms, when enough is known.
    #[must_use]
    pub fn of_network(&self, pop: u16) -> Option<f32> {
        believed(self.network, pop)
    }

    /// The PoPs that the unit has measurements of that are believed, with the median round trip in ms.
    pub fn measured(&self) -> impl Iterator<Item = (u16, f32)> {
        self.unit.iter().filter_map(|to| Some((to.pop, to.median_ms?)))
    }
}

/// Adds to what is known of a PoP; 1 when that is new.
fn merge(measured: &mut Measured, pop: u16, digest: &Digest) -> usize {
    let found = measured.binary_search_by_key(&pop, |to| to.pop);
    let at = match found {
        Ok(at) => {
            measured[at].digest.merge(digest);
            at
        }
        Err(at) => {
            measured.insert(at, ToPop { pop, digest: digest.clone(), median_ms: None });
            at
        }
    };
    let to = &mut measured[at];
    let is_believed = to.digest.weight() >= SAMPLES_MIN;
    to.median_ms = if is_believed { to.digest.median_ms().map(|ms| ms as f32) } else { None };
    usize::from(found.is_err())
}

fn believed(measured: &[ToPop], pop: u16) -> Option<f32> {
    let at = measured.binary_search_by_key(&pop, |to| to.pop).ok()?;
    measured[at].median_ms
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
        assert_eq!(latency.of(&here).of_unit(3), None);
        latency.observe(&here, 3, &digest(12.0, 1)).expect("room");
        assert_eq!(latency.of(&here).of_unit(3), Some(12.0));
        assert_eq!(latency.of(&here).of_unit(4), None);
        assert_eq!(latency.of(&here).measured().collect::<Vec<_>>(), [(3, 12.0)]);
    }

    #[test]
    fn a_network_speaks_for_its_neighbours_but_not_for_those_far_away_or_unknown() {
        let mut latency = Latency::default();
        latency.observe(&key(1, 50.1), 0, &digest(30.0, 100)).expect("room");
        assert_eq!(latency.of(&key(1, 51.0)).of_network(0), Some(30.0));
        assert_eq!(latency.of(&key(1, 41.0)).of_network(0), None);
        assert_eq!(latency.of(&key(2, 50.1)).of_network(0), None);
        latency.observe(&key(0, 50.1), 0, &digest(30.0, 100)).expect("room");
        assert_eq!(latency.of(&key(0, 50.1)).of_network(0), None, "0 is no network");
    }

    #[test]
    fn what_is_known_follows_its_pop_into_another_fleet() {
        let mut latency = Latency::default();
        let here = key(1, 50.0);
        for (pop, ms) in [(0, 10.0), (1, 20.0), (2, 30.0)] {
            latency.observe(&here, pop, &digest(ms, 30)).expect("room");
        }
        // The second is gone, and the others change places.
        latency.renumber(|pop| [Some(1), None, Some(0)][usize::from(pop)]);
        assert_eq!(latency.of(&here).measured().collect::<Vec<_>>(), [(0, 30.0), (1, 10.0)]);
        assert_eq!(latency.of(&here).of_network(1), Some(10.0));
        assert_eq!((latency.pairs(), latency.units().count()), (2, 1));
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
        let now = latency.of(&here).of_unit(0).expect("known");
        assert!(now > 70.0, "{now}");
        for _ in 0..20 {
            latency.fade();
        }
        assert_eq!((latency.of(&here).of_unit(0), latency.pairs()), (None, 0));
    }
}
