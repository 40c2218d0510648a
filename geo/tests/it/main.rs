//! `tidegate-geo` as a user runs it.

mod command;
mod dns;
mod harness;
