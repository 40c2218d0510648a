//! What clients ask for most, until it is told to the control plane.
//!
//! Each thread counts in a shard of its own that nobody else holds but for the moment in which it is emptied; who finds it
//! held counts nothing and goes on. While little is asked everything is counted, then one exchange in [`ONE_IN`] for as
//! many. Invariant: whatever clients ask for, a shard has at most [`PLACES`] entries of each sort, and no exchange ever waits
//! here.

use std::{
    cell::Cell,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicUsize,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

use tidegate_contract::{
    demand::{ASKED_MAX, Asked, Demand as Told, shown_path},
    id::PropertyId,
};
use tokio::time::Instant;

/// What is asked for; all clones are the same.
#[derive(Clone)]
pub struct Demand(Arc<Inner>);

struct Inner {
    is_on: AtomicBool,
    since: Mutex<Instant>,
    shards: [Shard; SHARDS],
}

/// Apart in memory, so that threads do not take it from one another.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    seen: AtomicU32,
    sketches: Mutex<Sketches>,
}

#[derive(Default)]
struct Sketches {
    properties: Sketch,
    assets: Sketch,
}

/// The heaviest of many, by the rule of space-saving: what is new takes the place of the lightest and its weight, so that
/// what is heavy stays.
#[derive(Default)]
struct Sketch {
    hasher: RandomState,
    /// By the hash of a name, which nobody can foresee: what is known already costs no allocation.
    places: HashMap<u64, usize>,
    entries: Vec<Entry>,
}

struct Entry {
    weight: u64,
    requests: u64,
    bytes: u64,
    hash: u64,
    name: (PropertyId, Box<str>),
}

impl Demand {
    /// Nobody counts yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            is_on: AtomicBool::new(false),
            since: Mutex::new(Instant::now()),
            shards: std::array::from_fn(|_| Shard::default()),
        }))
    }

    /// Begins to count; before that an exchange costs nothing here.
    pub fn turn_on(&self) {
        self.0.is_on.store(true, Relaxed);
    }

    /// An exchange has ended.
    pub fn count(&self, property: &PropertyId, path: &str, bytes: u64) {
        if !self.0.is_on.load(Relaxed) {
            return;
        }
        let shard = &self.0.shards[place() % SHARDS];
        let times = if shard.seen.fetch_add(1, Relaxed) < EXACT {
            1
        } else if draw() {
            u64::from(ONE_IN)
        } else {
            return;
        };
        // Held only while it is emptied, or by another thread of the same place.
        let Ok(mut sketches) = shard.sketches.try_lock() else { return };
        sketches.properties.add(property, "", times, bytes);
        sketches.assets.add(property, shown_path(path), times, bytes);
    }

    /// Everything since it was taken last, the busiest first.
    #[must_use]
    pub fn take(&self) -> Told {
        let now = Instant::now();
        let mut last = self.0.since.lock().unwrap_or_else(PoisonError::into_inner);
        let since = std::mem::replace(&mut *last, now);
        drop(last);
        let (mut properties, mut assets) = (HashMap::new(), HashMap::new());
        for shard in &self.0.shards {
            let mut held = shard.sketches.lock().unwrap_or_else(PoisonError::into_inner);
            let sketches = std::mem::take(&mut *held);
            drop(held);
            shard.seen.swap(0, AcqRel);
            sketches.properties.pour(&mut properties);
            sketches.assets.pour(&mut assets);
        }
        let period_ms = u64::try_from((now - since).as_millis()).unwrap_or(u64::MAX);
        Told { period_ms, properties: busiest(properties), assets: busiest(assets) }
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self::new()
    }
}

type Sums = HashMap<(PropertyId, Box<str>), (u64, u64)>;

impl Sketch {
    fn add(&mut self, property: &PropertyId, path: &str, times: u64, bytes: u64) {
        let (requests, bytes) = (times, bytes.saturating_mul(times));
        let hash = self.hasher.hash_one((property, path));
        let at = match self.places.get(&hash) {
            Some(at) => *at,
            None => self.make_room(hash, (property.clone(), path.into())),
        };
        let entry = &mut self.entries[at];
        entry.weight = entry.weight.saturating_add(weight(requests, bytes));
        entry.requests += requests;
        entry.bytes = entry.bytes.saturating_add(bytes);
    }

    /// The place of something new.
    fn make_room(&mut self, hash: u64, name: (PropertyId, Box<str>)) -> usize {
        if self.entries.len() < PLACES {
            self.places.insert(hash, self.entries.len());
            self.entries.push(Entry { weight: 0, requests: 0, bytes: 0, hash, name });
            return self.entries.len() - 1;
        }
        let lightest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.weight);
        let (at, weight) = lightest.map_or((0, 0), |(at, entry)| (at, entry.weight));
        self.places.remove(&self.entries[at].hash);
        self.places.insert(hash, at);
        // What it may have had before is not counted as its own: figures are too low rather than too high.
        self.entries[at] = Entry { weight, requests: 0, bytes: 0, hash, name };
        at
    }

    fn pour(self, sums: &mut Sums) {
        for Entry { requests, bytes, name, .. } in self.entries {
            let sum = sums.entry(name).or_default();
            (sum.0, sum.1) = (sum.0 + requests, sum.1.saturating_add(bytes));
        }
    }
}

