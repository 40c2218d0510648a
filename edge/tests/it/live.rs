//! Live events: held playlists, segments that are asked for too early, playlists that stand still.

use futures::future::join_all;

use crate::harness::{
    FakeOrigin, Gate, PATIENCE, PROTOCOLS, Protocol, TestEdge, client::Ask, eventually, noise,
    reply,
};

fn playlist(sequence: u64) -> String {
    format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXTINF:2,\n{sequence}.m4s\n"
    )
}

#[tokio::test]
async fn a_held_playlist_is_asked_for_once_and_may_take_longer_than_other_answers() {
    let origin = FakeOrigin::start().await;
    let gate = Gate::closed();
    let path = "/live/p.m3u8?_HLS_msn=8&_HLS_part=1";
    origin.on(path, reply(200).cache_control("max-age=2").body(playlist(8)).held(&gate));
    let edge = TestEdge::before(&origin)
        .config(|config| {
            let short = std::time::Duration::from_millis(20);
            config.upstream.first_byte_timeout = short;
            config.cache.collapse_wait_max = short;
        })
        .start()
        .await;
    let all = join_all((0..12).map(|n| edge.get_by(PROTOCOLS[n % 3], path)));
    let open = async {
        eventually("the origin is asked", || origin.count(path) > 0).await;
        // Longer than the limits for other answers.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(all, open);
    for answer in answers {
        answer.expect_status(200).expect_body(playlist(8));
    }
    assert_eq!(origin.count(path), 1);
}

#[tokio::test]
async fn a_segment_that_is_asked_for_too_early_is_refused_to_all_at_once_and_not_remembered() {
    let origin = FakeOrigin::start().await;
    let (head, body) = (Gate::closed(), Gate::closed());
    let refusal = reply(404).body("not yet").held(&head).paused_after(3, &body);
    origin.on("/live/9.m4s", refusal);
    // Nobody loses patience before all are there, however slow this machine is.
    let edge = TestEdge::before(&origin)
        .config(|config| config.cache.collapse_wait_max = PATIENCE)
        .start()
        .await;
    let all = join_all((0..20).map(|n| edge.get_by(PROTOCOLS[n % 3], "/live/9.m4s")));
    let open = async {
        eventually("one asks, the others wait", || edge.handles.fetcher.waiting() == 19).await;
        head.open();
        eventually("all have seen the answer", || edge.handles.fetcher.waiting() == 0).await;
        body.open();
    };
    let (answers, ()) = tokio::join!(all, open);
    for answer in answers {
        answer.expect_status(404).expect_body("not yet");
    }
    // One that is woken late may find that the answer has gone by, and asks once more.
    let refused = origin.count("/live/9.m4s");
    assert!(refused < 4, "{refused}");

    // Now it is there: one fetch for all, at once.
    origin.on("/live/9.m4s", reply(200).cache_control("max-age=60").body(noise(9000)));
    for answer in join_all((0..20).map(|n| edge.get_by(PROTOCOLS[n % 3], "/live/9.m4s"))).await {
        answer.expect_status(200).expect_body(noise(9000));
    }
    assert_eq!(origin.count("/live/9.m4s"), refused + 1);
}

#[tokio::test]
async fn a_playlist_that_stands_still_is_asked_of_the_next_origin() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let edge = TestEdge::before(&first).origin(&second).start().await;
    let at = |sequence| reply(200).cache_control("max-age=1").body(playlist(sequence));
    first.on("/live/p.m3u8", at(5));
    second.on("/live/p.m3u8", at(9));
    for _ in 0..2 {
        edge.get("/live/p.m3u8").await.expect_body(playlist(5));
        edge.advance(2);
    }
    assert_eq!((first.count("/live/p.m3u8"), second.count("/live/p.m3u8")), (2, 0));
    // Four seconds of a target duration of two: the third copy would be one too many, and nobody gets it.
    edge.get("/live/p.m3u8").await.expect_status(200).expect_body(playlist(9));
    assert_eq!((first.count("/live/p.m3u8"), second.count("/live/p.m3u8")), (3, 1));
    edge.expect_metric("edge_live_stalled_total", &[], 1.0).await;
    edge.get("/live/p.m3u8").await.expect_cache("hit").expect_body(playlist(9));
    edge.advance(2);
    second.on("/live/p.m3u8", at(10));
    edge.get("/live/p.m3u8").await.expect_body(playlist(10));
    assert_eq!(first.count("/live/p.m3u8"), 3, "it is left out for a while");
}

