//! Recorded videos against servers with known delays: every figure of a view is known beforehand.

use std::time::Duration;

use super::{
    super::{Behaviour, Event, Player, SessionToken, Stall, View, ViewEnd, Watch},
    content::Recorded,
    simulation::{Answer, Link, Reply, Trace, plan, run},
};
use crate::kind::ObjectKind;

#[test]
fn startup_and_stalls_are_what_the_servers_delays_make_them() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 3, 4) };
    // Segments take 1 s, 6 s and 10 s; documents a tenth.
    let trace = watch(&content, Behaviour::default(), &|name| match name {
        "v0-0.ts" => 1_000,
        "v0-1.ts" => 6_000,
        "v0-2.ts" => 10_000,
        _ => 100,
    });
    let view = only(&trace);
    assert_eq!(view.end, ViewEnd::Watched);
    assert_eq!(view.startup, Some(ms(1_200)));
    assert_eq!(
        view.stalls,
        [
            Stall { at: ms(5_200), duration: ms(2_000) },
            Stall { at: ms(11_200), duration: ms(6_000) },
        ]
    );
    assert_eq!(view.played, ms(12_000));
    assert_eq!(view.mean_bitrate, Some(1_000_000.0));
    assert_eq!((view.wasted_bytes, view.switches_up, view.switches_down), (0, 0, 0));
    assert_eq!(trace.ended, Some(ms(21_200)));
    assert_eq!(trace.times_ms(ObjectKind::Segment), [200, 1_200, 7_200]);
}

#[test]
fn playing_goes_on_only_with_as_much_as_was_asked_for() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 6, 4) };
    let behaviour = Behaviour {
        buffer_start: Duration::from_secs(8),
        buffer_resume: Duration::from_secs(6),
        ..Behaviour::default()
    };
    let trace = watch(&content, behaviour, &|name| match name {
        "v0-2.ts" => 10_000,
        name if name.ends_with(".ts") => 1_000,
        _ => 0,
    });
    let view = only(&trace);
    // Two segments at 2 s; the third comes at 12 s, but the fourth is needed as well.
    assert_eq!(view.startup, Some(ms(2_000)));
    assert_eq!(view.stalls, [Stall { at: ms(10_000), duration: ms(3_000) }]);
    assert_eq!(trace.ended, Some(ms(2_000 + 24_000 + 3_000)));
}

#[test]
fn a_full_buffer_stops_fetching_until_there_is_room() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 10, 4) };
    let behaviour = Behaviour { buffer_max: Duration::from_secs(10), ..Behaviour::default() };
    let trace = watch(&content, behaviour, &|_| 0);
    // 12 s at once, then one whenever 10 s or less are ahead.
    let times = trace.times_ms(ObjectKind::Segment);
    assert_eq!(times, [0, 0, 0, 2_000, 6_000, 10_000, 14_000, 18_000, 22_000, 26_000]);
    assert_eq!(trace.fullest, Duration::from_secs(14));
    assert_eq!(only(&trace).startup, Some(ms(0)));
}

#[test]
fn sound_that_comes_late_stops_the_picture() {
    let content = Recorded { audio: Some(vec![3_000; 3]), ..Recorded::new(&[1_000], 2, 4) };
    let trace = watch(&content, Behaviour::default(), &|name| match name {
        "a-1.m4s" => 5_000,
        "a-2.m4s" => 500,
        _ => 100,
    });
    let view = only(&trace);
    // Entry, playlists, init segments, first segments: 0.4 s. The second of the sound is there at 5.4 s.
    assert_eq!(view.startup, Some(ms(400)));
    assert_eq!(view.stalls, [Stall { at: ms(3_400), duration: ms(2_000) }]);
    assert_eq!(view.played, ms(8_000), "the picture ends it");
    let urgencies: Vec<_> = trace
        .media()
        .map(|(_, request)| {
            (request.url.path().rsplit('/').next().unwrap().to_owned(), request.urgency)
        })
        .collect();
    assert!(
        urgencies.contains(&("a-0.m4s".into(), 2)) && urgencies.contains(&("v0-0.m4s".into(), 3))
    );
    assert!(urgencies.contains(&("v0.mp4".into(), 1)));
}

