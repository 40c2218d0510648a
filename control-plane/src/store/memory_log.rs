//! A purge log in memory, for simulations and tests: the same reading side, and a loss of the machine on demand.
//!
//! It keeps every rule of [`Log`] but the one about durability, for which a simulation has words of its own:
//! [`MemoryLog::backup`] and [`MemoryLog::restore`]. Entries are told by the same tail as those of the real log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tidegate_contract::{
    id::{PurgeId, StreamId},
    purge_offset::head_after_restore,
};
use tokio::sync::watch;

use super::{
    error::StoreError,
    log::{AppendError, Appended, Entry, Log, NewPurge, PAGE_BYTES_MAX, Page, TrimPolicy},
    tail::Tail,
};

/// One stream of purges in memory.
pub struct MemoryLog {
    stream: StreamId,
    kept: Mutex<Kept>,
    tail_entries_max: usize,
}

/// What was in a log at some time.
#[derive(Clone)]
pub struct Backup {
    entries: Vec<Arc<Entry>>,
    trimmed: u64,
    head: u64,
}

struct Kept {
    entries: Vec<Arc<Entry>>,
    /// Everything up to this is gone.
    trimmed: u64,
    tail: Arc<Tail>,
}

impl MemoryLog {
    /// An empty log; the newest so many entries are told from the tail.
    #[must_use]
    pub fn new(stream: StreamId, tail_entries_max: usize) -> Self {
        let tail = Arc::new(Tail::new(0, tail_entries_max));
        let kept = Mutex::new(Kept { entries: Vec::new(), trimmed: 0, tail });
        Self { stream, kept, tail_entries_max }
    }

    /// Adds a purge at once.
    pub fn push(&self, purge: NewPurge) -> Arc<Entry> {
        let mut kept = self.kept();
        let entry = Arc::new(Entry {
            offset: kept.tail.head() + 1,
            id: purge.id,
            order_json: serde_json::to_vec(&purge.order).expect("an order is plain data").into(),
            accepted_unix_ms: purge.accepted_unix_ms,
            replacement_digest: purge.replacement_digest,
            replacement: purge.replacement,
        });
        kept.entries.push(Arc::clone(&entry));
        kept.tail.push(Arc::clone(&entry));
        entry
    }

    /// What stands behind an offset, at once.
    #[must_use]
    pub fn page(&self, after: u64, entries_max: usize) -> Page {
        let kept = self.kept();
        if let Some(page) = kept.tail.page(after, entries_max) {
            return page;
        }
        if after < kept.trimmed {
            return Page::Gone { head: kept.tail.head() };
        }
        let first = kept.entries.partition_point(|entry| entry.offset <= after);
        let mut bytes = 0;
        let fits = |entry: &&Arc<Entry>| {
            let is_full = bytes >= PAGE_BYTES_MAX;
            bytes += entry.bytes();
            !is_full
        };
        let page = kept.entries[first..].iter().take(entries_max);
        Page::Entries(page.take_while(fits).cloned().collect())
    }

    /// Forgets everything up to an offset.
    pub fn trim_to(&self, offset: u64) -> u64 {
        let mut kept = self.kept();
        let before = kept.entries.len();
        kept.entries.retain(|entry| entry.offset > offset);
        kept.trimmed = kept.trimmed.max(offset.min(kept.tail.head()));
        (before - kept.entries.len()) as u64
    }

    /// What is in it now.
    #[must_use]
    pub fn backup(&self) -> Backup {
        let kept = self.kept();
        Backup { entries: kept.entries.clone(), trimmed: kept.trimmed, head: kept.tail.head() }
    }

    /// Goes on from a backup in the next epoch: as if the machine was lost.
    ///
    /// # Panics
    /// When there is no epoch left.
    pub fn restore(&self, backup: &Backup) {
        let mut kept = self.kept();
        let known = backup.head.max(kept.tail.head());
        let head = head_after_restore(known).expect("fewer restores than epochs");
        kept.entries = backup.entries.clone();
        kept.trimmed = head.max(backup.trimmed);
        kept.tail = Arc::new(Tail::new(head, self.tail_entries_max));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn head(&self) -> watch::Receiver<u64> {
        self.kept().tail.watch()
    }

    async fn append(&self, purge: NewPurge) -> Result<Appended, AppendError> {
        Ok(Appended { entry: self.push(purge), is_new: true })
    }

    async fn read(&self, after: u64, entries_max: usize) -> Result<Page, StoreError> {
        Ok(self.page(after, entries_max))
    }

    async fn find(&self, id: &PurgeId) -> Result<Option<Arc<Entry>>, StoreError> {
        Ok(self.kept().entries.iter().find(|entry| entry.id == *id).cloned())
    }

    async fn trim(&self, policy: TrimPolicy, now_unix_ms: u64) -> Result<u64, StoreError> {
        let oldest = now_unix_ms.saturating_sub(crate::unix_time::millis(policy.keep));
        let up_to = {
            let kept = self.kept();
            let head = kept.tail.head();
            let old = kept.entries.iter().take_while(|entry| entry.accepted_unix_ms < oldest);
            let by_age = old.last().map_or(0, |entry| entry.offset);
            by_age.max(head.saturating_sub(policy.entries_max))
        };
        Ok(self.trim_to(up_to))
    }
}
