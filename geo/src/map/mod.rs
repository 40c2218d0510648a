//! Which PoP serves which part of the Internet.
//!
//! The Internet is cut into units: addresses that are in the same place and the same network. A round looks at every
//! unit: the PoPs that come into question ([`candidate`]), how far each is ([`score`]), and how much of the unit each
//! of them gets, so that none gets more than it can carry ([`allocate`]). Then as little as possible is moved away
//! from what the round before decided ([`settle`]). What comes out, a [`Map`], is looked up by address.

mod adjust; // a map in use, for PoPs that have changed since
pub mod round; // one round: places, round trips and fleet → a map
mod choose; // a map: what clients get, by address
mod draw; // who gets which part of a unit, and who explores
pub mod settle; // from the plan in use to the wanted one, a bounded step at a time
pub mod allocate; // demand onto capacities, stable
pub mod score; // how far a PoP is from a unit
pub mod candidate; // which PoPs come into question
#[cfg(test)]
mod scope_tests;

pub use choose::{Candidate, Choice, Map, NEIGHBOUR_ABOVE, Plan, Reason};
pub use round::{Inputs, PLANNED_SHARE, Round};
