//! Connections to upstreams, and one request with its answer on one of them.
//!
//! Pingora opens the sockets and speaks TLS; which connection is used and kept, and what is said on it, is decided
//! here. Invariant: at most one connection attempt per upstream is under way while it is unknown whether
//! it speaks H2, so that a burst of requests shares one connection.

mod links; // a connection that is there, or a new one
mod peer; // addresses, TLS and time limits of one upstream
mod roots; // whom TLS upstreams are checked by
mod resolve; // names to addresses
mod h2;
mod h1;
mod pool; // connections of H1 that are free
mod message; // a request and its answer
mod sending; // a request's body on its way
mod framing; // where an answer's body ends
mod fields; // which headers are for the whole way

pub(super) use self::{
    fields::keep_end_to_end,
    framing::Malformed,
    links::{Links, Sent},
    message::{BodyLength, Incoming, Outgoing, Received, Times},
    peer::PeerError,
};
pub use self::{h1::read_answer, roots::RootsError};
