//! A body that breaks off in the middle: the rest comes from another origin that has the same representation, or the
//! reader learns that it does not come. Never does it look complete.

use bytesize::ByteSize;
use futures::future::join_all;
use tidegate_contract::property::CachePolicy;

use crate::harness::{
    FakeOrigin, Gate, PROTOCOLS, TestEdge, client::Ask, eventually, noise, origin::Reply, reply,
};

const SLICE: usize = 64 * 1024;
/// In the second of the three slices that a range lies in.
const BREAK: usize = SLICE + 30_000;

async fn edge(first: &FakeOrigin, second: Option<&FakeOrigin>) -> TestEdge {
    let policy = CachePolicy { slice: Some(ByteSize::b(SLICE as u64)), ..CachePolicy::default() };
    let edge = TestEdge::before(first).policy(policy);
    let edge = second.into_iter().fold(edge, |edge, origin| edge.origin(origin));
    edge.start().await
}

fn movie(tag: &str, body: Vec<u8>) -> Reply {
    reply(200).cache_control("max-age=60").etag(tag).body(body).ranged()
}

fn range() -> Ask {
    Ask::get("/m.mp4").header("range", "bytes=60000-190000")
}

fn asked(origin: &FakeOrigin) -> Vec<String> {
    let all = origin.all("/m.mp4");
    all.iter().map(|request| request.header("range").unwrap_or("whole").to_owned()).collect()
}

#[tokio::test]
async fn a_slice_goes_on_at_the_next_origin_that_has_the_same() {
    let body = noise(300_000);
    for protocol in PROTOCOLS {
        let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
        first.on("/m.mp4", movie("\"a\"", body.clone()).breaking_off_at(BREAK));
        second.on("/m.mp4", movie("\"a\"", body.clone()));
        let edge = edge(&first, Some(&second)).await;
        for again in [protocol, PROTOCOLS[0]] {
            edge.ask(again, &range())
                .await
                .expect_status(206)
                .expect_header("content-range", "bytes 60000-190000/300000")
                .expect_body(&body[60_000..=190_000]);
        }
        assert_eq!(asked(&second), [format!("bytes={BREAK}-{}", 2 * SLICE - 1)]);
        assert_eq!(asked(&first).len(), 3, "each slice once: {:?}", asked(&first));
        edge.expect_metric("edge_background_fetches_total", &["rest"], 1.0).await;
    }
}

#[tokio::test]
async fn a_slice_does_not_go_on_with_something_else() {
    let body = noise(300_000);
    let other: Vec<u8> = body.iter().rev().copied().collect();
    for second_has in [
        movie("\"b\"", other.clone()),
        movie("W/\"a\"", other.clone()),
        movie("\"a\"", other[..299_999].to_vec()),
        reply(200).cache_control("max-age=60").etag("\"a\"").body(other.clone()),
        reply(404).body("none"),
    ] {
        for protocol in PROTOCOLS {
            let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
            first.on("/m.mp4", movie("\"a\"", body.clone()).breaking_off_at(BREAK));
            second.on("/m.mp4", second_has.clone());
            let edge = edge(&first, Some(&second)).await;
            let broken = edge.ask(protocol, &range()).await.expect_status(206);
            broken.expect_broken();
            assert_eq!(second.count("/m.mp4"), 1);
        }
    }
}

#[tokio::test]
async fn an_origin_that_breaks_off_again_and_again_is_not_asked_for_ever() {
    let body = noise(300_000);
    let origin = FakeOrigin::start().await;
    origin.on("/m.mp4", movie("\"a\"", body.clone()).breaking_off_at(BREAK));
    let edge = edge(&origin, None).await;
    for protocol in PROTOCOLS {
        edge.ask(protocol, &range()).await.expect_broken();
        edge.get_by(protocol, "/m.mp4").await.expect_broken();
    }
    let of_second = asked(&origin).iter().filter(|range| !range.starts_with("bytes=0-")).count();
    assert!(of_second <= 6 * 4 + 2, "{:?}", asked(&origin));
    origin.on("/m.mp4", movie("\"a\"", body.clone()));
    edge.advance(60);
    edge.get("/m.mp4").await.expect_status(200).expect_body(&body);
    assert_eq!(edge.handles.store.sizes().in_flight_bytes, 0);
}

