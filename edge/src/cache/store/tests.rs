//! The store's stories: fills, purges, variants, memory and disk together.

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

#[tokio::test]
async fn a_fill_is_found_while_it_runs_and_after_it_finished() {
    let bench = bench();
    assert!(bench.lookup().is_none());
    let mut fill = bench.begin(Some(3));
    assert!(bench.lookup().unwrap().is_in_flight);
    fill.write(b"abc").unwrap();
    assert_eq!(fill.finish(), Ok(3));
    let found = bench.lookup().unwrap();
    assert!(!found.is_in_flight);
    assert_eq!(bench.read().await.unwrap(), b"abc");
    let sizes = bench.store.sizes();
    assert_eq!((sizes.objects, sizes.fills, sizes.in_flight_bytes), (1, 0, 0));
    assert_eq!((bench.metrics.memory_hits.get(), bench.metrics.in_flight_hits.get()), (2, 1));
}

#[tokio::test]
async fn a_failed_fill_leaves_nothing_and_the_object_before_it_stays() {
    let bench = bench();
    bench.fill(KEY, b"old");
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
    assert!(bench.lookup().is_none());
    fill.write(b"abc").unwrap();
    fill.finish().unwrap();
    assert!(bench.lookup().is_none());
    assert_eq!(reader.read().await.unwrap().unwrap(), "abc", "its own reader gets it");
}

#[tokio::test]
async fn a_fill_that_was_soft_purged_meanwhile_is_stored_stale() {
    let bench = bench();
    let mut fill = bench.begin(None);
    bench.purge(true);
    fill.write(b"abc").unwrap();
    fill.finish().unwrap();
    let found = bench.lookup().unwrap();
    assert!(matches!(bench.store.verdict(&found.head), Verdict::Soft { .. }));
}

#[tokio::test]
async fn a_slow_old_fill_does_not_replace_a_fast_new_one() {
    let bench = bench();
    let mut slow = bench.begin(None);
    slow.write(b"old").unwrap();
    bench.fill(KEY, b"new");
    slow.finish().unwrap();
    assert_eq!(bench.read().await.unwrap(), b"new");
}

#[tokio::test]
async fn a_confirmation_reaches_only_the_object_that_was_confirmed() {
    let bench = bench();
    bench.fill(KEY, b"one");
    let confirmed = bench.lookup().unwrap();
    bench.purge(false);
    assert_eq!(bench.store.verdict(&confirmed.head), Verdict::Hard);
    let head = Head { born: bench.purges.seq(), ..Head::clone(&confirmed.head) };
    assert!(bench.store.refresh(KEY, confirmed.fill, head.clone()));
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);

    bench.fill(KEY, b"two");
    assert!(!bench.store.refresh(KEY, confirmed.fill, head));
}

#[tokio::test]
async fn nothing_is_served_beyond_the_longest_keeping_time() {
    let bench = bench();
    bench.fill(KEY, b"");
    bench.clock.advance(KEEP_MAX);
    assert!(bench.lookup().is_some());
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.lookup().is_none());
}

#[tokio::test]
async fn what_is_forgotten_is_neither_there_nor_stored_by_who_fetches_it() {
    let bench = bench();
    bench.fill(KEY, b"old");
    let mut fill = bench.begin(None);
    fill.write(b"also old").unwrap();
    bench.store.forget(&KEY);
    assert!(bench.lookup().is_none());
    fill.finish().unwrap();
    assert!(bench.lookup().is_none());
    bench.fill(KEY, b"new");
    assert_eq!(bench.read().await.unwrap(), b"new");
}

#[tokio::test]
async fn a_fill_knows_its_readers() {
    let bench = bench();
    let fill = bench.begin(None);
    assert_eq!(fill.readers(), 0);
    fill.deserted().await;
    let (one, two) = (fill.body(), bench.lookup().unwrap());
    assert_eq!(fill.readers(), 2);
    drop(two);
    assert_eq!(fill.readers(), 1);
    let gone = async { drop(one) };
    tokio::join!(fill.deserted(), gone);
    assert_eq!(fill.readers(), 0);
}

