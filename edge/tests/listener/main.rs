//! Stories about the listener: real sockets, real clients of all three protocols, a small proxy behind.
//!
//! Nothing here sleeps: every wait is for a condition and has a limit ([`harness::within`]).

#![allow(clippy::unwrap_used)] // a story that cannot go on should stop right there

mod harness;

mod exchange;
mod failure;
mod malformed;
mod limits;
mod drain;
mod early_data;
mod certificate;
