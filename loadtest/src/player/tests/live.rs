//! Live streams: where playing begins, when playlists are asked for again, latency, low latency, and falling behind.

use std::time::Duration;

use super::{
    super::{Behaviour, Player, Stall, View, ViewEnd},
    content::Live,
    simulation::{Answer, Link, Reply, Trace, plan, run},
};
use crate::kind::ObjectKind;

#[test]
fn playing_begins_three_target_durations_before_the_end() {
    // Segment 10 was over 1 s before the session; the list ends at 44 s of the stream, now is 45 s.
    let live = live();
    let trace = watch(&live, Behaviour::default(), 20_000);
    let view = only(&trace);
    assert_eq!(view.end, ViewEnd::Cut);
    // 44 - 12 = 32: segment 8 is the first.
    assert_eq!(trace.paths(ObjectKind::Segment)[..3], ["/l/v-8.m4s", "/l/v-9.m4s", "/l/v-10.m4s"]);
    assert_eq!(view.startup, Some(ms(300)));
    assert_eq!(view.stalls, []);
    // At 0.3 s the stream is at 45.3 s, the play head at 32 s.
    assert_eq!(view.live_latency, Some(ms(13_300)));
}

#[test]
fn without_dates_the_first_list_is_taken_to_end_now() {
    let live = Live { is_dated: false, ..live() };
    let trace = watch(&live, Behaviour::default(), 20_000);
    let latency = only(&trace).live_latency.unwrap();
    // Asked at 0, came at 0.1 s; 12 s behind its end, and 0.2 s for the first segment.
    assert_eq!(latency, ms(12_200));
}

#[test]
fn a_list_is_asked_for_again_after_its_target_duration_or_half_of_it() {
    let trace = watch(&live(), Behaviour::default(), 16_500);
    // The stream is 45 s old: segments are over at 48, 52, 56 s, that is at 3, 7, 11 s of the session.
    let times = trace.times_ms(ObjectKind::Multivariant);
    assert_eq!(times, [0]);
    let times = trace.times_ms(ObjectKind::Playlist);
    assert_eq!(times, [4_000, 8_000, 12_000, 16_000]);
    // One that comes a moment too early for the first segment finds nothing new, and waits half as long.
    let early = Live { age_ms: 43_900, ..live() };
    let trace = watch(&early, Behaviour::default(), 16_500);
    let times = trace.times_ms(ObjectKind::Playlist);
    assert_eq!(times, [4_000, 8_000, 12_000, 16_000]);
    let stuck = Live { ends_ms: None, segment_ms: 4_000, ..live() };
    let frozen = watch_with(&stuck, Behaviour::default(), 16_500, &|_| Some(ms(0)));
    assert_eq!(frozen.times_ms(ObjectKind::Playlist)[..4], [4_000, 6_000, 8_000, 10_000]);
}

#[test]
fn a_stream_that_ends_is_played_to_its_end() {
    let live = Live { ends_ms: Some(15_000), ..live() };
    let trace = watch(&live, Behaviour::default(), 600_000);
    let view = only(&trace);
    assert_eq!(view.end, ViewEnd::Watched);
    // From 32 s to 60 s of the stream.
    assert_eq!(view.played, ms(28_000));
    assert_eq!(view.stalls, []);
    let after_end = trace.requests.iter().filter(|(at, _)| *at > ms(20_000)).count();
    assert_eq!(after_end, 0, "nothing is asked for after the end");
}

#[test]
fn a_stream_that_stands_still_stalls_the_player_until_it_goes_on() {
    // Nothing new from 6 s to 26 s of the session.
    let trace = watch_with(&live(), Behaviour::default(), 40_000, &|now| {
        (ms(6_000)..ms(26_000)).contains(&now).then_some(ms(6_000))
    });
    let view = only(&trace);
    assert_eq!(view.stalls.len(), 1, "{:?}", view.stalls);
    // At 6 s there are segments up to 48 s, 16 s of media from 0.3 s on.
    let Stall { at, duration } = view.stalls[0];
    assert_eq!(at, ms(16_300));
    assert!(duration > ms(9_000) && duration < ms(12_500), "{duration:?}");
    assert!(view.live_latency.unwrap() > ms(13_300));
}