#[tokio::test]
async fn each_request_gets_its_variant_in_flight_and_stored() {
    let bench = bench();
    let vary = by(&[header::ACCEPT_LANGUAGE]);
    let (de, en) = (with(header::ACCEPT_LANGUAGE, "de"), with(header::ACCEPT_LANGUAGE, "en"));
    bench.fill_variant(&vary, &de, b"gut");
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"gut");
    assert!(bench.get(KEY, &en).await.is_none());

    let variant = vary.select(&en, &VaryPolicy::default());
    let room = bench.store.reserve(None).unwrap();
    let fill = bench.store.begin(KEY, Some((vary.clone(), variant)), bench.head(), room);
    assert!(bench.get(KEY, &en).await.unwrap().1.is_in_flight);
    assert_eq!(bench.get(KEY, &de).await.unwrap().0, Tier::Memory);
    drop(fill);

    bench.fill_variant(&vary, &en, b"good");
    assert_eq!(bench.body(KEY, &en).await.unwrap(), b"good");
    let (_, found) = bench.get(KEY, &de).await.unwrap();
    assert!(bench.store.refresh(found.key, found.fill, bench.head()));
    bench.purge(false);
    for request in [&de, &en] {
        let (_, found) = bench.get(KEY, request).await.unwrap();
        assert_eq!(bench.store.verdict(&found.head), Verdict::Hard, "a purge hits all variants");
    }

    bench.fill(KEY, b"the same for all");
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"the same for all");
    bench.store.forget(&KEY);
    assert!(bench.get(KEY, &de).await.is_none());
}

#[tokio::test]
async fn a_new_vary_takes_the_place_of_the_old_one() {
    let bench = bench();
    let de = with(header::ACCEPT_LANGUAGE, "de");
    bench.fill_variant(&by(&[header::ACCEPT_LANGUAGE]), &de, b"gut");
    let by_encoding = by(&[header::ACCEPT_ENCODING]);
    bench.fill_variant(&by_encoding, &none(), b"plain");
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"plain");
    assert_eq!(bench.store.sizes().objects, 2, "one variant and the list");
}

#[tokio::test]
async fn a_body_that_came_with_a_purge_is_there_at_once() {
    let bench = bench();
    bench.fill(KEY, b"old");
    bench.purge(false);
    assert_eq!(bench.store.replace(KEY, bench.head(), b"new"), Ok(3));
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);
    assert_eq!(read(found).await, b"new");
}

#[tokio::test]
async fn at_no_moment_of_a_replacement_there_is_neither_the_old_nor_the_new() {
    let bench = bench();
    bench.fill(KEY, b"old");
    // Asked for before the purge: one has begun, the other's head comes in the middle of it.
    let mut early = bench.begin(None);
    early.write(b"earl").unwrap();
    let late_head = bench.head();
    let mut late = None;
    let head = Head { born: bench.purges.seq() + 1, ..bench.head() };
    let replaced = bench.store.replace_with(KEY, head, b"new", || {
        let room = bench.store.reserve(None).unwrap();
        late = Some(bench.store.begin(KEY, None, late_head, room));
        bench.purge(false);
        let found = bench.lookup().unwrap();
        assert!(found.is_in_flight);
        assert_eq!(bench.store.verdict(&found.head), Verdict::Valid);
    });
    assert!(replaced.unwrap() > early.id());
    assert_eq!(read(bench.lookup().unwrap()).await, b"new", "and no fill in flight hides it");
    let mut late = late.unwrap();
    late.write(b"late").unwrap();
    late.finish().unwrap();
    early.finish().unwrap();
    let found = bench.lookup().unwrap();
    assert!(!found.is_in_flight);
    assert_eq!(read(found).await, b"new");
    bench.purge(false);
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Hard, "a later purge purges it");
}

#[tokio::test]
async fn a_purge_counts_even_when_there_is_no_room_for_what_it_brings() {
    let bench = bench();
    bench.fill(KEY, b"old");
    let all = bench.store.reserve(Some(MEMORY)).unwrap();
    let head = Head { born: bench.purges.seq() + 1, ..bench.head() };
    let replaced = bench.store.replace_with(KEY, head, b"new", || bench.purge(false));
    assert_eq!(replaced, Err(FillError::NoRoom));
    drop(all);
    let found = bench.lookup().unwrap();
    assert_eq!(bench.store.verdict(&found.head), Verdict::Hard);
}

#[tokio::test]
async fn memory_is_never_more_than_its_limit_even_when_slow_readers_hold_what_was_evicted() {
    let bench = bench();
    let mut slow = Vec::new();
    for n in 0..100 {
        let mut fill = bench.begin_at(key(n), Some(200_000));
        fill.write(&[1; 200_000]).unwrap();
        slow.push(fill.body());
        fill.finish().unwrap();
        let sizes = bench.store.sizes();
        assert!(sizes.memory_bytes <= MEMORY, "{}", sizes.memory_bytes);
        assert!(sizes.in_flight_bytes <= MEMORY);
        if bench.store.reserve(Some(200_000)).is_none() {
            break; // what memory does not take counts as in flight for as long as it is read
        }
    }
    drop(slow);
    assert_eq!(bench.store.sizes().in_flight_bytes, 0);
    bench.fill(KEY, &[2; 50_000]);
    assert!(bench.lookup().is_some());
}

