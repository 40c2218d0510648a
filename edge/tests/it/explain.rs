//! What operators are told of a resource: where it is, how fresh, under which names, and why it does not answer.

use http::{HeaderMap, HeaderValue};
use tidegate_contract::property::{CachePolicy, NegativeTtl};

use crate::harness::{FakeOrigin, Gate, Protocol, TestEdge, client::Ask, eventually, reply};

fn told(explanation: &tidegate_contract::explanation::Explanation) -> (&str, Option<&str>, &str) {
    let tier = explanation.stored.as_ref().map_or("-", |stored| stored.tier.as_str());
    (&explanation.decision, explanation.reason.as_deref(), tier)
}

#[tokio::test]
async fn what_is_in_memory_is_told_with_its_freshness_and_its_keys() {
    let origin = FakeOrigin::start().await;
    let life = "max-age=100, stale-while-revalidate=7, stale-if-error=9";
    let keys = ("surrogate-key", "video-1 all");
    origin.on("/v/a.m4s?b=1", reply(200).cache_control(life).header(keys.0, keys.1).body("12345"));
    let edge = TestEdge::before(&origin).start().await;
    let before = edge.explain("/v/a.m4s?b=1").await;
    assert_eq!(told(&before), ("fetch", None, "-"));
    edge.get("/v/a.m4s?b=1").await;
    edge.advance(40);

    let after = edge.explain("/v/a.m4s?b=1").await;
    assert_eq!(told(&after), ("serve", None, "memory"));
    assert_eq!((after.host.as_str(), after.path.as_str()), ("localhost", "/v/a.m4s?b=1"));
    assert_eq!((after.property.as_str(), after.class.as_str()), ("demo", "segment"));
    assert_eq!(after.key, before.key);
    let stored = after.stored.unwrap();
    assert_eq!((stored.status, stored.bytes, stored.verdict.as_str()), (200, Some(5), "valid"));
    assert!((40..=41).contains(&stored.age_s), "{}", stored.age_s);
    assert_eq!(stored.ttl_s, 100 - stored.age_s.cast_signed());
    assert_eq!((stored.stale_while_revalidate_s, stored.stale_if_error_s), (7, 9));
    assert_eq!(stored.surrogate_keys, ["video-1", "all"]);
    assert_eq!(stored.names, 6, "URL, property, two folders, two keys");
    assert!(!stored.came_with_purge);

    edge.advance(62);
    assert_eq!(told(&edge.explain("/v/a.m4s?b=1").await), ("serve-stale", Some("stale"), "memory"));
    edge.advance(6);
    assert_eq!(told(&edge.explain("/v/a.m4s?b=1").await), ("revalidate", Some("stale"), "memory"));
    assert_eq!(origin.count("/v/a.m4s?b=1"), 1, "asking changes nothing");
    assert_eq!(edge.metric("edge_cache_tier_hits_total", &["memory"]), 0.0, "and counts as no hit");
}

#[tokio::test]
async fn what_is_on_disk_and_what_still_arrives_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let origin = FakeOrigin::start().await;
    origin.on("/disk", reply(200).cache_control("max-age=1000").body("12345"));
    let path = folder.path().join("cache");
    let edge = TestEdge::before(&origin)
        .config(|config| {
            config.cache.disk.path = Some(path);
            config.cache.memory = bytesize::ByteSize::kib(64);
        })
        .start()
        .await;
    edge.get("/disk").await;
    edge.get("/disk").await;
    edge.handles.store.settle();
    // Others drive it out of memory.
    let others: Vec<_> = (0..40).map(|n| format!("/other/{n}")).collect();
    let other = reply(200).cache_control("max-age=1000").body("x".repeat(8000));
    for path in &others {
        origin.on(path, other.clone());
    }
    futures::future::join_all(others.iter().map(|path| edge.get(path))).await;
    let on_disk = edge.explain("/disk").await;
    assert_eq!(told(&on_disk), ("serve", None, "disk"));
    assert_eq!(on_disk.stored.unwrap().bytes, Some(5));

    let gate = Gate::closed();
    let halting = reply(200).cache_control("max-age=10").body("x".repeat(1000));
    origin.on("/halting", halting.clone().paused_after(500, &gate));
    origin.on("/held", halting.held(&gate));
    let ask = |path: &'static str| {
        let client = edge.client.clone();
        tokio::spawn(async move { client.ask(Protocol::Http2, &Ask::get(path)).await.unwrap() })
    };
    let asking = [ask("/halting"), ask("/held")];
    eventually("one is arriving and one is asked for", || {
        edge.handles.store.sizes().fills == 1 && origin.count("/held") == 1
    })
    .await;
    assert_eq!(told(&edge.explain("/halting").await), ("serve", None, "in_flight"));
    let held = edge.explain("/held").await;
    assert_eq!((told(&held), held.is_being_asked_for), (("fetch", None, "-"), true));
    gate.open();
    for asking in asking {
        asking.await.unwrap().expect_status(200);
    }
}

