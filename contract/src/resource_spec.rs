//! What a resource shall be, kind by kind.
//!
//! A spec is JSON with a fixed order of fields, so that equal specs have equal bytes and one hash. What a spec refers
//! to by name is looked up when a release is compiled; here only the spec itself is checked.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    anycast::{AnycastGroup, PopSite, Prefix},
    certificate::{self, CertificateError},
    id::{AnycastGroupId, Generation, PopId, PrefixId, PropertyId},
    property::{CachePolicy, GuardPolicy, Property, PropertyError, Upstream, UpstreamPolicy},
    resource::{Kind, ResourceKey, ResourceName, SPEC_BYTES_MAX},
    snapshot::PopRole,
};

/// The largest zone, in bytes of its text.
pub const ZONE_BYTES_MAX: usize = 1024 * 1024;
/// The most pathways of a steering policy.
pub const PATHWAYS_MAX: usize = 64;
/// The largest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// The longest description of a node, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// A resource. Its generation is the version of the release that changed it last: given by the control plane, never
/// by a clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// What it is called.
    pub key: ResourceKey,
    /// When it was changed last.
    pub generation: Generation,
    /// What it shall be.
    pub spec: Spec,
}

/// What a resource shall be.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    /// Of a property.
    Property(Box<PropertySpec>),
    /// Of an origin.
    Origin(Upstream),
    /// Of a cache policy.
    CachePolicy(Box<CachePolicy>),
    /// Of a certificate.
    Certificate(CertificateSpec),
    /// Of a steering policy.
    SteeringPolicy(SteeringPolicySpec),
    /// Of a DNS zone.
    DnsZone(DnsZoneSpec),
    /// Of a PoP.
    Pop(PopSpec),
    /// Of a node.
    Node(NodeSpec),
    /// Of a secret.
    Secret(SecretSpec),
    /// Of a prefix.
    Prefix(Prefix),
    /// Of an anycast group.
    AnycastGroup(AnycastGroup),
}

/// A property without its id, which is the resource's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PropertySpec {
    /// As in [`Property`].
    pub hosts: Vec<String>,
    /// Origins, in place or by name.
    pub origins: Vec<OriginRef>,
    /// The name of a cache policy, in the place of `cache`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_policy: Option<ResourceName>,
    /// As in [`Property`].
    #[serde(default)]
    pub cache: CachePolicy,
    /// As in [`Property`].
    #[serde(default)]
    pub guard: GuardPolicy,
    /// As in [`Property`].
    #[serde(default)]
    pub upstream: UpstreamPolicy,
}

/// An origin in place, or the name of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OriginRef {
    /// The name of an origin resource.
    Name(ResourceName),
    /// The origin itself.
    Inline(Upstream),
}

/// A certificate whose key is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// The host names that it answers.
    pub names: Vec<String>,
    /// The chain, leaf first.
    pub chain_pem: String,
    /// The secret that holds the key in PEM.
    pub key: ResourceName,
}

/// How players are steered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteeringPolicySpec {
    /// How long a player goes by one answer.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// Where it may go, in the order of preference.
    pub pathways: Vec<Pathway>,
    /// Where it asks the next time; absent: where it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_uri: Option<String>,
}

/// One way to a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pathway {
    /// The pathway's id, as it stands in manifests.
    pub id: ResourceName,
    /// The PoPs behind it; none: all of them, and DNS says which.
    pub pops: Vec<PopId>,
    /// The host that is put in place of the one in manifests, for a pathway that these do not name: a clone of the
    /// first one without a host. Without port, since players keep the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// A zone of the authoritative DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsZoneSpec {
    /// The zone as a master file (RFC 1035).
    pub zone: String,
}

/// One site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopSpec {
    /// What it is to its neighbours.
    pub role: PopRole,
    /// How edges reach it, when it is a shield.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shield_upstream: Option<Upstream>,
    /// Where it is, what it can carry, what it announces.
    #[serde(default, skip_serializing_if = "PopSite::is_empty")]
    pub site: PopSite,
}

/// One node of a site. What it may do follows from its certificate; this is what people know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Its PoP.
    pub pop: PopId,
    /// In the operators' words.
    #[serde(default)]
    pub description: String,
}

/// Bytes that only nodes may read. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// Random, so that the hash in a release tells nothing of a short secret.
    pub salt: String,
    /// The secret.
    pub value: String,
}

