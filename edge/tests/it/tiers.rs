//! Edge, shield, origins: who is asked, who steps in, and what travels between nodes.

use std::collections::BTreeMap;

use tidegate_contract::{
    id::StreamId,
    property::UpstreamTls,
    purge::{PurgeOrder, PurgeTarget},
    snapshot::PopRole,
};

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, reply};

struct Chain {
    origin: FakeOrigin,
    shield: TestEdge,
    edge: TestEdge,
}

async fn chain() -> Chain {
    let origin = FakeOrigin::start().await;
    let shield =
        TestEdge::before(&origin).pop("shield").role(PopRole::Shield).controlled().start().await;
    let edge = TestEdge::before(&origin)
        .pop("fra")
        .shield(shield.as_shield("shield"))
        .controlled()
        .start()
        .await;
    for node in [&shield, &edge] {
        node.handles.lease.heartbeat(node.clock.now());
    }
    Chain { origin, shield, edge }
}

impl Chain {
    fn advance(&self, seconds: u64) {
        for node in [&self.edge, &self.shield] {
            node.advance(seconds);
            node.handles.lease.heartbeat(node.clock.now());
        }
    }
}

fn apply(node: &TestEdge, offset: u64, soft: bool) {
    let key = "video-1".parse().unwrap();
    node.handles.purges.apply(&PurgeOrder { target: PurgeTarget::Key { key }, soft });
    node.handles.lease.set_applied(&StreamId::parse("main").unwrap(), offset);
}

fn keyed(body: &str) -> crate::harness::origin::Reply {
    reply(200).cache_control("max-age=60").header("surrogate-key", "video-1").body(body)
}

#[tokio::test]
async fn an_object_is_fetched_once_per_tier_and_no_tier_adds_to_its_freshness() {
    let chain = chain().await;
    chain.origin.on("/s", keyed("x"));
    let answer = chain.edge.get("/s").await.expect_cache("fwd=uri-miss stored").expect_body("x");
    let statuses: Vec<_> = answer.headers.get_all("cache-status").iter().collect();
    assert_eq!(statuses.len(), 2, "{statuses:?}");
    assert!(statuses[0].to_str().unwrap().starts_with("tidegate-shield; fwd=uri-miss"));
    assert_eq!(answer.headers.get("surrogate-key"), None);
    chain.advance(50);
    chain.edge.purge_key("video-1", false);
    chain.edge.handles.lease.set_applied(&StreamId::parse("none").unwrap(), 0);
    chain.edge.get("/s").await.expect_cache("fwd=uri-miss ttl=10").expect_header("age", "50");
    assert_eq!(chain.origin.count("/s"), 1);
    let request = chain.origin.last("/s");
    let hops = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cdn-loop"));
    assert_eq!(hops.count(), 2);
    assert_eq!(request.header("tidegate-tier"), None);
}

#[tokio::test]
async fn surrogate_keys_reach_the_edge_so_that_it_can_purge_by_them() {
    let chain = chain().await;
    chain.origin.on("/s", keyed("old"));
    chain.edge.get("/s").await;
    chain.origin.on("/s", keyed("new"));
    apply(&chain.shield, 1, false);
    apply(&chain.edge, 1, false);
    for protocol in PROTOCOLS {
        chain.edge.get_by(protocol, "/s").await.expect_body("new");
    }
}

#[tokio::test]
async fn an_edge_never_gets_from_its_shield_what_it_has_purged_itself() {
    let chain = chain().await;
    chain.origin.on("/s", keyed("old"));
    chain.edge.get("/s").await;
    chain.origin.on("/s", keyed("new"));
    apply(&chain.edge, 1, false);
    // The shield does not know of the purge, and will not in time: it passes the request on.
    chain.edge.get("/s").await.expect_body("new");
    chain.edge.get("/s").await.expect_cache("hit").expect_body("new");
    // A moment later it does: it waits for that and fetches anew for all.
    apply(&chain.edge, 2, false);
    let applying = async { apply(&chain.shield, 2, false) };
    let (answer, ()) = tokio::join!(chain.edge.get("/s"), applying);
    answer.expect_body("new");
}

