//! How much is fetched ahead, and whether it was worth it.
//!
//! Invariant: no more prefetches at a time than there are places, and none is begun twice while it may still be of use.

use std::sync::Arc;

use prometheus::IntCounterVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Config;
use crate::cache::key::Key;

/// The prefetches of a node.
pub(super) struct Prefetches {
    places: Arc<Semaphore>,
    /// What was fetched ahead and not asked for yet.
    waiting: moka::sync::Cache<Key, ()>,
    results: IntCounterVec,
}

/// A place among those that run.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Prefetches {
    pub(super) fn new(config: &Config, results: IntCounterVec) -> Self {
        let wasted = results.with_label_values(&["wasted"]);
        let waiting = moka::sync::Cache::builder()
            .max_capacity(WAITING_MAX)
            .time_to_live(config.prefetch_patience)
            .eviction_listener(move |_, (), cause| {
                if cause.was_evicted() {
                    wasted.inc();
                }
            })
            .build();
        let places = Arc::new(Semaphore::new(config.prefetches_max.min(Semaphore::MAX_PERMITS)));
        Self { places, waiting, results }
    }

    /// A place for one, if there is one, and if the resource is not fetched ahead already.
    pub(super) fn admit(&self, key: Key) -> Option<Place> {
        if self.waiting.contains_key(&key) {
            self.count("known");
            return None;
        }
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            self.count("refused");
            return None;
        };
        self.waiting.insert(key, ());
        self.count("begun");
        Some(Place { _permit: permit })
    }

    /// A client asks for something that may have been fetched ahead.
    pub(super) fn asked_for(&self, key: &Key) {
        if self.waiting.contains_key(key) && self.waiting.remove(key).is_some() {
            self.count("useful");
        }
    }

    /// Lets time pass in the table; it would do so only when it is used.
    pub(super) fn settle(&self) {
        self.waiting.run_pending_tasks();
    }

    pub(super) fn count(&self, result: &str) {
        self.results.with_label_values(&[result]).inc();
    }
}

/// Prefetched resources whose use is followed.
const WAITING_MAX: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetches(places: usize) -> Prefetches {
        let config = Config { prefetches_max: places, ..Config::default() };
        let metrics = super::super::metrics::Metrics::register(&prometheus::Registry::new());
        Prefetches::new(&config, metrics.prefetches)
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let prefetches = prefetches(1);
        let (first, second) = (Key([1; 16]), Key([2; 16]));
        let place = prefetches.admit(first).unwrap();
        assert!(prefetches.admit(second).is_none(), "no place");
        drop(place);
        assert!(prefetches.admit(first).is_none(), "fetched ahead already");
        assert!(prefetches.admit(second).is_some());
        prefetches.asked_for(&first);
        prefetches.asked_for(&first);
        let count = |result: &str| prefetches.results.with_label_values(&[result]).get();
        assert_eq!(
            (count("begun"), count("refused"), count("known"), count("useful")),
            (2, 1, 1, 1)
        );
    }
}
