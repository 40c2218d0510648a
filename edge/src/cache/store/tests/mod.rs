//! The store's stories, and what they are told with: a store whose time and disk are the test's.
//!
//! One file for each part of the store.

mod fill; // fills while they run and when they end
mod replacement; // bodies that come with purges
mod restart; // what survives a restart, and what does not
mod room; // how much is kept, and what
mod slow_disk; // a disk that does not answer
mod variant; // several responses of one resource

use std::{collections::BTreeMap, time::SystemTime};

use bytesize::ByteSize;
use http::{HeaderName, header};
use prometheus::Registry;
use tidegate_contract::{
    id::PropertyId,
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};

use super::*;
use crate::cache::disk::Admission;
use crate::cache::{object::tests::head, purge, variants::tests::vary as by};

struct Bench {
    store: Store,
    purges: PurgeTable,
    clock: Clock,
    metrics: Metrics,
    folder: Option<std::path::PathBuf>,
    admission: Admission,
}

const KEY: Key = Key([1; 16]);
const MEMORY: u64 = 4 << 20;
const KEEP_MAX: Duration = Duration::from_secs(100);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn bench() -> Bench {
    open(None, Admission::All)
}

fn open(folder: Option<&std::path::Path>, admission: Admission) -> Bench {
    open_after(None, folder, admission)
}

/// After a process that still runs, if one is named.
fn open_after(
    old: Option<&Bench>,
    folder: Option<&std::path::Path>,
    admission: Admission,
) -> Bench {
    let clock = Clock::manual(start());
    let limits = purge::Limits { names_max: 1000, keep_max: Duration::from_secs(1 << 40) };
    let purges = match (old, folder) {
        (Some(old), _) => {
            let legacy = old.purges.legacy(old.store.last_fill(), BTreeMap::new());
            PurgeTable::awaiting(legacy, clock.clone(), limits)
        }
        (None, None) => PurgeTable::new(clock.clone(), limits),
        (None, Some(folder)) => PurgeTable::open(folder, clock.clone(), limits).unwrap(),
    };
    let metrics = Metrics::register(&Registry::new());
    let disk = disk::Config {
        path: folder.map(std::path::Path::to_owned),
        bytes: ByteSize::mib(64),
        write_queue: ByteSize::mib(1),
        admission,
        ..disk::Config::default()
    };
    let config = Config {
        memory: ByteSize(MEMORY),
        in_flight: ByteSize(MEMORY),
        object_max: ByteSize::mib(1),
        keep_max: KEEP_MAX,
        disk,
        ..Config::default()
    };
    let store = Store::open(&config, purges.clone(), clock.clone(), metrics.clone()).unwrap();
    Bench {
        store,
        purges,
        clock,
        metrics,
        folder: folder.map(std::path::Path::to_owned),
        admission,
    }
}

impl Bench {
    fn head(&self) -> Head {
        let mut head = head();
        head.freshness.received_at = self.clock.now();
        head.created = self.clock.now();
        head.names = Arc::new([SurrogateKey::parse("k").unwrap().hash()]);
        head.born = self.purges.seq();
        head
    }

    fn begin(&self, length: Option<u64>) -> Fill {
        self.begin_at(KEY, length)
    }

    fn begin_at(&self, key: Key, length: Option<u64>) -> Fill {
        let head = Head { length, ..self.head() };
        self.store.begin(key, None, head, self.store.reserve(length).unwrap())
    }

    /// Takes over what a process that has ended left.
    fn attach(&self) {
        let folder = self.folder.as_deref().unwrap();
        self.purges.attach(folder).unwrap();
        self.purges.trust_restored();
        let bytes = ByteSize::mib(64);
        let disk = disk::Config { path: self.folder.clone(), bytes, ..disk::Config::default() };
        self.store.attach_disk(&disk).unwrap();
    }

    fn fill(&self, key: Key, body: &[u8]) {
        let mut fill = self.begin_at(key, Some(body.len() as u64));
        fill.write(body).unwrap();
        fill.finish().unwrap();
    }

    fn fill_variant(&self, vary: &Vary, request: &HeaderMap, body: &[u8]) {
        let variant = vary.select(request, &VaryPolicy::default());
        let head = Head { vary: Some(vary.clone()), ..self.head() };
        let room = self.store.reserve(None).unwrap();
        let mut fill = self.store.begin(KEY, Some((vary.clone(), variant)), head, room);
        fill.write(body).unwrap();
        fill.finish().unwrap();
    }

    fn purge(&self, soft: bool) {
        let key = SurrogateKey::parse("k").unwrap();
        self.purges.apply(&PurgeOrder { target: PurgeTarget::Key { key }, soft });
    }

    fn lookup(&self) -> Option<Found> {
        match self.store.lookup(&KEY, &HeaderMap::new(), &VaryPolicy::default()) {
            Lookup::Found(found) => Some(found),
            Lookup::OnDisk(_) | Lookup::Nothing => None,
        }
    }

    /// What a request gets, wherever it is.
    async fn get(&self, key: Key, request: &HeaderMap) -> Option<(Tier, Found)> {
        match self.store.lookup(&key, request, &VaryPolicy::default()) {
            Lookup::Found(found) => Some((found.tier, found)),
            Lookup::OnDisk(stored) => self.store.load(stored).await.map(|f| (f.tier, f)),
            Lookup::Nothing => None,
        }
    }

    async fn body(&self, key: Key, request: &HeaderMap) -> Option<Vec<u8>> {
        Some(read(self.get(key, request).await?.1).await)
    }

    async fn read(&self) -> Option<Vec<u8>> {
        Some(read(self.lookup()?).await)
    }

    /// The process ends in good order and begins anew.
    fn restart(self) -> Self {
        let (folder, admission) = (self.folder.clone(), self.admission);
        self.store.settle();
        drop(self);
        open(folder.as_deref(), admission)
    }

    /// Pushes everything out of memory.
    fn flood(&self) {
        for n in 0..200_u8 {
            let mut key = [9; 16];
            key[0] = n;
            self.fill(Key(key), &[n; 40_000]);
            // What waits to be written holds memory, too.
            self.store.settle();
        }
    }
}

async fn read(mut found: Found) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = found.body.read().await.unwrap() {
        all.extend_from_slice(&bytes);
    }
    all
}

fn key(n: u32) -> Key {
    Key::of(&PropertyId::parse("p").unwrap(), "a.org", &format!("/{n}"))
}

fn none() -> HeaderMap {
    HeaderMap::new()
}

fn with(name: HeaderName, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name, value.parse().unwrap())])
}
