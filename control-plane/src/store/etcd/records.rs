//! Records in etcd, one key each.
//!
//! Each commit also rewrites one key of its own, the marker: its revision is the newest revision of the records,
//! which other writes to the cluster do not raise. A listing reads it in the same transaction.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    client::Client,
    signed, unsigned,
    watch::follow,
    wire::{KeyValue, TxnResponse, delete, get, op, prefix_end, put, range, unchanged},
};
use crate::store::{
    error::StoreError,
    records::{Commit, CommitError, Expect, Key, Listing, Record, Records, Revision},
};

/// The records of an etcd cluster.
pub struct EtcdRecords {
    client: Client,
    head: Arc<watch::Sender<Revision>>,
    _follower: DropGuard,
}

impl EtcdRecords {
    /// Opens the records and begins to follow their head.
    ///
    /// # Errors
    /// [`StoreError`] when the cluster cannot be reached.
    pub async fn open(client: Client) -> Result<Self, StoreError> {
        let head = Arc::new(watch::Sender::new(marker(&client).await?));
        let stop = CancellationToken::new();
        let follow = follow_head(client.clone(), Arc::clone(&head));
        tokio::spawn(stop.clone().run_until_cancelled_owned(follow));
        Ok(Self { client, head, _follower: stop.drop_guard() })
    }

    fn key(&self, key: &Key) -> String {
        self.client.key(&format!("{RECORDS}{key}"))
    }

    fn record(&self, found: KeyValue) -> Result<Record, StoreError> {
        let begin = self.client.key(RECORDS).len();
        let key = found.key.get(begin..).and_then(|key| std::str::from_utf8(key).ok());
        let key = Key::parse(key.unwrap_or_default());
        let key = key.map_err(|error| StoreError::damaged("key", error))?;
        Ok(Record { key, value: found.value, revision: unsigned(found.mod_revision) })
    }

    /// After a try that broke off: whether it was carried out all the same.
    async fn is_done(&self, commit: &Commit) -> Result<bool, StoreError> {
        for (key, value) in &commit.puts {
            let found = self.client.get(&self.key(key)).await?;
            if found.is_none_or(|found| found.value != *value) {
                return Ok(false);
            }
        }
        for key in &commit.deletes {
            if self.client.get(&self.key(key)).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(!commit.puts.is_empty() || !commit.deletes.is_empty())
    }

    fn conflict(commit: &Commit, response: TxnResponse) -> CommitError {
        let found = response.ranges().map(|kvs| kvs.first().map(|kv| unsigned(kv.mod_revision)));
        let wrong = commit.expect.iter().zip(found).find(|((_, expect), found)| match expect {
            Expect::Absent => found.is_some(),
            Expect::At(revision) => *found != Some(*revision),
        });
        match wrong {
            Some(((key, _), found)) => CommitError::Conflict { key: key.clone(), found },
            None => StoreError::Etcd("refused without a reason".to_owned()).into(),
        }
    }
}

#[async_trait]
impl Records for EtcdRecords {
    fn head(&self) -> watch::Receiver<Revision> {
        self.head.subscribe()
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let found = self.client.get(&self.key(key)).await?;
        found.map(|found| self.record(found)).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let from = self.client.key(&format!("{RECORDS}{prefix}"));
        let end = prefix_end(&from);
        let first = range(&from, end.clone(), PAGE_RECORDS);
        let ops = vec![op(get(&self.client.key(MARKER))), op(first)];
        let txn = self.client.txn(Vec::new(), ops, Vec::new()).await?;
        let state = txn.response.revision();
        let mut ranges = txn.response.ranges();
        let marker = ranges.next().unwrap_or_default();
        let mut found = ranges.next().unwrap_or_default();
        let mut page = found.len();
        // Further pages are of the same state, whatever is written meanwhile.
        while signed(page as u64) == PAGE_RECORDS {
            let Some(last) = found.last() else { break };
            let mut from = last.key.to_vec();
            from.push(0);
            let mut next = range("", end.clone(), PAGE_RECORDS);
            (next.key, next.revision) = (from.into(), state);
            let kvs = self.client.range(next).await?.kvs;
            page = kvs.len();
            found.extend(kvs);
        }
        Ok(Listing {
            records: found.into_iter().map(|kv| self.record(kv)).collect::<Result<_, _>>()?,
            revision: marker.first().map_or(0, |kv| unsigned(kv.mod_revision)),
        })
    }

    async fn commit(&self, commit: Commit) -> Result<Revision, CommitError> {
        commit.check()?;
        let is_write = !commit.puts.is_empty() || !commit.deletes.is_empty();
        if !is_write && commit.expect.is_empty() {
            return Ok(*self.head.borrow());
        }
        let compare = commit.expect.iter().map(|(key, expect)| {
            let revision = match expect {
                Expect::Absent => 0,
                Expect::At(revision) => signed(*revision),
            };
            unchanged(&self.key(key), revision)
        });
        let mut success: Vec<_> =
            commit.puts.iter().map(|(key, value)| put(&self.key(key), value.clone())).collect();
        success.extend(commit.deletes.iter().map(|key| delete(&self.key(key), Bytes::new())));
        if commit.is_followed() {
            success.push(put(&self.client.key(MARKER), Bytes::new()));
        }
        let failure = commit.expect.iter().map(|(key, _)| op(get(&self.key(key)))).collect();
        let txn = self.client.txn(compare.collect(), success, failure).await?;
        let revision = if txn.response.succeeded && is_write {
            unsigned(txn.response.revision())
        } else if txn.response.succeeded || (txn.is_repeated && self.is_done(&commit).await?) {
            marker(&self.client).await?
        } else {
            return Err(Self::conflict(&commit, txn.response));
        };
        if commit.is_followed() {
            raise(&self.head, revision);
        }
        Ok(revision)
    }
}

async fn follow_head(client: Client, head: Arc<watch::Sender<Revision>>) {
    let key = client.key(MARKER);
    let look = async || match marker(&client).await {
        Ok(revision) => raise(&head, revision),
        Err(error) => tracing::warn!(%error, "cannot follow the records"),
    };
    follow(&client, &key, LOOK_EVERY, look).await;
}

async fn marker(client: &Client) -> Result<Revision, StoreError> {
    let found = client.get(&client.key(MARKER)).await?;
    Ok(found.map_or(0, |kv| unsigned(kv.mod_revision)))
}

fn raise(head: &watch::Sender<Revision>, revision: Revision) {
    head.send_if_modified(|known| {
        let is_newer = revision > *known;
        *known = (*known).max(revision);
        is_newer
    });
}

pub(super) const RECORDS: &str = "r/";
const MARKER: &str = "records";
/// Records of one answer: with the largest values they still fit into one message.
const PAGE_RECORDS: i64 = 128;
const LOOK_EVERY: Duration = Duration::from_secs(2);
