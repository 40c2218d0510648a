//! What cannot be answered is answered with a problem document that says why.

use serde_json::Value;

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, client::Ask, reply};

fn kind(answer: &crate::harness::Answer) -> String {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_slice(answer.whole_body()).unwrap();
    assert_eq!(problem["status"], answer.status.as_u16());
    problem["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_refusal_has_its_status_and_its_name() {
    let origin = FakeOrigin::start().await;
    origin.on("/s", reply(200).cache_control("max-age=60").body("x"));
    let edge = TestEdge::before(&origin).start().await;
    let loops = ["x"; 16].join(", ");
    for protocol in PROTOCOLS {
        for (ask, status, expected) in [
            (Ask::get("/s").host("other.org"), 421, "/problem/unknown-host"),
            (Ask::get("/s").header("cdn-loop", &loops), 508, "/problem/loop"),
            (
                Ask::get("/unknown").header("cache-control", "only-if-cached"),
                504,
                "/problem/only-if-cached",
            ),
            (
                Ask::get("/s").header("cache-control", "only-if-cached").body("x"),
                504,
                "/problem/only-if-cached",
            ),
        ] {
            let answer = edge.ask(protocol, &ask).await.expect_status(status);
            assert_eq!(kind(&answer), expected, "{protocol:?}");
        }
    }
    assert_eq!(origin.count("/s"), 0);
    edge.get("/s").await;
    let cached = Ask::get("/s").header("cache-control", "only-if-cached");
    edge.ask(crate::harness::Protocol::Http1, &cached).await.expect_cache("hit");
}

#[tokio::test]
async fn an_upstream_that_is_gone_or_breaks_off_is_a_bad_gateway() {
    let origin = FakeOrigin::start().await;
    origin.on("/broken", reply(200).body("x").announcing(9).breaking_off_after(0));
    let edge = TestEdge::before(&origin).start().await;
    origin.stop();
    for protocol in PROTOCOLS {
        let answer = edge.get_by(protocol, "/s").await.expect_status(502);
        assert_eq!(kind(&answer), "/problem/upstream-unreachable");
    }
    assert!(edge.metric("edge_upstream_errors_total", &["origin", "upstream-unreachable"]) > 0.0);
}

#[tokio::test]
async fn an_upstream_that_says_nothing_in_time_is_a_gateway_timeout() {
    let origin = FakeOrigin::start().await;
    let never = crate::harness::Gate::closed();
    origin.on("/s", reply(200).held(&never));
    let edge = TestEdge::before(&origin)
        .config(|config| config.upstream.first_byte_timeout = std::time::Duration::from_millis(50))
        .start()
        .await;
    let answer = edge.get("/s").await.expect_status(504);
    assert_eq!(kind(&answer), "/problem/upstream-timeout");
}
