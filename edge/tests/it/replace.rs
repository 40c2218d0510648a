//! A body that arrives with a purge: everybody gets it from then on, and nobody asks the origin.

use std::time::Duration;

use tidegate_contract::{
    property::{CachePolicy, QueryPolicy},
    purge::PurgeTarget,
};

use crate::harness::{
    FakeOrigin, Gate, PROTOCOLS, Protocol, TestEdge, client::Ask, eventually, reply,
};

const LIVE: (&str, &str) = ("cache-control", "max-age=60");

fn keyed(body: &str) -> crate::harness::origin::Reply {
    reply(200).cache_control("max-age=600").header("surrogate-key", "video-1").body(body)
}

#[tokio::test]
async fn the_new_body_is_a_hit_on_every_protocol_without_a_fetch() {
    let origin = FakeOrigin::start().await;
    origin.on("/v.m3u8", keyed("old"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/v.m3u8").await.expect_body("old");
    let keys = ("surrogate-key", "video-1");
    edge.replace("/v.m3u8", &[LIVE, keys, ("etag", "\"new\""), ("x-made-by", "hand")], "new");
    for protocol in PROTOCOLS {
        let answer = edge.get_by(protocol, "/v.m3u8").await;
        let answer = answer.expect_status(200).expect_cache("hit ttl=60").expect_body("new");
        for (name, value) in [
            ("content-type", "application/vnd.apple.mpegurl"),
            ("content-length", "3"),
            ("etag", "\"new\""),
            ("x-made-by", "hand"),
            ("surrogate-key", ""),
        ] {
            assert_eq!(answer.header(name), value, "{protocol:?} {name}");
        }
        assert!(!answer.header("date").is_empty());
        let part = Ask::get("/v.m3u8").header("range", "bytes=1-1");
        edge.ask(protocol, &part).await.expect_status(206).expect_body("e");
        let same = Ask::get("/v.m3u8").header("if-none-match", "\"new\"");
        edge.ask(protocol, &same).await.expect_status(304);
    }
    assert_eq!(origin.count("/v.m3u8"), 1);
    edge.expect_metric("edge_replacements_total", &["stored"], 1.0).await;
}

#[tokio::test]
async fn what_was_never_asked_for_can_be_brought_too_and_ends_like_anything_stored() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    edge.replace("/new.m3u8", &[LIVE, ("surrogate-key", "video-1")], "brought");
    edge.get("/new.m3u8").await.expect_cache("hit").expect_body("brought");
    edge.advance(61);
    origin.on("/new.m3u8", keyed("fetched"));
    edge.get("/new.m3u8").await.expect_body("fetched");

    for target in [
        PurgeTarget::from_url("https://localhost/new.m3u8").unwrap(),
        PurgeTarget::Key { key: "video-1".parse().unwrap() },
        PurgeTarget::from_prefix_url("https://localhost/").unwrap(),
        PurgeTarget::All,
    ] {
        edge.replace("/new.m3u8", &[LIVE, ("surrogate-key", "video-1")], "brought");
        edge.get("/new.m3u8").await.expect_body("brought");
        edge.purge(target, false);
        edge.get("/new.m3u8").await.expect_body("fetched");
    }
    edge.replace("/new.m3u8", &[LIVE], "first");
    edge.replace("/new.m3u8", &[LIVE], "second");
    edge.get("/new.m3u8").await.expect_body("second");
}

#[tokio::test]
async fn a_fill_that_was_asked_for_before_never_takes_its_place() {
    for protocol in PROTOCOLS {
        let origin = FakeOrigin::start().await;
        for (path, is_held) in [("/held.m3u8", true), ("/halting.m3u8", false)] {
            let gate = Gate::closed();
            let old = keyed(&"o".repeat(1000));
            origin.on(path, if is_held { old.held(&gate) } else { old.paused_after(500, &gate) });
            let edge = TestEdge::before(&origin).start().await;
            let first = edge.client.clone();
            let first =
                tokio::spawn(async move { first.ask(protocol, &Ask::get(path)).await.unwrap() });
            eventually("the fill is under way", || {
                origin.count(path) == 1 && (is_held || edge.handles.store.sizes().fills == 1)
            })
            .await;
            edge.replace(path, &[LIVE], "new");
            edge.get_by(protocol, path).await.expect_cache("hit").expect_body("new");
            gate.open();
            first.await.unwrap().expect_status(200);
            eventually("no fill runs", || edge.handles.store.sizes().fills == 0).await;
            edge.get_by(protocol, path).await.expect_cache("hit").expect_body("new");
            assert_eq!(origin.count(path), 1, "{protocol:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_node_that_gets_it_late_holds_it_for_as_much_older() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    edge.replace_late("/v.m3u8", &[LIVE], "new", Duration::from_millis(20_900));
    let answer = edge.get("/v.m3u8").await.expect_cache("hit").expect_body("new");
    let age: u64 = answer.header("age").parse().unwrap();
    assert!((20..=21).contains(&age), "{age}");
    edge.replace_late(
        "/w.m3u8",
        &[("cache-control", "max-age=1")],
        "new",
        Duration::from_millis(300),
    );
    edge.get("/w.m3u8").await.expect_cache("hit").expect_body("new");
    edge.replace_late("/old.m3u8", &[LIVE], "too old", Duration::from_secs(3600));
    origin.on("/old.m3u8", keyed("fetched"));
    edge.get("/old.m3u8").await.expect_body("fetched");
}

#[tokio::test]
async fn it_stands_where_the_property_looks_and_takes_the_place_of_all_variants() {
    let policy = CachePolicy { query: QueryPolicy::Drop, ..CachePolicy::default() };
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    let ask = |language: &str| Ask::get("/v.mpd?token=x").header("accept-language", language);
    for language in ["de", "en"] {
        origin.on("/v.mpd", keyed(language).header("vary", "accept-language"));
        edge.ask(Protocol::Http1, &ask(language)).await.expect_body(language);
    }
    edge.replace("/./v.mpd?token=y", &[LIVE], "new");
    for language in ["de", "en", "fr"] {
        edge.ask(Protocol::Http2, &ask(language)).await.expect_cache("hit").expect_body("new");
    }
    assert_eq!(origin.count("/v.mpd"), 2);
    // A plain purge of the URL that counts finds it.
    edge.purge(PurgeTarget::from_url("https://localhost/v.mpd").unwrap(), false);
    origin.on("/v.mpd", keyed("fetched"));
    edge.ask(Protocol::Http1, &ask("de")).await.expect_body("fetched");
}

#[tokio::test]
async fn without_words_of_its_own_the_policy_says_how_long_it_counts() {
    let origin = FakeOrigin::start().await;
    let policy = CachePolicy { media_defaults: true, ..CachePolicy::default() };
    let ttl = policy.media_ttl.manifest;
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    edge.replace("/v.m3u8", &[], "new");
    edge.get("/v.m3u8").await.expect_cache(&format!("hit ttl={}", ttl.as_secs()));
}

#[tokio::test]
async fn where_it_may_not_be_stored_the_purge_counts_all_the_same() {
    let off = CachePolicy { enabled: false, ..CachePolicy::default() };
    let small =
        CachePolicy { object_bytes_max: bytesize::ByteSize::b(4), ..CachePolicy::default() };
    for (policy, headers, result) in [
        (CachePolicy::default(), ("cache-control", "no-store"), "no-store"),
        (CachePolicy::default(), ("surrogate-key", "a,b"), "surrogate-key"),
        (off, LIVE, "policy"),
        (small, LIVE, "size"),
    ] {
        let origin = FakeOrigin::start().await;
        origin.on("/v.m3u8", keyed("old"));
        let edge = TestEdge::before(&origin).policy(policy).start().await;
        edge.get("/v.m3u8").await.expect_body("old");
        origin.on("/v.m3u8", keyed("new"));
        let headers = if headers.0 == LIVE.0 { vec![headers] } else { vec![LIVE, headers] };
        edge.replace("/v.m3u8", &headers, "brought");
        edge.get("/v.m3u8").await.expect_body("new");
        let counted = edge.metric("edge_replacements_total", &[result]);
        assert_eq!(counted, 1.0, "{result}");
    }
}
