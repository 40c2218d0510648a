//! What a run measured: the document that is written, compared, reported and merged. Pure.
//!
//! Invariant: merging the results of parts gives what one run over all of them had given; nothing is an average of
//! percentiles.

pub mod figure;
pub mod verdict;
mod merge;
mod document;
mod histogram;

pub(crate) use self::document::total;
pub use self::{
    document::{
        Arrivals, Connections, Fault, Fetches, GateOutcome, INTERVALS_MAX, Interval, POP_OTHER,
        POPS_MAX, Pop, Quality, Results, Rig, SCHEMA, Step,
    },
    histogram::Histogram,
};
