//! Sessions of several videos, choices on a shaped link, and DASH.

use std::time::Duration;

use super::{
    super::{AbrRule, Behaviour, Player, View, ViewEnd, Watch},
    content::Recorded,
    simulation::{Answer, Link, Reply, Trace, plan, run},
    viewing::{MAIN, total},
};
use crate::kind::{FailureClass, ObjectKind};

#[test]
fn the_next_video_of_a_feed_is_ready_when_the_viewer_swipes() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 5, 4) };
    let feed = [MAIN, "https://b.example/v/main.m3u8", "https://c.example/v/main.m3u8"];
    let behaviour = Behaviour { share_watched: [0.5, 0.5], ..Behaviour::default() };
    let trace = watch(&feed, behaviour.clone(), &content);
    let startups: Vec<_> = trace.views.iter().map(|view| view.startup.unwrap()).collect();
    assert_eq!(startups, [ms(300), ms(0), ms(0)]);
    assert!(trace.views.iter().all(|view| view.played == ms(10_000)));
    assert_eq!(trace.ended, Some(ms(30_300)));
    let prepared: Vec<_> = trace.requests.iter().filter(|(_, r)| r.urgency == 6).collect();
    // Manifest, playlist and one segment of each of the two others.
    assert_eq!(prepared.len(), 6);
    assert!(prepared.iter().all(|(at, _)| *at >= ms(500)), "not before the first has enough");

    let none = Behaviour { prefetch: 0, ..behaviour.clone() };
    let trace = watch(&feed, none, &content);
    assert!(trace.views.iter().all(|view| view.startup == Some(ms(300))));
    assert_eq!(trace.ended, Some(ms(30_900)));

    // Prepared for nothing: the session has seen enough.
    let short = Behaviour { watch: Watch::Fixed, watch_time: ms(4_000), ..behaviour };
    let trace = watch(&feed, short, &content);
    assert_eq!(trace.views.len(), 1);
    let fetched: u64 = 500_000 * trace.paths(ObjectKind::Segment).len() as u64;
    assert_eq!(trace.views[0].wasted_bytes, fetched - 500_000);
}

#[test]
fn a_video_that_fails_does_not_end_a_feed() {
    let content = Recorded::new(&[1_000], 2, 4);
    let mut player =
        Player::new(plan(&["https://b.example/v/gone.m3u8", MAIN], Behaviour::default()), 1);
    let trace = run(
        &mut player,
        &mut |_, request| Answer { reply: content.reply(request), delay: ms(100) },
        &Link::default(),
        ms(60_000),
    );
    let ends: Vec<_> = trace.views.iter().map(|view| view.end).collect();
    assert_eq!(ends, [ViewEnd::FailedStart(FailureClass::ClientError), ViewEnd::Watched]);
    assert_eq!(trace.views[1].startup, Some(ms(400)));
}

#[test]
fn a_session_without_videos_ends_at_once() {
    let mut player = Player::new(plan(&[], Behaviour::default()), 1);
    let trace = run(
        &mut player,
        &mut |_, _| Answer { reply: Reply::Media(0), delay: ms(0) },
        &Link::default(),
        ms(60_000),
    );
    assert_eq!((trace.views.len(), trace.ended), (0, Some(ms(0))));
}

