//! A purge: what is to be forgotten or marked stale, in every PoP.

use serde::{Deserialize, Serialize};

use crate::{
    surrogate_key::{KeyHash, SurrogateKey},
    url_path::normal_with_query,
};

/// The longest URL of a purge, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// What a purge names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PurgeTarget {
    /// One resource, in all its variants: the authority without a default port, and path with query.
    Url {
        /// Host in lower case, as the property lists it; `host` or `host:port` both name the host alone.
        host: String,
        /// Path and query, beginning with `/`.
        path: String,
    },
    /// Every response that carries a surrogate key.
    Key {
        /// The key.
        key: SurrogateKey,
    },
    /// Everything in every PoP.
    All,
}

/// Why a URL cannot be purged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PurgeUrlError {
    /// Longer than [`URL_BYTES_MAX`].
    #[error("a URL to purge has at most {URL_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
    /// Not `http://` or `https://` with a host.
    #[error("a URL to purge is absolute and begins with http:// or https://: {0:?}")]
    Syntax(String),
}

/// A purge as it is ordered: target and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeOrder {
    /// What is purged.
    #[serde(flatten)]
    pub target: PurgeTarget,
    /// Soft: mark stale, so that it may still be served while it is revalidated or when origin is down.
    /// Hard (the default): never serve it again without a new answer from upstream.
    #[serde(default)]
    pub soft: bool,
}

impl PurgeTarget {
    /// Reads an absolute URL. The port is dropped and the host lower-cased, as in the cache key.
    ///
    /// # Errors
    /// [`PurgeUrlError`] when the text is no absolute http(s) URL or is too long.
    pub fn from_url(text: &str) -> Result<Self, PurgeUrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(PurgeUrlError::Length(text.len()));
        }
        let bad = || PurgeUrlError::Syntax(text.chars().take(200).collect());
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or_else(bad)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(cut);
        let host = host_of(authority).ok_or_else(bad)?;
        let path = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad());
        }
        Ok(Self::Url { host, path })
    }

    /// The name of this target in a PoP's generation table; `None` stands for everything.
    #[must_use]
    pub fn hash(&self) -> Option<KeyHash> {
        match self {
            Self::Url { host, path } => Some(url_hash(host, path)),
            Self::Key { key } => Some(key.hash()),
            Self::All => None,
        }
    }
}

/// The name of a URL in a generation table: host in lower case without port, path in its normal form with query.
#[must_use]
pub fn url_hash(host: &str, path: &str) -> KeyHash {
    let path = normal_with_query(path);
    let mut name = Vec::with_capacity(host.len() + 1 + path.len());
    name.extend_from_slice(host.as_bytes());
    name.push(0);
    name.extend_from_slice(path.as_bytes());
    KeyHash::of(b"url", &name)
}

/// The host of an authority: lower case, without user information and port; `None` when there is none.
#[must_use]
pub fn host_of(authority: &str) -> Option<String> {
    if authority.contains('@') {
        return None;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            &authority[..end + 2]
        }
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:*".contains(&b);
    (!host.is_empty() && host.bytes().all(is_allowed)).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, path: &str) -> PurgeTarget {
        PurgeTarget::Url { host: host.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn a_url_loses_its_port_and_the_case_of_its_host() {
        for (text, expected) in [
            ("https://Example.org:8443/a/B?x=1#f", url("example.org", "/a/B?x=1")),
            ("http://example.org", url("example.org", "/")),
            ("http://example.org?x", url("example.org", "/?x")),
            ("http://[::1]:80/a", url("[::1]", "/a")),
        ] {
            assert_eq!(PurgeTarget::from_url(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_a_url_has_one_name() {
        assert_eq!(url_hash("a.org", "/x/../%7eb?q"), url_hash("a.org", "/~b?q"));
        assert_ne!(url_hash("a.org", "/b?%7e"), url_hash("a.org", "/b?~"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["", "/a", "ftp://a/b", "http://", "http:///x", "http://u@h/", "http://h/a b"] {
            assert!(PurgeTarget::from_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_is_flat_json() {
        let order = PurgeOrder { target: url("h", "/p"), soft: true };
        let text = serde_json::to_string(&order).expect("plain data");
        assert_eq!(text, r#"{"kind":"url","host":"h","path":"/p","soft":true}"#);
        assert_eq!(serde_json::from_str::<PurgeOrder>(&text).expect("its own text"), order);
    }
}
