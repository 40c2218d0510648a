//! DNS: queries in, answers out.
//!
//! Invariant: what is answered is decided in `answer` alone, whichever way a query came.

pub mod fast; // the common query over UDP, from a table
pub mod config;
pub mod answer;
pub mod subnet;
