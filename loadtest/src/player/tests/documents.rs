//! What single tags of a playlist make a player do.

use std::time::Duration;

use super::{
    super::{Behaviour, Player, View, ViewEnd},
    simulation::{Answer, Link, Reply, Trace, plan, run},
    viewing::MAIN,
};
use crate::kind::{FailureClass, ObjectKind};

#[test]
fn gaps_are_passed_and_byte_ranges_and_init_segments_asked_for() {
    let list = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n\
        #EXT-X-MAP:URI=\"one.mp4\",BYTERANGE=\"720@0\"\n\
        #EXT-X-BYTERANGE:1000@720\n#EXTINF:4,\none.mp4\n\
        #EXT-X-BYTERANGE:2000\n#EXTINF:4,\none.mp4\n\
        #EXT-X-GAP\n#EXTINF:4,\ngone.mp4\n\
        #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"two.mp4\"\n#EXTINF:3,\ntwo-0.m4s\n\
        #EXT-X-ENDLIST\n";
    let trace = watch(&[("v.m3u8", list)]);
    let view = only(&trace);
    assert_eq!((view.end, view.played), (ViewEnd::Watched, ms(11_000)));
    assert_eq!(view.stalls, []);
    assert_eq!(trace.ended, Some(ms(300 + 11_000)));
    let asked: Vec<_> = trace
        .media()
        .map(|(_, r)| (r.kind, r.url.path().trim_start_matches("/v/").to_owned(), r.range))
        .collect();
    assert_eq!(
        asked,
        [
            (ObjectKind::Init, "one.mp4".into(), Some((0, Some(720)))),
            (ObjectKind::Segment, "one.mp4".into(), Some((720, Some(1_000)))),
            (ObjectKind::Segment, "one.mp4".into(), Some((1_720, Some(2_000)))),
            (ObjectKind::Init, "two.mp4".into(), None),
            (ObjectKind::Segment, "two-0.m4s".into(), None),
        ]
    );
}

#[test]
fn a_key_is_asked_for_once_before_what_it_opens() {
    let list = "#EXTM3U\n#EXT-X-VERSION:5\n#EXT-X-TARGETDURATION:4\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"one.key\",IV=0x1\n\
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n\
        #EXTINF:4,\n0.ts\n#EXTINF:4,\n1.ts\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"two.key\"\n#EXTINF:4,\n2.ts\n\
        #EXT-X-KEY:METHOD=AES-128,URI=\"one.key\"\n#EXTINF:4,\n3.ts\n\
        #EXT-X-KEY:METHOD=NONE\n#EXTINF:4,\n4.ts\n\
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"data:text/plain;base64,AA\"\n#EXTINF:4,\n5.ts\n\
        #EXT-X-ENDLIST\n";
    let trace = watch(&[("v.m3u8", list)]);
    assert_eq!((only(&trace).end, only(&trace).played), (ViewEnd::Watched, ms(24_000)));
    let asked: Vec<_> =
        trace.media().map(|(_, r)| r.url.path().trim_start_matches("/v/").to_owned()).collect();
    assert_eq!(asked, ["one.key", "0.ts", "1.ts", "two.key", "2.ts", "3.ts", "4.ts", "5.ts"]);
    assert_eq!(trace.paths(ObjectKind::Key), ["/v/one.key", "/v/two.key"]);
}

#[test]
fn playing_begins_where_the_list_says() {
    // Seconds, the first segment that is asked for, and how much is played.
    let table = [("5.5", "/v/s1.ts", 6_500), ("-3", "/v/s2.ts", 3_000), ("99", "/v/s2.ts", 0)];
    for (offset, first, played) in table {
        let list = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-START:TIME-OFFSET={offset}\n#EXTINF:4,\ns0.ts\n\
             #EXTINF:4,\ns1.ts\n#EXTINF:4,\ns2.ts\n#EXT-X-ENDLIST\n"
        );
        let trace = watch(&[("v.m3u8", &list)]);
        assert_eq!(only(&trace).end, ViewEnd::Watched, "{offset}");
        assert_eq!(only(&trace).played, ms(played), "{offset}");
        if played > 0 {
            assert_eq!(trace.paths(ObjectKind::Segment)[0], first);
        }
    }
}

#[test]
fn a_spare_of_the_same_bitrate_takes_over() {
    let main = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000\ngone.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=1000000\nv.m3u8\n";
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ns0.ts\n#EXT-X-ENDLIST\n";
    let trace = watch(&[("main.m3u8", main), ("v.m3u8", list)]);
    assert_eq!(only(&trace).end, ViewEnd::Watched);
    assert_eq!(trace.paths(ObjectKind::Playlist), ["/v/gone.m3u8", "/v/v.m3u8"]);
    assert_eq!((only(&trace).switches_up, only(&trace).switches_down), (0, 0));
}

