//! The control plane over real sockets: operators on one side, nodes on the other.
//!
//! Each file is a set of stories; the harness starts the control plane and plays the nodes.

mod harness;

mod access;
mod anycast;
mod api;
mod by_hand;
mod cli;
mod dry_runs;
mod durability;
mod geo;
mod health;
mod identity;
mod labels;
mod node_orders;
mod operators;
mod plans;
mod purges;
mod questions;
mod replace;
mod secrets;
mod releases;
mod rolls;
mod top;
mod turns;
mod waiting;
mod snapshots;
mod steer;
