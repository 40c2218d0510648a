//! The memory tier: whole objects under a byte budget; what is asked for often stays.
//!
//! Readers touch one shard of a table for the time of a hash lookup; whoever changes what is stored takes turns at
//! one door. Invariants: an older fill never takes the place of a newer one; the bytes of all bodies that came
//! from here, those included that were evicted while somebody still reads them, never exceed the limit.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use super::{
    budget::{Budget, Reservation},
    eviction::{Place, Queues, Residents, USES_MAX},
    key::Key,
    object::Object,
    table::Table,
    variants::Variants,
};

/// Stored objects by key.
pub struct MemoryTier {
    table: Table<Resident>,
    inside: Mutex<Inside>,
    room: Budget,
    limit: u64,
    evicted: Box<Evicted>,
}

/// Who is told of what has to leave, and whether anybody had asked for it.
type Evicted = dyn Fn(&Key, &Slot, bool) + Send + Sync;

/// What stands under a key.
#[derive(Debug, Clone)]
pub enum Slot {
    /// A response.
    Object(Arc<Object>),
    /// The variants of a resource.
    Variants(Arc<Variants>),
}

/// What a lookup finds.
pub struct Hit {
    /// What stands there.
    pub slot: Slot,
    /// Whether nobody had asked for it before.
    pub is_first: bool,
}

/// The turn to change what is stored.
pub struct Door<'a> {
    tier: &'a MemoryTier,
    inside: MutexGuard<'a, Inside>,
}

struct Resident {
    slot: Slot,
    place: Place,
    uses: AtomicU8,
    was_used: AtomicBool,
}

struct Inside {
    queues: Queues,
    /// Bytes of the bodies in the table.
    bodies: u64,
}

/// The table as the queues see it.
struct Hall<'a> {
    tier: &'a MemoryTier,
    freed: Cell<u64>,
}

impl MemoryTier {
    /// A tier of at most so many bytes, heads included. `evicted` is told of what has to leave and whether anybody
    /// had asked for it; it is called inside the door, must be quick and must not come back here.
    #[must_use]
    pub fn new(
        bytes_max: u64,
        evicted: impl Fn(&Key, &Slot, bool) + Send + Sync + 'static,
    ) -> Self {
        Self {
            table: Table::new(),
            inside: Mutex::new(Inside { queues: Queues::new(bytes_max), bodies: 0 }),
            room: Budget::new(bytes_max),
            limit: bytes_max,
            evicted: Box::new(evicted),
        }
    }

    /// What stands under a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Hit> {
        let shard = self.table.read(key);
        let resident = shard.get(key)?;
        let uses = resident.uses.load(Ordering::Relaxed);
        // Written only while it still says something: what is hot is not written at all.
        if uses < USES_MAX {
            resident.uses.store(uses + 1, Ordering::Relaxed);
        }
        let is_first = !resident.was_used.load(Ordering::Relaxed)
            && !resident.was_used.swap(true, Ordering::Relaxed);
        Some(Hit { slot: resident.slot.clone(), is_first })
    }

    /// What stands under a key, without counting as a use.
    #[must_use]
    pub fn peek(&self, key: &Key) -> Option<Slot> {
        self.table.read(key).get(key).map(|resident| resident.slot.clone())
    }

    /// The turn to change something.
    pub fn door(&self) -> Door<'_> {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        Door { tier: self, inside }
    }

    /// Bytes held, heads included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let inside = self.door().inside;
        inside.queues.weight() + self.pinned(&inside)
    }

    /// Entries held.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.door().inside.queues.len() as u64
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of bodies that left the table and are still being read.
    fn pinned(&self, inside: &Inside) -> u64 {
        self.room.taken().saturating_sub(inside.bodies)
    }
}

