//! All resources at one version: what a release holds, in memory.
//!
//! Values only. The root follows from the entries alone, and an entry's hash from its body.

mod show;
mod desired;
mod labels;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tidegate_contract::{
    id::{AnycastGroupId, Generation, PopId, PrefixId},
    release::{Hash, hash_of, root_of},
    release_compile::{self, CompileError, Specs, TIER_KEY_SECRET},
    resource::{Kind, ResourceKey, ResourceName},
    resource_spec::{Spec, SpecError},
    tier::TierKey,
};

use crate::anycast::Sites;

pub use desired::{Desired, Pop};
pub use labels::{LABELS_BYTES_MAX, LABELS_MAX, LabelError, Labels, Selector};
pub use show::{fingerprint, shown};

/// One resource as a release holds it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The version that changed it last.
    pub generation: Generation,
    /// The hash of its body.
    pub hash: Hash,
    /// Its spec as it travels.
    pub body: Bytes,
    /// The same, read.
    pub spec: Arc<Spec>,
    /// What operators call it by. They do not travel, and are no part of its hash.
    pub labels: Labels,
}

/// All resources at one version. Cheap to clone is none of it: share it in an `Arc`.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The resources, in the order of a release.
    pub entries: BTreeMap<ResourceKey, Entry>,
}

/// Two entries are the same when their specs are: nodes know no labels, and when they were changed is no difference.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Entry {
    /// An entry of a spec that was checked.
    #[must_use]
    pub fn new(generation: Generation, spec: Spec) -> Self {
        let body = Bytes::from(spec.to_json());
        Self {
            generation,
            hash: hash_of(&body),
            body,
            spec: Arc::new(spec),
            labels: Labels::default(),
        }
    }

    /// An entry from the body of a release.
    ///
    /// # Errors
    /// [`SpecError`]
    pub fn read(key: &ResourceKey, generation: Generation, body: Bytes) -> Result<Self, SpecError> {
        let spec = Arc::new(Spec::parse(key.kind, &key.name, &body)?);
        Ok(Self { generation, hash: hash_of(&body), body, spec, labels: Labels::default() })
    }

    /// Whether nothing of it is different, labels among them; when they were changed is no difference.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        self == other && self.labels == other.labels
    }
}

impl State {
    /// The root of a release of these resources.
    #[must_use]
    pub fn root(&self) -> Hash {
        root_of(self.entries.iter().map(|(key, entry)| (key, &entry.hash)))
    }

    /// The specs as the contract compiles them.
    #[must_use]
    pub fn specs(&self) -> Specs {
        self.entries.iter().map(|(key, entry)| (key.clone(), (*entry.spec).clone())).collect()
    }

    /// When a resource was changed last; 0 when it is not there.
    #[must_use]
    pub fn generation_of(&self, key: &ResourceKey) -> Generation {
        self.entries.get(key).map_or(Generation(0), |entry| entry.generation)
    }

    /// The resources of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ResourceName, &Entry)> {
        self.entries
            .iter()
            .filter(move |(key, _)| key.kind == kind)
            .map(|(key, entry)| (&key.name, entry))
    }

    /// The PoPs.
    pub fn pops(&self) -> impl Iterator<Item = PopId> {
        self.of_kind(Kind::Pop).filter_map(|(name, _)| PopId::parse(name.as_str()).ok())
    }

    /// Whether there is a PoP of that name.
    #[must_use]
    pub fn has_pop(&self, pop: &PopId) -> bool {
        self.of_kind(Kind::Pop).any(|(name, _)| name.as_str() == pop.as_str())
    }

    /// Where PoPs are, and what they announce.
    #[must_use]
    pub fn sites(&self) -> Sites {
        let mut sites = Sites::default();
        for (key, entry) in &self.entries {
            let name = key.name.as_str();
            // Names of these kinds are such ids: that was checked with the spec.
            match &*entry.spec {
                Spec::Pop(spec) => {
                    sites.pops.extend(PopId::parse(name).ok().map(|id| (id, spec.site.clone())));
                }
                Spec::Prefix(spec) => {
                    sites.prefixes.extend(PrefixId::parse(name).ok().map(|id| (id, spec.clone())));
                }
                Spec::AnycastGroup(spec) => {
                    let id = AnycastGroupId::parse(name).ok();
                    sites.groups.extend(id.map(|id| (id, spec.clone())));
                }
                _ => {}
            }
        }
        sites
    }

    /// Properties and PoPs as the rest of the program reads them.
    ///
    /// # Errors
    /// [`CompileError`] when something refers to what is not there, which no release does.
    pub fn desired(&self, version: Generation) -> Result<Desired, CompileError> {
        let specs = self.specs();
        let mut properties = Vec::new();
        let mut pops = Vec::new();
        let mut tier_key = None;
        for (key, entry) in &self.entries {
            match &*entry.spec {
                Spec::Property(spec) => {
                    let property = release_compile::property(&specs, key, spec)?;
                    properties.push((property, entry.generation));
                }
                Spec::Pop(spec) => {
                    let id = PopId::parse(key.name.as_str());
                    let id = id.map_err(|e| CompileError::Missing(key.clone(), e.to_string()))?;
                    let shield_upstream = spec.shield_upstream.clone();
                    pops.push(Pop { id, role: spec.role, shield_upstream });
                }
                Spec::Secret(spec) if key.name.as_str() == TIER_KEY_SECRET => {
                    tier_key = TierKey::try_from(spec.value.clone()).ok();
                }
                _ => {}
            }
        }
        let tier_key = tier_key.ok_or(CompileError::TierKey)?;
        Ok(Desired { generation: version, properties, pops, tier_key })
    }
}
