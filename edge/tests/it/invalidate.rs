//! What an unsafe method changed is not served any more.

use http::Method;

use crate::harness::{FakeOrigin, PROTOCOLS, TestEdge, client::Ask, reply};

#[tokio::test]
async fn a_success_forgets_the_resource_and_what_it_names_and_an_error_does_not() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let kept = |body: &str| reply(200).cache_control("max-age=600").body(body);
    for protocol in PROTOCOLS {
        for (status, is_forgotten) in [(200, true), (303, true), (404, false), (500, false)] {
            edge.purge(tidegate_contract::purge::PurgeTarget::All, false);
            for path in ["/a", "/b", "/c"] {
                origin.on(path, kept("old"));
                edge.get(path).await.expect_body("old");
            }
            origin.on("/a", reply(status).header("location", "/b").body("done"));
            let report = Method::from_bytes(b"REPORT").unwrap();
            edge.ask(protocol, &Ask::get("/a").method(report).body("x")).await;
            for path in ["/a", "/b", "/c"] {
                origin.on(path, kept("new"));
                let expected = if is_forgotten && path != "/c" { "new" } else { "old" };
                let answer = edge.get(path).await;
                assert_eq!(
                    answer.whole_body(),
                    expected,
                    "{protocol:?} {status} {path} {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_head_updates_or_outdates_what_is_stored() {
    let origin = FakeOrigin::start().await;
    let edge = TestEdge::before(&origin).start().await;
    let tagged = |tag: &str| reply(200).cache_control("max-age=10").etag(tag).body(tag);
    origin.on("/s", tagged("\"a\""));
    edge.get("/s").await.expect_body("\"a\"");
    edge.advance(11);
    let head = Ask::get("/s").method(Method::HEAD);
    edge.ask(PROTOCOLS[1], &head).await.expect_status(200).expect_body("");
    assert_eq!(origin.last("/s").method, "HEAD");
    edge.get("/s").await.expect_cache("hit ttl=10").expect_body("\"a\"");

    edge.advance(11);
    origin.on("/s", tagged("\"bb\""));
    edge.ask(PROTOCOLS[2], &head).await.expect_status(200);
    edge.get("/s").await.expect_cache("fwd=uri-miss").expect_body("\"bb\"");
}
