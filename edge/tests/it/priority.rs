//! What comes first (RFC 9218): the origin's word is kept, and without one manifests and init segments go ahead.

use crate::harness::{FakeOrigin, PROTOCOLS, Protocol, TestEdge, client::Ask, reply};

#[tokio::test]
async fn what_the_origin_says_of_a_response_is_said_with_every_copy() {
    let origin = FakeOrigin::start().await;
    let said = reply(200).cache_control("max-age=60").header("priority", "u=2, i").etag("\"a\"");
    origin.on("/v/p.m3u8", said.body("#EXTM3U\n"));
    let edge = TestEdge::before(&origin).start().await;
    for protocol in PROTOCOLS.into_iter().chain(PROTOCOLS) {
        let answer = edge.get_by(protocol, "/v/p.m3u8").await.expect_status(200);
        answer.expect_header("priority", "u=2, i");
    }
    edge.advance(61);
    let confirmed = edge.get_by(Protocol::Http3, "/v/p.m3u8").await;
    confirmed.expect_cache("fwd-status=304").expect_header("priority", "u=2, i");
    assert_eq!(origin.count("/v/p.m3u8"), 2);
}

#[tokio::test]
async fn manifests_and_init_segments_go_first_where_nobody_says_anything() {
    let origin = FakeOrigin::start().await;
    for (path, cache_control, first) in [
        ("/v/p.m3u8", "max-age=60", "u=1"),
        ("/v/m.mpd", "private", "u=1"),
        ("/v/init.mp4", "max-age=60", "u=1"),
        ("/v/1.m4s", "max-age=60", ""),
        ("/v/other", "max-age=60", ""),
    ] {
        origin.on(path, reply(200).cache_control(cache_control).body("x"));
        let edge = TestEdge::before(&origin).start().await;
        for (protocol, expected) in
            [(Protocol::Http1, ""), (Protocol::Http2, first), (Protocol::Http3, first)]
        {
            edge.get_by(protocol, path)
                .await
                .expect_status(200)
                .expect_header("priority", expected);
            let asked = Ask::get(path).header("priority", "u=5");
            edge.ask(protocol, &asked).await.expect_status(200).expect_header("priority", "");
        }
    }
}
