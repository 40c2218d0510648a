//! Cut off from the control plane: what can change is confirmed before it is served, what cannot is served on.

use tidegate_contract::id::StreamId;

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, reply};

async fn edge(origin: &FakeOrigin) -> TestEdge {
    let tagged = |control: &str| reply(200).cache_control(control).etag("\"a\"").body("old");
    origin.on("/manifest", tagged("max-age=600"));
    origin.on("/segment", tagged("max-age=600, immutable"));
    let edge = TestEdge::before(origin).controlled().start().await;
    edge.handles.lease.heartbeat(edge.clock.now());
    for path in ["/manifest", "/segment"] {
        edge.get(path).await.expect_cache("fwd=uri-miss");
        edge.get(path).await.expect_cache("hit");
    }
    edge
}

#[tokio::test]
async fn what_can_change_is_confirmed_and_what_cannot_is_served() {
    let origin = FakeOrigin::start().await;
    let edge = edge(&origin).await;
    edge.advance(5);
    edge.get("/manifest").await.expect_cache("hit");
    edge.advance(1);
    edge.get("/segment").await.expect_cache("hit");
    edge.get("/manifest").await.expect_cache("fwd=stale fwd-status=304").expect_body("old");
    edge.get("/manifest").await.expect_cache("hit");
    edge.advance(3);
    origin.on("/manifest", reply(200).cache_control("max-age=600").body("new"));
    edge.get("/manifest").await.expect_cache("fwd=stale").expect_body("new");
}

#[tokio::test]
async fn with_upstream_gone_as_well_it_is_served_and_said_to_be_stale() {
    let origin = FakeOrigin::start().await;
    let edge = edge(&origin).await;
    origin.stop();
    edge.advance(10);
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/manifest")
            .await
            .expect_status(200)
            .expect_cache("fwd=stale detail=stale-on-error")
            .expect_stale()
            .expect_body("old");
        edge.get_by(protocol, "/segment").await.expect_cache("hit");
    }
}

#[tokio::test]
async fn after_the_cut_it_stays_in_doubt_until_what_was_missed_is_applied() {
    let origin = FakeOrigin::start().await;
    let edge = edge(&origin).await;
    let (lease, stream) = (edge.handles.lease.clone(), StreamId::parse("main").unwrap());
    edge.advance(60);
    lease.set_head(&stream, 3);
    lease.heartbeat(edge.clock.now());
    edge.get("/manifest").await.expect_cache("fwd=stale fwd-status=304");
    edge.advance(3);
    edge.get("/manifest").await.expect_cache("fwd=stale fwd-status=304");
    lease.set_applied(&stream, 3);
    edge.advance(1);
    edge.get("/manifest").await.expect_cache("hit");
}

#[tokio::test]
async fn purges_that_were_missed_for_good_make_everything_that_can_change_suspect() {
    let origin = FakeOrigin::start().await;
    let edge = edge(&origin).await;
    edge.handles.purges.suspect_mutable();
    edge.get("/segment").await.expect_cache("hit");
    edge.get("/manifest").await.expect_cache("fwd=stale fwd-status=304");
    edge.get("/manifest").await.expect_cache("hit");
}
