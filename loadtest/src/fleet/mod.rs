//! Several machines, one run: agents that play parts of the schedule, and the controller that adds up their results.
//!
//! Trust is mutual. The agent's certificate is its own, and the controller takes no other than the one whose
//! fingerprint it was given; then it shows the token, which the agent compares in constant time. Only after that an
//! agent reads a plan. Faults and purges are the controller's: an agent never runs a command.
//!
//! Invariant: arrivals are dealt out by number, so that N agents give the requests of one; histograms are added, never
//! percentiles averaged; an agent that is lost is told in the results.

mod agent;
mod controller;
mod message;
mod identity;
mod clock;

pub use self::{
    agent::{Agent, serve},
    controller::{AgentAddress, run},
    identity::{FleetError, Identity},
};
