//! What is not stored: it passes, whole and as often as it is asked for.

use bytesize::ByteSize;
use futures::future::join_all;
use http::Method;
use tidegate_contract::property::{CachePolicy, QueryPolicy};

use crate::harness::{FakeOrigin, PROTOCOLS, Protocol, TestEdge, client::Ask, noise, reply};

#[tokio::test]
async fn answers_that_must_not_be_stored_reach_every_client_from_the_origin() {
    let origin = FakeOrigin::start().await;
    let plain = || reply(200).body(noise(60_000));
    origin.on("/private", plain().cache_control("private, max-age=60"));
    origin.on("/no-store", plain().cache_control("no-store"));
    origin.on("/silent", plain());
    origin.on("/cookie", plain().cache_control("max-age=60").header("set-cookie", "a=b"));
    origin.on("/bad-keys", plain().cache_control("max-age=60").header("surrogate-key", "a,b"));
    let edge = TestEdge::before(&origin).start().await;
    for (path, detail) in [
        ("/private", "private"),
        ("/no-store", "no-store"),
        ("/silent", "no-freshness"),
        ("/cookie", "cookie"),
        ("/bad-keys", "surrogate-key"),
    ] {
        for (n, protocol) in PROTOCOLS.into_iter().enumerate() {
            let answer = edge.get_by(protocol, path).await.expect_status(200);
            answer
                .expect_cache(&format!("fwd=bypass fwd-status=200 detail={detail}"))
                .expect_body(noise(60_000));
            assert_eq!(origin.count(path), n + 1);
        }
    }
}

#[tokio::test]
async fn clients_of_what_is_not_stored_do_not_wait_for_one_another_for_ever() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(200).cache_control("private").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    let answers = join_all((0..20).map(|n| edge.get_by(PROTOCOLS[n % 3], "/s"))).await;
    for answer in answers {
        answer.expect_status(200).expect_body("x");
    }
    assert_eq!(origin.count("/s"), 20);
}

#[tokio::test]
async fn other_methods_pass_with_their_bodies() {
    let origin = FakeOrigin::start().await;
    origin.on("/form?token=1", reply(201).cache_control("max-age=60").body("done"));
    let policy = CachePolicy { query: QueryPolicy::Drop, ..CachePolicy::default() };
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    let body = noise(200_000);
    for protocol in PROTOCOLS {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let ask = Ask::get("/form?token=1").method(method.clone()).body(body.clone());
            let answer = edge.ask(protocol, &ask).await;
            answer.expect_status(201).expect_cache("fwd=method fwd-status=201").expect_body("done");
            let request = origin.last("/form?token=1");
            assert_eq!(request.method, method.as_str());
            assert!(request.body == body, "{protocol:?} {method}");
        }
    }
    edge.post("/form?token=1", b"x").await.expect_status(201);
}

/// Trailers may be discarded on the way (RFC 9110 6.5.1), and here they are: whoever reads them upstream would trust
/// what nobody at the door has looked at.
#[tokio::test]
async fn a_large_body_of_unknown_length_passes_whole_and_its_trailers_do_not() {
    let origin = FakeOrigin::start().await;
    origin.on("/upload", reply(201).body("done"));
    let edge = TestEdge::before(&origin).start().await;
    let body = noise(3_000_000);
    for protocol in PROTOCOLS {
        let ask = Ask::get("/upload").method(Method::POST).body(body.clone());
        let ask = ask.trailer("x-sum", "1");
        edge.ask(protocol, &ask).await.expect_status(201).expect_body("done");
        let request = origin.last("/upload");
        assert!(request.body == body, "{protocol:?}: {} bytes", request.body.len());
        for name in ["x-sum", "trailer"] {
            assert_eq!(request.header(name), None, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn an_authorized_answer_is_stored_only_when_it_may_be_shared() {
    let origin = FakeOrigin::start().await;
    origin.on("/mine", reply(200).cache_control("max-age=60").body("x"));
    origin.on("/ours", reply(200).cache_control("public, max-age=60").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    let ask = |path| Ask::get(path).header("authorization", "Bearer t");
    for _ in 0..2 {
        edge.ask(Protocol::Http1, &ask("/mine")).await.expect_cache("fwd=bypass");
    }
    edge.ask(Protocol::Http1, &ask("/ours")).await.expect_cache("fwd=uri-miss stored");
    edge.ask(Protocol::Http1, &ask("/ours")).await.expect_cache("hit");
}

#[tokio::test]
async fn a_property_that_keeps_nothing_passes_ranges_and_conditions_on() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(206).header("content-range", "bytes 0-0/9").body("x"));
    let policy = CachePolicy { enabled: false, ..CachePolicy::default() };
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    let ask = Ask::get("/s").header("range", "bytes=0-0").header("if-range", "\"a\"");
    edge.ask(Protocol::Http3, &ask).await.expect_status(206).expect_cache("detail=policy");
    assert_eq!(origin.last("/s").header("range"), Some("bytes=0-0"));
    assert_eq!(origin.last("/s").header("if-range"), Some("\"a\""));
}

#[tokio::test]
async fn objects_that_are_too_large_and_fills_without_room_pass_whole() {
    let origin = FakeOrigin::start().await;
    let body = noise(200_000);
    origin.on("/large", reply(200).cache_control("max-age=60").body(body.clone()));
    for (config, detail) in [
        (Some((ByteSize::kib(100), ByteSize::mib(1))), "size"),
        (Some((ByteSize::kib(150), ByteSize::kib(150))), "size"),
    ]
    .into_iter()
    .flat_map(|(config, detail)| config.map(|config| (config, detail)))
    {
        let edge = TestEdge::before(&origin)
            .config(|c| (c.cache.object_max, c.cache.in_flight) = config)
            .start()
            .await;
        for protocol in PROTOCOLS {
            edge.get_by(protocol, "/large")
                .await
                .expect_cache(&format!("fwd=bypass detail={detail}"))
                .expect_body(&body);
        }
    }
}

#[tokio::test]
async fn parameters_that_do_not_count_are_neither_in_the_key_nor_sent_on() {
    let origin = FakeOrigin::start().await;
    origin.on("/s?v=1", reply(200).cache_control("max-age=60").body("x"));
    let policy =
        CachePolicy { query: QueryPolicy::Keep(vec!["v".into()]), ..CachePolicy::default() };
    let edge = TestEdge::before(&origin).policy(policy).start().await;
    edge.get("/s?token=secret&v=1").await.expect_cache("fwd=uri-miss").expect_status(200);
    edge.get("/s?v=1&token=other").await.expect_cache("hit").expect_body("x");
    assert_eq!(origin.count("/s?v=1"), 1);
}

#[tokio::test]
async fn options_go_as_far_as_they_may() {
    let origin = FakeOrigin::start().await;
    origin.on("/o", reply(200).body("x"));
    let edge = TestEdge::before(&origin).start().await;
    for protocol in PROTOCOLS {
        let ask = |left| Ask::get("/o").method(Method::OPTIONS).header("max-forwards", left);
        let answer = edge.ask(protocol, &ask("0")).await.expect_status(200);
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
        assert!(answer.whole_body().is_empty());
        edge.ask(protocol, &ask("3")).await.expect_status(200).expect_body("x");
        assert_eq!(origin.last("/o").header("max-forwards"), Some("2"));
    }
    assert_eq!(origin.count("/o"), PROTOCOLS.len());
}
