//! What a lookup costs: in memory, as a variant, in flight, on disk, and after purges; and the coming back of an index.
//!
//! Whole-system figures come from the load rig; these tell which part of them moved.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytesize::ByteSize;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode, header};
use prometheus::Registry;
use tidegate_chassis::Clock;
use tidegate_contract::{
    cache_policy::VaryPolicy,
    id::PropertyId,
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};
use tidegate_edge::cache::{
    Config,
    disk::{self, Admission},
    fields::Fields,
    freshness::Freshness,
    key::Key,
    media_class::MediaClass,
    metrics::Metrics,
    object::{Extent, Head},
    purge::{self, PurgeTable},
    store::{Lookup, Store},
    variance::{Varies, Vary},
};

const OBJECTS: u32 = 10_000;

fn key(n: u32) -> Key {
    Key::of(&PropertyId::parse("demo").unwrap(), "a.org", &n.to_string())
}

fn head(purges: &PurgeTable) -> Head {
    let headers: HeaderMap = [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("content-type", "video/mp4"),
        ("date", "Fri, 21 Nov 2025 02:57:00 GMT"),
        ("etag", "\"0123456789abcdef\""),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
    .collect();
    let now = SystemTime::now();
    let property = PropertyId::parse("demo").unwrap();
    let keys =
        ["media-018f", "rendition-018f-720p"].map(|k| SurrogateKey::parse(k).unwrap().hash());
    Head {
        status: StatusCode::OK,
        public: Fields::new(headers.clone()),
        headers,
        freshness: Freshness {
            received_at: now,
            initial_age: Duration::ZERO,
            lifetime: Duration::from_secs(3600),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_if_unreachable: Duration::ZERO,
            always_revalidate: false,
            forbids_stale: false,
            is_for_shared: false,
            is_immutable: true,
        },
        names: purge::names(&property, "a.org", "/m/018f/1/720p/17.m4s", keys),
        born: purges.seq(),
        created: now,
        length: None,
        extent: Extent::Whole,
        class: MediaClass::Segment,
        vary: None,
        checked: Default::default(),
    }
}

fn vary() -> Vary {
    let header = (header::VARY, "accept-encoding".parse().unwrap());
    match Varies::of(&HeaderMap::from_iter([header])) {
        Varies::By(vary) => vary,
        Varies::No | Varies::Any => panic!("it varies"),
    }
}

fn put(store: &Store, key: Key, variance: Option<(Vary, [u8; 16])>, head: Head) {
    let mut fill = store.begin(key, variance, head, store.reserve(Some(4096)).unwrap());
    fill.write(&[7; 4096]).unwrap();
    fill.finish().unwrap();
}

fn memory(criterion: &mut Criterion) {
    let clock = Clock::system();
    let purges = PurgeTable::new(clock.clone(), purge::Limits::default());
    let metrics = Metrics::register(&Registry::new());
    let store = Store::open(&Config::default(), purges.clone(), clock, metrics).unwrap();
    let keys: Vec<_> = (0..OBJECTS).map(key).collect();
    for key in &keys {
        put(&store, *key, None, head(&purges));
    }
    let (request, policy) = (HeaderMap::new(), VaryPolicy::default());
    let find = |key: &Key| match store.lookup(key, &request, &policy) {
        Lookup::Found(found) => found,
        _ => panic!("stored"),
    };
    let mut n = 0;
    let mut next = || {
        n = (n + 1) % keys.len();
        &keys[n]
    };
    criterion.bench_function("lookup/memory", |bench| bench.iter(|| black_box(find(next()))));
    criterion.bench_function("lookup/memory_and_verdict", |bench| {
        bench.iter(|| black_box(store.verdict(&find(next()).head)));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    criterion.bench_function("lookup/memory_and_first_piece", |bench| {
        bench.iter(|| runtime.block_on(find(next()).body.read()).unwrap());
    });
    let target = PurgeTarget::Key { key: SurrogateKey::parse("another").unwrap() };
    let order = PurgeOrder { target, soft: false };
    purges.apply(&order);
    criterion.bench_function("lookup/verdict_long_after_a_purge", |bench| {
        bench.iter(|| black_box(store.verdict(&find(next()).head)));
    });
    criterion.bench_function("lookup/verdict_right_after_a_purge", |bench| {
        bench.iter(|| {
            purges.apply(&order);
            black_box(store.verdict(&find(next()).head))
        });
    });
    criterion.bench_function("lookup/nothing", |bench| {
        let absent = key(u32::MAX);
        bench.iter(|| matches!(store.lookup(&absent, &request, &policy), Lookup::Nothing));
    });
    let running: Vec<_> = (0..100)
        .map(|n| store.begin(key(OBJECTS + n), None, head(&purges), store.reserve(None).unwrap()))
        .collect();
    criterion.bench_function("lookup/memory_while_fills_run", |bench| {
        bench.iter(|| black_box(find(next())));
    });
    criterion.bench_function("lookup/in_flight", |bench| {
        let key = key(OBJECTS + 7);
        bench.iter(|| black_box(find(&key)));
    });
    drop(running);

    let vary = vary();
    let variant = vary.select(&request, &policy);
    let varied = Head { vary: Some(vary.clone()), ..head(&purges) };
    put(&store, key(u32::MAX), Some((vary, variant)), varied);
    criterion.bench_function("lookup/variant", |bench| {
        let key = key(u32::MAX);
        bench.iter(|| black_box(find(&key)));
    });
}

fn on_disk(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let purges = PurgeTable::open(folder.path(), clock.clone(), purge::Limits::default()).unwrap();
    let disk = disk::Config {
        path: Some(folder.path().to_owned()),
        admission: Admission::All,
        ..disk::Config::default()
    };
    // Too little memory for anything to come back to it.
    let config = Config { memory: ByteSize::kib(1), disk, ..Config::default() };
    let config = Config {
        disk: disk::Config { write_queue: ByteSize::mib(64), ..config.disk.clone() },
        ..config
    };
    let metrics = Metrics::register(&Registry::new());
    let store = Store::open(&config, purges.clone(), clock, metrics).unwrap();
    let body = Arc::new(vec![3_u8; 4096]);
    for n in 0..1000 {
        store.replace(key(n), head(&purges), &body).unwrap();
    }
    store.replace(key(5000), head(&purges), &vec![5; 4 << 20]).unwrap();
    store.settle();
    let (request, policy) = (HeaderMap::new(), VaryPolicy::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut n = 0;
    let load = async |key: Key| {
        let Lookup::OnDisk(stored) = store.lookup(&key, &request, &policy) else { panic!() };
        let mut found = store.load(stored).await.unwrap();
        let mut bytes = 0;
        while let Some(piece) = found.body.read().await.unwrap() {
            bytes += piece.len();
        }
        bytes
    };
    criterion.bench_function("disk/4KiB_in_page_cache", |bench| {
        bench.iter(|| {
            n = (n + 1) % 1000;
            runtime.block_on(load(key(n)))
        });
    });
    criterion.bench_function("disk/4MiB_in_page_cache", |bench| {
        bench.iter(|| assert_eq!(runtime.block_on(load(key(5000))), 4 << 20));
    });
}

criterion_group!(benches, memory, on_disk);
criterion_main!(benches);
