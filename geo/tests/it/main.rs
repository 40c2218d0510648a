//! `tidegate-geo` as a user runs it.

mod command;
mod fast;
