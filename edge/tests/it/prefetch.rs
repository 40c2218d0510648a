//! Segments are there before a viewer asks for them, and it is known whether that was of use.

use tidegate_contract::property::{CachePolicy, PrefetchPolicy};

use crate::harness::{FakeOrigin, Protocol, TestEdge, client::Ask, eventually, reply};

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg/1.m4s\n#EXTINF:4,\n\
    seg/2.m4s\n#EXTINF:4,\nseg/3.m4s\n#EXTINF:4,\nseg/4.m4s\n#EXT-X-ENDLIST\n";

async fn edge(origin: &FakeOrigin) -> TestEdge {
    let policy = CachePolicy { prefetch: PrefetchPolicy { segments: 2 }, ..CachePolicy::default() };
    origin.on("/v/p.m3u8", reply(200).cache_control("max-age=60").body(PLAYLIST));
    for n in 1..=4 {
        let segment = reply(200).cache_control("max-age=60").body(format!("segment {n}"));
        origin.on(&format!("/v/seg/{n}.m4s"), segment);
    }
    TestEdge::before(origin).policy(policy).start().await
}

#[tokio::test]
async fn the_next_segments_of_the_playlist_are_fetched_ahead_and_counted() {
    let origin = FakeOrigin::start().await;
    let edge = edge(&origin).await;
    edge.get("/v/p.m3u8").await.expect_status(200);
    eventually("the playlist is read", || edge.metric("edge_fills_total", &["stored"]) == 1.0)
        .await;
    edge.get("/v/seg/1.m4s").await.expect_cache("fwd=uri-miss").expect_body("segment 1");
    eventually("two are stored", || edge.metric("edge_fills_total", &["stored"]) == 4.0).await;
    assert_eq!(origin.count("/v/seg/4.m4s"), 0, "no further than that");
    for n in [2, 3] {
        edge.get(&format!("/v/seg/{n}.m4s")).await.expect_cache("hit");
    }
    eventually("the last is stored", || edge.metric("edge_fills_total", &["stored"]) == 5.0).await;
    edge.expect_metric("edge_prefetches_total", &["begun"], 3.0).await;
    edge.expect_metric("edge_prefetches_total", &["useful"], 2.0).await;
    for n in 1..=4 {
        assert_eq!(origin.count(&format!("/v/seg/{n}.m4s")), 1);
    }
}

#[tokio::test]
async fn what_a_player_says_that_it_asks_for_next_is_fetched_ahead() {
    let origin = FakeOrigin::start().await;
    let edge = edge(&origin).await;
    let ask = Ask::get("/v/seg/1.m4s").header("cmcd-request", "nor=\"3.m4s\"");
    edge.ask(Protocol::Http3, &ask).await.expect_status(200);
    eventually("it is stored", || edge.metric("edge_fills_total", &["stored"]) == 2.0).await;
    edge.get("/v/seg/3.m4s").await.expect_cache("hit");
    assert_eq!(origin.count("/v/seg/2.m4s"), 0);
}
