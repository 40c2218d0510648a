//! DNS: queries in, answers out.
//!
//! Invariant: what is answered is decided in `answer` alone, whichever way a query came.

pub mod config;
pub mod sign; // DNSSEC: keys and signatures
pub mod answer;
pub mod subnet;