#[test]
fn the_rendition_follows_the_link() {
    let content = Recorded::new(&[400, 1_000, 2_500, 6_000], 80, 4);
    // 8 Mbit/s, from 60 s on 1.5, from 110 s on 8 again.
    let link = Link {
        rates: vec![(ms(0), 8_000_000), (ms(60_000), 1_500_000), (ms(110_000), 8_000_000)],
        round_trip: ms(40),
    };
    let rules = [AbrRule::Throughput, AbrRule::Bola, AbrRule::Oracle, AbrRule::Fixed];
    let views = rules.map(|abr| {
        let behaviour = Behaviour {
            abr,
            link_rate: if abr == AbrRule::Oracle { 1_500_000 } else { 0 },
            fixed_bitrate: 2_500_000,
            buffer_max: ms(20_000),
            ..Behaviour::default()
        };
        let trace = watch_on(&[MAIN], behaviour, &content, &link);
        assert_eq!(trace.views[0].end, ViewEnd::Watched, "{abr:?}");
        let view = trace.views[0].clone();
        assert_eq!(trace.ended.unwrap().as_millis(), total(&view).as_millis(), "{abr:?}");
        view
    });
    let [throughput, bola, oracle, fixed] = views;
    for view in [&throughput, &bola] {
        assert!(view.stalls.is_empty(), "{view:?}");
        assert!(view.switches_up >= 2 && view.switches_down >= 1, "{view:?}");
        assert!(view.mean_bitrate.unwrap() > 1_500_000.0, "{view:?}");
    }
    let bitrate = |view: &View| view.mean_bitrate.unwrap().round();
    assert_eq!((bitrate(&oracle), oracle.switches_up), (1_000_000.0, 0));
    assert_eq!(bitrate(&fixed), 2_500_000.0);
    assert!(!fixed.stalls.is_empty(), "2.5 Mbit/s do not go over 1.5");
}

#[test]
fn a_download_that_comes_too_late_is_given_up() {
    let content = Recorded { has_init: false, ..Recorded::new(&[400, 6_000], 12, 4) };
    // Begins high, then the link falls in the middle of a segment.
    let link = Link { rates: vec![(ms(0), 12_000_000), (ms(13_000), 600_000)], round_trip: ms(40) };
    let behaviour = Behaviour { buffer_max: ms(4_500), ..Behaviour::default() };
    let given_up = watch_on(&[MAIN], behaviour.clone(), &content, &link);
    let kept = watch_on(&[MAIN], Behaviour { abandon: false, ..behaviour }, &content, &link);
    let stalled = |trace: &Trace| -> Duration {
        trace.views[0].stalls.iter().map(|stall| stall.duration).sum()
    };
    assert_eq!(given_up.cancelled.len(), 1, "{:?}", given_up.views);
    assert!(kept.cancelled.is_empty());
    assert!(stalled(&given_up) + ms(5_000) < stalled(&kept), "{:?}", kept.views);
    assert!(given_up.views[0].wasted_bytes > 0);
}

#[test]
fn recorded_dash_is_played_as_hls_is() {
    let mpd = "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
        profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" mediaPresentationDuration=\"PT16S\" minBufferTime=\"PT2S\">\
        <Period><AdaptationSet contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\">\
        <SegmentTemplate timescale=\"1000\" duration=\"4000\" startNumber=\"0\" \
        initialization=\"$RepresentationID$.mp4\" media=\"$RepresentationID$-$Number$.m4s\"/>\
        <Representation id=\"v0\" bandwidth=\"400000\" codecs=\"avc1.4d401e\" width=\"640\" height=\"360\"/>\
        <Representation id=\"v1\" bandwidth=\"1000000\" codecs=\"avc1.4d401f\" width=\"1280\" height=\"720\"/>\
        </AdaptationSet><AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\" lang=\"en\">\
        <SegmentTemplate timescale=\"1000\" duration=\"4000\" startNumber=\"0\" \
        initialization=\"$RepresentationID$.mp4\" media=\"$RepresentationID$-$Number$.m4s\"/>\
        <Representation id=\"a\" bandwidth=\"128000\" codecs=\"mp4a.40.2\" audioSamplingRate=\"48000\"/>\
        </AdaptationSet></Period></MPD>";
    let content = Recorded { audio: Some(vec![4_000; 4]), ..Recorded::new(&[400, 1_000], 4, 4) };
    let mut player =
        Player::new(plan(&["https://a.example/v/manifest.mpd"], Behaviour::default()), 1);
    let trace = run(
        &mut player,
        &mut |_, request| {
            let is_mpd = request.url.path().ends_with(".mpd");
            let reply = if is_mpd { Reply::Text(mpd.into()) } else { content.reply(request) };
            Answer { reply, delay: ms(100) }
        },
        &Link::default(),
        ms(60_000),
    );
    let view = &trace.views[0];
    assert_eq!(
        (view.end, view.startup, view.played),
        (ViewEnd::Watched, Some(ms(300)), ms(16_000))
    );
    assert_eq!(view.switches_up, 1, "what came at once lets it go up");
    assert_eq!(trace.paths(ObjectKind::Init).len(), 3);
    let segments = trace.paths(ObjectKind::Segment);
    assert_eq!(segments.len(), 8);
    assert!(segments.contains(&"/v/a-3.m4s".into()) && segments.contains(&"/v/v1-3.m4s".into()));
    let (_, segment) = trace.media().last().unwrap();
    let session = segment.headers.iter().find(|(name, _)| name == "cmcd-session").unwrap();
    assert!(session.1.to_str().unwrap().contains("sf=d"));
}

