//! Whatever the content, the link, the server's mood and the viewer: what must hold for every session.

use std::{collections::HashSet, time::Duration};

use proptest::prelude::*;

use super::{
    super::{AbrRule, Behaviour, Player, ViewEnd, Watch},
    content::{Live, Recorded},
    simulation::{Answer, Link, Reply, Trace, plan, run},
    viewing::{MAIN, total},
};
use crate::kind::{FailureClass, ObjectKind};

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn every_moment_is_one_thing_and_the_buffer_keeps_its_limits(
        content in content(),
        link in link(),
        behaviour in behaviour(),
        seed in any::<u64>(),
        failing in 0_u32..4,
    ) {
        let trace = watch(&content, &link, &behaviour, seed, failing);
        let again = watch(&content, &link, &behaviour, seed, failing);
        prop_assert_eq!(format!("{trace:?}"), format!("{again:?}"), "the same seed, the same session");

        let ended = trace.ended.expect("a session of finite videos ends");
        prop_assert_eq!(trace.views.len(), 1);
        let view = &trace.views[0];
        if view.startup.is_some() {
            // An end is exact, but noticed up to a millisecond later.
            prop_assert!(ended.abs_diff(total(view)) < NOTICED, "{view:?} {ended:?}");
        }
        let longest = content.segments.iter().chain(content.audio.iter().flatten()).max().unwrap();
        let most = behaviour.buffer_max + Duration::from_millis(*longest);
        prop_assert!(trace.fullest <= most, "{:?} of {most:?}", trace.fullest);
        prop_assert!(view.played <= content.duration() * (view.seeks + 1) + Duration::from_secs(1));
        if view.end == ViewEnd::Watched && view.seeks == 0 && behaviour.watch == Watch::Whole {
            prop_assert_eq!(view.played.as_millis(), content.duration().as_millis());
        }
        if let Some(mean) = view.mean_bitrate {
            let kilobits = mean / 1_000.0;
            let lowest = content.kilobits.iter().min().copied().unwrap() as f64;
            let highest = content.kilobits.iter().max().copied().unwrap() as f64;
            prop_assert!(kilobits >= lowest - 1.0 && kilobits <= highest + 1.0);
        }
        if view.seeks == 0 && failing == 0 {
            let mut seen = HashSet::new();
            // What did not come in its time is asked for again.
            for (_, request) in trace.media().filter(|(_, r)| !trace.late.contains(&r.id)) {
                let key = place_of(request.url.path(), &trace.cancelled, request.id);
                if let Some(key) = key {
                    prop_assert!(seen.insert(key.clone()), "{key} twice");
                }
            }
        }
        let calm = trace.requests.iter().filter(|(_, r)| r.kind == ObjectKind::Playlist).count();
        prop_assert!(calm < 100, "recorded playlists do not change: {calm}");
    }

    #[test]
    fn live_sessions_go_on_and_ask_neither_too_often_nor_twice(
        segment_ms in prop::sample::select(vec![1_000_u64, 2_000, 4_000, 6_000]),
        parts in prop::sample::select(vec![None, Some(4_u64), Some(2)]),
        window in 4_u64..20,
        age_ms in 30_000_u64..90_000,
        is_dated in any::<bool>(),
        ends in prop::option::of(20_000_u64..60_000),
        link in link(),
        seed in any::<u64>(),
    ) {
        let live = Live {
            segment_ms,
            window,
            age_ms,
            is_dated,
            ends_ms: ends,
            part_ms: parts.map(|parts| segment_ms / parts),
        };
        let until = Duration::from_secs(70);
        let address = "https://a.example/l/v.m3u8";
        let behaviour = Behaviour { patience_stall: Duration::ZERO, patience_start: Duration::ZERO, ..Behaviour::default() };
        let mut player = Player::new(plan(&[address], behaviour), seed);
        let trace = run(
            &mut player,
            &mut |now, request| {
                let mut answer = live.answer(now, request);
                answer.delay += Duration::from_millis(5);
                answer
            },
            &link,
            until,
        );
        prop_assert_eq!(trace.views.len(), 1);
        let view = &trace.views[0];
        let ended = trace.ended.unwrap();
        if view.startup.is_some() && view.jumps == 0 {
            prop_assert!(ended.abs_diff(total(view)) < NOTICED, "{view:?} {ended:?}");
        }
        prop_assert!(view.startup.is_some(), "{view:?}");
        let mut seen = HashSet::new();
        for (_, request) in trace.media() {
            let is_over = trace.cancelled.contains(&request.id) || trace.late.contains(&request.id);
            if !is_over && view.jumps == 0 {
                prop_assert!(seen.insert(request.url.path().to_owned()), "{} twice", request.url);
            }
        }
        let reloads = trace.requests.iter().filter(|(_, r)| r.kind == ObjectKind::Playlist).count() as u64;
        let every = live.part_ms.unwrap_or(segment_ms / 2).max(100);
        prop_assert!(reloads <= 2 * 70_000 / every + 4, "{reloads} reloads");
        prop_assert!(trace.steps < 20_000, "{} steps", trace.steps);
    }
}

