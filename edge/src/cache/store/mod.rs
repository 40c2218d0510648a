//! The store: fills in flight first, then memory, then disk; purges and the longest keeping time apply to all three.
//!
//! Invariants: a reader is never handed a fill that was hard-purged after it began, and what such a fill brings is
//! not stored; its own readers, who asked before, still get it whole. Nothing older comes back from disk after
//! something newer was stored in memory.

mod fill; // the writer's end of a fill
mod warm; // what goes to disk and comes back

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tidegate_chassis::Clock;
use tidegate_contract::cache_policy::VaryPolicy;

use super::{
    body::Body,
    budget::{Budget, Reservation},
    config::Config,
    disk::{self, AwaitedTier, LogTier, OpenError},
    filling::Filling,
    in_flight::{FillError, InFlight, Writer},
    key::Key,
    memory_tier::{MemoryTier, Slot},
    metrics::Metrics,
    object::{Head, Object, PIECE_BYTES},
    purge::{PurgeTable, Verdict},
    variance::Vary,
};

use self::warm::{Disk, evicted};
pub use self::{fill::Fill, warm::Stored};

/// A handle on the store; all clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    memory: MemoryTier,
    disk: Option<Disk>,
    /// The same, while another process still uses it and after that.
    awaited: Option<Arc<AwaitedTier>>,
    filling: Filling,
    last_fill: AtomicU64,
    room: Budget,
    purges: PurgeTable,
    metrics: Metrics,
    clock: Clock,
    limits: Limits,
}

/// The store's sizes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the memory tier.
    pub memory_bytes_max: u64,
    /// Bytes of all fills in flight together.
    pub in_flight_bytes_max: u64,
    /// The longest time that an object is served after it was fetched.
    pub keep_max: Duration,
}

/// What a lookup gives.
pub enum Lookup {
    /// A response, ready to be read.
    Found(Found),
    /// Something on disk; [`Store::load`] reads it.
    OnDisk(Stored),
    /// Nothing that fits the request.
    Nothing,
}

/// A response that was found.
pub struct Found {
    /// The key that it stands under, for [`Store::refresh`] and [`Store::remove`]: that of its variant, if it is one.
    pub key: Key,
    /// Its head.
    pub head: Arc<Head>,
    /// Its body, from the beginning.
    pub body: Body,
    /// The fill that made it or is making it.
    pub fill: u64,
    /// Whether it is still arriving.
    pub is_in_flight: bool,
    /// Where it was found.
    pub tier: Tier,
    /// The length of its body, once that is known for sure.
    pub bytes: Option<u64>,
}

/// Where a response was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// In memory.
    Memory,
    /// On disk.
    Disk,
    /// Still arriving.
    InFlight,
}

/// How much the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes in the memory tier, heads included.
    pub memory_bytes: u64,
    /// Objects and lists of variants in the memory tier.
    pub objects: u64,
    /// Bytes taken by fills in flight.
    pub in_flight_bytes: u64,
    /// Fills in flight.
    pub fills: u64,
    /// The disk tier; nothing where there is none.
    pub disk: disk::Sizes,
}

impl Store {
    /// An empty store without a disk tier.
    #[must_use]
    pub fn new(limits: Limits, purges: PurgeTable, clock: Clock, metrics: Metrics) -> Self {
        Self::build(limits, None, None, purges, clock, metrics)
    }

