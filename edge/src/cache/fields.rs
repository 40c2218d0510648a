//! Headers that go out with many responses, encoded once for each protocol that can use the bytes as they are.
//!
//! H1, H2 and H3 (the latter with the static tables alone) write a header block that does not depend on the connection,
//! so it is kept beside the object. Invariant: the blocks and the map say the same.

use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

/// A header map with its encodings.
#[derive(Debug, Default)]
pub struct Fields {
    map: HeaderMap,
    encoded: [OnceLock<Bytes>; 3],
}

/// A protocol whose header block does not depend on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Lines that end with CR LF.
    H1,
    /// HPACK field lines that use the static table alone.
    H2,
    /// QPACK field lines that use the static table alone, without the section's prefix.
    H3,
}

impl Fields {
    /// These headers; they may not contain `Content-Length` or what concerns one connection.
    #[must_use]
    pub fn new(map: HeaderMap) -> Self {
        Self { map, encoded: Default::default() }
    }

    /// The headers.
    #[must_use]
    pub fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// The block for a protocol; encoded by `encode` when it is asked for the first time.
    pub fn block(&self, wire: Wire, encode: impl FnOnce(&HeaderMap) -> Bytes) -> &Bytes {
        self.encoded[wire as usize].get_or_init(|| encode(&self.map))
    }

    /// What it takes of memory, encodings included, in bytes; about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of =
            |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        // Once in the map with its entry, and up to three times as blocks.
        self.map.iter().map(|field| 4 * of(field) + HEADER_OVERHEAD_BYTES).sum()
    }
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        Self::new(self.map.clone())
    }
}

/// About what a header map spends on an entry beside name and value.
const HEADER_OVERHEAD_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_encoded_once() {
        let fields = Fields::new(HeaderMap::new());
        assert_eq!(fields.block(Wire::H1, |_| Bytes::from_static(b"a")), "a");
        assert_eq!(fields.block(Wire::H1, |_| Bytes::from_static(b"b")), "a");
        assert_eq!(fields.block(Wire::H3, |_| Bytes::from_static(b"c")), "c");
        assert_eq!(fields.block(Wire::H2, |_| Bytes::from_static(b"d")), "d");
    }
}
