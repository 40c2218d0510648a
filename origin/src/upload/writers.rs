//! One writer per upload, and the hash of what each upload holds so far.
//!
//! The hash state spares reading the spool file again for every chunk. It is only kept while nobody writes, and
//! it is only used at the offset it was kept for; after a restart it is made from the file.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::Sha256;
use tidegate_contract::id::UploadId;

/// The locks; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Writers {
    inner: Arc<Mutex<Inner>>,
    hashes_max: usize,
}

/// The right to write to one upload, until it is dropped.
#[derive(Debug)]
pub(super) struct WriterLock {
    writers: Writers,
    id: UploadId,
}

#[derive(Default)]
struct Inner {
    held: HashSet<UploadId>,
    hashes: HashMap<UploadId, (u64, Sha256)>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("held", &self.held).finish_non_exhaustive()
    }
}

impl Writers {
    pub(super) fn new(hashes_max: usize) -> Self {
        Self { inner: Arc::default(), hashes_max }
    }

    /// The lock of an upload, unless somebody has it.
    pub(super) fn lock(&self, id: &UploadId) -> Option<WriterLock> {
        let is_free = self.inner().held.insert(id.clone());
        is_free.then(|| WriterLock { writers: self.clone(), id: id.clone() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriterLock {
    /// The hash of the first `offset` bytes, if it was kept.
    pub(super) fn take_hash(&self, offset: u64) -> Option<Sha256> {
        let (kept_at, sha) = self.writers.inner().hashes.remove(&self.id)?;
        (kept_at == offset).then_some(sha)
    }

    /// Keeps the hash of the first `offset` bytes for the next writer.
    pub(super) fn keep_hash(&self, offset: u64, sha: Sha256) {
        let mut inner = self.writers.inner();
        if inner.hashes.len() < self.writers.hashes_max {
            inner.hashes.insert(self.id.clone(), (offset, sha));
        }
    }

    /// Forgets the hash of an upload that ended.
    pub(super) fn forget_hash(&self) {
        self.writers.inner().hashes.remove(&self.id);
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        self.writers.inner().held.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::*;

    fn id(text: &str) -> UploadId {
        UploadId::parse(text).unwrap()
    }

    #[test]
    fn an_upload_has_one_writer_at_a_time() {
        let writers = Writers::new(10);
        let lock = writers.lock(&id("a")).unwrap();
        assert!(writers.lock(&id("a")).is_none());
        assert!(writers.lock(&id("b")).is_some());
        drop(lock);
        assert!(writers.lock(&id("a")).is_some());
    }

    #[test]
    fn a_hash_is_good_for_its_offset_once() {
        let writers = Writers::new(1);
        let lock = writers.lock(&id("a")).unwrap();
        lock.keep_hash(5, Sha256::new());
        assert!(lock.take_hash(6).is_none());
        assert!(lock.take_hash(5).is_none(), "one that does not fit is thrown away");
        lock.keep_hash(5, Sha256::new());
        assert!(lock.take_hash(5).is_some());
        assert!(lock.take_hash(5).is_none());
    }

    #[test]
    fn no_more_hashes_are_kept_than_the_limit() {
        let writers = Writers::new(1);
        let (a, b) = (writers.lock(&id("a")).unwrap(), writers.lock(&id("b")).unwrap());
        a.keep_hash(1, Sha256::new());
        b.keep_hash(1, Sha256::new());
        assert!(b.take_hash(1).is_none());
        a.forget_hash();
        b.keep_hash(1, Sha256::new());
        assert!(b.take_hash(1).is_some());
    }
}