#[test]
fn a_first_address_may_be_a_media_playlist() {
    let content = Recorded::new(&[1_000], 2, 4);
    let mut player = Player::new(plan(&["https://a.example/v/v0.m3u8"], Behaviour::default()), 1);
    let trace = run(
        &mut player,
        &mut |_, request| Answer { reply: content.reply(request), delay: ms(100) },
        &Link::default(),
        ms(600_000),
    );
    let view = only(&trace);
    assert_eq!((view.startup, view.played), (Some(ms(300)), ms(8_000)));
    assert!(trace.paths(ObjectKind::Playlist).is_empty(), "it is not asked for twice");
    let measured = (1_000 * 4_000 / 8) as f64 * 8.0 / 4.0;
    assert_eq!(view.mean_bitrate, Some(measured), "nothing is declared");
}

#[test]
fn a_viewer_leaves_after_what_he_wanted_or_when_it_takes_too_long() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 10, 4) };
    let enough = Behaviour { watch: Watch::Fixed, watch_time: ms(9_500), ..Behaviour::default() };
    let trace = watch(&content, enough, &|_| 100);
    let view = only(&trace);
    assert_eq!((view.end, view.played), (ViewEnd::Watched, ms(9_500)));
    assert_eq!(trace.ended, Some(ms(9_800)));
    // 10 segments came within the buffer of 30 s: 8 of them before the end, 5.625 not played.
    assert_eq!(trace.paths(ObjectKind::Segment).len(), 10);
    assert_eq!(view.wasted_bytes, 500_000 * 10 - 500_000 * 19 / 8);

    let impatient = Behaviour { patience_start: ms(2_000), ..Behaviour::default() };
    let trace = watch(&content, impatient, &|name| if name == "v0-0.ts" { 60_000 } else { 100 });
    assert_eq!(only(&trace).end, ViewEnd::LeftBeforeStart);
    assert_eq!((only(&trace).startup, trace.ended), (None, Some(ms(2_000))));
    assert_eq!(trace.cancelled.len(), 1, "what is under way is given up");

    let impatient = Behaviour { patience_stall: ms(3_000), ..Behaviour::default() };
    let trace = watch(&content, impatient, &|name| if name == "v0-1.ts" { 60_000 } else { 100 });
    let view = only(&trace);
    assert_eq!(view.end, ViewEnd::LeftInStall);
    assert_eq!(view.stalls, [Stall { at: ms(4_300), duration: ms(3_000) }]);
    assert_eq!(trace.ended, Some(ms(7_300)));
}

#[test]
fn a_run_that_ends_cuts_the_view_where_it_is() {
    let content = Recorded::new(&[1_000], 100, 4);
    let mut player = Player::new(plan(&[MAIN], Behaviour::default()), 1);
    let trace = run(
        &mut player,
        &mut |_, request| Answer { reply: content.reply(request), delay: ms(100) },
        &Link::default(),
        ms(10_000),
    );
    let view = only(&trace);
    assert_eq!((view.end, view.played), (ViewEnd::Cut, ms(10_000 - 400)));
    assert_eq!(trace.ended, Some(ms(10_000)));
    assert!(player.status().is_over && player.wake_at().is_none());
    player.handle(ms(11_000), Event::Wake);
    assert!(player.next_action(ms(12_000)).is_none());
}

