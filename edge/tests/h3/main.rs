//! Stories about HTTP/3: real sockets, an independent client for what is right, hand-made frames for what is wrong.
//!
//! Nothing here sleeps: every wait is for a condition and has a limit ([`harness::within`]).

#![allow(clippy::unwrap_used)] // a story that cannot go on should stop right there

mod harness;

mod exchange;
mod malformed;
#[path = "../listener/ill_formed.rs"]
mod ill_formed;
mod one_way;
mod limits;
mod priority;
mod migration;
mod early_data;
mod address;
mod drain;
mod trace;
mod serve;
mod load;
