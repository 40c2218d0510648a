//! DNS: what a client asks, what it is told.

pub mod fast; // the common query over UDP, from a table
