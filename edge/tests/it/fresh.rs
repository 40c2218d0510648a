//! Stored, served fresh, in whole and in parts.

use http::Method;

use crate::harness::{
    FakeOrigin, PROTOCOLS, Protocol, TestEdge, client::Ask, eventually, noise, reply,
};

#[tokio::test]
async fn what_was_fetched_once_is_served_to_every_protocol() {
    let origin = FakeOrigin::start().await;
    let body = noise(200_000);
    origin.on("/s", reply(200).cache_control("max-age=60").body(body.clone()));
    let edge = TestEdge::before(&origin).start().await;

    edge.get("/s").await.expect_status(200).expect_cache("fwd=uri-miss stored").expect_body(&body);
    edge.advance(7);
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/s")
            .await
            .expect_status(200)
            .expect_cache("hit ttl=53")
            .expect_header("age", "7")
            .expect_body(&body);
    }
    assert_eq!(origin.count("/s"), 1);
    edge.expect_metric("edge_requests_total", &["h3", "hit"], 1.0).await;
    edge.expect_metric("edge_fills_total", &["stored"], 1.0).await;
}

#[tokio::test]
async fn ranges_are_cut_from_what_is_stored_even_if_it_came_in_chunks() {
    let origin = FakeOrigin::start().await;
    let body = noise(150_000);
    origin.on("/s", reply(200).cache_control("max-age=60").body(body.clone()).chunked());
    let edge = TestEdge::before(&origin).start().await;
    let whole = edge.get("/s").await.expect_body(&body);
    let date = whole.header("date");

    for protocol in PROTOCOLS {
        let range = |value: &str| Ask::get("/s").header("range", value);
        edge.ask(protocol, &range("bytes=49000-99999"))
            .await
            .expect_status(206)
            .expect_header("content-range", "bytes 49000-99999/150000")
            .expect_body(&body[49_000..100_000]);
        edge.ask(protocol, &range("bytes=-10")).await.expect_body(&body[149_990..]);
        let beyond = edge.ask(protocol, &range("bytes=150000-")).await.expect_status(416);
        assert_eq!(beyond.header("content-range"), "bytes */150000");
        assert!(
            !date.is_empty() && beyond.header("date") == date,
            "as that which is stored has it"
        );

        let parts = edge.ask(protocol, &range("bytes=0-9,60000-60009")).await.expect_status(206);
        assert!(parts.header("content-type").starts_with("multipart/byteranges"));
        let whole = parts.whole_body();
        for part in [&body[..10], &body[60_000..60_010]] {
            assert!(whole.windows(part.len()).any(|window| window == part));
        }
    }
    assert_eq!(origin.count("/s"), 1);
}

#[tokio::test]
async fn a_range_of_something_unknown_fetches_the_whole_once() {
    let origin = FakeOrigin::start().await;
    let body = noise(100_000);
    origin.on("/s", reply(200).cache_control("max-age=60").body(body.clone()));
    let edge = TestEdge::before(&origin).start().await;
    edge.ask(Protocol::Http2, &Ask::get("/s").header("range", "bytes=5-9"))
        .await
        .expect_status(206)
        .expect_body(&body[5..10]);
    eventually("the rest is stored", || edge.metric("edge_fills_total", &["stored"]) == 1.0).await;
    edge.get("/s").await.expect_cache("hit").expect_body(&body);
    assert_eq!(origin.count("/s"), 1);
    // This origin knows no ranges, so that it answers the question for an aligned slice with the whole.
    assert_eq!(origin.last("/s").header("range"), Some("bytes=0-1048575"));
}

#[tokio::test]
async fn head_and_conditional_requests_are_answered_from_what_is_stored() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(200).cache_control("max-age=60").etag("\"a\"").body("hello"));
    let edge = TestEdge::before(&origin).start().await;
    for protocol in PROTOCOLS {
        let head = edge.ask(protocol, &Ask::get("/s").method(Method::HEAD)).await;
        head.expect_status(200).expect_header("content-length", "5").expect_body("");
        edge.ask(protocol, &Ask::get("/s").header("if-none-match", "\"a\""))
            .await
            .expect_status(304)
            .expect_body("");
        edge.ask(protocol, &Ask::get("/s").header("if-none-match", "\"b\""))
            .await
            .expect_status(200)
            .expect_body("hello");
    }
    assert_eq!(origin.count("/s"), 1);
}

#[tokio::test]
async fn variants_are_kept_apart() {
    let origin = FakeOrigin::start().await;
    let vary = |body: &str| {
        reply(200).cache_control("max-age=60").header("vary", "accept-language").body(body)
    };
    let edge = TestEdge::before(&origin).start().await;
    let ask = |language: &str| Ask::get("/v").header("accept-language", language);

    origin.on("/v", vary("german"));
    edge.ask(Protocol::Http1, &ask("de")).await.expect_cache("fwd=uri-miss").expect_body("german");
    origin.on("/v", vary("french"));
    edge.ask(Protocol::Http1, &ask("fr")).await.expect_cache("fwd=vary-miss").expect_body("french");
    for _ in 0..2 {
        edge.ask(Protocol::Http2, &ask("de")).await.expect_cache("hit").expect_body("german");
        edge.ask(Protocol::Http3, &ask("fr")).await.expect_cache("hit").expect_body("french");
    }
    assert_eq!(origin.count("/v"), 2);
}

#[tokio::test]
async fn what_upstream_says_of_its_age_counts() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(200).cache_control("max-age=60").header("age", "50").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s").await.expect_header("age", "50");
    edge.advance(9);
    edge.get("/s").await.expect_cache("hit ttl=1").expect_header("age", "59");
    edge.advance(1);
    edge.get("/s").await.expect_cache("fwd=stale");
}

#[tokio::test]
async fn the_answer_names_the_node_and_offers_http3_but_shows_nothing_internal() {
    let origin = FakeOrigin::start().await;
    let internal = reply(200)
        .cache_control("max-age=60")
        .header("surrogate-key", "a b")
        .header("alt-svc", "h3=\":1\"")
        .body("x");
    origin.on("/s", internal);
    let edge = TestEdge::before(&origin).pop("fra").start().await;
    for protocol in PROTOCOLS {
        let ask = Ask::get("/s").header("tidegate-tier", "pop=x; at=1; seen=; mac=00");
        let answer = edge.ask(protocol, &ask).await;
        assert_eq!(answer.headers.get("surrogate-key"), None);
        assert_eq!(answer.header("via"), "1.1 tidegate-fra");
        assert!(!answer.header("x-request-id").is_empty());
        let offer = format!("h3=\":{}\"; ma=86400", edge.client.https.port());
        let expected = if protocol == Protocol::Http2 { offer.as_str() } else { "" };
        assert_eq!(answer.header("alt-svc"), expected);
    }
    let request = origin.last("/s");
    assert_eq!(request.header("tidegate-tier"), None);
    assert!(request.header("cdn-loop").unwrap().starts_with("tidegate-fra; node="));
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
}
