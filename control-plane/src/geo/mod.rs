//! What the DNS hears of the fleet, and what it is asked.
//!
//! Every geo node follows every replica and makes the same map for itself, so nothing is decided here: a view is made of
//! the newest release, the drains, the verdicts and the freeze, and told whole whenever it changes; round trips are passed
//! on as they come. Invariant: no node of the DNS, however slow, makes another one or an edge wait.

mod hub; // who follows, what they are told
mod roll; // whether a step of a roll-over of keys may be taken
mod key_sets; // the newest keys of zones, sealed
mod following; // one that follows
mod questions; // what operators want to know
mod freeze; // an operator holds the map
mod view; // the fleet, as steering sees it

pub use self::{
    following::{Follower, FollowerView},
    freeze::Freeze,
    hub::{Geo, GeoError, Parts},
    questions::AskError,
    roll::{RollError, Rolled, Wish},
};
