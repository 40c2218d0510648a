//! Stories about the listener: real sockets, real clients of H1 and H2, a small app behind.
//!
//! Nothing here sleeps: every wait is for a condition and has a limit ([`harness::within`]).

#![allow(clippy::unwrap_used)] // a story that cannot go on should stop right there

mod harness;

mod exchange;
mod h1;
mod h2;
mod failure;
mod malformed;
mod ill_formed; // a table, for HTTP/3 as well
mod limits;
mod drain;
mod certificate;
mod hello;
mod renegotiation;
mod handover;
