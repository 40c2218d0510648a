//! The fast path of UDP: the common query is answered from a table by the thread that received it.
//!
//! ```text
//!  batch ── packet ──▶ engine: parse ──▶ table (names × world) ── template ──▶ batch
//!                         └── anything unusual ──▶ a bounded queue ──▶ the handler ──▶ socket
//! ```
//!
//! Invariant: a query gets the same answer here as from the handler, which is asked for everything that is unusual.

pub mod service; // sockets, threads and the newest table
pub mod lane; // one thread: receive, answer, send, hand on
pub mod config; // the section `[fast]`
pub mod engine; // a packet in, an answer out
pub mod tally; // what one thread counts
pub mod table; // names and a world, made into answers
pub mod names; // zones, made into a table by name
pub mod template; // an answer as bytes without its question
pub mod batch; // many datagrams in one call
pub mod socket; // sockets that share an address
pub mod parse; // a packet, if it is a common query

pub use service::Fast;
