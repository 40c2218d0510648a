//! How a node proves to its parent that it asks for another node, and which purges it has applied.
//!
//! An edge adds `tidegate-tier` to what it asks of a shield:
//!
//! ```text
//! tidegate-tier: pop=fra; at=1790000000; seen=main:1234,eu:7; mac=<64 hex digits>
//! ```
//!
//! The mac is a keyed BLAKE3 over what stands before it, under a key that every node got in its snapshot. Only a
//! request with a good mac gets internal headers (surrogate keys) in its answer, and only its `seen` can make a
//! parent bypass its cache: a parent that has applied less than `seen` would hand out what was just purged. A
//! client cannot make these up. The header is good for [`SKEW_MAX`] around its time and says nothing of the
//! request itself: it travels only between nodes, over TLS.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::id::{PopId, StreamId};

/// How far the clocks of two nodes may be apart.
pub const SKEW_MAX: Duration = Duration::from_secs(300);
/// The longest header value, in bytes.
pub const HEADER_BYTES_MAX: usize = 4096;
/// The most streams of one header.
pub const STREAMS_MAX: usize = 32;

/// The key shared by the nodes of one control plane. Not shown by `Debug`; on disk only in files that its owner
/// alone may read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TierKey([u8; 32]);

/// What a node says of itself when it asks another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierRequest {
    /// The asking PoP.
    pub pop: PopId,
    /// Offsets up to which the asking node has applied purges.
    pub seen: BTreeMap<StreamId, u64>,
}

/// Why a header is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// Too long, or of another shape.
    #[error("not a tier header")]
    Syntax,
    /// Made under another key.
    #[error("the tier header was made under another key")]
    Mac,
    /// Made too long ago, or in the future.
    #[error("the tier header's time is too far away")]
    Time,
}

impl TierKey {
    /// A key from random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A secret for another purpose, which tells nothing of this key or of the secrets for other purposes. The purpose
    /// is a fixed text of the program.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }

    /// Writes the header value at a time in seconds since 1970.
    #[must_use]
    pub fn seal(&self, request: &TierRequest, now_s: u64) -> String {
        let seen: Vec<_> = request.seen.iter().map(|(s, offset)| format!("{s}:{offset}")).collect();
        let plain = format!("pop={}; at={now_s}; seen={}", request.pop, seen.join(","));
        let mac = blake3::keyed_hash(&self.0, plain.as_bytes()).to_hex();
        format!("{plain}; mac={mac}")
    }

    /// Reads and checks a header value at a time in seconds since 1970. The mac is compared in constant time.
    ///
    /// # Errors
    /// [`TierError`] when it is not to be believed.
    pub fn open(&self, value: &str, now_s: u64) -> Result<TierRequest, TierError> {
        if value.len() > HEADER_BYTES_MAX {
            return Err(TierError::Syntax);
        }
        let (plain, mac) = value.rsplit_once("; mac=").ok_or(TierError::Syntax)?;
        let mac = blake3::Hash::from_hex(mac).map_err(|_| TierError::Syntax)?;
        if blake3::keyed_hash(&self.0, plain.as_bytes()) != mac {
            return Err(TierError::Mac);
        }
        let (pop, at, seen) = parse_plain(plain).ok_or(TierError::Syntax)?;
        if at.abs_diff(now_s) > SKEW_MAX.as_secs() {
            return Err(TierError::Time);
        }
        Ok(TierRequest { pop, seen })
    }
}

fn parse_plain(plain: &str) -> Option<(PopId, u64, BTreeMap<StreamId, u64>)> {
    let mut words = plain.split("; ");
    let pop = PopId::parse(words.next()?.strip_prefix("pop=")?).ok()?;
    let at = words.next()?.strip_prefix("at=")?.parse().ok()?;
    let list = words.next()?.strip_prefix("seen=")?;
    let mut seen = BTreeMap::new();
    for pair in list.split(',').filter(|pair| !pair.is_empty()) {
        let (stream, offset) = pair.split_once(':')?;
        seen.insert(StreamId::parse(stream).ok()?, offset.parse().ok()?);
        if seen.len() > STREAMS_MAX {
            return None;
        }
    }
    words.next().is_none().then_some((pop, at, seen))
}

impl fmt::Debug for TierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TierKey(…)")
    }
}

impl TryFrom<String> for TierKey {
    type Error = TierError;
    fn try_from(text: String) -> Result<Self, TierError> {
        blake3::Hash::from_hex(&text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| TierError::Syntax)
    }
}

impl From<TierKey> for String {
    fn from(key: TierKey) -> Self {
        blake3::Hash::from_bytes(key.0).to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> TierRequest {
        TierRequest {
            pop: PopId::parse("fra").expect("good"),
            seen: BTreeMap::from([(StreamId::parse("main").expect("good"), 12)]),
        }
    }

    #[test]
    fn a_sealed_header_opens_under_the_same_key_at_about_the_same_time() {
        let key = TierKey::new([1; 32]);
        let value = key.seal(&request(), 1000);
        assert_eq!(key.open(&value, 1300), Ok(request()));
        assert_eq!(key.open(&value, 1301), Err(TierError::Time));
        assert_eq!(TierKey::new([2; 32]).open(&value, 1000), Err(TierError::Mac));
    }

    #[test]
    fn a_changed_header_is_not_believed() {
        let key = TierKey::new([1; 32]);
        let value = key.seal(&request(), 1000);
        assert_eq!(key.open(&value.replace(":12", ":99"), 1000), Err(TierError::Mac));
        for bad in ["", "; mac=", "pop=a; at=1; seen=; mac=00"] {
            assert_eq!(key.open(bad, 1000), Err(TierError::Syntax), "{bad}");
        }
    }

    #[test]
    fn each_key_and_purpose_has_a_secret_of_its_own() {
        let derive = |key, purpose| TierKey::new([key; 32]).derive(purpose);
        assert_eq!(derive(1, "a"), derive(1, "a"));
        assert_ne!(derive(1, "a"), derive(1, "b"));
        assert_ne!(derive(1, "a"), derive(2, "a"));
        assert_ne!(derive(1, "a"), [1; 32]);
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", TierKey::new([1; 32])), "TierKey(…)");
    }
}
