//! From the resources of a release to what one PoP runs.
//!
//! Both sides compile: the control plane before it signs, so that no release is made that a PoP would refuse; the node
//! from what it verified, so that nobody between them has a say. The same resources give the same snapshot.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    certificate::Certificate,
    id::{Generation, PopId, PropertyId},
    property::{CachePolicy, Property, Upstream},
    resource::{Kind, RESOURCES_MAX, ResourceKey, ResourceName},
    resource_spec::{CertificateSpec, PopSpec, PropertySpec, Spec},
    snapshot::{PopRole, SNAPSHOT_BYTES_MAX, Shield, Snapshot, SnapshotError},
    tier::TierKey,
};

/// The secret that holds the key which nodes know one another by. The control plane makes it; it is in every release.
pub const TIER_KEY_SECRET: &str = "tidegate-tier-key";

/// Resources by what they are called.
pub type Specs = BTreeMap<ResourceKey, Spec>;

/// Why resources make no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The PoP is not among them.
    #[error("there is no pop {0}")]
    Pop(PopId),
    /// More of a kind than allowed.
    #[error("too many resources of kind {0}: {1}")]
    TooMany(Kind, usize),
    /// More than allowed altogether.
    #[error("too many resources: {0}")]
    TooManyTotal(usize),
    /// Something refers to what is not there.
    #[error("{0} refers to {1}, which is not there")]
    Missing(ResourceKey, String),
    /// The key that nodes know one another by is not there, or no key.
    #[error("the secret {TIER_KEY_SECRET} is missing or no key")]
    TierKey,
    /// The snapshot breaks a rule.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// What a PoP runs under a release.
///
/// # Errors
/// [`CompileError`]
pub fn compile(specs: &Specs, pop: &PopId, version: Generation) -> Result<Snapshot, CompileError> {
    let this = pops(specs).find(|(name, _)| name.as_str() == pop.as_str());
    let (_, this) = this.ok_or_else(|| CompileError::Pop(pop.clone()))?;
    let snapshot = compile_as(specs, pop, this.role, version)?;
    snapshot.check()?;
    Ok(snapshot)
}

/// Checks that every PoP could run these resources, and that what they refer to is there.
///
/// # Errors
/// [`CompileError`]
pub fn check_all(specs: &Specs, version: Generation) -> Result<(), CompileError> {
    if specs.len() > RESOURCES_MAX {
        return Err(CompileError::TooManyTotal(specs.len()));
    }
    for kind in Kind::ALL {
        let count = specs.keys().filter(|key| key.kind == kind).count();
        if count > kind.count_max() {
            return Err(CompileError::TooMany(kind, count));
        }
    }
    for (key, spec) in specs {
        let missing = |pop: &PopId| CompileError::Missing(key.clone(), format!("pop/{pop}"));
        let is_there = |pop: &&PopId| pops(specs).any(|(name, _)| name.as_str() == pop.as_str());
        let named: Vec<&PopId> = match spec {
            Spec::Node(node) => vec![&node.pop],
            Spec::SteeringPolicy(policy) => {
                policy.pathways.iter().flat_map(|pathway| &pathway.pops).collect()
            }
            _ => Vec::new(),
        };
        if let Some(gone) = named.into_iter().find(|pop| !is_there(pop)) {
            return Err(missing(gone));
        }
    }
    // An edge gets the most; every other PoP gets a part of it.
    let probe = PopId::parse("check").expect("a good id");
    let snapshot = compile_as(specs, &probe, PopRole::Edge, version)?;
    snapshot.check()?;
    let bytes = snapshot.to_bytes().len();
    if bytes > SNAPSHOT_BYTES_MAX { Err(SnapshotError::Size(bytes).into()) } else { Ok(()) }
}

