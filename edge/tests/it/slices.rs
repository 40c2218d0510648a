//! Large objects in aligned slices: a seek costs one slice, readers share it, and slices are never mixed.

use bytesize::ByteSize;
use futures::future::join_all;
use tidegate_contract::property::CachePolicy;

use crate::harness::{
    FakeOrigin, Gate, PROTOCOLS, Protocol, TestEdge, client::Ask, eventually, noise, origin::Reply,
    reply,
};

const SLICE: usize = 64 * 1024;

fn policy() -> CachePolicy {
    CachePolicy { slice: Some(ByteSize::kib(64)), ..CachePolicy::default() }
}

fn movie(bytes: usize) -> Reply {
    reply(200).cache_control("max-age=60").etag("\"a\"").body(noise(bytes)).ranged()
}

fn range(value: &str) -> Ask {
    Ask::get("/m.mp4").header("range", value)
}

fn asked(origin: &FakeOrigin) -> Vec<String> {
    let ranges = origin.all("/m.mp4");
    ranges.iter().map(|request| request.header("range").unwrap_or("whole").to_owned()).collect()
}

async fn edge(origin: &FakeOrigin) -> TestEdge {
    TestEdge::before(origin).policy(policy()).start().await
}

#[tokio::test]
async fn a_cold_seek_costs_one_aligned_slice_and_the_next_one_nothing() {
    let origin = FakeOrigin::start().await;
    let body = noise(1_000_000);
    origin.on("/m.mp4", movie(1_000_000));
    let edge = edge(&origin).await;
    edge.ask(Protocol::Http1, &range("bytes=500000-500099"))
        .await
        .expect_status(206)
        .expect_cache("fwd=uri-miss fwd-status=206 stored")
        .expect_header("content-range", "bytes 500000-500099/1000000")
        .expect_body(&body[500_000..500_100]);
    for protocol in PROTOCOLS {
        edge.ask(protocol, &range("bytes=500100-500199"))
            .await
            .expect_cache("hit")
            .expect_body(&body[500_100..500_200]);
    }
    assert_eq!(asked(&origin), ["bytes=458752-524287"]);
    edge.ask(Protocol::Http2, &range("bytes=0-9"))
        .await
        .expect_cache("fwd=partial")
        .expect_body(&body[..10]);
    assert_eq!(asked(&origin)[1..], ["bytes=0-65535"]);
}

#[tokio::test]
async fn a_range_over_several_slices_and_the_whole_walk_from_slice_to_slice() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    origin.on("/m.mp4", movie(300_000));
    let edge = edge(&origin).await;
    edge.ask(Protocol::Http1, &range("bytes=60000-200000"))
        .await
        .expect_status(206)
        .expect_body(&body[60_000..=200_000]);
    assert_eq!(origin.count("/m.mp4"), 4);
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/m.mp4")
            .await
            .expect_status(200)
            .expect_header("content-length", "300000")
            .expect_body(&body);
        edge.ask(protocol, &range("bytes=-5")).await.expect_body(&body[299_995..]);
        edge.ask(protocol, &range("bytes=300000-")).await.expect_status(416);
        let parts = edge.ask(protocol, &range("bytes=0-9,250000-250009")).await.expect_status(206);
        let whole = parts.whole_body();
        for part in [&body[..10], &body[250_000..250_010]] {
            assert!(whole.windows(part.len()).any(|window| window == part));
        }
    }
    assert_eq!(origin.count("/m.mp4"), 5, "every slice once");
    let conditional = Ask::get("/m.mp4").header("if-none-match", "\"a\"");
    edge.ask(Protocol::Http3, &conditional).await.expect_status(304);
}

