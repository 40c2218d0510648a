//! A PoP is emptied in ordered stages, and filled again slowly.
//!
//! The state of a drain is one record, so that any replica that leads can go on with it. Invariant: a drain begins with a
//! reservation in every group of the PoP, and each stage is entered in a commit of its own.

mod drains; // the records, and the loop that moves them
mod machine; // the stages
mod weight; // how much of its share a PoP gets meanwhile

pub use self::{
    drains::{DrainError, Drains, NewDrain},
    machine::{Drain, Facts, Stage, Step, Target, Times, next},
    weight::weight_percent,
};
