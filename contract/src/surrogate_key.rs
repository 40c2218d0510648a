//! Surrogate keys: tags on a response, purgeable as a group.
//!
//! A response carries them in `Surrogate-Key`, separated by spaces. A key is 1 to 128 bytes of visible ASCII
//! without comma, quote, backslash; a response has at most [`KEYS_PER_RESPONSE_MAX`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{MediaId, RenditionId, VideoId};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// The most keys of one response; what stands behind them is an error, never silently dropped.
pub const KEYS_PER_RESPONSE_MAX: usize = 64;

/// Why a text is not a surrogate key or not a list of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SurrogateKeyError {
    /// Empty, or longer than [`KEY_BYTES_MAX`].
    #[error("a surrogate key has 1 to {KEY_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
    /// A byte that is not visible ASCII, or one of `, " \`.
    #[error("a surrogate key is visible ASCII without comma, quote and backslash")]
    Syntax,
    /// More than [`KEYS_PER_RESPONSE_MAX`] keys.
    #[error("a response has at most {KEYS_PER_RESPONSE_MAX} surrogate keys")]
    TooMany,
}

/// One surrogate key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SurrogateKey(String);

/// A key's 128-bit name in a PoP's generation table (BLAKE3, truncated).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 16]);

impl SurrogateKey {
    /// Checks the syntax of one key.
    ///
    /// # Errors
    /// [`SurrogateKeyError`] says what is wrong.
    pub fn parse(text: impl Into<String>) -> Result<Self, SurrogateKeyError> {
        let text = text.into();
        if text.is_empty() || text.len() > KEY_BYTES_MAX {
            return Err(SurrogateKeyError::Length(text.len()));
        }
        let is_allowed = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b'"' | b'\\');
        if !text.bytes().all(is_allowed) {
            return Err(SurrogateKeyError::Syntax);
        }
        Ok(Self(text))
    }

    /// Everything of one video that can change: manifests, poster.
    #[must_use]
    pub fn video(id: &VideoId) -> Self {
        Self(format!("video-{id}"))
    }

    /// The manifests of one media; purged when a rendition is added.
    #[must_use]
    pub fn manifest(id: &MediaId) -> Self {
        Self(format!("manifest-{id}"))
    }

    /// Everything of one media, segments included.
    #[must_use]
    pub fn media(id: &MediaId) -> Self {
        Self(format!("media-{id}"))
    }

    /// The segments of one rendition of one media.
    #[must_use]
    pub fn rendition(media: &MediaId, rendition: &RenditionId) -> Self {
        Self(format!("rendition-{media}-{rendition}"))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's name in a generation table.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(b"key", self.0.as_bytes())
    }
}

impl KeyHash {
    /// Hashes a name of a kind (`key`, `url`); kinds never collide.
    #[must_use]
    pub fn of(kind: &[u8], name: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        hasher.update(kind);
        hasher.update(name);
        let mut out = [0; 16];
        out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(out)
    }
}

/// Reads a `Surrogate-Key` header value.
///
/// # Errors
/// The first key that breaks the syntax, or more keys than a response may have.
pub fn parse_list(value: &str) -> Result<Vec<SurrogateKey>, SurrogateKeyError> {
    let mut keys = Vec::new();
    for text in value.split_ascii_whitespace() {
        if keys.len() == KEYS_PER_RESPONSE_MAX {
            return Err(SurrogateKeyError::TooMany);
        }
        keys.push(SurrogateKey::parse(text)?);
    }
    Ok(keys)
}

/// Writes a `Surrogate-Key` header value.
#[must_use]
pub fn format_list(keys: &[SurrogateKey]) -> String {
    keys.iter().map(SurrogateKey::as_str).collect::<Vec<_>>().join(" ")
}

impl TryFrom<String> for SurrogateKey {
    type Error = SurrogateKeyError;
    fn try_from(text: String) -> Result<Self, SurrogateKeyError> {
        Self::parse(text)
    }
}

impl FromStr for SurrogateKey {
    type Err = SurrogateKeyError;
    fn from_str(text: &str) -> Result<Self, SurrogateKeyError> {
        Self::parse(text)
    }
}

impl From<SurrogateKey> for String {
    fn from(key: SurrogateKey) -> Self {
        key.0
    }
}

impl fmt::Display for SurrogateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_it_was_written() {
        let keys = parse_list("  video-1 media-2\tmanifest-2 ").expect("a good list");
        assert_eq!(format_list(&keys), "video-1 media-2 manifest-2");
    }

    #[test]
    fn bad_keys_and_long_lists_are_refused() {
        assert_eq!(parse_list("a,b"), Err(SurrogateKeyError::Syntax));
        assert_eq!(parse_list(&"x".repeat(129)), Err(SurrogateKeyError::Length(129)));
        assert_eq!(parse_list(&"k ".repeat(65)), Err(SurrogateKeyError::TooMany));
    }

    #[test]
    fn kinds_of_names_never_collide() {
        assert_ne!(KeyHash::of(b"key", b"x"), KeyHash::of(b"url", b"x"));
        assert_ne!(KeyHash::of(b"ke", b"yx"), KeyHash::of(b"key", b"x"));
    }
}