#[tokio::test]
async fn the_end_of_something_unknown_costs_the_slices_that_it_lies_in() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    origin.on("/m.mp4", movie(300_000));
    let edge = edge(&origin).await;
    // All at once: the length is asked for once, and so is each slice.
    let ends = PROTOCOLS.map(|protocol| {
        let edge = &edge;
        async move { edge.ask(protocol, &range("bytes=-40000")).await }
    });
    for answer in join_all(ends).await {
        answer
            .expect_status(206)
            .expect_header("content-range", "bytes 260000-299999/300000")
            .expect_body(&body[260_000..]);
    }
    assert_eq!(asked(&origin), ["bytes=-1", "bytes=196608-262143", "bytes=262144-327679"]);
    for protocol in PROTOCOLS {
        edge.ask(protocol, &range("bytes=-30000")).await.expect_cache("hit");
        let all = edge.ask(protocol, &range("bytes=-999999")).await.expect_status(206);
        all.expect_body(&body);
        edge.ask(protocol, &range("bytes=-0")).await.expect_status(416);
    }
    assert_eq!(origin.count("/m.mp4"), 6, "every slice once");
}

#[tokio::test]
async fn the_end_under_a_condition_and_an_open_range_cost_no_more() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    origin.on("/m.mp4", movie(300_000));
    for protocol in PROTOCOLS {
        let edge = edge(&origin).await;
        let before = asked(&origin).len();
        let ask = range("bytes=-9").header("if-range", "\"a\"");
        edge.ask(protocol, &ask).await.expect_status(206).expect_body(&body[299_991..]);
        edge.ask(protocol, &range("bytes=200000-")).await.expect_body(&body[200_000..]);
        let wanted = ["bytes=-1", "bytes=262144-327679", "bytes=196608-262143"];
        assert_eq!(asked(&origin)[before..], wanted);
        let other = range("bytes=-9").header("if-range", "\"b\"");
        edge.ask(protocol, &other).await.expect_status(200).expect_body(&body);
    }
}

#[tokio::test]
async fn the_end_of_what_cannot_be_sliced_is_right_all_the_same() {
    let origin = FakeOrigin::start().await;
    let body = noise(200_000);
    let plain = || reply(200).cache_control("max-age=60").body(body.clone());
    for reply in
        [plain(), plain().etag("\"a\""), plain().ranged(), plain().etag("W/\"a\"").ranged()]
    {
        origin.on("/m.mp4", reply);
        let edge = edge(&origin).await;
        let before = asked(&origin).len();
        for protocol in PROTOCOLS {
            let end = edge.ask(protocol, &range("bytes=-9")).await.expect_status(206);
            end.expect_body(&body[199_991..]);
        }
        assert!(asked(&origin)[before..].len() <= 2, "{:?}", asked(&origin));
    }
    origin.on("/m.mp4", movie(0));
    let edge = edge(&origin).await;
    edge.ask(Protocol::Http2, &range("bytes=-9")).await.expect_status(200).expect_body(b"");
    origin.on("/m.mp4", reply(404).body("none"));
    let edge = self::edge(&origin).await;
    edge.ask(Protocol::Http2, &range("bytes=-9")).await.expect_status(404).expect_body("none");
}

#[tokio::test]
async fn a_sliced_object_that_went_stale_is_confirmed_or_replaced_by_a_request_for_its_end() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    origin.on("/m.mp4", movie(300_000));
    let edge = edge(&origin).await;
    edge.ask(Protocol::Http1, &range("bytes=-9")).await.expect_body(&body[299_991..]);
    edge.advance(61);
    edge.ask(Protocol::Http3, &range("bytes=-9"))
        .await
        .expect_cache("fwd=stale fwd-status=304")
        .expect_body(&body[299_991..]);
    edge.advance(61);
    let new: Vec<u8> = noise(280_000).into_iter().rev().collect();
    let changed = reply(200).cache_control("max-age=60").etag("\"b\"").body(new.clone()).ranged();
    origin.on("/m.mp4", changed);
    edge.ask(Protocol::Http2, &range("bytes=-9"))
        .await
        .expect_header("content-range", "bytes 279991-279999/280000")
        .expect_body(&new[279_991..]);
}