/// Why a spec is refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Larger than [`SPEC_BYTES_MAX`].
    #[error("a spec has at most {SPEC_BYTES_MAX} bytes, this one has {0}")]
    Size(usize),
    /// Not of the form of its kind.
    #[error("not the spec of a {0}: {1}")]
    Syntax(Kind, serde_json::Error),
    /// The name does not fit the kind.
    #[error("{0} {1:?}: {2}")]
    Name(Kind, String, String),
    /// A property that no PoP would take.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A certificate that no PoP would take.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A rule of the kind is broken.
    #[error("{0} {1}: {2}")]
    Rule(Kind, ResourceName, String),
}

impl Spec {
    /// Reads and checks the spec of a resource.
    ///
    /// # Errors
    /// [`SpecError`]
    pub fn parse(kind: Kind, name: &ResourceName, json: &[u8]) -> Result<Self, SpecError> {
        if json.len() > SPEC_BYTES_MAX {
            return Err(SpecError::Size(json.len()));
        }
        let spec = match kind {
            Kind::Property => Self::Property(read(kind, json)?),
            Kind::Origin => Self::Origin(read(kind, json)?),
            Kind::CachePolicy => Self::CachePolicy(read(kind, json)?),
            Kind::Certificate => Self::Certificate(read(kind, json)?),
            Kind::SteeringPolicy => Self::SteeringPolicy(read(kind, json)?),
            Kind::DnsZone => Self::DnsZone(read(kind, json)?),
            Kind::Pop => Self::Pop(read(kind, json)?),
            Kind::Node => Self::Node(read(kind, json)?),
            Kind::Secret => Self::Secret(read(kind, json)?),
            Kind::Prefix => Self::Prefix(read(kind, json)?),
            Kind::AnycastGroup => Self::AnycastGroup(read(kind, json)?),
        };
        spec.check(kind, name)?;
        Ok(spec)
    }

    /// The one spelling of the spec, which the hash is of.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let written = match self {
            Self::Property(spec) => serde_json::to_vec(spec),
            Self::Origin(spec) => serde_json::to_vec(spec),
            Self::CachePolicy(spec) => serde_json::to_vec(spec),
            Self::Certificate(spec) => serde_json::to_vec(spec),
            Self::SteeringPolicy(spec) => serde_json::to_vec(spec),
            Self::DnsZone(spec) => serde_json::to_vec(spec),
            Self::Pop(spec) => serde_json::to_vec(spec),
            Self::Node(spec) => serde_json::to_vec(spec),
            Self::Secret(spec) => serde_json::to_vec(spec),
            Self::Prefix(spec) => serde_json::to_vec(spec),
            Self::AnycastGroup(spec) => serde_json::to_vec(spec),
        };
        written.expect("a spec holds only strings, numbers and lists")
    }

    fn check(&self, kind: Kind, name: &ResourceName) -> Result<(), SpecError> {
        let rule = |text: String| SpecError::Rule(kind, name.clone(), text);
        let bad_name =
            |error: &dyn fmt::Display| SpecError::Name(kind, name.to_string(), error.to_string());
        match self {
            Self::Property(spec) => {
                let id = PropertyId::parse(name.as_str()).map_err(|error| bad_name(&error))?;
                if spec.cache_policy.is_some() && spec.cache != CachePolicy::default() {
                    return Err(rule("has both cache and cache_policy".to_owned()));
                }
                // What stands by name is checked where it is resolved; any good origin shows the rest.
                spec.resolve(&id, |_| Some(probe()), |_| Some(CachePolicy::default()))
                    .map_err(|missing| rule(format!("refers to {missing}")))?
                    .check()?;
            }
            Self::Origin(upstream) => {
                upstream.check().map_err(|bad| rule(format!("{bad:?} is not host:port")))?;
            }
            Self::CachePolicy(policy) => {
                policy.check().map_err(|error| rule(error.to_string()))?;
            }
            Self::Certificate(spec) => {
                let key = "-----BEGIN PRIVATE KEY-----".to_owned();
                spec.with_key(key).check()?;
            }
            Self::SteeringPolicy(spec) => spec.check().map_err(rule)?,
            Self::DnsZone(spec) if spec.zone.len() > ZONE_BYTES_MAX => {
                return Err(rule(format!("a zone has at most {ZONE_BYTES_MAX} bytes")));
            }
            Self::Pop(spec) => {
                PopId::parse(name.as_str()).map_err(|error| bad_name(&error))?;
                if spec.role == PopRole::Edge && spec.shield_upstream.is_some() {
                    return Err(rule("only a shield has a shield_upstream".to_owned()));
                }
                if let Some(upstream) = &spec.shield_upstream {
                    upstream.check().map_err(|bad| rule(format!("{bad:?} is not host:port")))?;
                }
                spec.site.check().map_err(|error| rule(error.to_string()))?;
            }
            Self::Prefix(_) => {
                PrefixId::parse(name.as_str()).map_err(|error| bad_name(&error))?;
            }
            Self::AnycastGroup(spec) => {
                AnycastGroupId::parse(name.as_str()).map_err(|error| bad_name(&error))?;
                spec.check().map_err(|error| rule(error.to_string()))?;
            }
            Self::Node(spec) if spec.description.len() > DESCRIPTION_BYTES_MAX => {
                return Err(rule(format!("at most {DESCRIPTION_BYTES_MAX} bytes of description")));
            }
            Self::Secret(spec) if spec.value.len() > SECRET_BYTES_MAX => {
                return Err(rule(format!("a secret has at most {SECRET_BYTES_MAX} bytes")));
            }
            Self::DnsZone(_) | Self::Node(_) | Self::Secret(_) => {}
        }
        Ok(())
    }
}

