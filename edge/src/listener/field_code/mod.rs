//! What HPACK and QPACK write alike: numbers, strings and names (RFC 7541 5, RFC 9204 4.1).
//!
//! Pure. Invariant: nothing here knows a table, so nothing depends on what was read before.

pub(super) mod huffman;
pub(super) mod integer;
mod name;

pub(super) use self::name::name_of;
pub use self::name::{Name, Pseudo};

/// A field section or instruction that cannot be decoded; the connection ends by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotDecodable(pub &'static str);
