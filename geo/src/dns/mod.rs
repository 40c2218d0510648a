//! DNS: queries in, answers out.
//!
//! Invariant: what is answered is decided in `answer` alone, whichever way a query came.

pub mod fast; // the common query over UDP, from a table
pub mod encrypted; // over TLS and QUIC
pub mod tcp; // connections
pub mod handler; // bytes in, bytes out
pub mod query_log; // a line for some
pub mod reply; // an answer as a message
pub mod request; // a message as a query
pub mod metrics; // what is counted
pub mod rate; // how much goes to one network
pub mod cookie; // who is who it says
pub mod sign; // what DNSSEC adds to it
pub mod answer; // what is said
pub mod extended_error; // why nothing better is
pub mod subnet; // for whom a resolver asks
pub mod transport; // by which way
pub mod config; // what can be set

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod handler_tests;
