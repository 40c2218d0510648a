//! What a property keeps and for how long.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// What is kept and for how long, where the origin's own headers leave a choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CachePolicy {
    /// Whether anything is kept at all.
    pub enabled: bool,
    /// Freshness of a 200 that carries none; absent means that it is not kept without freshness.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub default_ttl: Option<Duration>,
    /// How long a stale response may be served while it is revalidated, where the origin does not say.
    #[serde(with = "humantime_serde")]
    pub stale_while_revalidate: Duration,
    /// How long a stale response may be served when upstream fails, where the origin does not say.
    #[serde(with = "humantime_serde")]
    pub stale_if_error: Duration,
    /// Which query parameters are part of the cache key.
    pub query: QueryPolicy,
    /// The largest object that is kept; larger ones pass through.
    pub object_bytes_max: ByteSize,
}

/// Which query parameters are part of the cache key (and are sent upstream).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryPolicy {
    /// All, in the order given.
    All,
    /// None.
    Drop,
    /// The named ones, sorted by name.
    Keep(Vec<String>),
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            default_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            query: QueryPolicy::All,
            object_bytes_max: ByteSize::mib(256),
        }
    }
}
