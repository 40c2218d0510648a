//! The PoPs as the map sees them: where they are, what they can carry, how they are.
//!
//! Load and capacity share one unit, which the operator chooses (bits per second as a rule); only their ratio counts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tidegate_contract::id::PopId;

use crate::place::{Place, PlaceError};

/// The most PoPs of a fleet: indices of PoPs have 16 bits, and plans name them by those.
pub const POPS_MAX: usize = 4096;

/// How a PoP is, as far as steering is concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PopState {
    /// Takes clients.
    #[default]
    Up,
    /// Takes clients, but they are told to come back soon: something about it is doubtful.
    Troubled,
    /// Keeps the clients it has and gets no new ones.
    Draining,
    /// Dead, or told to be.
    Down,
}

/// One PoP.
#[derive(Debug, Clone, PartialEq)]
pub struct Pop {
    /// Its id.
    pub id: PopId,
    /// Where it is.
    pub place: Place,
    /// What it can carry. A PoP of capacity 0 gets nothing.
    pub capacity: f64,
    /// The share of its capacity that may be used now, 0 to 1: below 1 while it comes back from a drain.
    pub weight: f64,
    /// How it is.
    pub state: PopState,
    /// The addresses of its nodes.
    pub addresses: Vec<IpAddr>,
}

/// Every PoP, in the order of ids; a place in this list is a PoP's index in maps made from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    pops: Vec<Pop>,
}

/// A fleet as written down: `[[pop]]` tables of a TOML file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    pop: Vec<WrittenPop>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPop {
    id: PopId,
    latitude: f64,
    longitude: f64,
    capacity: f64,
    #[serde(default = "whole")]
    weight: f64,
    #[serde(default)]
    state: PopState,
    #[serde(default)]
    addresses: Vec<IpAddr>,
}

/// Why a fleet is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FleetError {
    /// Not the TOML of a fleet.
    #[error("{0}")]
    Syntax(String),
    /// A PoP is nowhere.
    #[error("PoP {0}: {1}")]
    Place(PopId, PlaceError),
    /// More than [`POPS_MAX`].
    #[error("a fleet has at most {POPS_MAX} PoPs, this one has {0}")]
    TooMany(usize),
    /// One id twice.
    #[error("PoP {0} is there twice")]
    Twice(PopId),
    /// Not a capacity.
    #[error("PoP {0}: capacity and weight are finite and not negative")]
    Capacity(PopId),
}

impl Fleet {
    /// Checks and orders PoPs.
    ///
    /// # Errors
    /// [`FleetError`]
    pub fn new(mut pops: Vec<Pop>) -> Result<Self, FleetError> {
        if pops.len() > POPS_MAX {
            return Err(FleetError::TooMany(pops.len()));
        }
        let is_amount = |value: f64| value.is_finite() && value >= 0.0;
        for pop in &pops {
            if !is_amount(pop.capacity) || !(0.0..=1.0).contains(&pop.weight) {
                return Err(FleetError::Capacity(pop.id.clone()));
            }
        }
        pops.sort_by(|one, other| one.id.cmp(&other.id));
        match pops.windows(2).find(|pair| pair[0].id == pair[1].id) {
            Some(pair) => Err(FleetError::Twice(pair[0].id.clone())),
            None => Ok(Self { pops }),
        }
    }

    /// Reads a fleet from TOML: `[[pop]]` with `id`, `latitude` and `longitude` in degrees, `capacity`, and if need be
    /// `weight`, `state` and `addresses`.
    ///
    /// # Errors
    /// [`FleetError`]
    pub fn from_toml(text: &str) -> Result<Self, FleetError> {
        let written: Written =
            toml::from_str(text).map_err(|error| FleetError::Syntax(error.to_string()))?;
        let pop = |pop: WrittenPop| {
            let WrittenPop { id, latitude, longitude, capacity, weight, state, addresses } = pop;
            match Place::new(latitude, longitude) {
                Ok(place) => Ok(Pop { id, place, capacity, weight, state, addresses }),
                Err(error) => Err(FleetError::Place(id, error)),
            }
        };
        Self::new(written.pop.into_iter().map(pop).collect::<Result<_, _>>()?)
    }

    /// All of them.
    #[must_use]
    pub fn pops(&self) -> &[Pop] {
        &self.pops
    }

    /// The index of an id.
    #[must_use]
    pub fn index(&self, id: &PopId) -> Option<u16> {
        let found = self.pops.binary_search_by(|pop| pop.id.cmp(id)).ok()?;
        u16::try_from(found).ok()
    }
}

impl Pop {
    /// Whether it may get clients that it does not have yet.
    #[must_use]
    pub fn takes_clients(&self) -> bool {
        matches!(self.state, PopState::Up | PopState::Troubled) && self.usable() > 0.0
    }

    /// What it may carry now.
    #[must_use]
    pub fn usable(&self) -> f64 {
        self.capacity * self.weight
    }
}

fn whole() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
        [[pop]]
        id = "syd"
        latitude = -33.87
        longitude = 151.21
        capacity = 40.0
        addresses = ["192.0.2.2", "2001:db8::2"]

        [[pop]]
        id = "fra"
        latitude = 50.11
        longitude = 8.68
        capacity = 100.0
        weight = 0.3
        state = "troubled"
    "#;

    #[test]
    fn a_fleet_is_read_and_in_the_order_of_ids() {
        let fleet = Fleet::from_toml(TWO).expect("good");
        let ids: Vec<_> = fleet.pops().iter().map(|pop| pop.id.as_str()).collect();
        assert_eq!(ids, ["fra", "syd"]);
        let id = PopId::parse("syd").expect("good");
        assert_eq!(fleet.index(&id), Some(1));
        let [fra, syd] = fleet.pops() else { panic!("two") };
        assert_eq!(
            (fra.usable(), fra.state, fra.takes_clients()),
            (30.0, PopState::Troubled, true)
        );
        assert_eq!((syd.usable(), syd.addresses.len()), (40.0, 2));
    }

    #[test]
    fn what_is_no_fleet_is_refused_with_the_reason() {
        for (change, with, reason) in [
            ("syd", "fra", "twice"),
            ("-33.87", "-93.87", "no place"),
            ("40.0", "-1.0", "not negative"),
            ("0.3", "1.3", "not negative"),
            ("capacity = 40.0", "", "missing field"),
            ("addresses", "adresses", "unknown field"),
            ("192.0.2.2", "192.0.2", "invalid"),
        ] {
            let error = Fleet::from_toml(&TWO.replace(change, with)).expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
