//! Leases of a control plane that is one process.
//!
//! One process alone uses a data folder, so whoever held a lease before this process began is gone. Within the
//! process a lease has one holder, and each holding writes the record anew, so that older fences fail.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    error::StoreError,
    lease::{Held, Lease, epoch_key, lease_key},
    records::{Commit, CommitError, Expect, Records},
    sqlite_records::SqliteRecords,
};

/// The leases over a SQLite database.
pub struct SqliteLease {
    records: SqliteRecords,
    held: Mutex<HashMap<String, CancellationToken>>,
}

impl SqliteLease {
    /// Leases over the records of a database. To be made once.
    #[must_use]
    pub fn new(records: SqliteRecords) -> Self {
        Self { records, held: Mutex::default() }
    }

    /// Notes a new holder; `None` while there is one.
    fn claim(&self, name: &str) -> Option<CancellationToken> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(name).is_some_and(|release| !release.is_cancelled()) {
            return None;
        }
        let release = CancellationToken::new();
        held.insert(name.to_owned(), release.clone());
        Some(release)
    }

    async fn write(&self, name: &str, holder: &str) -> Result<Written, StoreError> {
        let damaged = |error| StoreError::damaged("lease name", error);
        let (lease, counter) =
            (lease_key(name).map_err(damaged)?, epoch_key(name).map_err(damaged)?);
        let before = self.records.get(&counter).await?;
        let epoch = match &before {
            Some(record) => read_epoch(&record.value)? + 1,
            None => 1,
        };
        let expect = before.map_or(Expect::Absent, |record| Expect::At(record.revision));
        let commit = Commit {
            expect: vec![(counter.clone(), expect)],
            puts: vec![(lease.clone(), value(holder, epoch)), (counter, epoch.to_string().into())],
            deletes: Vec::new(),
        };
        let revision = self.records.commit(commit).await.map_err(|error| match error {
            CommitError::Store(error) => error,
            other => StoreError::Commit(other.to_string()),
        })?;
        Ok(Written { epoch, fence: (lease, Expect::At(revision)) })
    }
}

struct Written {
    epoch: u64,
    fence: (super::records::Key, Expect),
}

#[async_trait]
impl Lease for SqliteLease {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        _ttl: Duration,
    ) -> Result<Option<Held>, StoreError> {
        let Some(release) = self.claim(name) else { return Ok(None) };
        // Cancelled when this call is given up in between, as when the holding ends.
        let guard = release.clone().drop_guard();
        let Written { epoch, fence } = self.write(name, holder).await?;
        guard.disarm();
        Ok(Some(Held::new(epoch, fence, CancellationToken::new(), release)))
    }
}

/// What a lease's record says.
pub(super) fn value(holder: &str, epoch: u64) -> bytes::Bytes {
    let value = serde_json::json!({ "holder": holder, "epoch": epoch });
    serde_json::to_vec(&value).expect("plain data").into()
}

pub(super) fn read_epoch(value: &[u8]) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(value).map_err(|error| StoreError::damaged("epoch", error))?;
    text.parse().map_err(|error| StoreError::damaged("epoch", error))
}
