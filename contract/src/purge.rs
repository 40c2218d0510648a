//! A purge: what is to be forgotten or marked stale, in every PoP.

use serde::{Deserialize, Serialize};

use crate::{
    id::PropertyId,
    surrogate_key::{KeyHash, SurrogateKey},
    url_path::normal_with_query,
};

/// The longest URL of a purge, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// The deepest folder that can be purged: `/` is the first level, `/a/` the second. A response has a name for each
/// folder above it up to this depth, so that a purge of one costs no scan.
pub const PREFIX_LEVELS_MAX: usize = 16;

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
    /// Every resource of a host below a folder, whatever its query.
    Prefix {
        /// Host as for a URL.
        host: String,
        /// The folder: begins and ends with `/`, at most [`PREFIX_LEVELS_MAX`] of them, without query.
        path_prefix: String,
    },
    /// Everything of one property.
    Property {
        /// Its id.
        id: PropertyId,
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
    /// Not a folder.
    #[error(
        "a prefix to purge is a folder: it ends with / and has neither query nor fragment: {0:?}"
    )]
    Prefix(String),
    /// Deeper than [`PREFIX_LEVELS_MAX`].
    #[error("a prefix to purge has at most {PREFIX_LEVELS_MAX} levels, this one has {0}")]
    Levels(usize),
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

    /// Reads the absolute URL of a folder, `https://host/a/b/`; `https://host/` is everything of a host.
    ///
    /// # Errors
    /// [`PurgeUrlError`] when the text is no absolute URL of a folder.
    pub fn from_prefix_url(text: &str) -> Result<Self, PurgeUrlError> {
        let Self::Url { host, path } = Self::from_url(text)? else {
            return Err(PurgeUrlError::Syntax(text.chars().take(200).collect()));
        };
        let is_folder = path.ends_with('/') && !path.contains('?') && !text.contains('#');
        if !is_folder {
            return Err(PurgeUrlError::Prefix(text.chars().take(200).collect()));
        }
        let levels = path.matches('/').count();
        if levels > PREFIX_LEVELS_MAX {
            return Err(PurgeUrlError::Levels(levels));
        }
        Ok(Self::Prefix { host, path_prefix: path })
    }

    /// The same target as it counts: host and path as in the cache key, and checked. What was read from outside goes
    /// through this.
    ///
    /// # Errors
    /// [`PurgeUrlError`] when host, path or prefix are not what they must be.
    pub fn checked(self) -> Result<Self, PurgeUrlError> {
        let url = |host: &str, path: &str| {
            let is_path = path.starts_with('/') && !path.contains('#');
            let url = format!("https://{host}{path}");
            if is_path {
                Ok(url)
            } else {
                Err(PurgeUrlError::Syntax(url.chars().take(200).collect()))
            }
        };
        match &self {
            Self::Url { host, path } => Self::from_url(&url(host, path)?),
            Self::Prefix { host, path_prefix } => Self::from_prefix_url(&url(host, path_prefix)?),
            Self::Key { .. } | Self::Property { .. } | Self::All => Ok(self),
        }
    }

    /// The kind of target in metrics and logs, as in JSON.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } => "url",
            Self::Key { .. } => "key",
            Self::Prefix { .. } => "prefix",
            Self::Property { .. } => "property",
            Self::All => "all",
        }
    }

    /// The name of this target in a PoP's generation table; `None` stands for everything.
    #[must_use]
    pub fn hash(&self) -> Option<KeyHash> {
        match self {
            Self::Url { host, path } => Some(url_hash(host, path)),
            Self::Key { key } => Some(key.hash()),
            Self::Prefix { host, path_prefix } => Some(prefix_hash(host, path_prefix)),
            Self::Property { id } => Some(property_hash(id)),
            Self::All => None,
        }
    }
}

/// The name of a URL in a generation table: host in lower case without port, path in its normal form with query.
#[must_use]
pub fn url_hash(host: &str, path: &str) -> KeyHash {
    place_hash(b"url", host, path)
}

/// The name of a folder in a generation table: host as for [`url_hash`], and a prefix that ends with `/`.
#[must_use]
pub fn prefix_hash(host: &str, prefix: &str) -> KeyHash {
    place_hash(b"prefix", host, prefix)
}

/// The name of a property in a generation table.
#[must_use]
pub fn property_hash(id: &PropertyId) -> KeyHash {
    KeyHash::of(b"property", id.as_str().as_bytes())
}

/// The folders above a path in its normal form, from `/` downwards, as far as they can be purged.
pub fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let path = path.split('?').next().unwrap_or_default();
    path.match_indices('/').take(PREFIX_LEVELS_MAX).map(|(at, _)| &path[..=at])
}

fn place_hash(kind: &[u8], host: &str, path: &str) -> KeyHash {
    let path = normal_with_query(path);
    let mut name = Vec::with_capacity(host.len() + 1 + path.len());
    name.extend_from_slice(host.as_bytes());
    name.push(0);
    name.extend_from_slice(path.as_bytes());
    KeyHash::of(kind, &name)
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
    fn a_prefix_is_a_folder_and_stands_above_what_it_purges() {
        let prefix = |path: &str| PurgeTarget::Prefix {
            host: "a.org".to_owned(),
            path_prefix: path.to_owned(),
        };
        assert_eq!(PurgeTarget::from_prefix_url("https://A.org:8443/v/1/"), Ok(prefix("/v/1/")));
        assert_eq!(PurgeTarget::from_prefix_url("https://a.org"), Ok(prefix("/")));
        let deepest = format!("https://a.org{}", "/x".repeat(15) + "/");
        assert!(PurgeTarget::from_prefix_url(&deepest).is_ok());
        for bad in ["https://a.org/v", "https://a.org/v/?x=/", "https://a.org/v/#/", "/v/"] {
            assert!(PurgeTarget::from_prefix_url(bad).is_err(), "{bad}");
        }
        let too_deep = format!("https://a.org{}", "/x".repeat(16) + "/");
        assert_eq!(PurgeTarget::from_prefix_url(&too_deep), Err(PurgeUrlError::Levels(17)));

        let above: Vec<_> = prefixes("/v/1/a.m4s?q=/z/").collect();
        assert_eq!(above, ["/", "/v/", "/v/1/"]);
        assert_eq!(prefixes(&"/x".repeat(40)).count(), PREFIX_LEVELS_MAX);
        let hashes: Vec<_> = above.iter().map(|prefix| prefix_hash("a.org", prefix)).collect();
        assert!(hashes.contains(&prefix("/v/").hash().expect("a name")));
        assert_ne!(url_hash("a.org", "/v/"), prefix_hash("a.org", "/v/"));
        assert_eq!(prefix_hash("a.org", "/x/../%7ev/"), prefix_hash("a.org", "/~v/"));
    }

    #[test]
    fn a_target_from_outside_is_checked() {
        for (given, expected) in [
            (url("A.org:80", "/x"), Some(url("a.org", "/x"))),
            (url("a.org", "x"), None),
            (PurgeTarget::Prefix { host: "a".into(), path_prefix: "/x".into() }, None),
            (PurgeTarget::All, Some(PurgeTarget::All)),
        ] {
            assert_eq!(given.clone().checked().ok(), expected, "{given:?}");
        }
        for text in [
            r#"{"kind":"prefix","host":"a","path_prefix":"/v/"}"#,
            r#"{"kind":"property","id":"demo","soft":true}"#,
        ] {
            let order: PurgeOrder = serde_json::from_str(text).expect("an order");
            assert!(text.contains(order.target.kind()));
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
