//! What the control plane knows of nodes and of tokens to enrol them, as typed values over the records.
//!
//! A change reads, decides, and commits under the condition that nobody changed what it read; else it begins again.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    error::StoreError,
    records::{Commit, CommitError, Key, Record, Records, Revision},
};

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    records: Arc<dyn Records>,
}

/// Bytes that are written as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Hex(pub(super) Vec<u8>);

/// A value and when it was last changed.
pub(super) struct Kept<T> {
    pub(super) key: Key,
    pub(super) value: T,
    pub(super) revision: Revision,
}

impl Registry {
    /// The registry over some records.
    #[must_use]
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self { records }
    }

    /// The records beneath.
    #[must_use]
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Kept<T>>, StoreError> {
        let Ok(key) = Key::parse(key) else { return Ok(None) };
        self.records.get(&key).await?.map(read).transpose()
    }

    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<Kept<T>>, StoreError> {
        self.records.list(prefix).await?.records.into_iter().map(read).collect()
    }

    /// Commits; false when somebody changed in between what the commit expects.
    pub(super) async fn try_commit(&self, commit: Commit) -> Result<bool, StoreError> {
        match self.records.commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(CommitError::Store(error)) => Err(error),
            Err(error @ CommitError::TooLarge(_)) => Err(StoreError::Commit(error.to_string())),
        }
    }
}

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;
    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        hex::decode(text).map(Self)
    }
}

impl From<Hex> for String {
    fn from(bytes: Hex) -> Self {
        hex::encode(bytes.0)
    }
}

fn read<T: DeserializeOwned>(record: Record) -> Result<Kept<T>, StoreError> {
    let value = serde_json::from_slice(&record.value);
    let value = value.map_err(|error| StoreError::damaged("record", error))?;
    Ok(Kept { key: record.key, value, revision: record.revision })
}

/// A write of a value; keys of ids always have the form of a key.
pub(super) fn put(key: &str, value: &impl Serialize) -> (Key, bytes::Bytes) {
    let value = serde_json::to_vec(value).expect("what is kept is plain data");
    (self::key(key), value.into())
}

pub(super) fn key(text: &str) -> Key {
    Key::parse(text).expect("ids are short and plain")
}

/// After so many changes by others in between a change gives up.
pub(super) const TRIES: usize = 64;

pub(super) fn contended() -> StoreError {
    StoreError::Commit("others changed the same thing again and again".to_owned())
}