impl Door<'_> {
    /// Makes room for an object of this weight and body; `None` when there is none to be had.
    #[must_use]
    pub fn reserve(&mut self, weight: u64, body_bytes: u64) -> Option<Reservation> {
        let tier = self.tier;
        loop {
            let pinned = tier.pinned(&self.inside);
            // Slow readers may not drive out everything that others read.
            if weight > tier.limit || pinned > tier.limit / PINNED_SHARE {
                return None;
            }
            if self.inside.queues.weight() + pinned + weight <= tier.limit
                && let Some(room) = tier.room.reserve(body_bytes)
            {
                return Some(room);
            }
            self.evict().then_some(())?;
        }
    }

    /// Stores an object whose body has its room from [`Door::reserve`], unless a later fill was faster; whether it is
    /// stored.
    pub fn put(&mut self, key: Key, object: Arc<Object>) -> bool {
        if let Some(Slot::Object(old)) = self.tier.peek(&key)
            && old.fill > object.fill
        {
            return false;
        }
        let weight = object.weight();
        self.set(key, Slot::Object(object), weight);
        true
    }

    /// Stores the variants of a resource.
    pub fn put_variants(&mut self, key: Key, variants: Arc<Variants>) {
        let weight = variants.weight();
        self.set(key, Slot::Variants(variants), weight);
    }

    /// Takes out what stands under a key, if `is_it` says so.
    pub fn remove(&mut self, key: &Key, is_it: impl FnOnce(&Slot) -> bool) -> Option<Slot> {
        let resident = {
            let mut shard = self.tier.table.write(key);
            if !is_it(&shard.get(key)?.slot) {
                return None;
            }
            shard.remove(key)?
        };
        self.inside.bodies -= resident.body_bytes();
        let hall = Hall { tier: self.tier, freed: Cell::new(0) };
        self.inside.queues.leave(resident.place, &hall);
        Some(resident.slot)
    }

    fn set(&mut self, key: Key, slot: Slot, weight: u64) {
        let mut shard = self.tier.table.write(&key);
        let old = shard.get(&key).map(|old| (old.place, old.body_bytes()));
        let place = match old {
            // It keeps its place, so that what changes often is not new every time.
            Some((place, _)) => self.inside.queues.reweigh(place, weight),
            None => self.inside.queues.enter(key, weight),
        };
        let resident =
            Resident { slot, place, uses: AtomicU8::new(0), was_used: AtomicBool::new(false) };
        self.inside.bodies += resident.body_bytes();
        self.inside.bodies -= old.map_or(0, |(_, bytes)| bytes);
        match shard.get_mut(&key) {
            Some(there) => {
                there.slot = resident.slot;
                there.place = place;
            }
            None => drop(shard.insert(key, resident)),
        }
        drop(shard);
        // A head or a list may have grown.
        while self.inside.queues.weight() > self.tier.limit && self.evict() {}
    }

    fn evict(&mut self) -> bool {
        let hall = Hall { tier: self.tier, freed: Cell::new(0) };
        let is_evicted = self.inside.queues.evict(&hall);
        self.inside.bodies -= hall.freed.get();
        is_evicted
    }
}

impl Resident {
    fn body_bytes(&self) -> u64 {
        match &self.slot {
            Slot::Object(object) => object.bytes(),
            Slot::Variants(_) => 0,
        }
    }
}

impl Residents for Hall<'_> {
    fn look(&self, key: &Key) -> Option<(Place, u8)> {
        let shard = self.tier.table.read(key);
        shard.get(key).map(|resident| (resident.place, resident.uses.load(Ordering::Relaxed)))
    }

    fn place(&self, key: &Key, place: Place, uses: u8) {
        if let Some(resident) = self.tier.table.write(key).get_mut(key) {
            resident.place = place;
            resident.uses = AtomicU8::new(uses);
        }
    }

    fn evict(&self, key: &Key) {
        let Some(resident) = self.tier.table.write(key).remove(key) else { return };
        self.freed.set(self.freed.get() + resident.body_bytes());
        let was_used = resident.was_used.load(Ordering::Relaxed);
        (self.tier.evicted)(key, &resident.slot, was_used);
    }
}

/// The part of the tier, as a divisor, that evicted bodies may still hold before nothing new is taken in.
const PINNED_SHARE: u64 = 2;
