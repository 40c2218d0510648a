//! A disk tier that another process still uses, on an upgrade: empty until that has ended, then the real one.
//!
//! Invariant: what was stored, replaced or forgotten meanwhile is forgotten on disk before anything is read from there,
//! so that nothing older comes back.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};

use super::{
    config::Config,
    disk_tier::{DiskTier, Loaded, OpenError, Opened, Sizes, What},
    index::Place,
    tier::LogTier,
};
use crate::cache::{
    key::Key,
    metrics::Metrics,
    object::{Head, Object},
    variants::Variants,
};

/// The tier before and after it is there.
pub struct AwaitedTier {
    tier: OnceLock<LogTier>,
    /// Keys whose older content on disk does not count any more; gone when the tier is there.
    outdated: Mutex<Option<HashSet<Key>>>,
    last_fill: u64,
}

impl AwaitedTier {
    /// Nothing yet. No fill on disk will have a higher number than this.
    #[must_use]
    pub fn new(last_fill: u64) -> Self {
        Self { tier: OnceLock::new(), outdated: Mutex::new(Some(HashSet::new())), last_fill }
    }

    /// Opens the tier; waits for the disk. The folder is locked by the journal of purges, whose identity this is.
    ///
    /// # Errors
    /// As [`LogTier::open`]. It stays empty then.
    pub fn attach(
        &self,
        folder: &Path,
        config: &Config,
        identity: u64,
        metrics: Metrics,
    ) -> Result<(), OpenError> {
        let tier = LogTier::open(folder, config, identity, metrics)?;
        let mut outdated = self.outdated();
        match outdated.take() {
            Some(keys) if keys.len() < OUTDATED_MAX => keys.iter().for_each(|key| tier.remove(key)),
            Some(_) => tier.remove_all(),
            None => {}
        }
        // Nobody notes a key between this and the lock's end.
        let _ = self.tier.set(tier);
        Ok(())
    }

    /// Notes that whatever is on disk under a key is older than what is known here; false when the tier is there.
    fn note(&self, key: Key) -> bool {
        let mut outdated = self.outdated();
        let Some(keys) = outdated.as_mut() else { return false };
        if keys.len() < OUTDATED_MAX {
            keys.insert(key);
        }
        true
    }

    fn outdated(&self) -> MutexGuard<'_, Option<HashSet<Key>>> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tier for a change of a key, unless the change was noted.
    fn for_change(&self, key: Key) -> Option<&LogTier> {
        match self.tier.get() {
            Some(tier) => Some(tier),
            None if self.note(key) => None,
            None => self.tier.get(),
        }
    }
}

impl DiskTier for AwaitedTier {
    fn find(&self, key: &Key) -> Option<What> {
        self.tier.get()?.find(key)
    }

    fn open(&self, key: Key) -> BoxFuture<'static, Option<Opened>> {
        match self.tier.get() {
            Some(tier) => tier.open(key),
            None => std::future::ready(None).boxed(),
        }
    }

    fn load(&self, key: Key, place: Place, then: Box<dyn FnOnce(Loaded) + Send>) {
        if let Some(tier) = self.tier.get() {
            tier.load(key, place, then);
        }
    }

    fn is_current(&self, key: &Key, place: Place, fill: u64) -> bool {
        self.tier.get().is_some_and(|tier| tier.is_current(key, place, fill))
    }

    fn put(&self, key: Key, object: &Arc<Object>) {
        if let Some(tier) = self.for_change(key) {
            tier.put(key, object);
        }
    }

    fn put_variants(&self, key: Key, variants: &Arc<Variants>) {
        if let Some(tier) = self.for_change(key) {
            tier.put_variants(key, variants);
        }
    }

    fn set_head(&self, key: Key, fill: u64, head: &Arc<Head>) -> bool {
        self.for_change(key).is_some_and(|tier| tier.set_head(key, fill, head))
    }

    fn remove(&self, key: &Key) {
        if let Some(tier) = self.for_change(*key) {
            tier.remove(key);
        }
    }

    fn last_fill(&self) -> u64 {
        self.last_fill
    }

    fn is_awaited(&self) -> bool {
        self.tier.get().is_none()
    }

    fn sizes(&self) -> Sizes {
        self.tier.get().map(DiskTier::sizes).unwrap_or_default()
    }

    fn settle(&self) {
        if let Some(tier) = self.tier.get() {
            tier.settle();
        }
    }
}

/// Keys that are noted, at 16 bytes each; with more everything on disk is given up.
const OUTDATED_MAX: usize = 1 << 20;
