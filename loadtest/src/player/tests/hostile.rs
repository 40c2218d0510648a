//! Servers that make no sense: lists that jump about, lengths and dates of any kind. A view may break; a player may not.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::{Behaviour, Player},
    simulation::{Answer, Link, Reply, plan, run},
};
use crate::kind::ObjectKind;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn playlists_that_make_no_sense_break_a_view_and_not_the_player(
        playlists in prop::collection::vec(playlist(), 1..6),
        seed in any::<u64>(),
        is_quick in any::<bool>(),
    ) {
        let behaviour = Behaviour {
            live_catch_up_rate: if is_quick { 1.5 } else { 1.0 },
            live_latency_max: Duration::from_secs(if is_quick { 0 } else { 20 }),
            seeks_per_minute: 10.0,
            patience_stall: Duration::ZERO,
            retries_playlist: 100,
            retry_delay: Duration::from_millis(200),
            retry_delay_max: Duration::from_millis(400),
            ..Behaviour::default()
        };
        let mut player = Player::new(plan(&["https://a.example/l/v.m3u8"], behaviour), seed);
        let mut count = 0;
        let trace = run(
            &mut player,
            &mut |_, request| {
                let is_media = !request.url.path().ends_with(".m3u8");
                count += usize::from(!is_media);
                let text = playlists[count % playlists.len()].clone();
                let reply = if is_media { Reply::Media(9_000) } else { Reply::Text(text) };
                Answer { reply, delay: Duration::from_millis(30) }
            },
            &Link::default(),
            Duration::from_secs(40),
        );
        prop_assert_eq!(trace.views.len(), 1);
        // A tenth of a second, and the answer's time, or new segments each time.
        let reloads = trace.requests.iter().filter(|(_, r)| r.kind == ObjectKind::Playlist).count();
        prop_assert!(reloads <= 40_000 / 30, "{} reloads", reloads);
    }
}

/// A live playlist of which any line may be absurd.
fn playlist() -> impl Strategy<Value = String> {
    // Extremes are those that the reader lets through, and one that it does not.
    let number = prop_oneof![8 => 0_u64..30, 2 => Just(NUMBER_MAX), 1 => Just(u64::MAX)];
    let target = prop_oneof![8 => 1_u64..9, 1 => Just(SECONDS_MAX)];
    let segment = (prop_oneof![8 => 0.05..9.0, 1 => Just(SECONDS_MAX as f64)], 0_u8..12);
    let end = (any::<bool>(), 0_u8..6, prop_oneof![Just("0.001"), Just("0.3"), Just("80000")]);
    (number, target, prop::collection::vec(segment, 0..12), end).prop_map(
        |(number, target, segments, (is_ended, parts, part))| {
            let mut text = format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{number}\n"
            );
            if parts > 0 {
                text += &format!(
                    "#EXT-X-PART-INF:PART-TARGET={part}\n\
                     #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,PART-HOLD-BACK={part}\n"
                );
            }
            for (index, (seconds, tag)) in segments.iter().enumerate() {
                text += match tag {
                    0 => "#EXT-X-DISCONTINUITY\n",
                    1 => "#EXT-X-GAP\n",
                    2 => "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:00:00Z\n",
                    3 => "#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z\n",
                    4 => "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20Z\n",
                    5 => "#EXT-X-BYTERANGE:10@5\n",
                    6 => "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n",
                    _ => "",
                };
                text += &format!("#EXTINF:{seconds},\ns{index}.ts\n");
            }
            for index in 0..parts {
                text += &format!(
                    "#EXT-X-PART:DURATION={part},URI=\"p{index}.ts\",INDEPENDENT=YES\n"
                );
            }
            if parts > 0 {
                text += &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p{parts}.ts\"\n");
            }
            if is_ended { text + "#EXT-X-ENDLIST\n" } else { text }
        },
    )
}

/// The largest that the reader takes.
const NUMBER_MAX: u64 = crate::manifest::limit::MAX_NUMBER;
const SECONDS_MAX: u64 = crate::manifest::limit::MAX_SEGMENT_SECONDS;
