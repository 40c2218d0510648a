//! The control plane over real sockets: operators on one side, nodes on the other.
//!
//! Each file is a set of stories; the harness starts the control plane and plays the nodes.

mod harness;

mod access;
mod anycast;
mod api;
mod cli;
mod durability;
mod geo;
mod identity;
mod operators;
mod purges;
mod replace;
mod secrets;
mod releases;
mod turns;
mod snapshots;
