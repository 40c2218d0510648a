//! DNS over TLS, HTTP/2, QUIC and HTTP/3, all to the same handler.
//!
//! The listeners are our own: hickory's bound neither connections nor the queries of one, shake hands over QUIC with one
//! client after the other, and log clients' addresses. Invariant: an answer is the same bytes over every transport, but for
//! padding.

mod listener; // which sockets speak what
mod doh3; // HTTP/3
mod doq; // QUIC
mod quic; // under both
mod doh; // HTTP/2
mod dot; // TLS
mod http; // what HTTP says
mod exchange; // a query in, its answer out
mod places; // how many connections
mod message; // padding
mod certificate; // what is shown
mod metrics;
pub mod config; // the section [encrypted]

pub use certificate::CertificateError;
pub use listener::Listeners;
