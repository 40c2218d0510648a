//! The memory tier: whole objects under a byte budget; what is asked for often stays (TinyLFU).
//!
//! Invariant: an older fill never takes the place of a newer one.

use std::sync::Arc;

use moka::ops::compute::Op;

use super::{
    key::Key,
    object::{Head, Object},
};

/// Stored objects by key.
pub struct MemoryTier {
    objects: moka::sync::Cache<Key, Arc<Object>>,
}

impl MemoryTier {
    /// A tier of about so many bytes, heads included.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let weigh =
            |_: &Key, object: &Arc<Object>| u32::try_from(object.weight()).unwrap_or(u32::MAX);
        Self {
            objects: moka::sync::Cache::builder().max_capacity(bytes_max).weigher(weigh).build(),
        }
    }

    /// The object under a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(key)
    }

    /// Stores an object, unless a later fill was faster.
    pub fn insert(&self, key: Key, object: Arc<Object>) {
        self.objects.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if entry.value().fill > object.fill => Op::Nop,
            _ => Op::Put(object),
        });
    }

    /// Gives the object that a fill made a new head; false when it is no longer there.
    pub fn refresh(&self, key: Key, fill: u64, head: &Arc<Head>) -> bool {
        let mut is_refreshed = false;
        self.objects.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if entry.value().fill == fill => {
                is_refreshed = true;
                let old = entry.into_value();
                Op::Put(Arc::new(Object { head: head.clone(), ..Object::clone(&old) }))
            }
            _ => Op::Nop,
        });
        is_refreshed
    }

    /// Forgets the object that a fill made.
    pub fn remove(&self, key: Key, fill: u64) {
        self.objects.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if entry.value().fill == fill => Op::Remove,
            _ => Op::Nop,
        });
    }

    /// Forgets whatever is under a key.
    pub fn forget(&self, key: &Key) {
        self.objects.invalidate(key);
    }

    /// Bytes held, heads included; exact after [`MemoryTier::settle`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.weighted_size()
    }

    /// Objects held; exact after [`MemoryTier::settle`].
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.objects.entry_count()
    }

    /// Does the housekeeping that is otherwise spread over later calls.
    pub fn settle(&self) {
        self.objects.run_pending_tasks();
    }
}