/// A Zipf-like trace over a hot set, then with a scan of things that nobody asks for twice between.
#[test]
fn a_scan_does_not_wash_out_the_hot_set() {
    let bench = bench();
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    // 400 objects of 40 kB for 4 MiB; ranks by an exponential of a uniform number are about Zipf with exponent 1.
    let ask = |n: u32| -> bool {
        let found = matches!(
            bench.store.lookup(&key(n), &none(), &VaryPolicy::default()),
            Lookup::Found(_)
        );
        if !found {
            bench.fill(key(n), &[0; 40_000]);
        }
        found
    };
    let mut hot = || (400_f64.powf(random()) as u32).min(399);
    for _ in 0..20_000 {
        ask(hot());
    }
    let before = (0..20_000).filter(|_| ask(hot())).count();
    let mut scanned = 1_000_000;
    let during = (0..20_000)
        .filter(|_| {
            scanned += 1;
            ask(scanned);
            ask(hot())
        })
        .count();
    let (before, during) = (before as f64 / 200.0, during as f64 / 200.0);
    assert!(before > 70.0, "hit ratio before: {before} %");
    assert!(during > before - 8.0, "hit ratio {before} % before and {during} % during the scan");
}

#[tokio::test]
async fn what_was_asked_for_twice_survives_a_restart_and_what_was_not_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::SecondHit);
    bench.fill(key(1), b"one hit");
    bench.fill(key(2), b"two hits");
    bench.get(key(2), &none()).await.unwrap();
    bench.fill(key(3), b"fetched");
    bench.fill(key(3), b"fetched twice");
    let mut joined = bench.begin_at(key(4), None);
    let reader = bench.get(key(4), &none()).await.unwrap();
    joined.write(b"joined").unwrap();
    joined.finish().unwrap();
    drop(reader);

    let bench = bench.restart();
    assert!(bench.get(key(1), &none()).await.is_none());
    for (n, body) in [(2, &b"two hits"[..]), (3, b"fetched twice"), (4, b"joined")] {
        let (tier, found) = bench.get(key(n), &none()).await.unwrap();
        assert_eq!(tier, Tier::Disk);
        assert_eq!(read(found).await, body);
    }
    assert_eq!(bench.metrics.promotions.get(), 0);
    let (tier, _) = bench.get(key(2), &none()).await.unwrap();
    assert_eq!((tier, bench.metrics.promotions.get()), (Tier::Disk, 1));
    assert_eq!(bench.get(key(2), &none()).await.unwrap().0, Tier::Memory);
}

#[tokio::test]
async fn variants_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    let vary = by(&[header::ACCEPT_LANGUAGE]);
    let (de, en) = (with(header::ACCEPT_LANGUAGE, "de"), with(header::ACCEPT_LANGUAGE, "en"));
    bench.fill_variant(&vary, &de, b"gut");
    bench.fill_variant(&vary, &en, b"good");
    let bench = bench.restart();
    assert_eq!(bench.body(KEY, &de).await.unwrap(), b"gut");
    assert_eq!(bench.body(KEY, &en).await.unwrap(), b"good");
    assert!(bench.get(KEY, &with(header::ACCEPT_LANGUAGE, "fr")).await.is_none());
}

#[tokio::test]
async fn what_left_memory_is_read_from_disk_in_whole_and_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    let body: Vec<u8> = (0..900_000_u32).map(|n| (n % 251) as u8).collect();
    bench.fill(KEY, &body);
    bench.store.settle();
    bench.flood();
    bench.store.settle();
    assert!(bench.metrics.demotions.get() > 0);
    let (tier, mut found) = bench.get(KEY, &none()).await.unwrap();
    assert_eq!((tier, found.bytes), (Tier::Disk, Some(900_000)));
    found.body.seek(100_000, Some(300_001));
    assert_eq!(read(found).await, body[100_000..300_001]);
    assert_eq!(bench.body(KEY, &none()).await.unwrap(), body);
    assert_eq!(bench.store.sizes().disk.read_bytes, 0, "readers gave their buffers back");
}