/// What is heavy: many requests, or many bytes.
fn weight(requests: u64, bytes: u64) -> u64 {
    requests.saturating_add(bytes / BYTES_PER_REQUEST)
}

fn busiest(sums: Sums) -> Vec<Asked> {
    let mut all: Vec<_> = sums.into_iter().collect();
    all.sort_by(|(one, a), (other, b)| {
        weight(b.0, b.1).cmp(&weight(a.0, a.1)).then_with(|| one.cmp(other))
    });
    all.truncate(ASKED_MAX);
    let asked = |((property, path), (requests, bytes)): ((PropertyId, Box<str>), _)| Asked {
        property,
        path: path.into(),
        requests,
        bytes,
    };
    all.into_iter().map(asked).collect()
}

/// The place of this thread, the same for as long as it lives.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static PLACE: usize = NEXT.fetch_add(1, Relaxed));
    PLACE.with(|place| *place)
}

/// True once in [`ONE_IN`] times, by chance (xorshift).
fn draw() -> bool {
    thread_local!(static STATE: Cell<u32> = const { Cell::new(0) });
    STATE.with(|state| {
        let mut x = state.get();
        if x == 0 {
            x = rand::random::<u32>() | 1;
        }
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        state.set(x);
        x.is_multiple_of(ONE_IN)
    })
}

/// More than threads that serve, on most machines.
const SHARDS: usize = 32;
/// Things of one sort that a shard knows: five times what is told.
const PLACES: usize = 256;
/// Exchanges of a shard that are all counted, until it is taken.
const EXACT: u32 = 1000;
/// Of those behind them, one in so many counts, for all of them.
pub const ONE_IN: u32 = 32;
/// So many bytes are as heavy as one request.
const BYTES_PER_REQUEST: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> PropertyId {
        PropertyId::parse(name).unwrap()
    }

    #[test]
    fn what_is_heavy_by_requests_or_bytes_stays_among_many_and_secrets_do_not() {
        let demand = Demand::new();
        demand.count(&id("off"), "/", 1);
        demand.turn_on();
        for n in 0..900_u64 {
            // Somebody makes paths up.
            demand.count(&id("demo"), &format!("/{n}?token=secret"), 10);
            if n % 9 == 0 {
                demand.count(&id("demo"), "/live/index.m3u8?sig=secret", 2_000);
            }
            if n == 5 {
                demand.count(&id("film"), "/film.mp4", 1 << 32);
            }
        }
        let told = demand.take();
        assert_eq!((told.assets[0].path.as_str(), told.assets[0].bytes), ("/film.mp4", 1 << 32));
        assert_eq!(told.assets[1].path, "/live/index.m3u8");
        assert_eq!((told.assets[1].requests, told.assets[1].bytes), (100, 200_000));
        assert_eq!(told.assets.len(), ASKED_MAX);
        let names: Vec<_> = told.properties.iter().map(|one| one.property.as_str()).collect();
        assert_eq!(names, ["film", "demo"]);
        let all = (told.properties[1].requests, told.properties[1].bytes);
        // Behind the first thousand few are drawn.
        assert_eq!(told.properties[1].path, "");
        assert!(all.0 >= 999 && all.0 < 1200, "{all:?}");
        assert!(Told::from_bytes(&told.to_bytes()).is_ok());
        assert!(demand.take().assets.is_empty(), "it was taken");
    }

    #[test]
    fn what_is_drawn_stands_for_the_rest() {
        let demand = Demand::new();
        demand.turn_on();
        for _ in 0..200_000 {
            demand.count(&id("demo"), "/a", 100);
        }
        let told = demand.take();
        let (requests, bytes) = (told.assets[0].requests, told.assets[0].bytes);
        // Nearly ten times the deviation that chance has.
        assert!(requests.abs_diff(200_000) < 24_000, "{requests}");
        assert_eq!(bytes, requests * 100);
    }

    proptest! {
        #[test]
        fn a_sketch_never_says_more_than_there_was_and_keeps_what_is_heavy(
            names in prop::collection::vec(0_u16..2000, 0..4000)
        ) {
            let mut sketch = Sketch::default();
            let mut truth: HashMap<u16, u64> = HashMap::new();
            for name in &names {
                sketch.add(&id("p"), &name.to_string(), 1, 0);
                *truth.entry(*name).or_default() += 1;
            }
            let (all, mut sums) = (names.len() as u64, Sums::new());
            prop_assert!(sketch.entries.len() <= PLACES);
            sketch.pour(&mut sums);
            let known = |name: u16| sums.get(&(id("p"), name.to_string().into())).map(|sum| sum.0);
            for (name, count) in truth {
                prop_assert!(known(name).unwrap_or(0) <= count);
                // The bound of space-saving.
                prop_assert!(count <= all / PLACES as u64 || known(name).is_some());
            }
        }
    }
}
