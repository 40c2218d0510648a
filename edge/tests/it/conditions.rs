//! Ranges and conditions of requests for what is stored (RFC 9110 13 and 14).

use crate::harness::{FakeOrigin, PROTOCOLS, Protocol, TestEdge, client::Ask, noise, reply};

const CHANGED: &str = "Mon, 01 Jun 2026 10:00:00 GMT";
const BEFORE: &str = "Mon, 01 Jun 2020 10:00:00 GMT";
const LENGTH: usize = 10_000;

async fn parties() -> (FakeOrigin, TestEdge) {
    let origin = FakeOrigin::start().await;
    let stored = reply(200).cache_control("max-age=600").etag("\"v1\"");
    let stored = stored.header("last-modified", CHANGED).header("content-type", "video/mp4");
    origin.on("/s.mp4", stored.body(noise(LENGTH)));
    let edge = TestEdge::before(&origin).start().await;
    edge.get("/s.mp4").await.expect_status(200);
    (origin, edge)
}

#[tokio::test]
async fn ranges_of_what_is_stored() {
    let (origin, edge) = parties().await;
    let body = noise(LENGTH);
    for (place, (range, expected)) in [
        ("bytes=0-9", Some((0, 9))),
        ("bytes=0-0", Some((0, 0))),
        ("bytes=-10", Some((9_990, 9_999))),
        ("bytes=-20000", Some((0, 9_999))),
        ("bytes=9990-", Some((9_990, 9_999))),
        ("bytes=9990-99999999999999999999", Some((9_990, 9_999))),
        ("BYTES=1-2", Some((1, 2))),
        ("bytes=1-2,", Some((1, 2))),
        ("bytes=1-2,20000-", Some((1, 2))),
        // Not understood, or not sensible: ignored.
        ("bytes=5-4", None),
        ("bytes=a-b", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=+0-1", None),
        ("bytes=0 - 1", None),
        ("bytes=0-1;q=1", None),
        ("items=0-1", None),
        ("0-1", None),
        ("bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", None),
    ]
    .into_iter()
    .enumerate()
    {
        let protocol = PROTOCOLS[place % PROTOCOLS.len()];
        let answer = edge.ask(protocol, &Ask::get("/s.mp4").header("range", range)).await;
        match expected {
            Some((first, last)) => {
                assert_eq!(answer.status, 206, "{range}");
                let content_range = format!("bytes {first}-{last}/{LENGTH}");
                assert_eq!(answer.header("content-range"), content_range, "{range}");
                assert_eq!(answer.whole_body(), &body[first..=last], "{range}");
            }
            None => {
                assert_eq!(answer.status, 200, "{range}");
                assert_eq!(answer.whole_body(), &body[..], "{range}");
            }
        }
    }
    for range in ["bytes=10000-", "bytes=20000-30000", "bytes=-0", "bytes=10000-,20000-"] {
        let answer = edge.ask(Protocol::Http1, &Ask::get("/s.mp4").header("range", range)).await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes */{LENGTH}"), "{range}");
    }
    let head = Ask::get("/s.mp4").method(http::Method::HEAD).header("range", "bytes=0-9");
    edge.ask(Protocol::Http1, &head).await.expect_status(200);
    assert_eq!(origin.count("/s.mp4"), 1);
}

#[tokio::test]
async fn a_range_of_another_version_is_the_whole() {
    let (origin, edge) = parties().await;
    for (version, status) in [
        ("\"v1\"", 206),
        (CHANGED, 206),
        ("W/\"v1\"", 200),
        ("\"v2\"", 200),
        ("\"v1\", \"v2\"", 200),
        ("*", 200),
        (BEFORE, 200),
        ("Mon, 01 Jun 2030 10:00:00 GMT", 200),
        ("yesterday", 200),
    ] {
        let ask = Ask::get("/s.mp4").header("range", "bytes=0-9").header("if-range", version);
        let answer = edge.ask(Protocol::Http2, &ask).await;
        assert_eq!(answer.status, status, "{version}");
    }
    assert_eq!(origin.count("/s.mp4"), 1);
}

/// In the order of RFC 9110 13.2.2.
#[tokio::test]
async fn conditions_have_an_order() {
    let (origin, edge) = parties().await;
    for (fields, status) in [
        (&[("if-none-match", "\"v1\"")][..], 304),
        (&[("if-none-match", "W/\"v1\"")], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"x\", \"v1\"")], 304),
        (&[("if-none-match", "\"x\""), ("if-none-match", "\"v1\"")], 304),
        (&[("if-none-match", "\"x\"")], 200),
        (&[("if-none-match", "v1")], 200),
        (&[("if-none-match", "\"x\""), ("if-modified-since", CHANGED)], 200),
        (&[("if-none-match", "\"v1\""), ("if-modified-since", BEFORE)], 304),
        (&[("if-modified-since", CHANGED)], 304),
        (&[("if-modified-since", "Monday, 01-Jun-26 10:00:00 GMT")], 304),
        (&[("if-modified-since", BEFORE)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        (&[("if-match", "\"v1\"")], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "W/\"v1\"")], 412),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-match", "\"x\""), ("if-none-match", "\"v1\"")], 412),
        (&[("if-match", "\"v1\""), ("if-none-match", "\"v1\"")], 304),
        (&[("if-match", "\"v1\""), ("if-unmodified-since", BEFORE)], 200),
        (&[("if-unmodified-since", CHANGED)], 200),
        (&[("if-unmodified-since", BEFORE)], 412),
        (&[("if-none-match", "\"v1\""), ("range", "bytes=0-9")], 304),
        (&[("if-none-match", "\"v1\""), ("range", "bytes=20000-")], 304),
        (&[("if-match", "\"x\""), ("range", "bytes=0-9")], 412),
        (&[("if-match", "\"v1\""), ("range", "bytes=0-9")], 206),
    ] {
        for method in [http::Method::GET, http::Method::HEAD] {
            let has_range = fields.iter().any(|(name, _)| *name == "range");
            if has_range && method == http::Method::HEAD {
                continue;
            }
            let ask = fields
                .iter()
                .fold(Ask::get("/s.mp4"), |ask, (name, value)| ask.header(name, value));
            let answer = edge.ask(Protocol::Http1, &ask.method(method.clone())).await;
            assert_eq!(answer.status, status, "{method} {fields:?}");
        }
    }
    assert_eq!(origin.count("/s.mp4"), 1);
}