#[test]
fn seeks_are_no_stalls_and_time_adds_up() {
    let content = Recorded { has_init: false, ..Recorded::new(&[1_000], 40, 4) };
    let behaviour = Behaviour {
        seeks_per_minute: 6.0,
        buffer_max: ms(8_000),
        watch: Watch::Fixed,
        watch_time: ms(120_000),
        ..Behaviour::default()
    };
    let trace = watch(&content, behaviour, &|name| if name.ends_with(".ts") { 700 } else { 0 });
    let view = only(&trace);
    assert!(view.seeks >= 5, "{}", view.seeks);
    // A seek to the end of a segment has too little ahead of it for the next one's 0.7 s.
    assert!(view.stalls.iter().all(|stall| stall.duration < ms(700)));
    assert!(view.seeking >= ms(700) && view.seeking <= ms(1_500) * view.seeks);
    assert_eq!(trace.ended, Some(total(view)));
}

#[test]
fn every_request_carries_the_token_and_says_who_asks() {
    let content = Recorded::new(&[800, 1_500], 3, 4);
    let token = |is_query| {
        let (name, value) = ("tok".to_owned(), "abc".to_owned());
        if is_query {
            SessionToken::Query { name, value }
        } else {
            SessionToken::Header { name, value }
        }
    };
    for is_query in [true, false] {
        let mut plan = plan(&[MAIN], Behaviour::default());
        plan.session_token = Some(token(is_query));
        let mut player = Player::new(plan, 1);
        let trace = run(
            &mut player,
            &mut |_, request| Answer { reply: content.reply(request), delay: ms(100) },
            &Link::default(),
            ms(60_000),
        );
        assert_eq!(only(&trace).end, ViewEnd::Watched);
        for (_, request) in &trace.requests {
            let has_header = request.headers.iter().any(|(name, _)| name == "tok");
            assert_eq!(request.url.query() == Some("tok=abc"), is_query, "{}", request.url);
            assert_eq!(has_header, !is_query);
        }
        let (_, first) = trace.media().nth(1).unwrap();
        let header = |name: &str| {
            let found = first.headers.iter().find(|(own, _)| own == name);
            found.map_or("", |(_, value)| value.to_str().unwrap()).to_owned()
        };
        assert_eq!(header("cmcd-object"), "br=800,d=4000,ot=av,tb=1500");
        assert!(header("cmcd-request").contains("nor=\"v0-1.m4s\""), "{}", header("cmcd-request"));
        assert!(header("cmcd-request").ends_with(",su"));
        assert!(header("cmcd-session").starts_with("cid=\"/v/main.m3u8\",sf=h,sid="));
    }
}

#[test]
fn a_player_of_manifests_fetches_no_media() {
    let content = Recorded::new(&[1_000, 2_000], 10, 4);
    let behaviour = Behaviour { manifest_only: true, ..Behaviour::default() };
    let trace = watch(&content, behaviour, &|_| 100);
    assert_eq!(trace.requests.len(), 2);
    assert_eq!(only(&trace).played, content.duration());
    assert_eq!(trace.ended, Some(ms(200) + content.duration()));
}

/// Plays `main.m3u8` from a server that answers each name after that many milliseconds.
fn watch(content: &Recorded, behaviour: Behaviour, delay: &dyn Fn(&str) -> u64) -> Trace {
    let mut player = Player::new(plan(&[MAIN], behaviour), 1);
    run(
        &mut player,
        &mut |_, request| {
            let name = request.url.path().rsplit('/').next().unwrap_or_default();
            let reply: Reply = content.reply(request);
            Answer { reply, delay: ms(delay(name)) }
        },
        &Link::default(),
        ms(3_600_000),
    )
}

fn only(trace: &Trace) -> &View {
    assert_eq!(trace.views.len(), 1);
    &trace.views[0]
}

/// What a view's parts add up to.
pub(super) fn total(view: &View) -> Duration {
    let stalled: Duration = view.stalls.iter().map(|stall| stall.duration).sum();
    view.startup.unwrap_or_default() + view.played + stalled + view.seeking
}

pub(super) const MAIN: &str = "https://a.example/v/main.m3u8";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
