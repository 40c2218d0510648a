//! Past its lifetime: confirmed, refreshed in the background, or served because there is nothing better.

use std::time::Duration;

use tidegate_contract::property::CachePolicy;

use crate::harness::{FakeOrigin, Gate, PROTOCOLS, Protocol, TestEdge, eventually, reply};

#[tokio::test]
async fn a_304_confirms_what_is_stored() {
    let origin = FakeOrigin::start().await;
    let tagged = reply(200).cache_control("max-age=10").etag("\"a\"").body("hello");
    origin.on("/s", tagged.clone().header("age", "3"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await.expect_cache("fwd=uri-miss ttl=7");
    for protocol in PROTOCOLS {
        edge.advance(11);
        origin.on("/s", tagged.clone());
        edge.get_by(protocol, "/s")
            .await
            .expect_status(200)
            .expect_cache("fwd=stale fwd-status=304 ttl=10")
            .expect_body("hello");
        edge.advance(5);
        edge.get_by(protocol, "/s").await.expect_cache("hit ttl=5").expect_header("age", "5");
    }
    assert_eq!(origin.count("/s"), 4);
    assert_eq!(origin.last("/s").header("if-none-match"), Some("\"a\""));
    edge.expect_metric("edge_fills_total", &["confirmed"], 3.0).await;
}

#[tokio::test]
async fn what_changed_replaces_what_is_stored() {
    let origin = FakeOrigin::start().await;
    let tagged = |tag: &str| reply(200).cache_control("max-age=10").etag(tag).body(tag);
    origin.on("/s", tagged("\"a\""));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await.expect_body("\"a\"");
    origin.on("/s", tagged("\"b\""));
    edge.advance(11);
    edge.get("/s").await.expect_cache("fwd=stale fwd-status=200 stored").expect_body("\"b\"");
    edge.get("/s").await.expect_cache("hit").expect_body("\"b\"");
}

#[tokio::test]
async fn stale_while_revalidate_answers_at_once_and_refreshes_behind_the_scenes() {
    for protocol in PROTOCOLS {
        let origin = FakeOrigin::start().await;
        let lasting = |body: &str| {
            reply(200).cache_control("max-age=10, stale-while-revalidate=60").body(body)
        };
        origin.on("/s", lasting("old"));
        let edge = TestEdge::before(&origin).start().await;
        edge.get_by(protocol, "/s").await.expect_body("old");
        edge.advance(15);

        let gate = Gate::closed();
        origin.on("/s", lasting("new").held(&gate));
        for _ in 0..3 {
            edge.get_by(protocol, "/s")
                .await
                .expect_cache("hit ttl=-5")
                .expect_header("age", "15")
                .expect_body("old");
        }
        eventually("one refresh runs", || origin.count("/s") == 2).await;
        gate.open();
        eventually("it is stored", || edge.metric("edge_fills_total", &["stored"]) == 2.0).await;
        edge.get_by(protocol, "/s").await.expect_cache("hit ttl=10").expect_body("new");
        assert_eq!(origin.count("/s"), 2, "{protocol:?}");
    }
}

#[tokio::test]
async fn past_the_window_a_client_waits_for_the_answer() {
    let origin = FakeOrigin::start().await;
    let lasting =
        |body: &str| reply(200).cache_control("max-age=10, stale-while-revalidate=20").body(body);
    origin.on("/s", lasting("old"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await;
    origin.on("/s", lasting("new"));
    edge.advance(31);
    edge.get("/s").await.expect_cache("fwd=stale").expect_body("new");
}

#[tokio::test]
async fn when_upstream_fails_the_stale_is_better_than_nothing() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(200).cache_control("max-age=10, stale-if-error=100").body("old"));
    origin.on("/strict", reply(200).cache_control("max-age=10").body("old"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await;
    edge.get("/strict").await;
    edge.advance(20);

    origin.on("/s", reply(503).body("sorry"));
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/s")
            .await
            .expect_status(200)
            .expect_cache("fwd=stale ttl=-10 detail=stale-on-error")
            .expect_body("old");
    }
    origin.stop();
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/s").await.expect_status(200).expect_stale().expect_body("old");
        edge.get_by(protocol, "/strict").await.expect_status(502);
    }
    edge.advance(100);
    edge.get("/s").await.expect_status(502);
}

#[tokio::test]
async fn the_property_may_allow_stale_answers_where_the_origin_is_silent() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(200).cache_control("max-age=10").body("old"));
    let policy = CachePolicy { stale_if_error: Duration::from_secs(60), ..CachePolicy::default() };
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    edge.get("/s").await;
    origin.stop();
    edge.advance(20);
    edge.get_by(Protocol::Http2, "/s").await.expect_status(200).expect_stale().expect_body("old");
}

#[tokio::test]
async fn by_the_letter_what_nothing_forbids_is_served_stale_when_nobody_answers() {
    let origin = FakeOrigin::start().await;
    origin.on("/silent", reply(200).cache_control("max-age=10").body("old"));
    origin.on("/strict", reply(200).cache_control("max-age=10, must-revalidate").body("old"));
    let edge = TestEdge::before(&origin).policy(CachePolicy::by_the_letter()).start().await;
    edge.get("/silent").await;
    edge.get("/strict").await;
    edge.advance(20);
    // An answer is an answer (RFC 9111 4.2.4 speaks of a cache that is cut off).
    origin.on("/silent", reply(503).body("sorry"));
    edge.get("/silent").await.expect_status(503).expect_body("sorry");
    origin.stop();
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/silent").await.expect_status(200).expect_stale().expect_body("old");
        edge.get_by(protocol, "/strict").await.expect_status(502);
    }
    edge.advance(3600);
    edge.get("/silent").await.expect_status(502);
}
