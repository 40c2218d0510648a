//! `tidegate-geo` as a user runs it.

mod command;
mod live;
mod dns;
mod harness;
