//! The whole configuration of a PoP at one generation.
//!
//! The control plane sends whole snapshots and never differences: a PoP that missed ten of them needs only the
//! newest, and what a node runs can be named by one number and one hash. Generations only grow; a node refuses
//! one that is not above its own.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    certificate::{Certificate, CertificateError},
    id::{Generation, PopId},
    property::{Property, PropertyError, Upstream},
    tier::TierKey,
};

/// The largest snapshot, in bytes of JSON. Larger ones are refused by both sides.
pub const SNAPSHOT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most properties of a snapshot.
pub const PROPERTIES_MAX: usize = 10_000;
/// The most shields of a snapshot.
pub const SHIELDS_MAX: usize = 256;
/// The most certificates of a snapshot: two for each property, with keys of two kinds.
pub const CERTIFICATES_MAX: usize = 20_000;

/// What a PoP is to its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PopRole {
    /// Faces clients; fills from the shields.
    Edge,
    /// Fills for other PoPs; fills from the origins.
    Shield,
}

impl PopRole {
    /// The role's name in metrics, logs and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Shield => "shield",
        }
    }
}

/// One shield as an edge sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shield {
    /// The shield's PoP.
    pub pop: PopId,
    /// How to reach it.
    pub upstream: Upstream,
}

/// The whole configuration of a PoP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Its number; only grows.
    pub generation: Generation,
    /// The PoP that it is for.
    pub pop: PopId,
    /// What that PoP is to its neighbours.
    pub role: PopRole,
    /// Every property that the PoP serves.
    pub properties: Vec<Property>,
    /// The secret that the nodes of one control plane share, to know one another's requests.
    pub tier_key: TierKey,
    /// The shields that an edge asks before it asks an origin; empty for a shield.
    #[serde(default)]
    pub shields: Vec<Shield>,
    /// What the PoP shows to TLS clients, beside the certificates of its own files; empty by default. Several may
    /// cover one name with keys of different kinds.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

/// Why a snapshot is refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Larger than [`SNAPSHOT_BYTES_MAX`].
    #[error("a snapshot has at most {SNAPSHOT_BYTES_MAX} bytes, this one has {0}")]
    Size(usize),
    /// Not the JSON of a snapshot.
    #[error("not a snapshot: {0}")]
    Syntax(#[from] serde_json::Error),
    /// The hash of the bytes is not the one that was announced.
    #[error("the snapshot's hash is not the one announced")]
    Digest,
    /// More properties, shields or certificates than allowed.
    #[error("too many {0}: {1}")]
    TooMany(&'static str, usize),
    /// Two properties claim one host, or share an id.
    #[error("two properties claim {0:?}")]
    Conflict(String),
    /// One of the properties is wrong.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// One of the certificates is wrong.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A shield's authority is not `host:port`.
    #[error("shield {0}: {1:?} is not host:port")]
    Shield(PopId, String),
}

impl Snapshot {
    /// The bytes that travel and are kept on disk.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a snapshot holds only strings, numbers and lists")
    }

    /// Reads and checks a snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`] names the first rule that it breaks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        if bytes.len() > SNAPSHOT_BYTES_MAX {
            return Err(SnapshotError::Size(bytes.len()));
        }
        let snapshot: Self = serde_json::from_slice(bytes)?;
        snapshot.check()?;
        Ok(snapshot)
    }

    /// As [`Snapshot::from_bytes`], for bytes whose BLAKE3 hash was announced.
    ///
    /// # Errors
    /// [`SnapshotError::Digest`] when the hash differs; otherwise as `from_bytes`.
    pub fn from_bytes_with_digest(bytes: &[u8], digest: &[u8]) -> Result<Self, SnapshotError> {
        if digest != digest_of(bytes) {
            return Err(SnapshotError::Digest);
        }
        Self::from_bytes(bytes)
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first [`SnapshotError`] found.
    pub fn check(&self) -> Result<(), SnapshotError> {
        if self.properties.len() > PROPERTIES_MAX {
            return Err(SnapshotError::TooMany("properties", self.properties.len()));
        }
        if self.shields.len() > SHIELDS_MAX {
            return Err(SnapshotError::TooMany("shields", self.shields.len()));
        }
        if self.certificates.len() > CERTIFICATES_MAX {
            return Err(SnapshotError::TooMany("certificates", self.certificates.len()));
        }
        for certificate in &self.certificates {
            certificate.check()?;
        }
        let mut hosts = HashSet::new();
        let mut ids = HashSet::new();
        for property in &self.properties {
            property.check()?;
            if !ids.insert(&property.id) {
                return Err(SnapshotError::Conflict(property.id.to_string()));
            }
            if let Some(twice) = property.hosts.iter().find(|host| !hosts.insert(*host)) {
                return Err(SnapshotError::Conflict(twice.clone()));
            }
        }
        for shield in &self.shields {
            shield
                .upstream
                .check()
                .map_err(|authority| SnapshotError::Shield(shield.pop.clone(), authority))?;
        }
        Ok(())
    }
}

/// The BLAKE3 hash that names a snapshot's bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PropertyId;

    fn property(id: &str, host: &str) -> Property {
        Property::new(
            PropertyId::parse(id).expect("a good id"),
            vec![host.to_owned()],
            vec![Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None }],
        )
    }

    fn snapshot(properties: Vec<Property>) -> Snapshot {
        Snapshot {
            generation: Generation(7),
            pop: PopId::parse("fra").expect("a good id"),
            role: PopRole::Edge,
            properties,
            tier_key: TierKey::new([7; 32]),
            shields: vec![],
            certificates: vec![],
        }
    }

    #[test]
    fn a_snapshot_survives_the_trip_and_its_hash_is_checked() {
        let sent = snapshot(vec![property("demo", "*")]);
        let bytes = sent.to_bytes();
        let read = Snapshot::from_bytes_with_digest(&bytes, &digest_of(&bytes));
        assert_eq!(read.expect("the bytes just written"), sent);
        assert!(matches!(
            Snapshot::from_bytes_with_digest(&bytes, &[0; 32]),
            Err(SnapshotError::Digest)
        ));
    }

    #[test]
    fn one_host_belongs_to_one_property() {
        let twice = snapshot(vec![property("a", "x.org"), property("b", "x.org")]);
        assert!(matches!(twice.check(), Err(SnapshotError::Conflict(host)) if host == "x.org"));
        let same_id = snapshot(vec![property("a", "x.org"), property("a", "y.org")]);
        assert!(matches!(same_id.check(), Err(SnapshotError::Conflict(id)) if id == "a"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"generation":1,"pop":"a","role":"edge","properties":[],"surprise":1}"#;
        assert!(Snapshot::from_bytes(text.as_bytes()).is_err());
    }
}
