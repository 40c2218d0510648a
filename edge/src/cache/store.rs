//! The store: fills in flight first, then the memory tier; purges and the longest keeping time apply to both.
//!
//! Invariants: a reader is never handed a fill that was hard-purged after it began, and what such a fill brings is
//! not stored; its own readers, who asked before, still get it whole.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidegate_chassis::Clock;

use super::{
    body::Body,
    budget::{Budget, Reservation},
    in_flight::{FillError, InFlight, Writer},
    key::Key,
    memory_tier::MemoryTier,
    object::{Head, Object},
    purge::{PurgeTable, Verdict},
};

/// A handle on the store; all clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    memory: MemoryTier,
    filling: Mutex<HashMap<Key, Vec<Arc<InFlight>>>>,
    last_fill: AtomicU64,
    room: Budget,
    purges: PurgeTable,
    clock: Clock,
    keep_max: Duration,
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

/// A response that was found.
pub struct Found {
    /// Its head.
    pub head: Arc<Head>,
    /// Its body, from the beginning.
    pub body: Body,
    /// The fill that made it or is making it.
    pub fill: u64,
    /// Whether it is still arriving.
    pub is_in_flight: bool,
    /// The length of its body, once that is known for sure.
    pub bytes: Option<u64>,
}

/// The writer's end of a fill that will be stored.
pub struct Fill {
    store: Store,
    key: Key,
    /// Taken by `finish`; present otherwise.
    writer: Option<Writer>,
    shared: Arc<InFlight>,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits, purges: PurgeTable, clock: Clock) -> Self {
        let shared = Shared {
            memory: MemoryTier::new(limits.memory_bytes_max),
            filling: Mutex::default(),
            last_fill: AtomicU64::new(0),
            room: Budget::new(limits.in_flight_bytes_max),
            purges,
            clock,
            keep_max: limits.keep_max,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Looks a key up.
    #[must_use]
    pub fn lookup(&self, key: &Key) -> Option<Found> {
        // In flight first: a fill enters memory before it leaves the table.
        if let Some(fill) = self.newest_fill(key) {
            return Some(Found::in_flight(fill));
        }
        let object = self.shared.memory.get(key)?;
        if self.is_too_old(&object.head) {
            self.shared.memory.remove(*key, object.fill);
            return None;
        }
        Some(Found {
            head: object.head.clone(),
            fill: object.fill,
            is_in_flight: false,
            bytes: Some(object.bytes),
            body: Body::of_object(object),
        })
    }

    /// Looks one fill up that is still in flight.
    #[must_use]
    pub fn lookup_fill(&self, key: &Key, id: u64) -> Option<Found> {
        let filling = self.filling();
        let fill = filling.get(key)?.iter().find(|fill| fill.id == id)?;
        Some(Found::in_flight(fill.clone()))
    }

    /// Takes room for a fill of this length; `None` when there is none.
    #[must_use]
    pub fn reserve(&self, length: Option<u64>) -> Option<Reservation> {
        self.shared.room.reserve(length.unwrap_or(0))
    }

    /// Begins a fill; from now on lookups find it.
    #[must_use]
    pub fn begin(&self, key: Key, head: Head, room: Reservation) -> Fill {
        let id = self.shared.last_fill.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = Writer::begin(Arc::new(head), id, room);
        let shared = writer.shared().clone();
        self.filling().entry(key).or_default().push(shared.clone());
        Fill { store: self.clone(), key, writer: Some(writer), shared }
    }

    /// Gives the object that a fill made a new head, after upstream confirmed it; false when it is gone.
    pub fn refresh(&self, key: Key, fill: u64, head: Head) -> bool {
        self.shared.memory.refresh(key, fill, &Arc::new(head))
    }

    /// Forgets the object that a fill made.
    pub fn remove(&self, key: Key, fill: u64) {
        self.shared.memory.remove(key, fill);
    }

    /// Forgets whatever is stored under a key.
    pub fn forget(&self, key: &Key) {
        self.shared.memory.forget(key);
    }

    /// What purges say of a response.
    #[must_use]
    pub fn verdict(&self, head: &Head) -> Verdict {
        let names = head.names.iter().copied();
        self.shared.purges.verdict(names, head.born, !head.freshness.is_immutable)
    }

    /// Bytes and objects in memory, and bytes of fills in flight.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.shared.memory.settle();
        Sizes {
            memory_bytes: self.shared.memory.bytes(),
            objects: self.shared.memory.objects(),
            in_flight_bytes: self.shared.room.taken(),
            fills: self.filling().values().map(Vec::len).sum::<usize>() as u64,
        }
    }

    fn newest_fill(&self, key: &Key) -> Option<Arc<InFlight>> {
        let newest = self.filling().get(key)?.iter().max_by_key(|fill| fill.id).cloned()?;
        let is_usable = !newest.is_failed() && self.verdict(&newest.head) != Verdict::Hard;
        is_usable.then_some(newest)
    }

    fn is_too_old(&self, head: &Head) -> bool {
        let kept = self.shared.clock.now().duration_since(head.created).unwrap_or_default();
        kept > self.shared.keep_max
    }

    fn filling(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<InFlight>>>> {
        self.shared.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn in_flight(fill: Arc<InFlight>) -> Self {
        Self {
            head: fill.head.clone(),
            fill: fill.id,
            is_in_flight: true,
            bytes: fill.head.length,
            body: Body::of_fill(fill),
        }
    }
}

/// How much the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes in the memory tier, heads included.
    pub memory_bytes: u64,
    /// Objects in the memory tier.
    pub objects: u64,
    /// Bytes taken by fills in flight.
    pub in_flight_bytes: u64,
    /// Fills in flight.
    pub fills: u64,
}

impl Fill {
    /// The fill's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// A reader of this very fill.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::of_fill(self.shared.clone())
    }

    /// The response's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.shared.head
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`FillError`]; the fill has failed for every reader.
    pub fn write(&mut self, data: &[u8]) -> Result<(), FillError> {
        match &mut self.writer {
            Some(writer) => writer.write(data),
            None => Err(FillError::NoRoom),
        }
    }

    /// Ends the fill and stores what it brought, unless it was hard-purged meanwhile. Gives back its length.
    ///
    /// # Errors
    /// [`FillError`]; the fill has failed for every reader.
    pub fn finish(mut self) -> Result<u64, FillError> {
        let Some(writer) = self.writer.take() else { return Err(FillError::NoRoom) };
        let object = writer.finish()?;
        let bytes = object.bytes;
        self.keep(object);
        Ok(bytes)
    }

    fn keep(&self, object: Object) {
        if self.store.verdict(&object.head) != Verdict::Hard {
            self.store.shared.memory.insert(self.key, Arc::new(object));
        }
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        // An unfinished writer fails its readers first, so that nobody finds a fill that will not end.
        drop(self.writer.take());
        let mut filling = self.store.filling();
        if let Some(fills) = filling.get_mut(&self.key) {
            fills.retain(|fill| fill.id != self.shared.id);
            if fills.is_empty() {
                filling.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, StatusCode};
    use tidegate_contract::{
        purge::{PurgeOrder, PurgeTarget},
        surrogate_key::SurrogateKey,
    };

    use super::*;
    use crate::cache::{freshness::Freshness, purge};

    struct Bench {
        store: Store,
        purges: PurgeTable,
        clock: Clock,
    }

    const KEY: Key = Key([1; 16]);

    fn bench() -> Bench {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000));
        let purges = PurgeTable::new(clock.clone(), purge::Limits::default());
        let limits = Limits {
            memory_bytes_max: 1 << 20,
            in_flight_bytes_max: 1 << 20,
            keep_max: Duration::from_secs(100),
        };
        Bench { store: Store::new(limits, purges.clone(), clock.clone()), purges, clock }
    }

    impl Bench {
        fn begin(&self, length: Option<u64>) -> Fill {
            let now = self.clock.now();
            let freshness = Freshness {
                received_at: now,
                initial_age: Duration::ZERO,
                lifetime: Duration::from_secs(60),
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
                stale_if_unreachable: Duration::ZERO,
                is_for_shared: false,
                always_revalidate: false,
                forbids_stale: false,
                is_immutable: false,
            };
            let head = Head {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                freshness,
                names: Arc::new([SurrogateKey::parse("k").unwrap().hash()]),
                born: self.purges.seq(),
                created: now,
                provenance: now,
                variance: None,
                length,
            };
            self.store.begin(KEY, head, self.store.reserve(length).unwrap())
        }

        fn purge(&self, soft: bool) {
            let key = SurrogateKey::parse("k").unwrap();
            self.purges.apply(&PurgeOrder { target: PurgeTarget::Key { key }, soft });
        }

        async fn read(&self) -> Option<Vec<u8>> {
            let mut body = self.store.lookup(&KEY)?.body;
            let mut all = Vec::new();
            while let Some(bytes) = body.read().await.unwrap() {
                all.extend_from_slice(&bytes);
            }
            Some(all)
        }
    }

    #[tokio::test]
    async fn a_fill_is_found_while_it_runs_and_after_it_finished() {
        let bench = bench();
        assert!(bench.store.lookup(&KEY).is_none());
        let mut fill = bench.begin(Some(3));
        assert!(bench.store.lookup(&KEY).unwrap().is_in_flight);
        fill.write(b"abc").unwrap();
        assert_eq!(fill.finish(), Ok(3));
        let found = bench.store.lookup(&KEY).unwrap();
        assert!(!found.is_in_flight);
        assert_eq!(bench.read().await.unwrap(), b"abc");
        let sizes = bench.store.sizes();
        assert_eq!((sizes.objects, sizes.fills, sizes.in_flight_bytes), (1, 0, 0));
    }

    #[tokio::test]
    async fn a_failed_fill_leaves_nothing_and_the_object_before_it_stays() {
        let bench = bench();
        let mut fill = bench.begin(None);
        fill.write(b"old").unwrap();
        fill.finish().unwrap();
        let mut failing = bench.begin(None);
        failing.write(b"ne").unwrap();
        drop(failing);
        assert_eq!(bench.read().await.unwrap(), b"old");
        assert_eq!(bench.store.sizes().fills, 0);
    }

    #[tokio::test]
    async fn a_fill_that_was_hard_purged_meanwhile_is_neither_found_nor_stored() {
        let bench = bench();
        let mut fill = bench.begin(None);
        let mut reader = fill.body();
        bench.purge(false);
        assert!(bench.store.lookup(&KEY).is_none());
        fill.write(b"abc").unwrap();
        fill.finish().unwrap();
        assert!(bench.store.lookup(&KEY).is_none());
        assert_eq!(reader.read().await.unwrap().unwrap(), "abc", "its own reader gets it");
    }

    #[tokio::test]
    async fn a_fill_that_was_soft_purged_meanwhile_is_stored_stale() {
        let bench = bench();
        let mut fill = bench.begin(None);
        bench.purge(true);
        fill.write(b"abc").unwrap();
        fill.finish().unwrap();
        let found = bench.store.lookup(&KEY).unwrap();
        assert!(matches!(bench.store.verdict(&found.head), Verdict::Soft { .. }));
    }

    #[tokio::test]
    async fn a_slow_old_fill_does_not_replace_a_fast_new_one() {
        let bench = bench();
        let mut slow = bench.begin(None);
        slow.write(b"old").unwrap();
        let mut fast = bench.begin(None);
        fast.write(b"new").unwrap();
        fast.finish().unwrap();
        slow.finish().unwrap();
        assert_eq!(bench.read().await.unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_confirmation_reaches_only_the_object_that_was_confirmed() {
        let bench = bench();
        let mut first = bench.begin(None);
        first.write(b"one").unwrap();
        first.finish().unwrap();
        let confirmed = bench.store.lookup(&KEY).unwrap();
        bench.purge(false);
        let head = Head { born: bench.purges.seq(), ..Head::clone(&confirmed.head) };
        assert!(bench.store.refresh(KEY, confirmed.fill, head.clone()));
        let found = bench.store.lookup(&KEY).unwrap();
        assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);

        let mut second = bench.begin(None);
        second.write(b"two").unwrap();
        second.finish().unwrap();
        assert!(!bench.store.refresh(KEY, confirmed.fill, head));
    }

    #[tokio::test]
    async fn nothing_is_served_beyond_the_longest_keeping_time() {
        let bench = bench();
        bench.begin(None).finish().unwrap();
        bench.clock.advance(Duration::from_secs(100));
        assert!(bench.store.lookup(&KEY).is_some());
        bench.clock.advance(Duration::from_secs(1));
        assert!(bench.store.lookup(&KEY).is_none());
    }
}
