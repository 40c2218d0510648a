//! The face of a purge log: append, read from an offset, trim.
//!
//! Offsets grow by one without holes and are never given twice, not even when everything was trimmed or the log was
//! restored: it then goes on in the next epoch (`tidegate_contract::purge_offset`), and what stands below counts as
//! trimmed. An appended purge is durable before its offset is known to anybody.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge::PurgeOrder,
    replacement,
};
use tokio::sync::watch;

use super::error::StoreError;

/// A purge that is to be accepted.
#[derive(Debug, Clone)]
pub struct NewPurge {
    /// Its id, should it be new.
    pub id: PurgeId,
    /// What is purged.
    pub order: PurgeOrder,
    /// What stands in its place from then on.
    pub replacement: Option<Replacement>,
    /// Names that among others.
    pub replacement_digest: Option<[u8; 32]>,
    /// When it was accepted.
    pub accepted_unix_ms: u64,
    /// A second append with the same key gives back the first entry.
    pub idempotency_key: Option<String>,
}

/// What stands in the place of what was purged, in a form that is cheap to hand to many nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Bytes,
}

/// A purge in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub offset: u64,
    /// Its id.
    pub id: PurgeId,
    /// JSON of the [`PurgeOrder`], as it travels.
    pub order_json: Bytes,
    /// When it was accepted.
    pub accepted_unix_ms: u64,
    /// Names what stands in the place of what was purged, when something does.
    pub replacement_digest: Option<[u8; 32]>,
    /// That itself; it is forgotten before the entry, see [`TrimPolicy`], which is a plain purge from then on.
    pub replacement: Option<Replacement>,
}

impl Entry {
    /// About how many bytes it takes, in memory and on its way.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let replacement = self.replacement.as_ref().map_or(0, Replacement::bytes);
        ENTRY_OVERHEAD_BYTES + self.order_json.len() + replacement
    }
}

impl Replacement {
    fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.body.len() + headers.sum::<usize>()
    }
}

impl From<replacement::Replacement> for Replacement {
    fn from(given: replacement::Replacement) -> Self {
        Self { headers: given.headers, body: given.body.into() }
    }
}

/// What an append did.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The entry, durable.
    pub entry: Arc<Entry>,
    /// False when the idempotency key had been used for the same purge before.
    pub is_new: bool,
}

/// Why a purge was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The idempotency key was used for another purge.
    #[error("the idempotency key was used for another purge, {0}")]
    KeyReused(PurgeId),
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What stands behind an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// The next entries; empty at the head.
    Entries(Vec<Arc<Entry>>),
    /// The log does not hold what follows that offset: it was trimmed, or the offset is above the head because the
    /// log was restored from a backup.
    Gone {
        /// Where to go on.
        head: u64,
    },
}

/// Which entries are kept.
#[derive(Debug, Clone, Copy)]
pub struct TrimPolicy {
    /// Older ones go.
    pub keep: Duration,
    /// The oldest of more than these go.
    pub entries_max: u64,
}

/// One stream of purges.
#[async_trait]
pub trait Log: Send + Sync {
    /// The stream's name.
    fn stream(&self) -> &StreamId;

    /// The newest offset, now and on every change; 0 in an empty stream.
    fn head(&self) -> watch::Receiver<u64>;

    /// Whether the head is surely the newest, or was so a moment ago. A replica that cannot reach what it shares with
    /// others says no; it sends no heartbeats then, so that the nodes that hear it alone become uncertain. How old
    /// the knowledge behind a yes may be belongs into `purge.lease_margin`.
    fn is_current(&self) -> bool {
        true
    }

    /// Whether others append to this log, so that a node may have heard of more than is known here.
    fn may_lag(&self) -> bool {
        false
    }

    /// Adds a purge. Durable before it returns.
    async fn append(&self, purge: NewPurge) -> Result<Appended, AppendError>;

    /// At most `entries_max` entries after an offset, in order, and no more than the one that reaches
    /// [`PAGE_BYTES_MAX`]; none only at the head.
    async fn read(&self, after: u64, entries_max: usize) -> Result<Page, StoreError>;

    /// The entry of an id, unless it was trimmed.
    async fn find(&self, id: &PurgeId) -> Result<Option<Arc<Entry>>, StoreError>;

    /// Forgets some of the entries that the policy does not keep; returns how many. To be repeated until 0.
    async fn trim(&self, policy: TrimPolicy, now_unix_ms: u64) -> Result<u64, StoreError>;
}

/// About what an entry takes beside its texts.
const ENTRY_OVERHEAD_BYTES: usize = 128;
/// What a page holds at most: entries behind the one that reaches it come with the next. Well below what a node takes
/// in one message, 8 MiB.
pub(super) const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
