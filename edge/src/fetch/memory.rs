//! Something remembered of many resources, for a while: bounded by entries and by time.
//!
//! Invariant: only hints are remembered so; what is forgotten costs a request, never a wrong answer.

use std::time::Duration;

use crate::cache::key::Key;

/// A table of hints by resource.
pub(super) struct Memory<V: Clone + Send + Sync + 'static> {
    entries: moka::sync::Cache<Key, V>,
}

impl<V: Clone + Send + Sync + 'static> Memory<V> {
    pub(super) fn new(entries_max: usize, time: Duration) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(entries_max as u64)
            .time_to_live(time)
            .build();
        Self { entries }
    }

    pub(super) fn get(&self, key: &Key) -> Option<V> {
        self.entries.get(key)
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn note(&self, key: Key, value: V) {
        self.entries.insert(key, value);
    }

    pub(super) fn forget(&self, key: &Key) {
        self.entries.invalidate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_known_until_it_is_forgotten() {
        let memory = Memory::new(10, Duration::from_secs(60));
        let key = Key([1; 16]);
        assert_eq!(memory.get(&key), None);
        memory.note(key, 7);
        assert_eq!(memory.get(&key), Some(7));
        assert!(memory.has(&key));
        memory.forget(&key);
        assert!(!memory.has(&key));
    }
}
