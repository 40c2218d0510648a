//! What stands where on disk: a small entry in memory for each object, and the open files.
//!
//! Made anew at each start from the tables of the files. Invariant: an entry points to the newest record of its key;
//! a file is forgotten before it is deleted, and who has it in hands may read on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    record::{Kind, UNIT_BYTES},
    segment::{Entry, Segment},
};
use crate::cache::{key::Key, table::Table};

/// The entries and the files.
pub(super) struct Index {
    entries: Table<Indexed>,
    len: AtomicUsize,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// The highest number of a fill on disk.
    last_fill: AtomicU64,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) segment: u32,
    /// In units from the beginning of the file.
    pub(super) at: u32,
    /// Its length in units.
    pub(super) units: u32,
    pub(super) kind: Kind,
}

struct Indexed {
    place: Place,
    /// Reads, up to a small number, since it was written.
    uses: AtomicU8,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            entries: Table::new(),
            len: AtomicUsize::new(0),
            segments: RwLock::default(),
            last_fill: AtomicU64::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub(super) fn last_fill(&self) -> u64 {
        self.last_fill.load(Ordering::Relaxed)
    }

    /// The bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.segments().values().map(|segment| segment.bytes()).sum()
    }

    pub(super) fn find(&self, key: &Key) -> Option<Place> {
        self.entries.read(key).get(key).map(|indexed| indexed.place)
    }

    /// Counts a read; gives back how many there were before.
    pub(super) fn count_use(&self, key: &Key) -> u8 {
        let shard = self.entries.read(key);
        let Some(indexed) = shard.get(key) else { return 0 };
        let uses = indexed.uses.load(Ordering::Relaxed);
        indexed.uses.store(uses.saturating_add(1), Ordering::Relaxed);
        uses
    }

    /// Whether a place is still that of its key, and how often it was read.
    pub(super) fn uses_of(&self, key: &Key, place: Place) -> Option<u8> {
        let shard = self.entries.read(key);
        let indexed = shard.get(key).filter(|indexed| indexed.place == place)?;
        Some(indexed.uses.load(Ordering::Relaxed))
    }

    /// A record was written, or found at the start.
    pub(super) fn put(&self, segment: &Segment, entry: &Entry) {
        self.last_fill.fetch_max(entry.fill, Ordering::Relaxed);
        segment.add_live();
        if entry.kind == Kind::Gone {
            self.remove(&entry.key);
            return;
        }
        let Entry { kind, key, at, units, .. } = *entry;
        let place = Place { segment: segment.id, at, units, kind };
        let indexed = Indexed { place, uses: AtomicU8::new(0) };
        let old = self.entries.write(&key).insert(key, indexed);
        match old {
            Some(old) => self.bury(old.place),
            None => drop(self.len.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// A record was written once more, if its entry still points to where it stood.
    pub(super) fn move_to(&self, segment: &Segment, entry: &Entry, from: Place) {
        let mut shard = self.entries.write(&entry.key);
        let Some(indexed) = shard.get_mut(&entry.key).filter(|i| i.place == from) else { return };
        let Entry { kind, at, units, .. } = *entry;
        indexed.place = Place { segment: segment.id, at, units, kind };
        indexed.uses = AtomicU8::new(0);
        segment.add_live();
        drop(shard);
        self.bury(from);
    }

    /// Takes an entry out; whether there was one.
    pub(super) fn remove(&self, key: &Key) -> bool {
        let old = self.entries.write(key).remove(key);
        old.is_some_and(|old| self.removed(old.place))
    }

    /// Takes an entry out if it still points to a place; whether it did.
    pub(super) fn remove_at(&self, key: &Key, place: Place) -> bool {
        let mut shard = self.entries.write(key);
        if shard.get(key).is_none_or(|indexed| indexed.place != place) {
            return false;
        }
        shard.remove(key);
        drop(shard);
        self.removed(place)
    }

    /// Takes out whatever points into a file, by looking at everything: for a file whose table cannot be read.
    pub(super) fn remove_all_of(&self, segment: u32) {
        for mut shard in self.entries.each() {
            let before = shard.len();
            shard.retain(|_, indexed| indexed.place.segment != segment);
            self.len.fetch_sub(before - shard.len(), Ordering::Relaxed);
        }
    }

    pub(super) fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        self.segments().get(&id).cloned()
    }

    pub(super) fn add_segment(&self, segment: Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(segment.id, segment);
    }

    pub(super) fn drop_segment(&self, id: u32) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// The files, oldest first.
    pub(super) fn all_segments(&self) -> Vec<Arc<Segment>> {
        self.segments().values().cloned().collect()
    }

    fn removed(&self, place: Place) -> bool {
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.bury(place);
        true
    }

    fn bury(&self, place: Place) {
        if let Some(segment) = self.segment(place.segment) {
            segment.drop_live();
        }
    }

    fn segments(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<u32, Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn offset(self) -> u64 {
        u64::from(self.at) * UNIT_BYTES
    }

    pub(super) fn bytes(self) -> u64 {
        u64::from(self.units) * UNIT_BYTES
    }
}
