//! What the control plane knows, as typed values over the records: the desired state, nodes, tokens.
//!
//! A change reads, decides, and commits under the condition that nobody changed what it read; else it begins again. The
//! generation is followed, so that a change made by another replica, or by a command beside this process, is seen.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    error::StoreError,
    records::{Commit, CommitError, Key, Record, Records, Revision},
};

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    records: Arc<dyn Records>,
    pub(super) generation: Arc<watch::Sender<u64>>,
    _follower: Arc<DropGuard>,
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
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn open(records: Arc<dyn Records>) -> Result<Self, StoreError> {
        let generation = super::change::generation(&records).await?;
        let generation = Arc::new(watch::Sender::new(generation));
        let stop = CancellationToken::new();
        let follow = follow(Arc::clone(&records), Arc::clone(&generation));
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow));
        Ok(Self { records, generation, _follower: Arc::new(stop.drop_guard()) })
    }

    /// The records beneath.
    #[must_use]
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }

    /// The generation of the desired state as last committed, and every later one.
    #[must_use]
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
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

/// Raises the generation that is told to the one that is kept, on every change of the records.
async fn follow(records: Arc<dyn Records>, generation: Arc<watch::Sender<u64>>) {
    let mut head = records.head();
    while head.changed().await.is_ok() {
        match super::change::generation(&records).await {
            Ok(found) => raise(&generation, found),
            Err(error) => tracing::warn!(%error, "cannot follow the desired state"),
        }
    }
}

pub(super) fn raise(generation: &watch::Sender<u64>, to: u64) {
    generation.send_if_modified(|known| {
        let is_newer = to > *known;
        *known = (*known).max(to);
        is_newer
    });
}

pub(super) fn read<T: DeserializeOwned>(record: Record) -> Result<Kept<T>, StoreError> {
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
