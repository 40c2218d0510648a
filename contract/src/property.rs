//! A property: one customer configuration of hosts, origins and cache policy.

use serde::{Deserialize, Serialize};

use crate::id::PropertyId;
pub use crate::{
    cache_policy::{
        CachePolicy, CachePolicyError, MediaTtl, NegativeTtl, PrefetchPolicy, QueryPolicy,
        SetCookiePolicy, VaryPolicy,
    },
    guard_policy::{GuardError, GuardPolicy},
    upstream::{
        H2, HealthCheck, Hedge, Upstream, UpstreamPolicy, UpstreamPolicyError, UpstreamTls,
    },
};

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
    /// Who may have what.
    #[serde(default)]
    pub guard: GuardPolicy,
    /// How its upstreams are asked.
    #[serde(default)]
    pub upstream: UpstreamPolicy,
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
    /// A cache policy that cannot be meant.
    #[error("property {0}: cache.{1}")]
    Cache(PropertyId, CachePolicyError),
    /// Rules at the door that cannot be followed.
    #[error("property {0}: guard: {1}")]
    Guard(PropertyId, GuardError),
    /// How its upstreams are asked makes no sense.
    #[error("property {0}: {1}")]
    Upstream(PropertyId, UpstreamPolicyError),
}

impl Property {
    /// A property with default policies.
    #[must_use]
    pub fn new(id: PropertyId, hosts: Vec<String>, origins: Vec<Upstream>) -> Self {
        Self {
            id,
            hosts,
            origins,
            cache: CachePolicy::default(),
            guard: GuardPolicy::default(),
            upstream: UpstreamPolicy::default(),
        }
    }

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
        self.cache.check().map_err(|wrong| PropertyError::Cache(self.id.clone(), wrong))?;
        self.upstream.check().map_err(|error| PropertyError::Upstream(self.id.clone(), error))?;
        self.guard.check().map_err(|error| PropertyError::Guard(self.id.clone(), error))
    }

    /// The same with secrets taken out, to be shown to people.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self { guard: self.guard.redacted(), ..self.clone() }
    }

    /// Puts secrets back that were taken out to be shown, from the property that was shown: whoever reads a property,
    /// changes something and sends it back destroys no secret.
    pub fn restore_secrets(&mut self, shown: &Self) {
        self.guard.restore_secrets(&shown.guard);
    }
}
