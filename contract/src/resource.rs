//! What operators declare: resources of a few kinds, each with a name.
//!
//! A resource is called by its kind and its name; both have one spelling, so that a release can be sorted and signed.
//! Every kind has a limit on how many there are.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name of a resource, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The largest spec, in bytes of JSON: a zone of 1 MiB whose line ends are escaped.
pub const SPEC_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The most resources of one control plane, of all kinds together.
pub const RESOURCES_MAX: usize = 50_000;

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One customer configuration: hosts, origins, policies.
    Property,
    /// A next hop towards an origin, by name.
    Origin,
    /// What is kept and for how long, by name.
    CachePolicy,
    /// What is shown to TLS clients; its key is a secret.
    Certificate,
    /// How players are steered between pathways.
    SteeringPolicy,
    /// A zone of the authoritative DNS.
    DnsZone,
    /// A prefix that PoPs announce.
    Prefix,
    /// PoPs that announce the same prefixes.
    AnycastGroup,
    /// One site.
    Pop,
    /// One node of a site.
    Node,
    /// Bytes that only nodes may read.
    Secret,
}

/// Not a kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind of resource {0:?}")]
pub struct KindError(String);

/// Not the name of a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a resource's name is 1 to {NAME_BYTES_MAX} bytes of a-z, 0-9, '-', '_' and '.', beginning with a letter or \
     digit, not {0:?}"
)]
pub struct NameError(String);

/// The name of a resource; unique within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceName(String);

/// Kind and name: what a resource is called everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ResourceName,
}

impl Kind {
    /// All kinds, in the order in which resources are sorted.
    pub const ALL: [Self; 11] = [
        Self::Property,
        Self::Origin,
        Self::CachePolicy,
        Self::Certificate,
        Self::SteeringPolicy,
        Self::DnsZone,
        Self::Prefix,
        Self::AnycastGroup,
        Self::Pop,
        Self::Node,
        Self::Secret,
    ];

    /// The kind's name in paths, tables and releases.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Property => "property",
            Self::Origin => "origin",
            Self::CachePolicy => "cache_policy",
            Self::Certificate => "certificate",
            Self::SteeringPolicy => "steering_policy",
            Self::DnsZone => "dns_zone",
            Self::Prefix => "prefix",
            Self::AnycastGroup => "anycast_group",
            Self::Pop => "pop",
            Self::Node => "node",
            Self::Secret => "secret",
        }
    }

    /// Whether caches read resources of this kind. Of the others, and of secrets that they have no use for, they are
    /// told the hash alone.
    #[must_use]
    pub fn is_for_caches(self) -> bool {
        matches!(
            self,
            Self::Property | Self::Origin | Self::CachePolicy | Self::Certificate | Self::Pop
        )
    }

    /// The most resources of this kind.
    #[must_use]
    pub fn count_max(self) -> usize {
        match self {
            Self::Property | Self::Origin | Self::CachePolicy => 10_000,
            Self::Certificate | Self::Secret => 20_000,
            Self::SteeringPolicy | Self::DnsZone => 5_000,
            Self::Prefix | Self::AnycastGroup | Self::Pop => 1_000,
            Self::Node => 8_000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = KindError;

    /// Takes the plural and a hyphen as well: people write `cache-policies`.
    fn from_str(text: &str) -> Result<Self, KindError> {
        let plain = text.replace('-', "_");
        let is_named = |kind: &&Self| {
            let name = kind.as_str();
            plain == name
                || plain == format!("{name}s")
                || name.strip_suffix('y').is_some_and(|stem| plain == format!("{stem}ies"))
                || (*kind == &Self::Prefix && plain == "prefixes")
        };
        let found = Self::ALL.iter().find(is_named);
        found.copied().ok_or_else(|| KindError(text.chars().take(NAME_BYTES_MAX).collect()))
    }
}

impl ResourceName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`]
    pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_inner = |byte: u8| is_plain(byte) || matches!(byte, b'-' | b'_' | b'.');
        let is_good = text.len() <= NAME_BYTES_MAX
            && text.bytes().next().is_some_and(is_plain)
            && text.bytes().all(is_inner);
        if is_good { Ok(Self(text)) } else { Err(NameError(text.chars().take(64).collect())) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ResourceName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl From<ResourceName> for String {
    fn from(name: ResourceName) -> Self {
        name.0
    }
}

impl FromStr for ResourceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl ResourceKey {
    /// A resource's key from its parts.
    #[must_use]
    pub fn new(kind: Kind, name: ResourceName) -> Self {
        Self { kind, name }
    }

    /// Reads `kind/name`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once('/')?;
        let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
        Some(Self { kind, name: ResourceName::parse(name).ok()? })
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_name_and_by_what_people_write() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            let key = ResourceKey::new(kind, ResourceName::parse("a.b").expect("good"));
            assert_eq!(ResourceKey::parse(&key.to_string()), Some(key));
        }
        for (text, kind) in [
            ("properties", Kind::Property),
            ("cache-policies", Kind::CachePolicy),
            ("prefixes", Kind::Prefix),
            ("pops", Kind::Pop),
        ] {
            assert_eq!(text.parse(), Ok(kind), "{text}");
        }
        assert!("flag".parse::<Kind>().is_err());
        assert_eq!(ResourceKey::parse("properties/a"), None, "one spelling in releases");
    }

    #[test]
    fn a_name_is_plain_and_bounded() {
        for good in ["a", "0", "example.com", "ams-1.node_2"] {
            assert!(ResourceName::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".a", "-a", "A", "a/b", "a b", "ä", long.as_str()] {
            assert!(ResourceName::parse(bad).is_err(), "{bad}");
        }
    }
}