#[tokio::test]
async fn a_soft_purge_does_not_leave_an_edge_with_its_shields_stale_copy() {
    let chain = chain().await;
    chain.origin.on("/s", keyed("old"));
    chain.edge.get("/s").await;
    chain.origin.on("/s", keyed("new"));
    apply(&chain.shield, 1, true);
    apply(&chain.edge, 1, true);
    chain.edge.get("/s").await.expect_stale().expect_body("old");
    crate::harness::eventually("the edge is refilled", || {
        chain.edge.metric("edge_fills_total", &["stored"]) == 2.0
    })
    .await;
    chain.edge.get("/s").await.expect_cache("hit ttl=60").expect_body("new");
}

#[tokio::test]
async fn a_shield_is_asked_over_tls_and_only_under_its_own_authority() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", keyed("x"));
    let shield = TestEdge::before(&origin).pop("shield").role(PopRole::Shield).start().await;
    let nobody = FakeOrigin::start().await;
    nobody.stop();
    for (ca_pem, status) in [(shield.ca_pem.clone(), 200), (edge_of_another_authority().await, 502)]
    {
        let mut over_tls = shield.as_shield("shield");
        over_tls.upstream.authority = shield.client.https.to_string();
        over_tls.upstream.tls =
            Some(UpstreamTls { server_name: "localhost".to_owned(), ca_pem: Some(ca_pem) });
        let edge = TestEdge::before(&nobody).pop("fra").shield(over_tls).start().await;
        edge.get("/s").await.expect_status(status);
    }
    assert_eq!(origin.count("/s"), 1);
}

async fn edge_of_another_authority() -> String {
    TestEdge::before(&FakeOrigin::start().await).start().await.ca_pem.clone()
}

#[tokio::test]
async fn when_the_shield_is_gone_the_origin_is_asked() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", keyed("x"));
    let gone = FakeOrigin::start().await;
    let mut shield = TestEdge::before(&origin).start().await.as_shield("gone");
    shield.upstream.authority = gone.address.to_string();
    gone.stop();
    let edge = TestEdge::before(&origin).shield(shield).start().await;
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/s").await.expect_status(200).expect_body("x");
    }
    assert_eq!(origin.count("/s"), 1);
    assert_eq!(origin.last("/s").header("tidegate-tier"), None);
}

#[tokio::test]
async fn the_second_origin_steps_in_for_one_that_is_gone_or_says_503() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let edge = TestEdge::before(&first).origin(&second).start().await;
    for path in ["/a", "/b", "/c"] {
        first.on(path, reply(503).body("no"));
        second.on(path, reply(200).cache_control("max-age=60").body("x"));
    }
    edge.get("/a").await.expect_status(200).expect_body("x");
    edge.post("/a", b"once").await.expect_status(503);
    first.stop();
    edge.get("/b").await.expect_status(200).expect_body("x");
    edge.post("/c", b"x").await.expect_status(200);
    assert_eq!(second.count("/a"), 1);
}

#[tokio::test]
async fn a_request_that_comes_back_to_its_node_is_a_loop() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let itself = edge.as_shield("itself");
    let mut snapshot = edge.handles.policy.current().unwrap().snapshot.clone();
    snapshot.generation.0 += 1;
    snapshot.properties[0].origins = vec![itself.upstream];
    edge.handles.policy.install(snapshot).unwrap();
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/s").await.expect_status(508);
    }
}

#[tokio::test]
async fn a_client_cannot_pretend_to_be_a_node() {
    let chain = chain().await;
    chain.origin.on("/s", keyed("x"));
    chain.edge.get("/s").await;
    let other = tidegate_contract::tier::TierKey::new([1; 32]);
    let claim = tidegate_contract::tier::TierRequest {
        pop: "fra".parse().unwrap(),
        seen: BTreeMap::from([(StreamId::parse("main").unwrap(), 99)]),
    };
    let now = chain.edge.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let ask =
        crate::harness::client::Ask::get("/s").header("tidegate-tier", &other.seal(&claim, now));
    let answer = chain.edge.ask(crate::harness::Protocol::Http2, &ask).await.expect_cache("hit");
    assert_eq!(answer.headers.get("surrogate-key"), None);
}
