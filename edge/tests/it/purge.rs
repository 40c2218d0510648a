//! Purges: what was named is not served again, whatever was under way when the purge came.

use tidegate_contract::purge::PurgeTarget;

use crate::harness::{FakeOrigin, Gate, PROTOCOLS, Protocol, TestEdge, eventually, reply};

fn url(path: &str) -> PurgeTarget {
    PurgeTarget::from_url(&format!("https://localhost{path}")).unwrap()
}

fn keyed(body: &str) -> crate::harness::origin::Reply {
    reply(200).cache_control("max-age=600").header("surrogate-key", "video-1 all").body(body)
}

#[tokio::test]
async fn a_hard_purge_by_url_key_or_everything_forces_a_new_fetch() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let key = |name: &str| PurgeTarget::Key { key: name.parse().unwrap() };
    let mut fetches = 0;
    for (target, hits_other) in [
        (url("/a?x=1"), false),
        (key("video-1"), true),
        (key("all"), true),
        (PurgeTarget::All, true),
    ] {
        for path in ["/a?x=1", "/b"] {
            origin.on(path, keyed("old"));
            edge.get(path).await.expect_body("old");
            origin.on(path, keyed("new"));
        }
        edge.purge(target.clone(), false);
        for protocol in PROTOCOLS {
            edge.get_by(protocol, "/a?x=1").await.expect_body("new");
            let other = if hits_other { "new" } else { "old" };
            edge.get_by(protocol, "/b").await.expect_body(other);
        }
        edge.purge(PurgeTarget::All, false);
        fetches += 2;
        assert_eq!(origin.count("/a?x=1"), fetches, "{target:?}");
    }
}

#[tokio::test]
async fn a_soft_purge_serves_stale_once_and_refills() {
    for protocol in PROTOCOLS {
        let origin = FakeOrigin::start().await;
        origin.on("/s", keyed("old"));
        let edge = TestEdge::before(&origin).start().await;
        edge.get_by(protocol, "/s").await.expect_cache("fwd=uri-miss");
        origin.on("/s", keyed("new"));
        edge.purge_key("video-1", true);

        edge.get_by(protocol, "/s").await.expect_cache("hit").expect_stale().expect_body("old");
        eventually("it is refilled", || origin.count("/s") == 2).await;
        eventually("it is stored", || edge.metric("edge_fills_total", &["stored"]) == 2.0).await;
        edge.get_by(protocol, "/s").await.expect_cache("hit ttl=600").expect_body("new");
    }
}

#[tokio::test]
async fn a_hard_purge_does_not_trust_the_validator_of_what_was_purged() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", keyed("old").etag("\"same\""));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await;
    origin.on("/s", keyed("new").etag("\"same\""));
    edge.purge_key("video-1", false);
    edge.get("/s").await.expect_body("new");
    assert_eq!(origin.last("/s").header("if-none-match"), None);
}

#[tokio::test]
async fn a_purge_is_not_undone_by_a_fill_that_began_before_it() {
    for protocol in PROTOCOLS {
        let origin = FakeOrigin::start().await;
        // The purge comes before the head of the old answer, or in the middle of its body.
        for (path, is_held) in [("/held", true), ("/halting", false)] {
            let gate = Gate::closed();
            let old = keyed(&"o".repeat(1000));
            let old = if is_held { old.held(&gate) } else { old.paused_after(500, &gate) };
            origin.on(path, old);
            let edge = TestEdge::before(&origin).start().await;
            let first = edge.client.clone();
            let first = tokio::spawn(async move {
                first.ask(protocol, &crate::harness::client::Ask::get(path)).await.unwrap()
            });
            eventually("the fill is under way", || {
                origin.count(path) == 1 && (is_held || edge.handles.store.sizes().fills == 1)
            })
            .await;
            edge.purge_key("video-1", false);
            origin.on(path, keyed("new"));
            if !is_held {
                edge.get_by(protocol, path).await.expect_body("new");
            }
            gate.open();
            first.await.unwrap().expect_status(200).expect_body("o".repeat(1000));
            eventually("no fill runs", || edge.handles.store.sizes().fills == 0).await;
            edge.get_by(protocol, path).await.expect_body("new");
            edge.get_by(protocol, path).await.expect_cache("hit").expect_body("new");
        }
    }
}

#[tokio::test]
async fn a_confirmation_that_was_asked_for_before_a_purge_does_not_undo_it() {
    let origin = FakeOrigin::start().await;
    let tagged = |body: &str| keyed(body).etag("\"a\"");
    origin.on("/s", tagged("old"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await;
    edge.advance(601);
    let gate = Gate::closed();
    origin.on("/s", tagged("old").held(&gate));
    let client = edge.client.clone();
    let confirming = tokio::spawn(async move {
        client.ask(Protocol::Http2, &crate::harness::client::Ask::get("/s")).await.unwrap()
    });
    eventually("a confirmation is asked for", || origin.count("/s") == 2).await;
    edge.purge_key("video-1", false);
    gate.open();
    confirming.await.unwrap().expect_status(200);
    origin.on("/s", tagged("new"));
    edge.get("/s").await.expect_body("new");
}

#[tokio::test]
async fn after_a_purge_fifty_clients_cost_one_fetch() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", keyed("old"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await;
    let gate = Gate::closed();
    origin.on("/s", keyed("new").held(&gate));
    edge.purge(url("/s"), false);
    let all = futures::future::join_all((0..50).map(|n| edge.get_by(PROTOCOLS[n % 3], "/s")));
    let open = async {
        eventually("the origin is asked", || origin.count("/s") == 2).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(all, open);
    for answer in answers {
        answer.expect_body("new");
    }
    assert_eq!(origin.count("/s"), 2);
}
