//! The desired state as records: reading them, and the generation.
//!
//! Nothing is checked here but the form; what a state may be is decided where it is changed. All of it begins with one
//! prefix, so that one listing is one state.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::{Generation, PopId, PropertyId},
    property::{Property, Upstream},
    snapshot::PopRole,
    tier::TierKey,
};

use super::{
    desired::{Desired, Pop},
    error::StoreError,
    records::{Key, Records, Revision},
    registry::{self, put},
};

/// The desired state, and when its generation was last changed.
pub(super) struct Loaded {
    pub(super) desired: Desired,
    pub(super) generation_revision: Option<Revision>,
}

#[derive(Serialize, Deserialize)]
struct PropertyRecord {
    generation: u64,
    spec: Property,
}

#[derive(Serialize, Deserialize)]
struct PopRecord {
    generation: u64,
    role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shield_upstream: Option<Upstream>,
}

pub(super) async fn load(records: &Arc<dyn Records>) -> Result<Loaded, StoreError> {
    let (mut properties, mut pops) = (Vec::new(), Vec::new());
    let (mut generation, mut tier_key) = ((0, None), None);
    for record in records.list(PREFIX).await?.records {
        let name = record.key.as_str();
        if name == GENERATION {
            generation = (read_generation(&record.value)?, Some(record.revision));
        } else if name == TIER_KEY {
            tier_key = Some(read_tier_key(&record.value)?);
        } else if name.starts_with(PROPERTIES) {
            let PropertyRecord { generation, spec } = registry::read(record)?.value;
            properties.push((spec, Generation(generation)));
        } else if let Some(id) = name.strip_prefix(POPS) {
            let id = PopId::parse(id).map_err(|error| StoreError::damaged("pop id", error))?;
            let PopRecord { role, shield_upstream, .. } = registry::read(record)?.value;
            pops.push(Pop { id, role: read_role(&role)?, shield_upstream });
        }
    }
    let tier_key = tier_key.ok_or_else(|| StoreError::damaged("tier key", "there is none"))?;
    let desired = Desired { generation: Generation(generation.0), properties, pops, tier_key };
    Ok(Loaded { desired, generation_revision: generation.1 })
}

pub(super) fn put_property(property: &Property, generation: Generation) -> (Key, Bytes) {
    let record = PropertyRecord { generation: generation.0, spec: property.clone() };
    put(&property_key(&property.id), &record)
}

pub(super) fn put_pop(pop: &Pop, generation: Generation) -> (Key, Bytes) {
    let record = PopRecord {
        generation: generation.0,
        role: pop.role.as_str().to_owned(),
        shield_upstream: pop.shield_upstream.clone(),
    };
    put(&pop_key(&pop.id), &record)
}

pub(super) fn property_key(id: &PropertyId) -> String {
    format!("{PROPERTIES}{id}")
}

pub(super) fn pop_key(id: &PopId) -> String {
    format!("{POPS}{id}")
}

pub(super) fn read_generation(value: &[u8]) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.parse().map_err(|error| StoreError::damaged("generation", error))
}

fn read_tier_key(value: &[u8]) -> Result<TierKey, StoreError> {
    let text = String::from_utf8_lossy(value).into_owned();
    TierKey::try_from(text).map_err(|error| StoreError::damaged("tier key", error))
}

fn read_role(text: &str) -> Result<PopRole, StoreError> {
    [PopRole::Edge, PopRole::Shield]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| StoreError::damaged("pop role", text))
}

const PREFIX: &str = "desired/";
const PROPERTIES: &str = "desired/property/";
const POPS: &str = "desired/pop/";
pub(super) const GENERATION: &str = "desired/generation";
pub(super) const TIER_KEY: &str = "desired/tier_key";
