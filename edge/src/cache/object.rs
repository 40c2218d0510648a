//! A stored response: its parsed head and its body in pieces.
//!
//! The head is kept parsed, so that a hit decodes nothing, and the body is cut into pieces of a size that the
//! sockets like, whatever the sizes were in which it arrived. Invariant: an `Object` is complete.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tidegate_contract::surrogate_key::KeyHash;

use super::freshness::Freshness;

/// The size of all pieces of a body but the last: measured best for TLS over TCP, and no worse for QUIC.
pub const PIECE_BYTES: usize = 48 * 1024;

/// Everything of a response but its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those that concern one connection alone.
    pub headers: HeaderMap,
    /// How long it counts.
    pub freshness: Freshness,
    /// By which names it can be purged: its URL and its surrogate keys.
    pub names: Arc<[KeyHash]>,
    /// The number of the last purge that was known when it was asked for, or confirmed.
    pub born: u64,
    /// When it was fetched; a confirmation by 304 does not change it.
    pub created: SystemTime,
    /// What tells variants of an older family from those of this one.
    pub provenance: SystemTime,
    /// Which variant it is.
    pub variance: Option<[u8; 16]>,
    /// The length that it announces.
    pub length: Option<u64>,
}

/// A complete stored response.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its head.
    pub head: Arc<Head>,
    /// Its body; every piece but the last has [`PIECE_BYTES`].
    pub pieces: Arc<[Bytes]>,
    /// The length of its body.
    pub bytes: u64,
    /// Which fill made it; later fills have higher numbers.
    pub fill: u64,
}

impl Object {
    /// What it takes of the memory tier, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES
        };
        let head: usize = self.head.headers.iter().map(header).sum();
        let pieces = self.pieces.len() * size_of::<Bytes>();
        self.bytes + (head + pieces + OBJECT_OVERHEAD_BYTES) as u64
    }
}

/// The rest of the piece in which a position lies.
pub(super) fn piece_at(pieces: &[Bytes], position: u64) -> Option<Bytes> {
    let position = usize::try_from(position).ok()?;
    let piece = pieces.get(position / PIECE_BYTES)?;
    let within = position % PIECE_BYTES;
    (within < piece.len()).then(|| piece.slice(within..))
}

/// About what a header map spends on an entry beside name and value.
const HEADER_OVERHEAD_BYTES: usize = 64;
/// About what head, object and table entry take beside what they point to.
const OBJECT_OVERHEAD_BYTES: usize = 512;
