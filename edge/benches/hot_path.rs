//! What every hit does: make the key, look it up, decide, read the first piece; and all of it, from the request to the
//! last byte, on a stream without a socket.
//!
//! Whole-system figures come from the load rig; these tell which part of them moved.

#![allow(clippy::unwrap_used)] // a bench that cannot go on may say so

use std::{
    hint::black_box,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures::FutureExt;
use http::{HeaderMap, Method, StatusCode};
use tidegate_chassis::Clock;
use tidegate_contract::{
    id::PropertyId,
    property::{CachePolicy, Property, QueryPolicy, Upstream, VaryPolicy},
    purge::{PurgeOrder, PurgeTarget},
    surrogate_key::SurrogateKey,
};
use tidegate_edge::{
    cache::{
        arrival::Arrival,
        fields::Fields,
        freshness::{Freshness, judge},
        key::{Key, counted_path},
        media_class::MediaClass,
        object::{Checked, Extent, Head},
        purge::{self, Verdict},
        reuse::{Question, decide},
        store::Lookup,
        wishes::Wishes,
    },
    config::Config,
    engine::Engine,
    listener::{
        Downstream, Protocol,
        stream::{App, BodyLength, Request, ResponseHead, Stream, StreamLost, Way},
    },
};

fn headers() -> HeaderMap {
    [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("content-type", "video/mp4"),
        ("content-length", "204800"),
        ("date", httpdate::fmt_http_date(SystemTime::now()).as_str()),
        ("etag", "\"0123456789abcdef\""),
        ("surrogate-key", "media-018f rendition-018f-720p"),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
    .collect()
}

fn freshness(headers: &HeaderMap, now: SystemTime) -> Freshness {
    let arrival = Arrival {
        method: &Method::GET,
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

fn engine() -> Engine {
    let mut config = Config { access_log: false, ..Config::default() };
    config.property = vec![Property::new(
        PropertyId::parse("demo").unwrap(),
        vec!["video.example.org".to_owned()],
        vec![Upstream { authority: "127.0.0.1:1".into(), tls: None, host: None }],
    )];
    let registry = prometheus::Registry::new();
    let offer = Some("h3=\":443\"; ma=86400".to_owned());
    let engine = Engine::build(&config, &registry, &Clock::system(), offer).unwrap();
    engine.handles.policy.install(config.standalone()).unwrap();
    engine
}

/// Stores objects `/m/0` to `/m/{count}` of a size.
fn store_objects(engine: &Engine, count: u32, bytes: usize) {
    let (store, now) = (&engine.handles.store, SystemTime::now());
    let property = PropertyId::parse("demo").unwrap();
    let headers = headers();
    let mut public = headers.clone();
    for name in ["content-length", "surrogate-key"] {
        public.remove(name);
    }
    let keys = [SurrogateKey::parse("media-018f").unwrap().hash()];
    for n in 0..count {
        let path = format!("/m/{n}");
        let head = Head {
            status: StatusCode::OK,
            headers: headers.clone(),
            public: Fields::new(public.clone()),
            freshness: freshness(&headers, now),
            names: purge::names(&property, "video.example.org", &path, keys),
            born: engine.handles.purges.seq(),
            created: now,
            length: Some(bytes as u64),
            extent: Extent::Whole,
            class: MediaClass::Segment,
            vary: None,
            checked: Checked::default(),
        };
        let key = Key::of(&property, "video.example.org", &path);
        store.replace(key, head, &vec![7; bytes]).unwrap();
    }
}

fn lookup(criterion: &mut Criterion) {
    let engine = engine();
    store_objects(&engine, 10_000, 4096);
    let property = PropertyId::parse("demo").unwrap();
    let keys: Vec<_> =
        (0..10_000).map(|n| Key::of(&property, "video.example.org", &format!("/m/{n}"))).collect();
    let (store, none, vary) = (&engine.handles.store, HeaderMap::new(), VaryPolicy::default());
    let mut lookup = |name: &str| {
        let mut n = 0;
        criterion.bench_function(name, |bench| {
            bench.iter(|| {
                n = (n + 1) % keys.len();
                let Lookup::Found(mut found) = store.lookup(&keys[n], &none, &vary) else {
                    panic!("stored")
                };
                black_box(store.verdict(&found.head));
                found.body.read().now_or_never().unwrap().unwrap()
            });
        });
    };
    lookup("lookup");
    // From now on the fast way out ("no purge since") does not apply.
    let key = SurrogateKey::parse("another").unwrap();
    engine.handles.purges.apply(&PurgeOrder { target: PurgeTarget::Key { key }, soft: false });
    lookup("lookup_after_a_purge");
}

/// A stream that takes everything at once and keeps nothing.
#[derive(Default)]
struct Sink {
    sent: u64,
    heads: u64,
}

impl Stream for Sink {
    async fn read(&mut self) -> Result<Option<Bytes>, StreamLost> {
        Ok(None)
    }

    fn inform(&mut self, _: StatusCode, _: &HeaderMap) {}

    fn head(&mut self, head: &ResponseHead<'_>, _: bool) -> Result<(), StreamLost> {
        self.heads += head.own.len() as u64;
        Ok(())
    }

    async fn send(&mut self, data: Bytes, _: bool) -> Result<(), StreamLost> {
        self.sent += data.len() as u64;
        Ok(())
    }

    fn trailers(&mut self, _: &HeaderMap) -> Result<(), StreamLost> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), StreamLost> {
        Ok(())
    }

    async fn gone(&mut self) -> StreamLost {
        std::future::pending().await
    }

    fn way(&self) -> Way {
        Way::default()
    }

    fn sent(&self) -> u64 {
        self.sent
    }
}

fn request(path: &str, extra: &[(&str, &str)]) -> Request {
    let common = [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://video.example.org/watch"),
    ];
    let headers = common
        .iter()
        .chain(extra)
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()));
    Request {
        method: Method::GET,
        authority: "video.example.org".to_owned(),
        target: path.parse().unwrap(),
        headers: headers.collect(),
        body: BodyLength::Empty,
        expects_continue: false,
        downstream: Downstream {
            protocol: Protocol::Http2,
            client: ([192, 0, 2, 1], 5000).into(),
            tls: true,
            early_data: false,
        },
        arrived_at: Instant::now(),
    }
}

/// A whole exchange, on its first poll.
fn serve(criterion: &mut Criterion) {
    let engine = engine();
    store_objects(&engine, 1000, 4096);
    for (name, extra, expected) in [
        ("serve_hit_4k", vec![], 4096),
        ("serve_hit_range", vec![("range", "bytes=100-1123")], 1024),
        ("serve_not_modified", vec![("if-none-match", "\"0123456789abcdef\"")], 0),
    ] {
        let requests: Vec<_> = (0..1000).map(|n| request(&format!("/m/{n}"), &extra)).collect();
        let mut n = 0;
        criterion.bench_function(name, |bench| {
            bench.iter_batched(
                || {
                    n = (n + 1) % requests.len();
                    requests[n].clone()
                },
                |request| {
                    let served = engine.edge.serve(request, Sink::default()).now_or_never();
                    let sink = served.expect("a hit does not wait");
                    assert_eq!(sink.sent, expected);
                    black_box(sink.heads)
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, cache_key, decisions, lookup, serve);
criterion_main!(benches);
