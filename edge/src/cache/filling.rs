//! The fills in flight by the key of their resource.
//!
//! Invariant: a fill stands here from its beginning to its end, and one that failed or was forgotten is not found.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{in_flight::InFlight, key::Key, table::Table};

/// The fills in flight.
pub(super) struct Filling {
    table: Table<Vec<Arc<InFlight>>>,
    len: AtomicUsize,
}

impl Filling {
    pub(super) fn new() -> Self {
        Self { table: Table::new(), len: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, key: Key, fill: Arc<InFlight>) {
        self.table.write(&key).entry(key).or_default().push(fill);
        self.len.fetch_add(1, Ordering::Release);
    }

    pub(super) fn remove(&self, key: &Key, id: u64) {
        let mut shard = self.table.write(key);
        let Some(fills) = shard.get_mut(key) else { return };
        let before = fills.len();
        fills.retain(|fill| fill.id != id);
        self.len.fetch_sub(before - fills.len(), Ordering::Release);
        if fills.is_empty() {
            shard.remove(key);
        }
    }

    /// The newest fill of a key that is as wanted.
    pub(super) fn newest(
        &self,
        key: &Key,
        is_wanted: impl Fn(&InFlight) -> bool,
    ) -> Option<Arc<InFlight>> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None; // a quiet node: nothing to look through
        }
        let shard = self.table.read(key);
        let is_alive = |fill: &&Arc<InFlight>| !fill.is_forgotten() && !fill.is_failed();
        let fills = shard.get(key)?.iter().filter(is_alive);
        fills.filter(|fill| is_wanted(fill)).max_by_key(|fill| fill.id).cloned()
    }

    /// From now on the fills of a key are neither found nor stored.
    pub(super) fn forget(&self, key: &Key) {
        let shard = self.table.read(key);
        shard.get(key).into_iter().flatten().for_each(|fill| fill.forget());
    }
}