#[test]
fn a_player_too_far_behind_jumps_to_the_edge_or_catches_up() {
    let frozen = |now: Duration| (ms(6_000)..ms(26_000)).contains(&now).then_some(ms(6_000));
    let jumps = Behaviour { live_latency_max: ms(18_000), ..Behaviour::default() };
    let trace = watch_with(&live(), jumps, 60_000, &frozen);
    let view = only(&trace);
    assert_eq!(view.jumps, 1);
    assert_eq!(view.seeks, 0);

    let quick = Behaviour { live_catch_up_rate: 1.1, ..Behaviour::default() };
    let trace = watch_with(&live(), quick, 200_000, &frozen);
    let slow = watch_with(&live(), Behaviour::default(), 200_000, &frozen);
    let latency = |trace: &Trace| only(trace).live_latency.unwrap();
    assert!(latency(&trace) + ms(3_000) < latency(&slow), "{:?}", latency(&trace));
    assert!(only(&trace).played > only(&slow).played);
}

#[test]
fn media_that_slid_out_of_the_list_is_left_out() {
    // The list has 3 segments; nobody answers from 2 s to 40 s.
    let live = Live { window: 4, ..live() };
    let behaviour = Behaviour {
        retries_playlist: 100,
        retries_segment: 100,
        timeout_manifest: ms(3_000),
        timeout_segment: ms(3_000),
        patience_stall: Duration::ZERO,
        ..Behaviour::default()
    };
    let mut player = Player::new(plan(&[ADDRESS], behaviour), 1);
    let trace = run(
        &mut player,
        &mut |now, request| {
            let mut answer = live.answer(now, request);
            let is_dark = (ms(2_000)..ms(40_000)).contains(&now);
            answer.delay += if is_dark { ms(100_000) } else { ms(100) };
            answer
        },
        &Link::default(),
        ms(80_000),
    );
    let view = only(&trace);
    assert_eq!((view.jumps, view.stalls.len()), (1, 1), "{view:?}");
    assert!(view.live_latency.unwrap() < ms(20_000), "{view:?}");
}

#[test]
fn low_latency_waits_at_the_server_and_takes_parts() {
    let live = Live { part_ms: Some(500), ..live() };
    let trace = watch(&live, Behaviour::default(), 20_000);
    let view = only(&trace);
    assert_eq!(view.stalls, []);
    // Three parts of half a second behind the end, and what the start took.
    let latency = view.live_latency.unwrap();
    assert!(latency < ms(3_000), "{latency:?}");
    let reloads: Vec<_> = trace
        .requests
        .iter()
        .filter(|(_, request)| request.kind == ObjectKind::Playlist)
        .map(|(_, request)| request.url.query().unwrap_or_default().to_owned())
        .collect();
    // The first list ends with part 1 of segment 11 (45.0 s of the stream).
    assert_eq!(
        reloads[..3],
        ["_HLS_msn=11&_HLS_part=2", "_HLS_msn=11&_HLS_part=3", "_HLS_msn=11&_HLS_part=4"]
    );
    assert!(reloads.contains(&"_HLS_msn=12&_HLS_part=0".to_owned()));
    let mut parts = trace.paths(ObjectKind::Part);
    assert!(parts.len() > 30, "{}", parts.len());
    let count = parts.len();
    parts.sort();
    parts.dedup();
    assert_eq!(parts.len(), count, "no part is asked for twice");
    assert_eq!(trace.cancelled.len(), 2, "a reload and a hinted part are under way at the end");

    let whole = Behaviour { low_latency: false, ..Behaviour::default() };
    let trace = watch(&live, whole, 20_000);
    assert!(trace.paths(ObjectKind::Part).is_empty());
    assert!(trace.requests.iter().all(|(_, request)| request.url.query().is_none()));
}

/// Segments of 4 s, 6 in the list, 45 s after the stream began.
fn live() -> Live {
    Live {
        segment_ms: 4_000,
        window: 6,
        age_ms: 45_000,
        is_dated: true,
        ends_ms: None,
        part_ms: None,
    }
}

fn watch(live: &Live, behaviour: Behaviour, until_ms: u64) -> Trace {
    watch_with(live, behaviour, until_ms, &|_| None)
}

/// Every answer takes a tenth of a second. The stream may seem to be at another time.
fn watch_with(
    live: &Live,
    behaviour: Behaviour,
    until_ms: u64,
    clock: &dyn Fn(Duration) -> Option<Duration>,
) -> Trace {
    let mut player = Player::new(plan(&[ADDRESS], behaviour), 1);
    run(
        &mut player,
        &mut |now, request| {
            let Answer { reply, delay } = live.answer(clock(now).unwrap_or(now), request);
            let reply: Reply = reply;
            Answer { reply, delay: delay.max(ms(100)) }
        },
        &Link::default(),
        ms(until_ms),
    )
}

fn only(trace: &Trace) -> &View {
    assert_eq!(trace.views.len(), 1);
    &trace.views[0]
}

const ADDRESS: &str = "https://a.example/l/v.m3u8";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
