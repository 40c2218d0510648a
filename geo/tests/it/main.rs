//! `tidegate-geo` as a user runs it.

mod command;
mod fetch;
mod live;
mod steer;
