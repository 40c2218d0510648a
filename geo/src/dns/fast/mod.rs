//! The fast path of UDP: the common query is answered from a table by the thread that received it.
//!
//! [`parse`] reads a packet, or says that it is not common. What is not goes to the handler, which answers everything.
//! Invariant: a query gets the same answer here as there.

pub mod batch; // many datagrams in one call
pub mod socket; // sockets that share an address
pub mod parse; // a packet, if it is a common query

pub use parse::{Edns, LowerName, Query, Subnet};
