//! What HPACK and QPACK write alike: numbers and strings (RFC 7541 5, RFC 9204 4.1).
//!
//! A program that serves and one that asks read and write the same bytes. Invariant: nothing here knows a table, so
//! nothing depends on what was read before.

pub mod huffman;
pub mod integer;

/// A field section or instruction that cannot be decoded; the connection ends by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotDecodable(pub &'static str);