    /// The store of a node, with what its disk tier kept. `purges` keeps its journal in the same folder.
    ///
    /// # Errors
    /// [`OpenError`] when the disk tier is wanted and cannot be used.
    pub fn open(
        config: &Config,
        purges: PurgeTable,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, OpenError> {
        let limits = Limits {
            memory_bytes_max: config.memory.as_u64(),
            in_flight_bytes_max: config.in_flight.as_u64(),
            keep_max: config.keep_max,
        };
        if let (Some(_), Some(last_fill)) = (&config.disk.path, purges.awaited_fill()) {
            // What the process before begins until then stays below.
            let awaited = Arc::new(AwaitedTier::new(last_fill.saturating_add(FILLS_BETWEEN)));
            let disk = Disk::new(awaited.clone(), config.disk.admission);
            return Ok(Self::build(limits, Some(disk), Some(awaited), purges, clock, metrics));
        }
        let disk = match (&config.disk.path, purges.identity()) {
            (None, _) => None,
            (Some(path), None) => return Err(OpenError::NoJournal(path.clone())),
            (Some(path), Some(identity)) => {
                let tier = LogTier::open(path, &config.disk, identity, metrics.clone())?;
                Some(Disk::new(Arc::new(tier), config.disk.admission))
            }
        };
        Ok(Self::build(limits, disk, None, purges, clock, metrics))
    }

    /// The disk tier is free: from now on what is in it counts. Waits for the disk, and for the purges to be there first.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be used; the store goes on without.
    pub fn attach_disk(&self, config: &disk::Config) -> Result<(), OpenError> {
        let (Some(awaited), Some(path)) = (&self.shared.awaited, &config.path) else {
            return Ok(());
        };
        let Some(identity) = self.shared.purges.identity() else {
            return Err(OpenError::NoJournal(path.clone()));
        };
        awaited.attach(path, config, identity, self.shared.metrics.clone())
    }

    /// The number of the last fill that began.
    #[must_use]
    pub fn last_fill(&self) -> u64 {
        self.shared.last_fill.load(Ordering::Relaxed)
    }

    fn build(
        limits: Limits,
        disk: Option<Disk>,
        awaited: Option<Arc<AwaitedTier>>,
        purges: PurgeTable,
        clock: Clock,
        metrics: Metrics,
    ) -> Self {
        let last_fill = disk.as_ref().map_or(0, |disk| disk.tier.last_fill());
        let evicted = {
            let (disk, metrics) = (disk.clone(), metrics.clone());
            move |key: &Key, slot: &Slot, was_used: bool| {
                evicted(disk.as_ref(), &metrics, key, slot, was_used);
            }
        };
        let shared = Shared {
            memory: MemoryTier::new(limits.memory_bytes_max, evicted),
            disk,
            awaited,
            filling: Filling::new(),
            last_fill: AtomicU64::new(last_fill),
            room: Budget::new(limits.in_flight_bytes_max),
            purges,
            metrics,
            clock,
            limits,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Looks a resource up for a request. Never waits.
    #[must_use]
    pub fn lookup(&self, key: &Key, request: &HeaderMap, vary: &VaryPolicy) -> Lookup {
        // In flight first: a fill enters memory before it leaves the table.
        if let Some(fill) = self.newest_fill(key, request, vary) {
            fill.join();
            self.shared.metrics.in_flight_hits.inc();
            return Lookup::Found(Found::in_flight(*key, fill));
        }
        let Some(hit) = self.shared.memory.get(key) else {
            return self.lookup_on_disk(*key, *key, Some((request, vary)));
        };
        let variants = match hit.slot {
            Slot::Object(object) => return self.in_memory(*key, object, hit.is_first),
            Slot::Variants(variants) => variants,
        };
        let variant = variants.vary.select(request, vary);
        if !variants.has(&variant) {
            return Lookup::Nothing;
        }
        let own = key.variant(&variant);
        match self.shared.memory.get(&own) {
            Some(hit) => match hit.slot {
                Slot::Object(object) => self.in_memory(own, object, hit.is_first),
                Slot::Variants(_) => Lookup::Nothing,
            },
            None => self.lookup_on_disk(own, *key, None),
        }
    }

    /// As [`Store::lookup`], for whoever only wants to know what is there: it counts as no hit and makes nothing hotter
    /// in memory.
    #[must_use]
    pub fn inspect(&self, key: &Key, request: &HeaderMap, vary: &VaryPolicy) -> Lookup {
        if let Some(fill) = self.newest_fill(key, request, vary) {
            return Lookup::Found(Found::in_flight(*key, fill));
        }
        let own = match self.shared.memory.peek(key) {
            None => return self.lookup_on_disk(*key, *key, Some((request, vary))),
            Some(Slot::Object(object)) => return Lookup::Found(Found::in_memory(*key, object)),
            Some(Slot::Variants(variants)) => {
                let variant = variants.vary.select(request, vary);
                if !variants.has(&variant) {
                    return Lookup::Nothing;
                }
                key.variant(&variant)
            }
        };
        match self.shared.memory.peek(&own) {
            None => self.lookup_on_disk(own, *key, None),
            Some(Slot::Object(object)) => Lookup::Found(Found::in_memory(own, object)),
            Some(Slot::Variants(_)) => Lookup::Nothing,
        }
    }

    /// Looks one fill up that is still in flight.
    #[must_use]
    pub fn lookup_fill(&self, key: &Key, id: u64) -> Option<Found> {
        let fill = self.shared.filling.newest(key, |fill| fill.id == id)?;
        fill.join();
        Some(Found::in_flight(*key, fill))
    }

    /// Takes room for a fill of this length; `None` when there is none.
    #[must_use]
    pub fn reserve(&self, length: Option<u64>) -> Option<Reservation> {
        self.shared.room.reserve(length.unwrap_or(PIECE_BYTES as u64))
    }

    /// Begins a fill; from now on lookups find it. `key` is that of the resource, also for a variant.
    #[must_use]
    pub fn begin(
        &self,
        key: Key,
        variance: Option<(Vary, [u8; 16])>,
        head: Head,
        room: Reservation,
    ) -> Fill {
        let id = self.shared.last_fill.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = Writer::begin(Arc::new(head), id, variance, room);
        let shared = writer.shared().clone();
        self.shared.filling.add(key, shared.clone());
        Fill { store: self.clone(), primary: key, writer: Some(writer), shared }
    }

    /// Stores a response whose body is there already; gives back its length.
    ///
    /// # Errors
    /// [`FillError`] when it does not fit.
    pub fn replace(&self, key: Key, head: Head, body: &[u8]) -> Result<u64, FillError> {
        self.replace_with(key, head, body, || {}).map(|_| body.len() as u64)
    }

    /// Purges, and stores in the same step what arrived with the purge; gives back the number of the fill. `purge` is
    /// called in any case, when the whole response can be found already: at no moment there is neither the old one nor
    /// the new one. The head's `born` is the number that the purge gets.
    ///
    /// # Errors
    /// [`FillError`] when it does not fit.
    pub fn replace_with(
        &self,
        key: Key,
        head: Head,
        body: &[u8],
        purge: impl FnOnce(),
    ) -> Result<u64, FillError> {
        let begun = match self.reserve(Some(body.len() as u64)) {
            None => Err(FillError::NoRoom),
            Some(room) => {
                let mut fill = self.begin(key, None, head, room);
                fill.write(body).map(|()| fill)
            }
        };
        purge();
        let fill = begun?;
        let id = fill.id();
        fill.finish().map(|_| id)
    }

    /// Gives the object that a fill made a new head, after upstream confirmed it; false when it is gone.
    pub fn refresh(&self, key: Key, fill: u64, head: Head) -> bool {
        let head = Arc::new(head);
        let mut door = self.shared.memory.door();
        if let Some(Slot::Object(old)) = self.shared.memory.peek(&key)
            && old.fill == fill
        {
            let object = Arc::new(old.with_head(head));
            door.put(key, object.clone());
            if old.is_on_disk()
                && let Some(disk) = &self.shared.disk
            {
                disk.tier.put(key, &object);
            }
            return true;
        }
        // Still inside the door: nobody may bring the older head back to memory meanwhile.
        self.shared.disk.as_ref().is_some_and(|disk| disk.tier.set_head(key, fill, &head))
    }

    /// Forgets the object that a fill made.
    pub fn remove(&self, key: Key, fill: u64) {
        let mut door = self.shared.memory.door();
        let is_newer = |slot: &Slot| matches!(slot, Slot::Object(object) if object.fill > fill);
        if self.shared.memory.peek(&key).as_ref().is_some_and(is_newer) {
            return;
        }
        door.remove(&key, |slot| !is_newer(slot));
        if let Some(disk) = &self.shared.disk {
            disk.tier.remove(&key);
        }
    }

    /// Forgets whatever is stored of a resource, and what is being fetched of it is not stored.
    pub fn forget(&self, key: &Key) {
        self.shared.filling.forget(key);
        let mut door = self.shared.memory.door();
        let slot = door.remove(key, |_| true);
        if let Some(disk) = &self.shared.disk {
            disk.tier.remove(key);
        }
        if let Some(Slot::Variants(variants)) = slot {
            self.remove_variants(&mut door, key, &variants.list);
        }
    }

    /// What purges say of a response.
    #[must_use]
    pub fn verdict(&self, head: &Head) -> Verdict {
        let purges = &self.shared.purges;
        let seq = purges.seq();
        // Names are looked at once for each purge, not once for each hit.
        if head.born.max(head.checked.up_to()) >= seq {
            return Verdict::Valid;
        }
        let names = head.names.iter().copied();
        let verdict = purges.verdict(names, head.born, !head.freshness.is_immutable);
        if verdict == Verdict::Valid {
            head.checked.advance(seq);
        }
        verdict
    }

    /// How much everything holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            memory_bytes: self.shared.memory.bytes(),
            objects: self.shared.memory.len(),
            in_flight_bytes: self.shared.room.taken(),
            fills: self.shared.filling.len() as u64,
            disk: self.shared.disk.as_ref().map(|disk| disk.tier.sizes()).unwrap_or_default(),
        }
    }

    /// Waits, blocking, until what was admitted to disk is there or was given up.
    pub fn settle(&self) {
        if let Some(disk) = &self.shared.disk {
            disk.tier.settle();
        }
    }

    fn newest_fill(
        &self,
        key: &Key,
        request: &HeaderMap,
        vary: &VaryPolicy,
    ) -> Option<Arc<InFlight>> {
        let fits = |fill: &InFlight| {
            let variance = fill.variance.as_ref();
            let is_variant =
                variance.is_none_or(|(by, variant)| by.select(request, vary) == *variant);
            is_variant && self.verdict(&fill.head) != Verdict::Hard
        };
        self.shared.filling.newest(key, fits)
    }

    fn in_memory(&self, key: Key, object: Arc<Object>, is_first: bool) -> Lookup {
        if self.is_too_old(&object.head) {
            self.remove(key, object.fill);
            return Lookup::Nothing;
        }
        if is_first {
            self.asked_again(&key, &object);
        }
        self.shared.metrics.memory_hits.inc();
        Lookup::Found(Found::in_memory(key, object))
    }

    fn is_too_old(&self, head: &Head) -> bool {
        let kept = self.shared.clock.now().duration_since(head.created).unwrap_or_default();
        kept > self.shared.limits.keep_max
    }
}

impl Found {
    fn in_flight(key: Key, fill: Arc<InFlight>) -> Self {
        Self {
            key: fill.variance.as_ref().map_or(key, |(_, variant)| key.variant(variant)),
            head: fill.head.clone(),
            fill: fill.id,
            is_in_flight: true,
            tier: Tier::InFlight,
            bytes: fill.head.length,
            body: Body::of_fill(fill),
        }
    }

    fn in_memory(key: Key, object: Arc<Object>) -> Self {
        Self {
            key,
            head: object.head.clone(),
            body: Body::of_pieces(object.pieces.clone()),
            fill: object.fill,
            is_in_flight: false,
            tier: Tier::Memory,
            bytes: Some(object.bytes()),
        }
    }
}

impl Tier {
    /// The tier in metrics and in `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::InFlight => "in_flight",
        }
    }
}

/// More fills than a process begins while it drains.
const FILLS_BETWEEN: u64 = 1 << 32;
