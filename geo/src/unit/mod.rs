//! Mapping units: parts of the Internet that are served alike.
//!
//! A unit is all addresses that a file of places puts into the same city and network. What is known of one of its
//! addresses (a round trip, demand) is taken to be true of all of them.

pub mod lookup; // address → unit, by the longest prefix

use std::{collections::HashMap, net::IpAddr};

use crate::place::Place;
use lookup::{Lookup, LookupBuilder};
pub use lookup::{Match, UNITS_MAX, UnitIndex};

/// What makes two addresses belong to one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitKey {
    /// Two letters of ISO 3166-1; zeros when nobody knows.
    pub country: [u8; 2],
    /// The autonomous system; 0 when nobody knows.
    pub asn: u32,
    /// The place in tenths of a degree: some 11 km, finer than any file of places is right.
    pub cell: (i16, i16),
}

/// One unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// What its addresses share.
    pub key: UnitKey,
    /// Where it is.
    pub place: Place,
}

/// The Internet, cut into units.
#[derive(Debug, Clone)]
pub struct Units {
    units: Vec<Unit>,
    by_key: HashMap<UnitKey, UnitIndex>,
    lookup: Lookup,
}

/// Collects prefixes into units.
#[derive(Debug, Default)]
pub struct UnitsBuilder {
    units: Vec<Unit>,
    by_key: HashMap<UnitKey, UnitIndex>,
    lookup: LookupBuilder,
}

/// More units than a map can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a map has at most {UNITS_MAX} units")]
pub struct TooManyUnits;

impl UnitKey {
    /// The key of a place in a network.
    #[must_use]
    pub fn new(country: [u8; 2], asn: u32, place: &Place) -> Self {
        let (latitude, longitude) = place.degrees();
        // Degrees are within ±180, so tenths of them fit.
        let tenths = |degrees: f64| (degrees * 10.0).round() as i16;
        Self { country, asn, cell: (tenths(latitude), tenths(longitude)) }
    }
}

impl UnitsBuilder {
    /// Adds a prefix that is at a place.
    ///
    /// # Errors
    /// [`TooManyUnits`]
    pub fn add(
        &mut self,
        first: IpAddr,
        prefix: u8,
        country: [u8; 2],
        asn: u32,
        place: Place,
    ) -> Result<(), TooManyUnits> {
        let key = UnitKey::new(country, asn, &place);
        let next = self.units.len();
        let index = match self.by_key.get(&key) {
            Some(index) => *index,
            None if next >= UNITS_MAX => return Err(TooManyUnits),
            None => {
                let index = next as UnitIndex;
                self.units.push(Unit { key, place });
                self.by_key.insert(key, index);
                index
            }
        };
        self.lookup.add(first, prefix, index);
        Ok(())
    }

    /// The units.
    #[must_use]
    pub fn build(self) -> Units {
        Units { units: self.units, by_key: self.by_key, lookup: self.lookup.build() }
    }
}

impl Units {
    /// All of them; a place in this list is a unit's index.
    #[must_use]
    pub fn all(&self) -> &[Unit] {
        &self.units
    }

    /// The index of a key.
    #[must_use]
    pub fn index(&self, key: &UnitKey) -> Option<UnitIndex> {
        self.by_key.get(key).copied()
    }

    /// From an address to its unit.
    #[must_use]
    pub fn lookup(&self) -> &Lookup {
        &self.lookup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_one_city_and_network_are_one_unit() {
        let paris = Place::new(48.87, 2.35).expect("a place");
        let near = Place::new(48.88, 2.36).expect("a place");
        let lyon = Place::new(45.76, 4.84).expect("a place");
        let mut builder = UnitsBuilder::default();
        for (first, asn, place) in [
            ("10.0.0.0", 1, paris),
            ("10.0.1.0", 1, near),
            ("10.0.2.0", 2, paris),
            ("10.0.3.0", 1, lyon),
            ("2001:db8::", 1, paris),
        ] {
            builder.add(first.parse().expect("an address"), 24, *b"FR", asn, place).expect("few");
        }
        let units = builder.build();
        assert_eq!(units.all().len(), 3);
        let find = |text: &str| units.lookup().find(text.parse().expect("an address")).unit;
        assert_eq!(find("10.0.0.1"), find("10.0.1.1"));
        assert_eq!(find("10.0.0.1"), find("2001:db8::1"));
        assert_ne!(find("10.0.0.1"), find("10.0.2.1"));
        assert_ne!(find("10.0.0.1"), find("10.0.3.1"));
        let key = UnitKey::new(*b"FR", 1, &lyon);
        assert_eq!(units.index(&key), find("10.0.3.1"));
    }
}
