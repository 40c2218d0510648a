//! A fetch that breaks off: everyone who waits for it learns that, and nothing of it is kept.

use futures::future::join_all;

use crate::harness::{
    FakeOrigin, Gate, PROTOCOLS, TestEdge, client::Open, eventually, noise, origin::Reply, reply,
};

/// Readers of all protocols on one fill that will break off.
async fn readers(edge: &TestEdge) -> Vec<(Open, usize)> {
    let mut readers = Vec::new();
    for protocol in PROTOCOLS {
        for _ in 0..2 {
            let mut open = edge.open(protocol, "/s").await;
            assert_eq!(open.status, 200);
            let read = open.read().await.unwrap().expect("the first bytes").len();
            readers.push((open, read));
        }
    }
    readers
}

async fn all_fail(readers: Vec<(Open, usize)>) {
    let read_on = |(mut open, _): (Open, usize)| async move {
        loop {
            match open.read().await {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    };
    let failed = join_all(readers.into_iter().map(read_on)).await;
    assert_eq!(failed, vec![true; 6], "h1, h1, h2, h2, h3, h3");
}

async fn breaks_off(reply: Reply, gate: Gate) {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply);
    let edge = TestEdge::before(&origin).start().await;
    let readers = readers(&edge).await;
    assert_eq!(origin.count("/s"), 1);
    gate.open();
    all_fail(readers).await;
    eventually("the fill has failed", || edge.metric("edge_fills_total", &["failed"]) > 0.0).await;

    let whole = noise(90_000);
    origin.on("/s", crate::harness::reply(200).cache_control("max-age=60").body(whole.clone()));
    edge.get("/s").await.expect_cache("fwd=uri-miss").expect_body(&whole);
    assert_eq!(edge.handles.store.sizes().in_flight_bytes, 0);
}

fn halting(gate: &Gate) -> Reply {
    reply(200).cache_control("max-age=60").body(noise(100_000)).paused_after(50_000, gate)
}

#[tokio::test]
async fn a_body_of_known_length_that_breaks_off_fails_all_readers() {
    let gate = Gate::closed();
    breaks_off(halting(&gate).breaking_off_after(70_000), gate).await;
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_fails_all_readers() {
    let gate = Gate::closed();
    breaks_off(halting(&gate).chunked().breaking_off_after(70_000), gate).await;
}

#[tokio::test]
async fn a_body_that_is_shorter_than_announced_fails_all_readers() {
    let gate = Gate::closed();
    breaks_off(halting(&gate).announcing(120_000), gate).await;
}

#[tokio::test]
async fn a_body_that_grows_beyond_the_largest_object_reaches_its_readers_and_is_not_kept() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    let gate = Gate::closed();
    let growing = reply(200).cache_control("max-age=60").body(body.clone()).chunked();
    origin.on("/s", growing.clone().paused_after(50_000, &gate));
    let edge = TestEdge::before(&origin)
        .config(|config| config.cache.object_max = bytesize::ByteSize::kib(100))
        .start()
        .await;
    let readers = readers(&edge).await;
    gate.open();
    let rest = join_all(readers.into_iter().map(|(mut open, mut read)| async move {
        while let Some(bytes) = open.read().await.unwrap() {
            read += bytes.len();
        }
        read
    }));
    assert_eq!(rest.await, [body.len(); 6]);
    assert_eq!(origin.count("/s"), 1);
    origin.on("/s", growing);
    assert_eq!(edge.handles.store.sizes().objects, 0);
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/s").await.expect_cache("fwd=bypass").expect_body(&body);
    }
}
