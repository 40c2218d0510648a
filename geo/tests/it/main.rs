//! `tidegate-geo` as a user runs it.

mod command;
mod fast;
mod dns;
mod dnssec;
mod dnssec_node;
mod encrypted;
mod harness;