#[test]
fn live_dash_is_asked_for_again_as_often_as_it_says() {
    // Began 100 s before the session; segments of 4 s by number.
    let begun = "2023-11-14T22:11:40Z";
    let mpd = format!(
        "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"dynamic\" availabilityStartTime=\"{begun}\" \
         minimumUpdatePeriod=\"PT10S\" timeShiftBufferDepth=\"PT60S\" suggestedPresentationDelay=\"PT8S\" \
         minBufferTime=\"PT2S\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\"><Period id=\"0\" start=\"PT0S\">\
         <AdaptationSet contentType=\"video\" mimeType=\"video/mp4\"><SegmentTemplate timescale=\"1\" duration=\"4\" \
         startNumber=\"0\" initialization=\"v.mp4\" media=\"v-$Number$.m4s\"/>\
         <Representation id=\"v\" bandwidth=\"1000000\" codecs=\"avc1.4d401e\"/></AdaptationSet></Period></MPD>"
    );
    let mut player =
        Player::new(plan(&["https://a.example/l/manifest.mpd"], Behaviour::default()), 1);
    let mut early = 0;
    let trace = run(
        &mut player,
        &mut |now, request| {
            let name = request.url.path().rsplit('/').next().unwrap().to_owned();
            let number = name.trim_start_matches("v-").trim_end_matches(".m4s").parse::<u64>();
            if let Ok(number) = number {
                early += u64::from((number + 1) * 4_000 > now.as_millis() as u64 + 100_000);
            }
            let is_mpd = name.ends_with(".mpd");
            let reply = if is_mpd { Reply::Text(mpd.clone()) } else { Reply::Media(500_000) };
            Answer { reply, delay: ms(100) }
        },
        &Link::default(),
        ms(45_000),
    );
    let view = &trace.views[0];
    assert_eq!((view.end, &view.stalls[..]), (ViewEnd::Cut, &[][..]));
    assert_eq!(early, 0, "no segment is asked for before it is there");
    assert_eq!(trace.times_ms(ObjectKind::Playlist), [10_100, 20_200, 30_300, 40_400]);
    assert!(trace.paths(ObjectKind::Segment)[0].ends_with("v-23.m4s"), "{trace:?}");
    // 8 s behind the list's end, which is where the stream is at 100 s.
    assert_eq!(view.live_latency, Some(ms(8_300)));
}

fn watch(feed: &[&str], behaviour: Behaviour, content: &Recorded) -> Trace {
    let mut player = Player::new(plan(feed, behaviour), 1);
    run(
        &mut player,
        &mut |_, request| Answer { reply: content.reply(request), delay: ms(100) },
        &Link::default(),
        ms(3_600_000),
    )
}

fn watch_on(feed: &[&str], behaviour: Behaviour, content: &Recorded, link: &Link) -> Trace {
    let mut player = Player::new(plan(feed, behaviour), 1);
    let trace = run(
        &mut player,
        &mut |_, request| Answer { reply: content.reply(request), delay: ms(0) },
        link,
        ms(3_600_000),
    );
    let _: &View = &trace.views[0];
    trace
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
