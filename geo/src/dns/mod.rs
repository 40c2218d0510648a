//! DNS: queries in, answers out.
//!
//! Invariant: what is answered is decided in `answer` alone, whichever way a query came.

pub mod config;
pub mod answer;
pub mod subnet;