fn watch(content: &Recorded, link: &Link, behaviour: &Behaviour, seed: u64, failing: u32) -> Trace {
    let mut player = Player::new(plan(&[MAIN], behaviour.clone()), seed);
    let mut count = 0_u32;
    run(
        &mut player,
        &mut |_, request| {
            count += 1;
            // Every seventh request fails, in one of three ways.
            let reply = match (failing, count % 7) {
                (1, 3) => Reply::Fail(FailureClass::Reset, None),
                (2, 3) => Reply::Fail(FailureClass::ServerError, Some(503)),
                (3, 3) => Reply::Text("#EXTM3U\nnothing of use".into()),
                _ => content.reply(request),
            };
            Answer { reply, delay: Duration::from_millis(3) }
        },
        link,
        Duration::from_secs(100_000),
    )
}

/// Track and number of a segment, whatever its rendition; nothing for one that was given up, and for init segments.
fn place_of(
    path: &str,
    cancelled: &[super::super::FetchId],
    id: super::super::FetchId,
) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let (track, rest) = name.split_once('-')?;
    (!cancelled.contains(&id)).then(|| format!("{}-{rest}", &track[..1]))
}

fn content() -> impl Strategy<Value = Recorded> {
    let kilobits = prop::collection::btree_set(100_u64..8_000, 1..5);
    let segments = prop::collection::vec(500_u64..8_000, 1..30);
    let audio = prop::option::of(900_u64..7_000);
    (kilobits, segments, audio, any::<bool>()).prop_map(|(kilobits, segments, audio, has_init)| {
        let whole: u64 = segments.iter().sum();
        // Sound of even segments, about as long as the picture.
        let audio = audio.map(|each| vec![each; whole.div_ceil(each) as usize]);
        Recorded { kilobits: kilobits.into_iter().collect(), segments, audio, has_init }
    })
}

fn link() -> impl Strategy<Value = Link> {
    let rates = prop::collection::vec((1_u64..40, 200_000_u64..20_000_000), 1..6);
    (rates, 0_u64..300).prop_map(|(steps, round_trip)| {
        let mut at = Duration::ZERO;
        let mut rates = Vec::new();
        for (seconds, rate) in steps {
            rates.push((at, rate));
            at += Duration::from_secs(seconds);
        }
        Link { rates, round_trip: Duration::from_millis(round_trip) }
    })
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let rules = prop::sample::select(vec![AbrRule::Throughput, AbrRule::Bola, AbrRule::Fixed]);
    (
        rules,
        2_u64..40,
        0_u64..6,
        0_u64..6,
        0_usize..4,
        prop::option::of(0.5_f64..10.0),
        any::<bool>(),
    )
        .prop_map(|(abr, most, start, resume, fixed_index, seeks, leaves)| Behaviour {
            abr,
            buffer_max: Duration::from_secs(most),
            buffer_start: Duration::from_secs(start),
            buffer_resume: Duration::from_secs(resume),
            fixed_index,
            seeks_per_minute: seeks.unwrap_or_default(),
            // Who seeks for ever would never come to the end.
            watch: if seeks.is_some() { Watch::Fixed } else { Watch::Whole },
            watch_time: Duration::from_secs(90),
            patience_start: Duration::ZERO,
            patience_stall: if leaves { Duration::from_secs(5) } else { Duration::ZERO },
            ..Behaviour::default()
        })
}

/// A wake comes a millisecond after the last event at the earliest.
const NOTICED: Duration = Duration::from_millis(2);
