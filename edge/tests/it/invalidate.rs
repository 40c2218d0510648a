//! What an unsafe method changed is not served any more.

use http::Method;

use crate::harness::{FakeOrigin, Gate, PROTOCOLS, TestEdge, client::Ask, eventually, reply};

#[tokio::test]
async fn a_success_forgets_the_resource_and_what_it_names_and_an_error_does_not() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let kept = |body: &str| reply(200).cache_control("max-age=600").body(body);
    for protocol in PROTOCOLS {
        for (status, is_forgotten) in [(200, true), (303, true), (404, false), (500, false)] {
            edge.purge(tidegate_contract::purge::PurgeTarget::All, false);
            for path in ["/a", "/b", "/c"] {
                origin.on(path, kept("old"));
                edge.get(path).await.expect_body("old");
            }
            origin.on("/a", reply(status).header("location", "/b").body("done"));
            let report = Method::from_bytes(b"REPORT").unwrap();
            edge.ask(protocol, &Ask::get("/a").method(report).body("x")).await;
            for path in ["/a", "/b", "/c"] {
                origin.on(path, kept("new"));
                let expected = if is_forgotten && path != "/c" { "new" } else { "old" };
                let answer = edge.get(path).await;
                assert_eq!(
                    answer.whole_body(),
                    expected,
                    "{protocol:?} {status} {path} {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_answer_to_a_post_that_stands_for_the_resource_serves_later_gets() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let stands = |path: &str| {
        let answer = reply(200).cache_control("max-age=600").header("content-location", path);
        answer.body("posted")
    };
    for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
        let post = |path: &str| Ask::get(path).method(Method::POST).body("x");
        let path = format!("/kept/{n}?a=1");
        origin.on(&path, reply(200).cache_control("max-age=600").body("old"));
        edge.get_by(protocol, &path).await.expect_body("old");
        origin.on(&path, stands(&path));
        let answer = edge.ask(protocol, &post(&path)).await;
        answer.expect_status(200).expect_cache("fwd=method stored").expect_body("posted");
        for reader in PROTOCOLS {
            edge.get_by(reader, &path).await.expect_cache("hit ttl=600").expect_body("posted");
        }
        assert_eq!(origin.count(&path), 2);
        // Its own conditions were for the origin.
        let conditional = post(&path).header("if-none-match", "*").header("range", "bytes=0-0");
        edge.ask(protocol, &conditional).await.expect_status(200).expect_body("posted");
        assert_eq!(origin.count(&path), 3, "a POST is never answered from the cache");

        for (n, answer) in [
            stands("/elsewhere"),
            reply(200).header("content-location", "").body("posted"),
            reply(200).cache_control("max-age=600").body("posted"),
            stands("").header("set-cookie", "a=1"),
            reply(201).cache_control("max-age=600").header("content-location", "").body("posted"),
        ]
        .into_iter()
        .enumerate()
        {
            let path = format!("/passed/{protocol:?}/{n}");
            origin.on(&path, answer);
            edge.ask(protocol, &post(&path)).await.expect_body("posted");
            origin.on(&path, reply(200).cache_control("max-age=600").body("fetched"));
            edge.get_by(protocol, &path).await.expect_body("fetched");
        }
    }
}

#[tokio::test]
async fn a_post_that_was_under_way_when_a_purge_came_leaves_nothing_behind() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let gate = Gate::closed();
    let stands = reply(200).cache_control("max-age=600").header("content-location", "/p");
    origin.on("/p", stands.body("posted").held(&gate));
    let client = edge.client.clone();
    let posting = tokio::spawn(async move {
        let post = Ask::get("/p").method(Method::POST).body("x");
        client.ask(PROTOCOLS[1], &post).await.unwrap()
    });
    eventually("the origin is asked", || origin.count("/p") == 1).await;
    edge.purge(tidegate_contract::purge::PurgeTarget::All, false);
    gate.open();
    posting.await.unwrap().expect_body("posted");
    origin.on("/p", reply(200).cache_control("max-age=600").body("fetched"));
    edge.get("/p").await.expect_body("fetched");
}

#[tokio::test]
async fn a_head_updates_or_outdates_what_is_stored() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let tagged = |tag: &str| reply(200).cache_control("max-age=10").etag(tag).body(tag);
    origin.on("/s", tagged("\"a\""));
    edge.get("/s").await.expect_body("\"a\"");
    edge.advance(11);
    let head = Ask::get("/s").method(Method::HEAD);
    edge.ask(PROTOCOLS[1], &head).await.expect_status(200).expect_body("");
    assert_eq!(origin.last("/s").method, "HEAD");
    edge.get("/s").await.expect_cache("hit ttl=10").expect_body("\"a\"");

    edge.advance(11);
    origin.on("/s", tagged("\"bb\""));
    edge.ask(PROTOCOLS[2], &head).await.expect_status(200);
    edge.get("/s").await.expect_cache("fwd=uri-miss").expect_body("\"bb\"");
}
