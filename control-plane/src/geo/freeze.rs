//! An operator holds the map: it stays as it is, whatever is measured, until somebody lets it go.
//!
//! One record, so that it outlives every replica. Invariant: it always says who and why.

use serde::{Deserialize, Serialize};

use crate::store::{Commit, CommitError, Key, Records, StoreError};

/// Who holds the map, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since_unix_ms: u64,
}

/// What holds the map now.
pub(super) async fn read(records: &dyn Records) -> Result<Option<Freeze>, StoreError> {
    let record = records.get(&key()).await?;
    let read = |value: &[u8]| {
        serde_json::from_slice(value).map_err(|error| StoreError::damaged("freeze", error))
    };
    record.map(|record| read(&record.value)).transpose()
}

/// Holds the map, or lets it go.
pub(super) async fn write(
    records: &dyn Records,
    freeze: Option<&Freeze>,
) -> Result<(), CommitError> {
    let commit = match freeze {
        Some(freeze) => {
            let value = serde_json::to_vec(freeze).expect("texts and a number");
            Commit { puts: vec![(key(), value.into())], ..Commit::default() }
        }
        None => Commit { deletes: vec![key()], ..Commit::default() },
    };
    records.commit(commit).await.map(|_| ())
}

fn key() -> Key {
    Key::parse("geo/frozen").expect("a good key")
}
