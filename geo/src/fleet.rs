//! The PoPs as the map sees them: where they are, what they can carry, how they are.
//!
//! Load and capacity share one unit, which the operator chooses (bits per second as a rule); only their ratio counts.

use std::net::IpAddr;

use tidegate_contract::id::PopId;

use crate::place::Place;

/// The most PoPs of a fleet: indices of PoPs have 16 bits, and plans name them by those.
pub const POPS_MAX: usize = 4096;

/// How a PoP is, as far as steering is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PopState {
    /// Takes clients.
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

/// Why a fleet is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
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