#[tokio::test]
async fn what_does_not_answer_is_told_with_the_reason() {
    let origin = FakeOrigin::start().await;
    let negative_ttl = vec![NegativeTtl { status: 404, ttl: std::time::Duration::from_secs(30) }];
    let policy = CachePolicy { negative_ttl, client_directives: true, ..CachePolicy::default() };
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    let fresh = || reply(200).cache_control("max-age=100").etag("\"a\"").body("x");
    origin.on("/no-store", reply(200).cache_control("no-store").body("x"));
    origin.on("/no-cache", reply(200).cache_control("no-cache").etag("\"a\"").body("x"));
    origin.on("/missing", reply(404).body("x"));
    origin.on("/varies", fresh().header("vary", "accept-language"));
    origin.on("/hard", fresh().header("surrogate-key", "hard"));
    origin.on("/soft", fresh().header("surrogate-key", "soft"));
    for path in ["/no-store", "/no-cache", "/missing", "/varies", "/hard", "/soft"] {
        edge.get(path).await;
    }
    edge.purge_key("hard", false);
    edge.purge_key("soft", true);
    edge.advance(1);
    for (path, expected) in [
        ("/no-store", ("fetch", Some("no-store"), "-")),
        ("/no-cache", ("revalidate", Some("no-cache"), "memory")),
        ("/missing", ("serve", None, "memory")),
        ("/hard", ("fetch", Some("purged"), "memory")),
        ("/soft", ("serve-stale", Some("soft-purged"), "memory")),
    ] {
        assert_eq!(told(&edge.explain(path).await), expected, "{path}");
    }
    assert_eq!(edge.explain("/missing").await.stored.unwrap().status, 404);
    assert_eq!(edge.explain("/hard").await.stored.unwrap().verdict, "hard");
    let varies = edge.explain("/varies").await;
    assert_eq!(varies.stored.unwrap().vary, ["accept-language"]);
    let with = |name: &'static str, value: &'static str| {
        [(http::HeaderName::from_static(name), HeaderValue::from_static(value))]
            .into_iter()
            .collect::<HeaderMap>()
    };
    let german = edge.explain_for("/varies", &with("accept-language", "de")).await;
    assert_eq!(told(&german), ("fetch", Some("vary-miss"), "-"));
    let impatient = edge.explain_for("/missing", &with("cache-control", "no-cache")).await;
    assert_eq!(told(&impatient), ("revalidate", Some("request"), "memory"));
    edge.handles.purges.suspect_mutable();
    assert_eq!(told(&edge.explain("/varies").await), ("revalidate", Some("suspect"), "memory"));

    let off = CachePolicy { enabled: false, ..CachePolicy::default() };
    let passing = TestEdge::before(&origin).policy(off).start().await;
    assert_eq!(told(&passing.explain("/missing").await), ("pass", Some("policy"), "-"));
}

#[tokio::test]
async fn a_url_as_a_player_has_it_is_told_without_what_is_for_the_door_alone() {
    let origin = FakeOrigin::start().await;
    origin.on("/v.m4s?x=1", reply(200).cache_control("max-age=60").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/v.m4s?CMCD=bl%3D100&x=1").await.expect_status(200);
    let told_of = edge.explain("/v.m4s?x=1&CMCD=bl%3D900").await;
    assert_eq!(told(&told_of), ("serve", None, "memory"));
    assert_eq!(told_of.path, "/v.m4s?x=1");
}

#[tokio::test]
async fn what_came_with_a_purge_is_told_as_such_until_something_else_takes_its_place() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let came = async || edge.explain("/v.m3u8").await.stored.is_some_and(|s| s.came_with_purge);
    assert!(!came().await);
    edge.replace("/v.m3u8", &[("cache-control", "max-age=60")], "brought");
    assert!(came().await);
    origin.on("/v.m3u8", reply(200).cache_control("max-age=60").body("fetched"));
    edge.advance(61);
    edge.get("/v.m3u8").await.expect_body("fetched");
    assert!(!came().await);
}

#[tokio::test]
async fn a_node_that_is_cut_off_says_why_it_asks_upstream() {
    let origin = FakeOrigin::start().await;
    origin.on("/m.m3u8", reply(200).cache_control("max-age=600").etag("\"a\"").body("x"));
    let edge = TestEdge::before(&origin).controlled().start().await;
    edge.handles.lease.heartbeat(edge.clock.now());
    edge.get("/m.m3u8").await;
    assert_eq!(told(&edge.explain("/m.m3u8").await), ("serve", None, "memory"));
    edge.advance(60);
    assert_eq!(told(&edge.explain("/m.m3u8").await), ("revalidate", Some("uncertain"), "memory"));
}