impl PropertySpec {
    /// The property, with what stands by name put in.
    ///
    /// # Errors
    /// What is referred to and not there.
    pub fn resolve(
        &self,
        id: &PropertyId,
        origin: impl Fn(&ResourceName) -> Option<Upstream>,
        policy: impl Fn(&ResourceName) -> Option<CachePolicy>,
    ) -> Result<Property, String> {
        let origins = self.origins.iter().map(|reference| match reference {
            OriginRef::Inline(upstream) => Ok(upstream.clone()),
            OriginRef::Name(name) => origin(name).ok_or_else(|| format!("origin/{name}")),
        });
        let origins = origins.collect::<Result<_, _>>()?;
        let cache = match &self.cache_policy {
            None => self.cache.clone(),
            Some(name) => policy(name).ok_or_else(|| format!("cache_policy/{name}"))?,
        };
        let (guard, upstream) = (self.guard.clone(), self.upstream.clone());
        Ok(Property { id: id.clone(), hosts: self.hosts.clone(), origins, cache, guard, upstream })
    }
}

impl From<Property> for PropertySpec {
    fn from(property: Property) -> Self {
        let Property { id: _, hosts, origins, cache, guard, upstream } = property;
        let origins = origins.into_iter().map(OriginRef::Inline).collect();
        Self { hosts, origins, cache_policy: None, cache, guard, upstream }
    }
}

impl CertificateSpec {
    /// The certificate with its key.
    #[must_use]
    pub fn with_key(&self, key_pem: String) -> certificate::Certificate {
        certificate::Certificate {
            names: self.names.clone(),
            chain_pem: self.chain_pem.clone(),
            key_pem: certificate::KeyPem::new(key_pem),
        }
    }
}

impl SteeringPolicySpec {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// What is wrong, as text for people.
    pub fn check(&self) -> Result<(), String> {
        if self.pathways.is_empty() || self.pathways.len() > PATHWAYS_MAX {
            return Err(format!("1 to {PATHWAYS_MAX} pathways are needed"));
        }
        let ids: BTreeSet<_> = self.pathways.iter().map(|pathway| &pathway.id).collect();
        if ids.len() != self.pathways.len() {
            return Err("two pathways have one id".to_owned());
        }
        if !(TTL_MIN..=TTL_MAX).contains(&self.ttl) {
            return Err(format!("ttl must be from {TTL_MIN:?} to {TTL_MAX:?}"));
        }
        let hosts = self.pathways.iter().filter_map(|pathway| pathway.host.as_ref());
        for host in hosts {
            // An address of IPv6 in brackets has colons, but no port.
            let is_plain = crate::purge::host_of(host).as_deref() == Some(host);
            if !is_plain || host.len() > HOST_BYTES_MAX || host.contains('*') {
                return Err(format!("{host:?} is no host in lower case without port"));
            }
        }
        if let Some(uri) = &self.reload_uri {
            let is_place = ["https://", "http://", "/"].iter().any(|start| uri.starts_with(start));
            if !is_place || uri.len() > URI_BYTES_MAX || !uri.bytes().all(|b| b.is_ascii_graphic())
            {
                return Err("reload_uri must be an absolute URL or path".to_owned());
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSpec(…)")
    }
}

fn read<T: DeserializeOwned>(kind: Kind, json: &[u8]) -> Result<T, SpecError> {
    serde_json::from_slice(json).map_err(|error| SpecError::Syntax(kind, error))
}

fn probe() -> Upstream {
    Upstream { authority: "origin.invalid:443".to_owned(), tls: None, host: None }
}

/// A player asks at most once a second, and at least once an hour.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3600);
/// The longest name of the DNS as text.
const HOST_BYTES_MAX: usize = 253;
/// As long as the URLs of purges.
const URI_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, name: &str, json: &str) -> Result<Spec, SpecError> {
        Spec::parse(kind, &ResourceName::parse(name).expect("good"), json.as_bytes())
    }

