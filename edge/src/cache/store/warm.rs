//! The store's disk: what goes there, what is read from there, and what comes back to memory.
//!
//! Invariant: what comes back to memory is still what stands on disk at that moment, or it does not come back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderMap;
use tidegate_contract::cache_policy::VaryPolicy;

use super::{Found, Key, Lookup, Store, Tier};
use crate::cache::{
    body::Body,
    disk::{self, Admission, Content, DiskTier, Loaded, OnDisk, Opened, What},
    in_flight::InFlight,
    memory_tier::{Door, Slot},
    metrics::Metrics,
    object::{self, Head, Object, Pieces},
    seen::Seen,
    variants::Variants,
};

/// The disk tier and what gets into it.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) tier: Arc<dyn DiskTier>,
    admission: Admission,
    /// Keys of fills that finished lately.
    seen: Arc<Mutex<Seen>>,
}

/// Something on disk that may fit a request.
pub struct Stored {
    key: Key,
    primary: Key,
    /// By what the variant is chosen, where the variants themselves are on disk.
    request: Option<(HeaderMap, VaryPolicy)>,
}

impl Store {
    /// Reads what a lookup found on disk; `None` when it cannot be had now, or does not fit the request after all.
    pub async fn load(&self, stored: Stored) -> Option<Found> {
        let Stored { key, primary, request } = stored;
        let disk = self.shared.disk.as_ref()?;
        let variants = match disk.tier.open(key).await? {
            Opened::Object(opened) => return self.read_back(disk, key, primary, opened),
            Opened::Variants(variants) => variants,
        };
        variants.set_on_disk();
        self.put_variants_back(primary, &variants);
        let (request, vary) = request?;
        let variant = variants.vary.select(&request, &vary);
        if !variants.has(&variant) {
            return None;
        }
        let own = primary.variant(&variant);
        if let Some(Slot::Object(object)) = self.shared.memory.peek(&own) {
            return Some(Found::in_memory(own, object));
        }
        disk.tier.find(&own)?;
        match disk.tier.open(own).await? {
            Opened::Object(opened) => self.read_back(disk, own, primary, opened),
            Opened::Variants(_) => None,
        }
    }

    pub(super) fn lookup_on_disk(
        &self,
        key: Key,
        primary: Key,
        request: Option<(&HeaderMap, &VaryPolicy)>,
    ) -> Lookup {
        let found = self.shared.disk.as_ref().and_then(|disk| disk.tier.find(&key));
        let request = match found {
            None => return Lookup::Nothing,
            Some(What::Object) => None,
            Some(What::Variants) => request.map(|(request, vary)| (request.clone(), vary.clone())),
        };
        Lookup::OnDisk(Stored { key, primary, request })
    }

    /// What was read from disk, as a response; what is asked for again goes back to memory.
    fn read_back(&self, disk: &Disk, key: Key, primary: Key, opened: OnDisk) -> Option<Found> {
        let OnDisk { head, fill, bytes, content, place, is_hot } = opened;
        if self.is_too_old(&head) {
            disk.tier.remove(&key);
            return None;
        }
        self.shared.metrics.disk_hits.inc();
        let body = match content {
            Content::Whole(pieces, room) => {
                let loaded = Loaded { head: head.clone(), fill, pieces, room };
                let pieces = self.promote(key, primary, place, loaded, is_hot);
                Body::of_pieces(pieces)
            }
            Content::Stream(body) => {
                if is_hot && bytes <= self.shared.limits.memory_bytes_max / PROMOTED_SHARE {
                    let store = self.clone();
                    let then = move |loaded| drop(store.promote(key, primary, place, loaded, true));
                    disk.tier.load(key, place, Box::new(then));
                }
                Body::of_disk(body)
            }
        };
        let (bytes, tier) = (Some(bytes), Tier::Disk);
        Some(Found { key, head, body, fill, is_in_flight: false, tier, bytes })
    }

