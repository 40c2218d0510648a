//! `tidegate-geo` as a user runs it.

mod command;
mod dnssec;
mod dnssec_node;
mod encrypted;