    #[test]
    fn a_spec_is_of_its_kind_and_has_one_spelling() {
        for (kind, name, json) in [
            (Kind::Property, "demo", r#"{"origins":["main"],"hosts":["a.org"]}"#),
            (Kind::Origin, "main", r#"{"authority":"o.example:443"}"#),
            (Kind::CachePolicy, "long", r#"{"default_ttl":"10s"}"#),
            (Kind::SteeringPolicy, "s", r#"{"ttl":"30s","pathways":[{"id":"a","pops":["fra"]}]}"#),
            (Kind::DnsZone, "example.com", r#"{"zone":"@ IN SOA"}"#),
            (Kind::Pop, "fra", r#"{"role":"edge"}"#),
            (Kind::Node, "fra.n1", r#"{"pop":"fra"}"#),
            (Kind::Secret, "key", r#"{"value":"v","salt":"s"}"#),
            (Kind::Prefix, "v4", r#"{"block":"192.0.2.0/24"}"#),
            (Kind::AnycastGroup, "video", r#"{"prefixes":["v4"]}"#),
        ] {
            let spec = parse(kind, name, json).expect(json);
            let again = parse(kind, name, str::from_utf8(&spec.to_json()).expect("JSON"));
            assert_eq!(again.expect("its own bytes").to_json(), spec.to_json(), "{kind}");
        }
        let shown = format!("{:?}", parse(Kind::Secret, "k", r#"{"value":"hidden","salt":""}"#));
        assert!(!shown.contains("hidden"));
    }

    #[test]
    fn what_no_reader_would_take_is_refused() {
        for (kind, name, json, reason) in [
            (Kind::Property, "a.b", r#"{"hosts":["a"],"origins":["m"]}"#, "an id is"),
            (Kind::Property, "a", r#"{"hosts":["A"],"origins":["m"]}"#, "host name"),
            (Kind::Property, "a", r#"{"hosts":["a"],"origins":[],"x":1}"#, "unknown field"),
            (
                Kind::Property,
                "a",
                r#"{"hosts":["a"],"origins":["m"],"cache":{"default_ttl":"1s"},"cache_policy":"p"}"#,
                "both",
            ),
            (Kind::Origin, "m", r#"{"authority":"nowhere"}"#, "host:port"),
            (
                Kind::Pop,
                "fra",
                r#"{"role":"edge","shield_upstream":{"authority":"a:1"}}"#,
                "shield",
            ),
            (
                Kind::SteeringPolicy,
                "s",
                r#"{"ttl":"1ms","pathways":[{"id":"a","pops":[]}]}"#,
                "ttl",
            ),
            (Kind::SteeringPolicy, "s", r#"{"ttl":"9s","pathways":[]}"#, "pathways"),
            (
                Kind::SteeringPolicy,
                "s",
                r#"{"ttl":"9s","pathways":[{"id":"a","pops":[],"host":"a.example:443"}]}"#,
                "without port",
            ),
            (
                Kind::SteeringPolicy,
                "s",
                r#"{"ttl":"9s","pathways":[{"id":"a","pops":[]}],"reload_uri":"s"}"#,
                "reload_uri",
            ),
            (Kind::Certificate, "c", r#"{"names":["a"],"chain_pem":"x","key":"k"}"#, "PEM"),
            (Kind::Prefix, "p", "[]", "not the spec"),
        ] {
            let error = parse(kind, name, json).expect_err(json).to_string();
            assert!(error.contains(reason), "{error:?} should say {reason:?}");
        }
        let large = format!(r#"{{"zone":"{}"}}"#, "x".repeat(ZONE_BYTES_MAX + 1));
        assert!(parse(Kind::DnsZone, "z", &large).is_err());
        let larger = format!(r#"{{"zone":"{}"}}"#, "x".repeat(SPEC_BYTES_MAX));
        assert!(matches!(parse(Kind::DnsZone, "z", &larger), Err(SpecError::Size(_))));
    }

    #[test]
    fn what_stands_by_name_is_put_in_or_named_as_missing() {
        let json = r#"{"hosts":["a.org"],"origins":["main"],"cache_policy":"long"}"#;
        let Ok(Spec::Property(spec)) = parse(Kind::Property, "demo", json) else { panic!() };
        let id = PropertyId::parse("demo").expect("good");
        let named = |name: &ResourceName| (name.as_str() == "main").then(probe);
        let property = spec.resolve(&id, named, |_| Some(CachePolicy::default()));
        assert_eq!(property.expect("both there").origins, [probe()]);
        let missing = spec.resolve(&id, |_| None, |_| None);
        assert_eq!(missing.expect_err("not there"), "origin/main");
    }
}
