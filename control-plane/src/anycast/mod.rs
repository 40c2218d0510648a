//! Which PoP announces what, how strongly, and who may change that.
//!
//! A group's whole state is one record: whoever gives a permit compares and swaps it, so that two of them can never add
//! up to more than the interlock allows. Invariant: nothing is announced less without a check of the interlock against
//! the state that the same commit replaces.

mod orders; // what nodes are told
mod permits; // gives permits: the check and the commit
pub mod ladder; // sheds load, one step at a time
pub mod interlock; // what is never done, whoever asks
pub mod landing; // where traffic goes
mod picture; // a group as it is now
mod sites; // where PoPs are, and which prefixes are in which group
mod state; // the record of a group

pub use self::{
    permits::{Anycast, AnycastError, DRAIN, Plan, Wanted},
    picture::{Picture, Site, picture},
    sites::{Declared, Sites, distance_km},
    state::{Assigned, GroupState, InterlockState, Trial},
};
