//! Stories of a node and its control plane, over real sockets and real certificates, against a scripted server.

// A story that cannot go on ends.
#![allow(clippy::unwrap_used)]

mod enrolment;
mod errands;
mod fake;
mod node;
mod publisher;
mod purge;
mod questions;
mod release;
mod round_trip;
mod telemetry;
mod upgrade;
