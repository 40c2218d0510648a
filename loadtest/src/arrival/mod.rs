//! When sessions begin: a rate profile and a seed give a list of times. Pure.
//!
//! Arrivals are open-loop: what a server does never changes when the next viewer comes. The schedule is made from the
//! profile and the seed alone, one arrival after the other, and workers and agents take every n-th of it.
//!
//! Invariant: the same profile, duration and seed give the same schedule, however many share it.

mod profile;
mod rate;
mod replay;
mod schedule;

pub use self::{
    profile::{Profile, ProfileError, Step},
    rate::RateCurve,
    replay::{LogEntry, ReplayError, parse_log},
    schedule::{Arrival, Schedule, Spacing},
};