#[tokio::test]
async fn a_confirmed_playlist_that_stands_still_is_asked_of_the_next_origin_too() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let edge = TestEdge::before(&first).origin(&second).start().await;
    let at =
        |sequence, tag| reply(200).cache_control("max-age=1").etag(tag).body(playlist(sequence));
    first.on("/live/p.m3u8", at(5, "\"5\""));
    second.on("/live/p.m3u8", at(9, "\"9\""));
    edge.get("/live/p.m3u8").await.expect_body(playlist(5));
    edge.advance(2);
    edge.get("/live/p.m3u8").await.expect_cache("fwd-status=304").expect_body(playlist(5));
    edge.advance(2);
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/live/p.m3u8").await.expect_body(playlist(9));
    }
    assert_eq!((first.count("/live/p.m3u8"), second.count("/live/p.m3u8")), (3, 1));
}

#[tokio::test]
async fn when_no_other_origin_has_a_better_copy_the_one_that_stands_still_is_served() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let edge = TestEdge::before(&first).origin(&second).start().await;
    let at = |sequence| reply(200).cache_control("max-age=1").body(playlist(sequence));
    first.on("/live/p.m3u8", at(5));
    for worse in [reply(404), reply(500), at(3)] {
        second.on("/live/p.m3u8", worse);
        for _ in 0..4 {
            edge.get("/live/p.m3u8").await.expect_status(200).expect_body(playlist(5));
            edge.advance(2);
        }
        first.on("/live/p.m3u8", at(5));
        edge.advance(60);
    }
    assert!(second.count("/live/p.m3u8") >= 3);
}

fn mpd(segments: u64) -> String {
    format!(
        "<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT2S\"><Period start=\"PT0S\"><AdaptationSet>\
         <SegmentTemplate timescale=\"1\"><SegmentTimeline><S t=\"0\" d=\"2\" r=\"{segments}\"/>\
         </SegmentTimeline></SegmentTemplate></AdaptationSet></Period></MPD>"
    )
}

#[tokio::test]
async fn an_mpd_that_stands_still_is_asked_of_the_next_origin() {
    let (first, second) = (FakeOrigin::start().await, FakeOrigin::start().await);
    let edge = TestEdge::before(&first).origin(&second).start().await;
    let at = |segments| {
        let mpd = reply(200).header("content-type", "application/dash+xml").body(mpd(segments));
        mpd.cache_control("max-age=1")
    };
    second.on("/live/m.mpd", at(9));
    for segments in [3, 4] {
        first.on("/live/m.mpd", at(segments));
        edge.get("/live/m.mpd").await.expect_body(mpd(segments));
        edge.advance(2);
    }
    edge.get("/live/m.mpd").await.expect_body(mpd(4));
    edge.advance(2);
    for protocol in PROTOCOLS {
        edge.get_by(protocol, "/live/m.mpd").await.expect_body(mpd(9));
    }
    assert_eq!((first.count("/live/m.mpd"), second.count("/live/m.mpd")), (4, 1));
    edge.expect_metric("edge_live_stalled_total", &[], 1.0).await;

    // One whose segments are numbered by the clock may stay the same.
    let numbered = "<MPD type=\"dynamic\" minimumUpdatePeriod=\"PT2S\"><Period><SegmentTemplate duration=\"2\"/></Period></MPD>";
    first.on("/live/n.mpd", reply(200).cache_control("max-age=1").body(numbered));
    for _ in 0..5 {
        edge.get("/live/n.mpd").await.expect_body(numbered);
        edge.advance(2);
    }
    assert_eq!(second.count("/live/n.mpd"), 0);
}

#[tokio::test]
async fn parts_reach_players_as_they_are_made() {
    let origin = FakeOrigin::start().await;
    let gate = Gate::closed();
    let part = reply(200).cache_control("max-age=60").body(noise(40_000)).chunked();
    origin.on("/live/9.1.m4s", part.paused_after(20_000, &gate));
    let edge = TestEdge::before(&origin).start().await;
    let mut players = Vec::new();
    for protocol in PROTOCOLS {
        let mut open = edge.client.open(protocol, &Ask::get("/live/9.1.m4s")).await.unwrap();
        let mut read = 0;
        while read < 20_000 {
            read += open.read().await.unwrap().expect("more to come").len();
        }
        players.push((open, read));
    }
    gate.open();
    for (mut open, mut read) in players {
        while let Some(bytes) = open.read().await.unwrap() {
            read += bytes.len();
        }
        assert_eq!(read, 40_000);
    }
    assert_eq!(origin.count("/live/9.1.m4s"), 1);
    edge.get_by(Protocol::Http2, "/live/9.1.m4s").await.expect_cache("hit");
}
