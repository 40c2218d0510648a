//! `tidegate-geo` as a user runs it.

mod command;
mod fast;
mod dns;
mod dnssec;
mod dnssec_node;
mod encrypted;
mod fetch;
mod harness;
mod live;
mod steer;
