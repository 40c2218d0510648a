//! What one client says must not decide what all others get.

use tidegate_contract::property::UpstreamPolicy;

use crate::harness::{FakeOrigin, PROTOCOLS, Protocol, TestEdge, client::Ask, reply};

/// Headers that applications believe, and that no cache key has.
const CLAIMS: &[(&str, &str)] = &[
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-port", "1337"),
    ("x-forwarded-scheme", "http"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-server", "evil.example"),
    ("forwarded", "host=evil.example"),
    ("x-original-url", "/evil"),
    ("x-rewrite-url", "/evil"),
    ("x-original-host", "evil.example"),
    ("x-host", "evil.example"),
    ("x_forwarded_host", "evil.example"),
    ("x_original_url", "/evil"),
    ("x-middleware-subrequest", "middleware"),
    ("x-accel-mapping", "/=/etc"),
    ("x-real-ip", "10.0.0.1"),
    ("true-client-ip", "10.0.0.1"),
    ("x-http-method-override", "POST"),
    ("proxy", "http://evil.example"),
];

fn claiming(path: &str) -> Ask {
    CLAIMS.iter().fold(Ask::get(path), |ask, (name, value)| ask.header(name, value))
}

#[tokio::test]
async fn what_a_client_claims_reaches_no_origin() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    for (place, protocol) in PROTOCOLS.into_iter().enumerate() {
        for path in [format!("/stored/{place}.mp4"), format!("/passed/{place}")] {
            let mut ask = claiming(&path).header("accept", "video/mp4");
            if path.starts_with("/passed") {
                ask = ask.method(http::Method::POST).body("x");
            }
            origin.on(&path, reply(200).cache_control("max-age=60").body("x"));
            edge.ask(protocol, &ask).await.expect_status(200);
            let seen = origin.last(&path);
            let is_read = seen.method == "GET";
            for (name, value) in CLAIMS {
                let is_spelling = !is_read && *name == "x-http-method-override";
                let found = seen.header(name).filter(|found| found == value);
                assert!(found.is_none() || is_spelling, "{protocol:?}: {name}: {seen:?}");
            }
            assert_eq!(seen.header("x-forwarded-host"), Some("localhost"));
            assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
            assert_eq!(seen.header("accept"), Some("video/mp4"), "what is no claim goes on");
        }
    }
}

#[tokio::test]
async fn an_operator_may_let_claims_through() {
    let origin = FakeOrigin::start().await;
    origin.on("/a", reply(200).body("x"));
    let edge = TestEdge::before(&origin).start().await;
    edge.change(|property| {
        property.upstream = UpstreamPolicy { client_claims: true, ..UpstreamPolicy::default() };
    });
    edge.ask(Protocol::Http1, &claiming("/a")).await.expect_status(200);
    let seen = origin.last("/a");
    assert_eq!(seen.header("x-original-url"), Some("/evil"));
    assert_eq!(seen.header("x-forwarded-host"), Some("localhost"), "the edge knows that itself");
}

#[tokio::test]
async fn a_response_that_varies_by_the_scheme_varies_by_what_the_origin_was_told() {
    let origin = FakeOrigin::start().await;
    let varying = reply(200).cache_control("max-age=60").header("vary", "x-forwarded-proto");
    origin.on("/a", varying.body("x"));
    let edge = TestEdge::before(&origin).start().await;
    let lie = |scheme| Ask::get("/a").header("x-forwarded-proto", scheme);
    edge.ask(Protocol::Http1, &lie("https")).await;
    assert_eq!(origin.last("/a").header("x-forwarded-proto"), Some("http"));
    edge.ask(Protocol::Http1, &lie("ftp")).await.expect_cache("hit");
    edge.ask(Protocol::Http2, &lie("http")).await;
    assert_eq!(origin.last("/a").header("x-forwarded-proto"), Some("https"));
    assert_eq!(origin.count("/a"), 2);
}

#[tokio::test]
async fn the_port_of_a_host_is_in_no_key_and_reaches_no_origin() {
    let origin = FakeOrigin::start().await;
    origin.on("/a", reply(200).cache_control("max-age=60").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    edge.ask(Protocol::Http1, &Ask::get("/a").host("LocalHost:1337")).await.expect_status(200);
    assert_eq!(origin.last("/a").header("host"), Some("localhost"));
    edge.ask(Protocol::Http1, &Ask::get("/a").host("localhost")).await.expect_cache("hit");
}

#[tokio::test]
async fn a_body_makes_a_read_one_that_is_not_stored() {
    let origin = FakeOrigin::start().await;
    origin.on("/a", reply(200).cache_control("max-age=60").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    for _ in 0..2 {
        edge.ask(Protocol::Http1, &Ask::get("/a").body("q=evil")).await.expect_status(200);
    }
    assert_eq!(origin.count("/a"), 2);
    edge.get("/a").await.expect_status(200);
    assert_eq!(origin.count("/a"), 3, "nothing was stored");
    for protocol in PROTOCOLS {
        let ask = Ask::get("/a").header("content-length", "0");
        edge.ask(protocol, &ask).await.expect_cache("hit");
    }
}

#[tokio::test]
async fn spellings_of_one_path_are_one_resource_and_others_are_not() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    for (path, expected) in [
        ("/u", "/u"),
        ("/u?", "/u"),
        ("/%75", "/u"),
        ("/./u", "/u"),
        ("/x/../u", "/u"),
        ("/%2e%2e/u", "/u"),
        ("/%2Fu", "/%2Fu"),
        ("/%2fu", "/%2Fu"),
        ("/..%2fu", "/..%2Fu"),
        ("//u", "//u"),
        ("/u/", "/u/"),
        ("/u;x", "/u;x"),
        ("/u%3bx", "/u%3Bx"),
        ("/u%3f", "/u%3F"),
        ("/u%00", "/u%00"),
        ("/U", "/U"),
        ("/u?a=1&b=2", "/u?a=1&b=2"),
        ("/u?b=2&a=1", "/u?b=2&a=1"),
    ] {
        origin.on(expected, reply(200).cache_control("max-age=60").body(expected));
        let answer = edge.get(path).await.expect_status(200);
        assert_eq!(answer.whole_body(), expected.as_bytes(), "{path}");
        assert_eq!(origin.count(expected), 1, "{path}");
    }
}
