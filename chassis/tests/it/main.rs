//! The chassis as its users meet it: a small program runs as a process of its own, is configured, watched, drained
//! and broken.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod harness;

mod admin;
mod config;
mod end;
mod log;
