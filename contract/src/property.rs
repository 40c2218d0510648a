//! A property: one customer configuration of hosts, origins and cache policy.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::id::PropertyId;

/// The most hosts of one property.
pub const HOSTS_MAX: usize = 256;
/// The most origins of one property.
pub const ORIGINS_MAX: usize = 16;

/// One customer configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// Its id.
    pub id: PropertyId,
    /// Host names without port, in lower case; `*` alone matches every host that no other property lists.
    pub hosts: Vec<String>,
    /// Where its resources come from, in the order of preference; the second is asked when the first fails.
    pub origins: Vec<Upstream>,
    /// What is kept and for how long.
    #[serde(default)]
    pub cache: CachePolicy,
}

/// A next hop towards the origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `host:port`.
    pub authority: String,
    /// TLS towards it; absent means clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// The `Host` to send; absent means the host that the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// How an upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The name that the certificate must carry, also sent as SNI.
    pub server_name: String,
    /// PEM of the authority that signed it; absent means the platform's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

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

/// Why a property is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// No host, or more than [`HOSTS_MAX`].
    #[error("property {0}: 1 to {HOSTS_MAX} hosts are needed, it has {1}")]
    Hosts(PropertyId, usize),
    /// No origin, or more than [`ORIGINS_MAX`].
    #[error("property {0}: 1 to {ORIGINS_MAX} origins are needed, it has {1}")]
    Origins(PropertyId, usize),
    /// A host that is not a lower-case name without port.
    #[error("property {0}: {1:?} is not a host name in lower case without port")]
    Host(PropertyId, String),
    /// An authority that is not `host:port`.
    #[error("property {0}: {1:?} is not host:port")]
    Authority(PropertyId, String),
}

impl Property {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`PropertyError`] found.
    pub fn check(&self) -> Result<(), PropertyError> {
        if self.hosts.is_empty() || self.hosts.len() > HOSTS_MAX {
            return Err(PropertyError::Hosts(self.id.clone(), self.hosts.len()));
        }
        if self.origins.is_empty() || self.origins.len() > ORIGINS_MAX {
            return Err(PropertyError::Origins(self.id.clone(), self.origins.len()));
        }
        for host in &self.hosts {
            if crate::purge::host_of(host).as_deref() != Some(host) {
                return Err(PropertyError::Host(self.id.clone(), host.clone()));
            }
        }
        for origin in &self.origins {
            origin
                .check()
                .map_err(|authority| PropertyError::Authority(self.id.clone(), authority))?;
        }
        Ok(())
    }
}

impl Upstream {
    /// Checks that the authority is `host:port`; gives back the text that is not.
    ///
    /// # Errors
    /// The authority itself.
    pub fn check(&self) -> Result<(), String> {
        let port = self.authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let host = crate::purge::host_of(&self.authority);
        match (host, port) {
            (Some(_), Some(1..)) => Ok(()),
            _ => Err(self.authority.clone()),
        }
    }
}