#[test]
fn playlists_that_name_each_other_end_with_a_clear_error() {
    let main = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nother.m3u8\n";
    let other = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nmain.m3u8\n";
    for circle in [&[("main.m3u8", main), ("other.m3u8", other)][..], &[("main.m3u8", other)]] {
        let trace = watch(circle);
        let view = only(&trace);
        assert_eq!(view.end, ViewEnd::FailedStart(FailureClass::Manifest));
        let reason = view.reason.as_deref().unwrap_or_default();
        assert!(reason.contains("a multivariant playlist stands where"), "{reason}");
        assert!(trace.requests.len() < 8, "it is not followed round and round");
    }
}

#[test]
fn a_device_keeps_to_the_codecs_that_it_plays() {
    let main = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000,CODECS=\"hvc1.1.6.L93.B0\"\nh.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=200000,CODECS=\"avc1.4d401e,mp4a.40.2\"\nv.m3u8\n\
        #EXT-X-STREAM-INF:BANDWIDTH=9000000,CODECS=\"hvc1.1.6.L93.B0\"\nh.m3u8\n";
    let list =
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ns0.ts\n#EXTINF:4,\ns1.ts\n#EXT-X-ENDLIST\n";
    let trace = watch(&[("main.m3u8", main), ("v.m3u8", list)]);
    assert_eq!(only(&trace).end, ViewEnd::Watched);
    assert_eq!(trace.paths(ObjectKind::Playlist), ["/v/v.m3u8"]);
}

#[test]
fn an_on_demand_mpd_needs_its_index_first() {
    let mpd = "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
        mediaPresentationDuration=\"PT8S\" minBufferTime=\"PT2S\" \
        profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period>\
        <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"v\" bandwidth=\"400000\" codecs=\"avc1.4d401e\">\
        <BaseURL>v.mp4</BaseURL><SegmentBase indexRange=\"700-767\"><Initialization range=\"0-699\"/></SegmentBase>\
        </Representation></AdaptationSet></Period></MPD>";
    let trace = watch(&[("main.m3u8", mpd)]);
    let view = only(&trace);
    // The index is no sidx: the error says so, and the index was asked for as it stands in the MPD.
    assert_eq!(view.end, ViewEnd::FailedStart(FailureClass::Manifest));
    assert!(view.reason.is_some());
    let index = trace.requests.iter().find(|(_, r)| r.kind == ObjectKind::Playlist).unwrap();
    assert_eq!(index.1.range, Some((700, Some(68))));
}

#[test]
fn a_delta_update_goes_on_from_the_list_before() {
    let head = |first: u64| {
        format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n\
             #EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=24\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
        )
    };
    let segments = |from: u64, to: u64| -> String {
        (from..to).map(|number| format!("#EXTINF:4,\ns{number}.ts\n")).collect()
    };
    let mut player = Player::new(plan(&["https://a.example/v/v.m3u8"], Behaviour::default()), 1);
    let mut wholes = 0;
    let trace = run(
        &mut player,
        &mut |now, request| {
            let over = 12 + now.as_secs() / 4; // segments that are over by now
            let first = over - 12;
            let is_delta = request.url.query() == Some("_HLS_skip=YES");
            let text = if is_delta {
                let skip = format!("#EXT-X-SKIP:SKIPPED-SEGMENTS=6\n{}", segments(first + 6, over));
                head(first) + &skip
            } else {
                head(first) + &segments(first, over)
            };
            let is_list = request.url.path().ends_with(".m3u8");
            wholes += u64::from(is_list && !is_delta);
            let reply = if is_list { Reply::Text(text) } else { Reply::Media(5_000) };
            Answer { reply, delay: ms(100) }
        },
        &Link::default(),
        ms(30_000),
    );
    let view = only(&trace);
    assert_eq!((view.end, &view.stalls[..], view.jumps), (ViewEnd::Cut, &[][..], 0));
    assert_eq!(wholes, 1);
    let numbers: Vec<_> = trace.paths(ObjectKind::Segment);
    let want: Vec<_> = (9..9 + numbers.len()).map(|number| format!("/v/s{number}.ts")).collect();
    assert_eq!(numbers, want);
    assert!(numbers.len() >= 9, "{numbers:?}");
}

/// Every answer takes a tenth of a second. Without a `main.m3u8`, that one is the list `v.m3u8`.
fn watch(texts: &[(&str, &str)]) -> Trace {
    let has_main = texts.iter().any(|(name, _)| *name == "main.m3u8");
    let address = if has_main { MAIN } else { "https://a.example/v/v.m3u8" };
    let mut player = Player::new(plan(&[address], Behaviour::default()), 1);
    run(
        &mut player,
        &mut |_, request| {
            let name = request.url.path().rsplit('/').next().unwrap_or_default();
            let text = texts.iter().find(|(own, _)| *own == name).map(|(_, text)| *text);
            let reply = match text {
                Some(text) => Reply::Text(text.to_owned()),
                None if name.ends_with(".m3u8") => {
                    Reply::Fail(FailureClass::ClientError, Some(404))
                }
                None => Reply::Media(5_000),
            };
            Answer { reply, delay: ms(100) }
        },
        &Link::default(),
        ms(600_000),
    )
}

fn only(trace: &Trace) -> &View {
    assert_eq!(trace.views.len(), 1);
    &trace.views[0]
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
