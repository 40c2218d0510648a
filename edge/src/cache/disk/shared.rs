//! What the readers and the face of the log have in common: threads, buffers, and what to do about damage.
//!
//! Invariant: a disk that is slow or broken is left alone for a while, so that not everybody finds out by waiting.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    index::{Index, Place},
    pool::Pool,
    queue::{Job, Queue},
    reader::Damage,
    writer::Limits,
};
use crate::cache::{budget::Budget, key::Key, metrics::Metrics};

/// What readers, the writer and the face share.
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) metrics: Metrics,
    pub(super) index: Arc<Index>,
    pub(super) queue: Arc<Queue>,
    pub(super) buffers: Budget,
    pub(super) limits: Limits,
    pub(super) began: Instant,
    /// Until when nothing is read, in milliseconds after `began`.
    pub(super) away_until_ms: AtomicU64,
    /// Objects that are being loaded in the background.
    pub(super) loading: Mutex<Vec<Key>>,
}

impl Shared {
    pub(super) async fn wait<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let read = tokio::time::timeout(READ_WAIT_MAX, self.pool.ask(read)).await;
        if read.is_err() {
            self.metrics.disk_error("slow");
            self.go_away();
        }
        read.ok()?.ok()
    }

    pub(super) fn checked<T>(&self, key: &Key, place: Place, read: Result<T, Damage>) -> Option<T> {
        read.map_err(|damage| self.damaged(key, place, &damage)).ok()
    }

    pub(super) fn unreadable<T>(&self, key: &Key, place: Place) -> Option<T> {
        self.damaged(key, place, &Damage::Damaged);
        None
    }

    /// What stands at a place cannot be used: it is forgotten.
    pub(super) fn damaged(&self, key: &Key, place: Place, damage: &Damage) {
        self.metrics.disk_error(damage.as_str());
        if let Damage::Io(error) = damage {
            tracing::warn!(%error, "the disk tier cannot read");
        }
        if self.index.remove_at(key, place) {
            self.queue.push(Job::Gone(*key));
        }
    }

    /// A read took too long: for a while nothing is read, so that nobody else waits as long.
    pub(super) fn go_away(&self) {
        let until = self.began.elapsed() + AWAY;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.away_until_ms.store(until_ms, Ordering::Relaxed);
        tracing::warn!(s = AWAY.as_secs(), "the disk is too slow: it is left alone for a while");
    }

    pub(super) fn is_away(&self) -> bool {
        let until_ms = self.away_until_ms.load(Ordering::Relaxed);
        // The clock is asked only when there was trouble.
        until_ms > 0 && self.began.elapsed() < Duration::from_millis(until_ms)
    }

    /// Notes that an object is being loaded; false when it already is, or too many are.
    pub(super) fn begin_loading(&self, key: Key) -> bool {
        let mut loading = self.loading();
        let is_new = loading.len() < LOADING_MAX && !loading.contains(&key);
        if is_new {
            loading.push(key);
        }
        is_new
    }

    pub(super) fn loading(&self) -> MutexGuard<'_, Vec<Key>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest wait for one read; then the disk counts as away for a moment.
pub(super) const READ_WAIT_MAX: Duration = Duration::from_secs(2);
/// Objects that come from disk into memory at the same time.
const LOADING_MAX: usize = 16;
/// For how long nothing is read after a read took too long.
const AWAY: Duration = Duration::from_secs(10);