#[tokio::test]
async fn all_readers_of_a_whole_body_get_the_rest_of_it() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let (body, gate) = (noise(300_000), Gate::closed());
    let breaking = movie("\"a\"", body.clone()).paused_after(50_000, &gate);
    first.on("/s.ts", breaking.breaking_off_after(170_000));
    second.on("/s.ts", movie("\"a\"", body.clone()));
    let policy = CachePolicy { slice: None, ..CachePolicy::default() };
    let edge = TestEdge::before(&first).origin(&second).policy(policy).start().await;
    let mut readers = Vec::new();
    for protocol in PROTOCOLS {
        let mut open = edge.open(protocol, "/s.ts").await;
        assert_eq!(open.headers["content-length"], "300000");
        let first = open.read().await.unwrap().expect("the first bytes");
        readers.push((open, first.to_vec()));
    }
    gate.open();
    let rest = join_all(readers.into_iter().map(|(mut open, mut read)| async move {
        while let Some(bytes) = open.read().await.unwrap() {
            read.extend_from_slice(&bytes);
        }
        read
    }));
    for read in rest.await {
        assert!(read == body, "{} bytes", read.len());
    }
    assert_eq!(second.last("/s.ts").header("range"), Some("bytes=170000-299999"));
    eventually("it is stored", || edge.metric("edge_fills_total", &["stored"]) == 1.0).await;
    edge.get("/s.ts").await.expect_cache("hit").expect_body(&body);
}

#[tokio::test]
async fn what_says_neither_its_length_nor_its_version_is_not_put_together() {
    let body = noise(300_000);
    let plain = || reply(200).cache_control("max-age=60").body(body.clone()).ranged();
    for breaking in [plain(), plain().etag("\"a\"").chunked()] {
        let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
        first.on("/s.ts", breaking.breaking_off_after(170_000));
        second.on("/s.ts", plain().etag("\"a\""));
        let edge = TestEdge::before(&first).origin(&second).start().await;
        for protocol in PROTOCOLS {
            edge.get_by(protocol, "/s.ts").await.expect_broken();
        }
        assert!(asked(&second).iter().all(|range| range == "whole"));
    }
}

async fn edge_with_pace(first: &FakeOrigin, second: Option<&FakeOrigin>) -> TestEdge {
    let edge = TestEdge::before(first).config(|config| {
        // Fifty bytes a second drip; a whole answer of the other origin needs far less than the time.
        config.fetch.fill_rate_min = ByteSize::kib(1);
        config.fetch.fill_rate_time = std::time::Duration::from_secs(3);
    });
    second.into_iter().fold(edge, |edge, origin| edge.origin(origin)).start().await
}

#[tokio::test]
async fn an_origin_that_drips_is_given_up_for_the_next_one() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let body = noise(300_000);
    first.on("/s.ts", movie("\"a\"", body.clone()).dripping_after(100_000));
    second.on("/s.ts", movie("\"a\"", body.clone()));
    let edge = edge_with_pace(&first, Some(&second)).await;
    for answer in join_all(PROTOCOLS.map(|protocol| edge.get_by(protocol, "/s.ts"))).await {
        answer.expect_status(200).expect_body(&body);
    }
    assert_eq!((first.count("/s.ts"), second.count("/s.ts")), (1, 1));
    edge.expect_metric("edge_upstream_errors_total", &["slow"], 1.0).await;
}

#[tokio::test]
async fn where_nobody_else_has_it_readers_learn_that_it_drips() {
    let origin = FakeOrigin::start().await;
    let dripping = reply(200).cache_control("max-age=60").body(noise(300_000));
    origin.on("/s.ts", dripping.dripping_after(100_000));
    let edge = edge_with_pace(&origin, None).await;
    for answer in join_all(PROTOCOLS.map(|protocol| edge.get_by(protocol, "/s.ts"))).await {
        answer.expect_status(200).expect_broken();
    }
    edge.expect_metric("edge_fills_total", &["failed"], 1.0).await;
}
