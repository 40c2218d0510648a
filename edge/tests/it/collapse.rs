//! Many clients want the same thing at once: upstream is asked once, and all get it as it arrives.

use futures::future::join_all;

use crate::harness::{
    FakeOrigin, Gate, PROTOCOLS, Protocol, TestEdge, client::Ask, eventually, noise, reply,
};

#[tokio::test]
async fn fifty_clients_on_three_protocols_cost_one_fetch() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    let gate = Gate::closed();
    let slow = reply(200).cache_control("max-age=60").body(body.clone()).held(&gate);
    origin.on("/s", slow);
    let edge = TestEdge::before(&origin).start().await;

    let clients = (0..50).map(|n| edge.get_by(PROTOCOLS[n % 3], "/s"));
    let all = join_all(clients);
    let open = async {
        eventually("the origin is asked", || origin.count("/s") > 0).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(all, open);
    let mut collapsed = 0;
    for answer in answers {
        let answer = answer.expect_status(200).expect_body(&body);
        collapsed += u32::from(answer.header("cache-status").contains("collapsed"));
    }
    assert_eq!(origin.count("/s"), 1);
    assert!(collapsed > 0);
}

#[tokio::test]
async fn who_comes_later_gets_at_once_what_has_arrived_so_far() {
    let origin = FakeOrigin::start().await;
    let body = noise(120_000);
    let gate = Gate::closed();
    let halting = reply(200).cache_control("max-age=60").body(body.clone());
    origin.on("/s", halting.chunked().paused_after(60_000, &gate));
    let edge = TestEdge::before(&origin).start().await;

    let mut readers = Vec::new();
    for protocol in PROTOCOLS {
        let mut open = edge.open(protocol, "/s").await;
        let mut read = 0;
        while read < 60_000 {
            read += open.read().await.unwrap().expect("more to come").len();
        }
        readers.push((protocol, open, read));
    }
    gate.open();
    for (protocol, mut open, mut read) in readers {
        while let Some(bytes) = open.read().await.unwrap() {
            read += bytes.len();
        }
        assert_eq!(read, body.len(), "{protocol:?}");
    }
    assert_eq!(origin.count("/s"), 1);
}

#[tokio::test]
async fn a_range_of_a_running_fill_does_not_wait_for_its_end() {
    let origin = FakeOrigin::start().await;
    let body = noise(120_000);
    let gate = Gate::closed();
    let halting = reply(200).cache_control("max-age=60").body(body.clone());
    origin.on("/s", halting.paused_after(60_000, &gate));
    let edge = TestEdge::before(&origin).start().await;
    let mut first = edge.open(Protocol::Http1, "/s").await;
    for protocol in PROTOCOLS {
        edge.ask(protocol, &Ask::get("/s").header("range", "bytes=1000-1999"))
            .await
            .expect_status(206)
            .expect_body(&body[1000..2000]);
    }
    gate.open();
    while first.read().await.unwrap().is_some() {}
    assert_eq!(origin.count("/s"), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_fill() {
    let origin = FakeOrigin::start().await;
    for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
        let path = format!("/{n}");
        let gate = Gate::closed();
        let halting = reply(200).cache_control("max-age=60").body(noise(100_000));
        origin.on(&path, halting.paused_after(50_000, &gate));
        let edge = TestEdge::before(&origin).start().await;
        let mut open = edge.open(protocol, &path).await;
        open.read().await.unwrap();
        drop(open);
        gate.open();
        eventually("the fill is stored", || edge.metric("edge_fills_total", &["stored"]) > 0.0)
            .await;
        edge.get(&path).await.expect_cache("hit").expect_body(noise(100_000));
        assert_eq!(origin.count(&path), 1, "{protocol:?}");
    }
}
