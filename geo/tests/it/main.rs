//! `tidegate-geo` as a user runs it.

mod command;
mod dns;
mod fetch;
mod harness;
mod live;
mod steer;
