//! What every hit does: make the key, look it up, decide, read the first piece.
//!
//! Whole-system figures come from the load rig; these tell which part of them moved.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode};
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::PropertyId,
    property::{CachePolicy, QueryPolicy},
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};
use tidegate_edge::cache::{
    freshness::{Arrival, Freshness, judge},
    key::{Key, counted_path},
    media_class::MediaClass,
    object::Head,
    purge::{self, PurgeTable, Verdict},
    reuse::{Question, decide},
    store::{Limits, Store},
    wishes::Wishes,
};

fn headers() -> HeaderMap {
    [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("content-type", "video/mp4"),
        ("content-length", "204800"),
        ("date", "Fri, 21 Nov 2025 02:57:00 GMT"),
        ("etag", "\"0123456789abcdef\""),
        ("surrogate-key", "media-018f rendition-018f-720p"),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
    .collect()
}

fn freshness(headers: &HeaderMap, now: SystemTime) -> Freshness {
    let arrival = Arrival {
        method: &http::Method::GET,
        class: MediaClass::Segment,
        status: StatusCode::OK,
        headers,
        is_authorized: false,
        requested_at: now,
        received_at: now,
    };
    judge(&arrival, &CachePolicy::default()).expect("storable")
}

fn cache_key(criterion: &mut Criterion) {
    let property = PropertyId::parse("demo").unwrap();
    let path = "/m/018f2c3d4e5f/1/720p/17.m4s";
    criterion.bench_function("cache_key", |bench| {
        bench.iter(|| Key::of(black_box(&property), black_box("video.example.org"), path));
    });
    let keep = QueryPolicy::Keep(vec!["v".into()]);
    criterion.bench_function("counted_path", |bench| {
        bench.iter(|| counted_path(path, black_box(Some("token=abcdef&v=2&exp=170000")), &keep));
    });
}

fn decisions(criterion: &mut Criterion) {
    let (headers, now) = (headers(), SystemTime::now());
    criterion.bench_function("freshness", |bench| {
        bench.iter(|| freshness(black_box(&headers), now));
    });
    let freshness = freshness(&headers, now);
    let question = Question {
        now,
        freshness: &freshness,
        verdict: Verdict::Valid,
        is_certain: true,
        uncertain_age_max: Duration::from_secs(2),
        waited_for_it: false,
        is_for_child: false,
        soft_window: Duration::from_secs(60),
        wishes: Wishes::default(),
    };
    criterion.bench_function("reuse", |bench| bench.iter(|| decide(black_box(&question))));
}

fn lookup(criterion: &mut Criterion) {
    let clock = Clock::system();
    let purges = PurgeTable::new(clock.clone(), purge::Limits::default());
    let limits = Limits {
        memory_bytes_max: 1 << 30,
        in_flight_bytes_max: 1 << 30,
        keep_max: Duration::from_secs(86_400),
    };
    let store = Store::new(limits, purges.clone(), clock.clone());
    let key = |n: u32| Key::of(&PropertyId::parse("demo").unwrap(), "a.org", &n.to_string());
    let (headers, now) = (headers(), clock.now());
    let name = SurrogateKey::parse("media-018f").unwrap();
    for n in 0..10_000 {
        let head = Head {
            status: StatusCode::OK,
            headers: headers.clone(),
            freshness: freshness(&headers, now),
            names: [name.hash()].into(),
            born: purges.seq(),
            created: now,
            provenance: now,
            variance: None,
            length: Some(4096),
        };
        let mut fill = store.begin(key(n), head, store.reserve(Some(4096)).unwrap());
        fill.write(&[7; 4096]).unwrap();
        fill.finish().unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut lookup = |name: &str| {
        let mut n = 0;
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                n = (n + 1) % 10_000;
                let mut found = store.lookup(&key(n)).expect("stored");
                black_box(store.verdict(&found.head));
                runtime.block_on(found.body.read()).unwrap()
            });
        });
    };
    lookup("lookup");
    // From now on the fast way out ("no purge since") does not apply.
    let key = SurrogateKey::parse("another").unwrap();
    purges.apply(&PurgeOrder { target: PurgeTarget::Key { key }, soft: false });
    lookup("lookup_after_a_purge");
}

criterion_group!(benches, cache_key, decisions, lookup);
criterion_main!(benches);
