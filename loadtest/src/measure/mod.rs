//! From what sessions met to results: one recorder for each worker. Pure: knows times only as they are handed in.
//!
//! Invariant: everything that was met is counted once; what belongs to the warm-up is counted nowhere but in the
//! intervals that people watch.

mod interval;
mod quality;
mod recorder;
mod skew;

pub use self::{
    interval::{Gauges, Health},
    recorder::{Met, Recorder},
};
