//! A stored response: its parsed head and its body in pieces.
//!
//! The head is kept parsed, so that a hit decodes nothing, and the body is cut into pieces of a size that the
//! sockets like, whatever the sizes were in which it arrived. Invariants: an `Object` is complete, and the bytes of
//! its body are taken from a budget for as long as anybody holds them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tidegate_contract::surrogate_key::KeyHash;

use super::{
    budget::Reservation, fields::Fields, freshness::Freshness, key::Key, media_class::MediaClass,
    span::Span, variance::Vary,
};

/// The size of all pieces of a body but the last: measured best for TLS over TCP, and no worse for QUIC.
pub const PIECE_BYTES: usize = 48 * 1024;

/// Everything of a response but its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// Its headers as they are kept, without those that concern one connection alone.
    pub headers: HeaderMap,
    /// Of these, what a client gets, with its encodings.
    pub public: Fields,
    /// How long it counts.
    pub freshness: Freshness,
    /// By which names it can be purged; see [`super::purge::names`].
    pub names: Arc<[KeyHash]>,
    /// The number of the last purge that was known when it was asked for, or confirmed.
    pub born: u64,
    /// When it was fetched; a confirmation by 304 does not change it.
    pub created: SystemTime,
    /// The length that it announces.
    pub length: Option<u64>,
    /// How much of the resource the body is.
    pub extent: Extent,
    /// What it is to a player.
    pub class: MediaClass,
    /// By which request headers it varies; absent when it does not.
    pub vary: Option<Vary>,
    /// Up to which purge it was looked at; begins with the default.
    pub checked: Checked,
}

/// How much of a resource a stored body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Nothing: it stands in slices under keys of their own.
    Sliced {
        /// The length of the resource.
        total: u64,
        /// The length of every slice but the last.
        slice_bytes: u64,
    },
    /// A part of it.
    Slice {
        /// Which part.
        span: Span,
        /// The length of the resource, where upstream said it.
        total: Option<u64>,
    },
}

/// The number of the last purge for which a head was found valid, so that a hit looks at its names only once for
/// each purge. Clones begin anew.
#[derive(Debug, Default)]
pub struct Checked(AtomicU64);

/// The body of a complete response. Shared by an object and those that come after it with a newer head.
#[derive(Debug)]
pub struct Pieces {
    /// Every piece but the last has [`PIECE_BYTES`].
    list: Box<[Bytes]>,
    bytes: u64,
    /// What it takes of whose budget; given back with the last reader.
    _room: Reservation,
}

/// A complete stored response.
#[derive(Debug)]
pub struct Object {
    /// Its head.
    pub head: Arc<Head>,
    /// Its body.
    pub pieces: Arc<Pieces>,
    /// Which fill made it; later fills have higher numbers.
    pub fill: u64,
    /// The resource that it belongs to.
    pub primary: Key,
    /// Whether the disk tier has it or was given it.
    is_on_disk: AtomicBool,
}

impl Object {
    /// An object; `primary` is the key of its resource, which is its own unless it is a variant.
    #[must_use]
    pub fn new(head: Arc<Head>, pieces: Arc<Pieces>, fill: u64, primary: Key) -> Self {
        Self { head, pieces, fill, primary, is_on_disk: AtomicBool::new(false) }
    }

    /// The same body with a newer head; the disk tier does not have it yet.
    #[must_use]
    pub fn with_head(&self, head: Arc<Head>) -> Self {
        Self::new(head, self.pieces.clone(), self.fill, self.primary)
    }

    /// The length of its body.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces.bytes
    }

    /// What it takes of the memory tier, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        weight(&self.head, self.pieces.bytes)
    }

    /// Whether the disk tier has it or was given it.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        self.is_on_disk.load(Ordering::Relaxed)
    }

    /// Notes whether the disk tier has it; true when that is new.
    pub fn set_on_disk(&self, is_on_disk: bool) -> bool {
        self.is_on_disk.swap(is_on_disk, Ordering::Relaxed) != is_on_disk
    }
}

impl Pieces {
    /// A body in pieces, all but the last of [`PIECE_BYTES`], with the room that it takes.
    #[must_use]
    pub fn new(list: Vec<Bytes>, room: Reservation) -> Self {
        let bytes = list.iter().map(|piece| piece.len() as u64).sum();
        Self { list: list.into(), bytes, _room: room }
    }

    /// The pieces.
    #[must_use]
    pub fn list(&self) -> &[Bytes] {
        &self.list
    }

    /// The length of the body.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Checked {
    /// The number.
    #[must_use]
    pub fn up_to(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Found valid up to a purge.
    pub fn advance(&self, seq: u64) {
        self.0.fetch_max(seq, Ordering::Relaxed);
    }
}

impl Clone for Checked {
    /// Nothing: the clone may get other names or another `born`.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What an object takes of the memory tier, in bytes: its body, its head, and the tables it stands in.
#[must_use]
pub fn weight(head: &Head, body_bytes: u64) -> u64 {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + HEADER_OVERHEAD_BYTES
    };
    let headers: usize = head.headers.iter().map(header).sum();
    let names = head.names.len() * size_of::<KeyHash>();
    let pieces = body_bytes.div_ceil(PIECE_BYTES as u64) * size_of::<Bytes>() as u64;
    body_bytes + pieces + (headers + head.public.weight() + names + OBJECT_OVERHEAD_BYTES) as u64
}

/// The rest of the piece in which a position lies.
pub(in crate::cache) fn piece_at(pieces: &[Bytes], position: u64) -> Option<Bytes> {
    let position = usize::try_from(position).ok()?;
    let piece = pieces.get(position / PIECE_BYTES)?;
    let within = position % PIECE_BYTES;
    (within < piece.len()).then(|| piece.slice(within..))
}

/// About what a header map spends on an entry beside name and value.
const HEADER_OVERHEAD_BYTES: usize = 64;
/// About what head, object, queue and table entry take beside what they point to.
const OBJECT_OVERHEAD_BYTES: usize = 768;

#[cfg(test)]
pub(in crate::cache) mod tests {
    use std::time::Duration;

    use super::*;

    /// A head of nothing in particular, fresh for a minute.
    pub(in crate::cache) fn head() -> Head {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Head {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            public: Fields::default(),
            freshness: Freshness {
                received_at: now,
                initial_age: Duration::ZERO,
                lifetime: Duration::from_secs(60),
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                stale_if_unreachable: Duration::ZERO,
                always_revalidate: false,
                forbids_stale: false,
                is_for_shared: false,
                is_immutable: false,
            },
            names: Arc::new([]),
            born: 0,
            created: now,
            length: None,
            extent: Extent::Whole,
            class: MediaClass::Other,
            vary: None,
            checked: Checked::default(),
        }
    }
}