/// The secrets that caches need: the only ones that leave the control plane.
#[must_use]
pub fn secrets_for_caches(specs: &Specs) -> BTreeSet<ResourceKey> {
    let named = specs.values().filter_map(|spec| match spec {
        Spec::Certificate(certificate) => Some(certificate.key.clone()),
        _ => None,
    });
    let own = ResourceName::parse(TIER_KEY_SECRET).expect("a good name");
    named.chain([own]).map(|name| ResourceKey::new(Kind::Secret, name)).collect()
}

fn compile_as(
    specs: &Specs,
    pop: &PopId,
    role: PopRole,
    version: Generation,
) -> Result<Snapshot, CompileError> {
    let shields = match role {
        PopRole::Edge => shields(specs),
        // A shield gets none, so that no fill ever goes from shield to shield.
        PopRole::Shield => Vec::new(),
    };
    Ok(Snapshot {
        generation: version,
        pop: pop.clone(),
        role,
        properties: properties(specs)?,
        tier_key: tier_key(specs).ok_or(CompileError::TierKey)?,
        shields,
        certificates: certificates(specs)?,
    })
}

fn properties(specs: &Specs) -> Result<Vec<Property>, CompileError> {
    let all = specs.iter().filter_map(|(key, spec)| match spec {
        Spec::Property(spec) => Some((key, &**spec)),
        _ => None,
    });
    all.map(|(key, spec)| property(specs, key, spec)).collect()
}

/// One property with what stands in it by name.
///
/// # Errors
/// [`CompileError::Missing`]
pub fn property(
    specs: &Specs,
    key: &ResourceKey,
    spec: &PropertySpec,
) -> Result<Property, CompileError> {
    let missing = |what: String| CompileError::Missing(key.clone(), what);
    let id = PropertyId::parse(key.name.as_str()).map_err(|error| missing(error.to_string()))?;
    let origin = |name: &ResourceName| -> Option<Upstream> {
        match specs.get(&ResourceKey::new(Kind::Origin, name.clone()))? {
            Spec::Origin(upstream) => Some(upstream.clone()),
            _ => None,
        }
    };
    let policy = |name: &ResourceName| -> Option<CachePolicy> {
        match specs.get(&ResourceKey::new(Kind::CachePolicy, name.clone()))? {
            Spec::CachePolicy(policy) => Some((**policy).clone()),
            _ => None,
        }
    };
    spec.resolve(&id, origin, policy).map_err(missing)
}

fn certificates(specs: &Specs) -> Result<Vec<Certificate>, CompileError> {
    let with_key = |(key, spec): (&ResourceKey, &CertificateSpec)| {
        let pem = secret(specs, &spec.key);
        let missing = || CompileError::Missing(key.clone(), format!("secret/{}", spec.key));
        Ok(spec.with_key(pem.ok_or_else(missing)?.to_owned()))
    };
    let all = specs.iter().filter_map(|(key, spec)| match spec {
        Spec::Certificate(spec) => Some((key, spec)),
        _ => None,
    });
    all.map(with_key).collect()
}

fn tier_key(specs: &Specs) -> Option<TierKey> {
    let text = secret(specs, &ResourceName::parse(TIER_KEY_SECRET).ok()?)?;
    TierKey::try_from(text.to_owned()).ok()
}

fn secret<'a>(specs: &'a Specs, name: &ResourceName) -> Option<&'a str> {
    match specs.get(&ResourceKey::new(Kind::Secret, name.clone()))? {
        Spec::Secret(secret) => Some(&secret.value),
        _ => None,
    }
}

fn pops(specs: &Specs) -> impl Iterator<Item = (&ResourceName, &PopSpec)> {
    specs.iter().filter_map(|(key, spec)| match spec {
        Spec::Pop(spec) => Some((&key.name, spec)),
        _ => None,
    })
}

