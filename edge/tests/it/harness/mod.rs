//! What the stories are told with: a scripted origin, an edge in this process, clients.

pub(crate) mod client;
pub(crate) mod edge;
pub(crate) mod log;
pub(crate) mod origin;
#[path = "../../listener/patience.rs"]
mod patience;
pub(crate) mod token;
pub(crate) mod process;

pub(crate) use client::Answer;
pub(crate) use edge::TestEdge;
pub(crate) use origin::{FakeOrigin, Gate, raw, reply};
pub(crate) use patience::{PATIENCE, until as eventually};
pub(crate) use tidegate_edge::listener::Protocol;

/// All protocols that a client may speak.
pub(crate) const PROTOCOLS: [Protocol; 3] = [Protocol::Http1, Protocol::Http2, Protocol::Http3];

/// Bytes that differ from place to place.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
}
