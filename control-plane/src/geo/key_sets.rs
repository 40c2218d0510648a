//! The newest set of keys of each zone that is rolled over from here: one record a zone, so that it outlives every replica.
//!
//! Private keys in it are sealed under keys that geo nodes alone have. Invariant: a set follows the one that its step was
//! worked out from, or is not written: of two steps at one time one is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_contract::zone_keys::{KEY_SETS_MAX, ProvenSet};

use crate::store::{Commit, CommitError, Expect, Key, Records, Revision, StoreError};

/// The newest set of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// As a geo node made it.
    pub(super) set: ProvenSet,
    /// Its revision, which stands in it too.
    pub(super) revision: u64,
    /// Who took the step, and why.
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) at_unix_ms: u64,
    /// The geo nodes that had the keys before it: they are to have these now, also those that are away.
    pub(super) nodes: Vec<String>,
}

/// Why a set is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("{KEY_SETS_MAX} zones are rolled over from here already")]
    TooMany,
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest set of a zone, and the change that wrote it.
pub(super) async fn read(
    records: &dyn Records,
    zone: &str,
) -> Result<Option<(Kept, Revision)>, StoreError> {
    let Some(record) = records.get(&key(zone)?).await? else { return Ok(None) };
    Ok(Some((kept(&record.value)?, record.revision)))
}

/// The newest sets of all zones.
pub(super) async fn all(records: &dyn Records) -> Result<BTreeMap<String, ProvenSet>, StoreError> {
    let listing = records.list(FOLDER).await?;
    let zone = |key: &Key| key.as_str().trim_start_matches(FOLDER).to_owned();
    let sets = listing.records.iter();
    sets.map(|record| Ok((zone(&record.key), kept(&record.value)?.set))).collect()
}

/// Keeps a set that follows the one that was read, or none.
pub(super) async fn write(
    records: &dyn Records,
    zone: &str,
    kept: &Kept,
    read: Option<Revision>,
) -> Result<(), KeepError> {
    if read.is_none() && records.list(FOLDER).await?.records.len() >= KEY_SETS_MAX {
        return Err(KeepError::TooMany);
    }
    let key = key(zone)?;
    let value = serde_json::to_vec(kept).expect("texts and numbers");
    let commit = Commit {
        expect: vec![(key.clone(), read.map_or(Expect::Absent, Expect::At))],
        puts: vec![(key, value.into())],
        ..Commit::default()
    };
    records.commit(commit).await?;
    Ok(())
}

fn kept(value: &[u8]) -> Result<Kept, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::damaged("keys of a zone", error))
}

/// Zones were checked for what their names may have.
fn key(zone: &str) -> Result<Key, StoreError> {
    Key::parse(&format!("{FOLDER}{zone}"))
        .map_err(|error| StoreError::damaged("keys of a zone", error))
}

const FOLDER: &str = "geo/keys/";
