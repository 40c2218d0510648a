//! A release as it lies in the records, and in memory.
//!
//! The record is small: what is signed, who made it and why, and the hashes of the pages that list its resources.
//! Pages are contents like specs are, so that releases which differ little share most of what they take.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_contract::{
    id::Generation,
    release::{Hash, Header, hash_of},
    resource::ResourceKey,
};

use super::{ReleaseError, key::PublicKey, library::Library};
use crate::{
    anycast::Sites,
    resource::{Entry, Labels, State},
    rollout::Pace,
};

/// A release in the records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// What is signed.
    pub header: Header,
    /// The signature, in hex.
    pub signature: String,
    /// The key that signed it.
    pub key: PublicKey,
    /// Who made it: the label of a token.
    pub author: String,
    /// Why.
    pub reason: String,
    /// The change-set that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The version whose content it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u64>,
    /// How it went out.
    pub pace: Pace,
    /// The pages that list its resources, in hex.
    pub pages: Vec<String>,
    /// The pages that list their labels, in hex. Builds that know none pass them over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// A release with all that it holds.
#[derive(Debug)]
pub struct Made {
    /// What is signed, and whose it is.
    pub record: ReleaseRecord,
    /// Its resources.
    pub state: State,
    /// Where PoPs are and what they announce, read out of the resources once.
    pub sites: Arc<Sites>,
}

/// A resource as a page lists it.
#[derive(Serialize, Deserialize)]
struct Line(String, u64, String);

impl Made {
    /// A release and what it holds.
    #[must_use]
    pub fn new(record: ReleaseRecord, state: State) -> Self {
        let sites = Arc::new(state.sites());
        Self { record, state, sites }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Generation {
        self.record.header.version
    }
}

/// The pages of the labels of a state: contents to keep, and their hashes in order.
pub(super) fn label_pages_of(state: &State) -> (Vec<(Hash, Bytes)>, Vec<String>) {
    let labelled = state.entries.iter().filter(|(_, entry)| !entry.labels.is_empty());
    let lines: Vec<_> = labelled.map(|(key, entry)| (key.to_string(), &entry.labels)).collect();
    let page = |lines: &[(String, &Labels)]| {
        let bytes = Bytes::from(serde_json::to_vec(lines).expect("texts"));
        (hash_of(&bytes), bytes)
    };
    let pages: Vec<_> = lines.chunks(PAGE_LINES).map(page).collect();
    let names = pages.iter().map(|(hash, _)| hex::encode(hash)).collect();
    (pages, names)
}

/// The pages of a state: contents to keep, and their hashes in order.
pub(super) fn pages_of(state: &State) -> (Vec<(Hash, Bytes)>, Vec<String>) {
    let lines: Vec<_> = state
        .entries
        .iter()
        .map(|(key, entry)| Line(key.to_string(), entry.generation.0, hex::encode(entry.hash)))
        .collect();
    let page = |lines: &[Line]| {
        let bytes = Bytes::from(serde_json::to_vec(lines).expect("texts and numbers"));
        (hash_of(&bytes), bytes)
    };
    let pages: Vec<_> = lines.chunks(PAGE_LINES).map(page).collect();
    let names = pages.iter().map(|(hash, _)| hex::encode(hash)).collect();
    (pages, names)
}

/// Reads a release; what `near` has as well is not read again.
pub(super) async fn read(
    record: ReleaseRecord,
    library: &Library,
    near: Option<&State>,
) -> Result<Made, ReleaseError> {
    let mut entries = BTreeMap::new();
    for page in &record.pages {
        let page = library.get(&unhex(page)?).await?;
        let lines: Vec<Line> = serde_json::from_slice(&page)?;
        for Line(key, generation, hash) in lines {
            let bad = || ReleaseError::Damaged(format!("{key} is no resource"));
            let (key, hash) = (ResourceKey::parse(&key).ok_or_else(bad)?, unhex(&hash)?);
            let generation = Generation(generation);
            let known = near.and_then(|near| near.entries.get(&key));
            let entry = match known.filter(|entry| entry.hash == hash) {
                Some(entry) => Entry { generation, labels: Labels::default(), ..entry.clone() },
                None => {
                    let body = library.get(&hash).await?;
                    Entry::read(&key, generation, body)
                        .map_err(|error| ReleaseError::Damaged(format!("{key}: {error}")))?
                }
            };
            entries.insert(key, entry);
        }
    }
    read_labels(&record, library, &mut entries).await?;
    let state = State { entries };
    if state.root() == record.header.root {
        Ok(Made::new(record, state))
    } else {
        Err(ReleaseError::Damaged(format!("release {} has another root", record.header.version)))
    }
}

/// Gives the resources of a release their labels. A page that is gone costs its labels alone: a build that knows none may
/// have taken it for one that no release names.
async fn read_labels(
    record: &ReleaseRecord,
    library: &Library,
    entries: &mut BTreeMap<ResourceKey, Entry>,
) -> Result<(), ReleaseError> {
    for name in &record.labels {
        let page = match library.get(&unhex(name)?).await {
            Ok(page) => page,
            Err(ReleaseError::Damaged(why)) => {
                let version = record.header.version;
                tracing::warn!(%version, why, "labels of a release are lost");
                continue;
            }
            Err(error) => return Err(error),
        };
        let lines: Vec<(String, Labels)> = serde_json::from_slice(&page)?;
        for (key, labels) in lines {
            let key = ResourceKey::parse(&key);
            if let Some(entry) = key.and_then(|key| entries.get_mut(&key)) {
                entry.labels = labels;
            }
        }
    }
    Ok(())
}

/// The hashes that a release names, in hex: its pages and its specs.
pub(super) fn named_by(made: &Made) -> impl Iterator<Item = String> {
    let specs = made.state.entries.values().map(|entry| hex::encode(entry.hash));
    made.record.pages.iter().chain(&made.record.labels).cloned().chain(specs)
}

fn unhex(text: &str) -> Result<Hash, ReleaseError> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash)
        .map_err(|_| ReleaseError::Damaged(format!("{text:?} is no hash")))?;
    Ok(hash)
}

/// Resources of one page: about 500 KiB.
const PAGE_LINES: usize = 2_500;