#[tokio::test]
async fn readers_share_a_slice_while_it_arrives() {
    let origin = FakeOrigin::start().await;
    let body = noise(300_000);
    let gate = Gate::closed();
    origin.on("/m.mp4", movie(300_000).paused_after(30_000, &gate));
    let edge = edge(&origin).await;
    // The first bytes of the slice are there; the origin holds back the rest.
    let early = PROTOCOLS.map(|protocol| {
        let (edge, body) = (&edge, &body);
        async move {
            edge.ask(protocol, &range("bytes=100-199")).await.expect_body(&body[100..200]);
        }
    });
    join_all(early).await;
    let whole = join_all(PROTOCOLS.map(|protocol| edge.get_by(protocol, "/m.mp4")));
    let open = async {
        eventually("the next slice is asked for", || origin.count("/m.mp4") >= 2).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(whole, open);
    for answer in answers {
        answer.expect_body(&body);
    }
    assert_eq!(origin.count("/m.mp4"), 5, "every slice once: {:?}", asked(&origin));
}

#[tokio::test]
async fn what_changed_in_between_fails_the_reader_and_is_fetched_anew() {
    let origin = FakeOrigin::start().await;
    origin.on("/m.mp4", movie(300_000));
    let edge = edge(&origin).await;
    edge.ask(Protocol::Http1, &range("bytes=0-9")).await.expect_status(206);
    let new: Vec<u8> = noise(300_000).into_iter().rev().collect();
    let changed = reply(200).cache_control("max-age=60").etag("\"b\"").body(new.clone()).ranged();
    origin.on("/m.mp4", changed);
    edge.get("/m.mp4").await.expect_broken();
    edge.expect_metric("edge_slices_mixed_total", &[], 1.0).await;
    edge.get("/m.mp4").await.expect_status(200).expect_body(&new);
}

#[tokio::test]
async fn an_origin_without_ranges_or_validators_is_asked_for_the_whole() {
    let origin = FakeOrigin::start().await;
    let body = noise(200_000);
    let plain = || reply(200).cache_control("max-age=60").body(body.clone());
    let short = plain().header("content-range", "bytes 0-9/10");
    for (ranges, reply) in [
        (1, plain().etag("\"a\"")),
        (2, plain().ranged()),
        (2, plain().etag("W/\"a\"").ranged()),
        (1, short),
    ] {
        origin.on("/m.mp4", reply);
        let edge = edge(&origin).await;
        let before = origin.count("/m.mp4");
        for protocol in PROTOCOLS {
            edge.ask(protocol, &range("bytes=70000-70009"))
                .await
                .expect_status(206)
                .expect_body(&body[70_000..70_010]);
        }
        assert_eq!(origin.count("/m.mp4") - before, ranges);
    }
}

#[tokio::test]
async fn what_is_too_large_to_be_kept_whole_is_kept_in_slices() {
    let origin = FakeOrigin::start().await;
    let body = noise(500_000);
    origin.on("/m.mp4", movie(500_000));
    let edge = TestEdge::before(&origin)
        .policy(CachePolicy { object_bytes_max: ByteSize::kib(200), ..policy() })
        .start()
        .await;
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/m.mp4").await.expect_status(200).expect_body(&body);
    }
    let whole = asked(&origin).iter().filter(|range| *range == "whole").count();
    assert_eq!((whole, origin.count("/m.mp4")), (1, 1 + 500_000_usize.div_ceil(SLICE)));
}

#[tokio::test]
async fn a_purge_reaches_all_slices_and_a_confirmation_keeps_them() {
    let origin = FakeOrigin::start().await;
    let body = noise(200_000);
    origin.on("/m.mp4", movie(200_000).header("surrogate-key", "movie"));
    let edge = edge(&origin).await;
    edge.ask(Protocol::Http1, &range("bytes=0-99999")).await.expect_body(&body[..100_000]);
    assert_eq!(origin.count("/m.mp4"), 2);

    edge.advance(61);
    edge.ask(Protocol::Http1, &range("bytes=0-99999"))
        .await
        .expect_status(206)
        .expect_cache("fwd=stale fwd-status=304 ttl=60")
        .expect_body(&body[..100_000]);
    assert_eq!(origin.count("/m.mp4"), 3, "the slices still count");

    edge.purge_key("movie", false);
    edge.ask(Protocol::Http1, &range("bytes=0-99999")).await.expect_body(&body[..100_000]);
    assert_eq!(origin.count("/m.mp4"), 5, "both slices anew");
}