    /// Puts what was read from disk into memory, if it is asked for often enough and is still what counts.
    fn promote(
        &self,
        key: Key,
        primary: Key,
        place: disk::Place,
        loaded: Loaded,
        is_hot: bool,
    ) -> Arc<Pieces> {
        let Loaded { head, fill, pieces, room } = loaded;
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let mut door = self.shared.memory.door();
        let is_current =
            self.shared.disk.as_ref().is_some_and(|disk| disk.tier.is_current(&key, place, fill));
        let is_wanted = is_hot && is_current && self.shared.memory.peek(&key).is_none();
        let taken = is_wanted.then(|| door.reserve(object::weight(&head, bytes), bytes)).flatten();
        let Some(taken) = taken else { return Arc::new(Pieces::new(pieces, room)) };
        let pieces = Arc::new(Pieces::new(pieces, taken));
        let object = Arc::new(Object::new(head, pieces.clone(), fill, primary));
        object.set_on_disk(true);
        if door.put(key, object) {
            self.shared.metrics.promotions.inc();
        }
        pieces
    }

    fn put_variants_back(&self, key: Key, variants: &Arc<Variants>) {
        let mut door = self.shared.memory.door();
        if self.shared.memory.peek(&key).is_none() {
            door.put_variants(key, variants.clone());
        }
    }

    pub(super) fn remove_variants(
        &self,
        door: &mut Door<'_>,
        primary: &Key,
        variants: &[[u8; 16]],
    ) {
        for variant in variants {
            let key = primary.variant(variant);
            door.remove(&key, |_| true);
            if let Some(disk) = &self.shared.disk {
                disk.tier.remove(&key);
            }
        }
    }

    /// An object in memory is asked for the first time since it was stored there.
    pub(super) fn asked_again(&self, key: &Key, object: &Arc<Object>) {
        let Some(disk) = &self.shared.disk else { return };
        if !object.is_on_disk() && is_worth_disk(&object.head) {
            self.write(disk, key, object);
        }
    }

    pub(super) fn write(&self, disk: &Disk, key: &Key, object: &Arc<Object>) {
        disk.tier.put(*key, object);
        if object.primary != *key
            && let Some(Slot::Variants(variants)) = self.shared.memory.peek(&object.primary)
            && variants.set_on_disk()
        {
            disk.tier.put_variants(object.primary, &variants);
        }
    }
}

impl Disk {
    pub(super) fn new(tier: Arc<dyn DiskTier>, admission: Admission) -> Self {
        Self { tier, admission, seen: Arc::new(Mutex::new(Seen::new(SEEN_KEYS))) }
    }

    /// Whether a response that was just fetched is to be written.
    pub(super) fn admits(&self, key: &Key, fill: &InFlight) -> bool {
        let came_back = self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(key);
        self.admission == Admission::All || came_back || fill.was_joined()
    }
}

/// An object has to leave memory.
pub(super) fn evicted(
    disk: Option<&Disk>,
    metrics: &Metrics,
    key: &Key,
    slot: &Slot,
    was_used: bool,
) {
    let Slot::Object(object) = slot else { return };
    // What was asked for and could not be written before gets another chance.
    if let Some(disk) = disk
        && was_used
        && !object.is_on_disk()
        && is_worth_disk(&object.head)
    {
        disk.tier.put(*key, object);
    }
    let counter = if object.is_on_disk() { &metrics.demotions } else { &metrics.evictions };
    counter.inc();
}

/// What may be served for a few seconds only is not worth a write.
pub(super) fn is_worth_disk(head: &Head) -> bool {
    let freshness = &head.freshness;
    let on_failure = freshness.stale_if_error.max(freshness.stale_if_unreachable);
    let window = freshness.stale_while_revalidate.max(on_failure);
    freshness.lifetime.saturating_add(window) >= WORTH_DISK
}

/// The shortest use of an object that is worth a write to disk.
const WORTH_DISK: Duration = Duration::from_secs(10);
/// An object may take at most this part of memory, as a divisor, to come back from disk.
const PROMOTED_SHARE: u64 = 16;
/// Keys of finished fills that are remembered, at 4 bytes each.
const SEEN_KEYS: usize = 1 << 20;