fn shields(specs: &Specs) -> Vec<Shield> {
    let reachable = pops(specs).filter_map(|(name, spec)| {
        let upstream = spec.shield_upstream.clone()?;
        Some(Shield { pop: PopId::parse(name.as_str()).ok()?, upstream })
    });
    reachable.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(texts: &[(&str, &str)]) -> Specs {
        let tier = format!(r#"{{"salt":"","value":"{}"}}"#, "07".repeat(32));
        let tier_name = format!("secret/{TIER_KEY_SECRET}");
        let all = texts.iter().copied().chain([(tier_name.as_str(), tier.as_str())]);
        all.map(|(key, json)| {
            let key = ResourceKey::parse(key).expect(key);
            let spec = Spec::parse(key.kind, &key.name, json.as_bytes()).expect(json);
            (key, spec)
        })
        .collect()
    }

    fn fleet() -> Specs {
        specs(&[
            ("property/demo", r#"{"hosts":["*"],"origins":["main"]}"#),
            ("origin/main", r#"{"authority":"127.0.0.1:1"}"#),
            ("pop/edge-a", r#"{"role":"edge"}"#),
            ("pop/shield-1", r#"{"role":"shield","shield_upstream":{"authority":"10.0.0.1:443"}}"#),
            ("pop/shield-new", r#"{"role":"shield"}"#),
        ])
    }

    fn id(text: &str) -> PopId {
        PopId::parse(text).expect("good")
    }

    #[test]
    fn an_edge_gets_the_shields_that_can_be_reached_and_a_shield_none() {
        let edge = compile(&fleet(), &id("edge-a"), Generation(4)).expect("there");
        let shields: Vec<_> = edge.shields.iter().map(|shield| shield.pop.as_str()).collect();
        assert_eq!(shields, ["shield-1"]);
        assert_eq!((edge.generation, edge.properties.len()), (Generation(4), 1));
        assert_eq!(edge.properties[0].origins[0].authority, "127.0.0.1:1");
        let shield = compile(&fleet(), &id("shield-1"), Generation(4)).expect("there");
        assert_eq!((shield.shields.len(), shield.role), (0, PopRole::Shield));
        let nobody = compile(&fleet(), &id("nobody"), Generation(4));
        assert!(matches!(nobody, Err(CompileError::Pop(_))));
    }

    #[test]
    fn what_refers_to_nothing_is_not_signed() {
        for (key, json, missing) in [
            ("property/p", r#"{"hosts":["a"],"origins":["gone"]}"#, "origin/gone"),
            (
                "certificate/c",
                r#"{"names":["a"],"chain_pem":"-----BEGIN ","key":"gone"}"#,
                "secret/gone",
            ),
            ("node/n", r#"{"pop":"gone"}"#, "pop/gone"),
            (
                "steering_policy/s",
                r#"{"ttl":"9s","pathways":[{"id":"a","pops":["gone"]}]}"#,
                "gone",
            ),
            ("property/q", r#"{"hosts":["*"],"origins":["main"]}"#, "claim"),
        ] {
            let mut all = fleet();
            all.extend(specs(&[(key, json)]));
            let error = check_all(&all, Generation(1)).expect_err(key).to_string();
            assert!(error.contains(missing), "{error}");
        }
        let mut keyless = fleet();
        keyless.retain(|key, _| key.kind != Kind::Secret);
        assert!(matches!(check_all(&keyless, Generation(1)), Err(CompileError::TierKey)));
        assert!(check_all(&fleet(), Generation(1)).is_ok());
    }

    #[test]
    fn only_secrets_that_caches_read_leave_the_control_plane() {
        let mut all = fleet();
        all.extend(specs(&[
            ("secret/cert-key", r#"{"salt":"","value":"k"}"#),
            ("secret/other", r#"{"salt":"","value":"k"}"#),
            ("certificate/c", r#"{"names":["a"],"chain_pem":"-----BEGIN ","key":"cert-key"}"#),
        ]));
        let names: Vec<_> =
            secrets_for_caches(&all).into_iter().map(|key| key.to_string()).collect();
        assert_eq!(names, ["secret/cert-key", "secret/tidegate-tier-key"]);
    }
}