#[tokio::test]
async fn a_purge_while_it_ran_and_a_newer_head_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(key(1), b"purged");
    bench.purge(false);
    bench.fill(key(2), b"fetched after the purge");
    bench.fill(key(3), b"confirmed");
    bench.store.settle();
    bench.purge(false);
    let found = bench.get(key(3), &none()).await.unwrap().1;
    assert!(bench.store.refresh(key(3), found.fill, bench.head()));
    bench.purges.settled(bench.purges.seq()).await;

    let bench = bench.restart();
    let verdict = |found: &Found| bench.store.verdict(&found.head);
    for (n, expected) in [(1, Verdict::Hard), (2, Verdict::Hard), (3, Verdict::Suspect)] {
        let (_, found) = bench.get(key(n), &none()).await.unwrap();
        assert_eq!(verdict(&found), expected, "{n}");
    }
    bench.purges.trust_restored();
    let found = bench.get(key(3), &none()).await.unwrap().1;
    assert_eq!(verdict(&found), Verdict::Valid);
    bench.purge(false);
    assert_eq!(verdict(&found), Verdict::Hard, "numbers go on growing");
}

#[tokio::test]
async fn a_confirmation_of_something_on_disk_reaches_it_there() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(KEY, b"body");
    let bench = bench.restart();
    let found = bench.get(KEY, &none()).await.unwrap().1;
    let mut newer = bench.head();
    newer.headers.insert(header::ETAG, "\"2\"".parse().unwrap());
    assert!(bench.store.refresh(KEY, found.fill, newer));
    let found = bench.get(KEY, &none()).await.unwrap().1;
    assert_eq!(found.head.headers[header::ETAG], "\"2\"", "before it is written");
    let bench = bench.restart();
    let found = bench.get(KEY, &none()).await.unwrap().1;
    assert_eq!(found.head.headers[header::ETAG], "\"2\"", "and after");
    assert_eq!(read(found).await, b"body");
}

#[tokio::test]
async fn what_was_forgotten_or_replaced_does_not_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(key(1), b"forgotten");
    bench.fill(key(2), b"old");
    bench.store.settle();
    bench.store.forget(&key(1));
    bench.fill(key(2), b"new");
    bench.fill(key(3), b"forgotten while it waits");
    bench.store.forget(&key(3));
    let bench = bench.restart();
    assert!(bench.get(key(1), &none()).await.is_none());
    assert_eq!(bench.body(key(2), &none()).await.unwrap(), b"new");
    assert!(bench.get(key(3), &none()).await.is_none());
}

#[tokio::test]
async fn a_newer_response_that_is_not_worth_a_write_hides_the_older_one_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let bench = open(Some(folder.path()), Admission::All);
    bench.fill(KEY, b"long");
    bench.store.settle();
    let mut short = bench.head();
    short.freshness.lifetime = Duration::from_secs(1);
    bench.store.replace(KEY, short, b"short").unwrap();
    bench.flood();
    assert!(bench.get(KEY, &none()).await.is_none());
}

#[tokio::test]
async fn a_process_that_follows_gets_the_disk_and_nothing_older_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let old = open(Some(folder.path()), Admission::All);
    let vary = by(&[header::ACCEPT_LANGUAGE]);
    let de = with(header::ACCEPT_LANGUAGE, "de");
    for n in 1..=5 {
        old.fill(key(n), b"old");
    }
    old.fill_variant(&vary, &de, b"old variant");
    old.store.settle();

    let new = open_after(Some(&old), Some(folder.path()), Admission::All);
    assert!(new.get(key(1), &none()).await.is_none(), "the other process has it");
    new.fill(key(2), b"new");
    new.store.forget(&key(3));
    new.fill(KEY, b"no variants any more");
    new.purges.apply(&PurgeOrder { target: PurgeTarget::All, soft: true });
    // What the old one still brings.
    old.fill(key(6), b"late");
    old.store.settle();
    drop(old);
    new.attach();
    new.flood();
    let get = async |n| new.body(key(n), &none()).await;
    assert_eq!(get(1).await.unwrap(), b"old");
    assert!(get(2).await.is_none_or(|body| body == b"new"));
    assert!(get(3).await.is_none());
    assert_eq!(get(6).await.unwrap(), b"late");
    assert!(new.body(KEY, &de).await.is_none_or(|body| body == b"no variants any more"));
    let (_, found) = new.get(key(1), &none()).await.unwrap();
    assert!(matches!(new.store.verdict(&found.head), Verdict::Soft { .. }), "purged meanwhile");
    // From now on it is written there.
    new.fill(key(7), b"newer");
    assert!(new.store.last_fill() > 1 << 32);
    let again = new.restart();
    assert_eq!(again.body(key(7), &none()).await.unwrap(), b"newer");
    assert!(again.get(key(3), &none()).await.is_none());
}
