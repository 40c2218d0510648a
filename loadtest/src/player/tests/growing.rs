//! Low-latency DASH: segments that are fetched while they are made, and the latency that the MPD asks for.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    super::{Behaviour, Player, View},
    simulation::{Answer, Link, Reply, Trace, WALL_AT_START_MS, plan, run},
    viewing::total,
};
use crate::kind::ObjectKind;

/// A live MPD; the stream is `AGE_MS` old at the session's beginning.
#[derive(Debug, Clone, Copy)]
struct Stream {
    segment_ms: u64,
    /// How long before its end a segment may be asked for.
    offset_ms: u64,
    latency_ms: u64,
    /// What is declared, and what a segment really has.
    declared: u64,
    actual: u64,
}

impl Stream {
    fn mpd(self) -> String {
        let Self { segment_ms, offset_ms, latency_ms, declared, .. } = self;
        let ms = WALL_AT_START_MS - AGE_MS as i64;
        let start =
            time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
        let start = start.format(&time::format_description::well_known::Rfc3339).unwrap();
        format!(
            "<MPD type=\"dynamic\" availabilityStartTime=\"{start}\" timeShiftBufferDepth=\"PT30S\">\
             <ServiceDescription><Latency target=\"{latency_ms}\"/></ServiceDescription>\
             <Period start=\"PT0S\"><AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate timescale=\"1000\" \
             duration=\"{segment_ms}\" startNumber=\"0\" availabilityTimeOffset=\"{}\" initialization=\"i.mp4\" \
             media=\"$Number$.m4s\"/><Representation id=\"v\" bandwidth=\"{declared}\"/></AdaptationSet></Period></MPD>",
            offset_ms as f64 / 1_000.0
        )
    }

    /// A segment is sent as it is made; one that is asked for before its time is not there.
    fn answer(self, now: Duration, name: &str) -> Answer {
        let reply = match name.strip_suffix(".m4s").and_then(|number| number.parse::<u64>().ok()) {
            Some(number) => {
                let at = |ms: u64| ms_of(ms.saturating_sub(AGE_MS));
                let (from, until) = (number * self.segment_ms, (number + 1) * self.segment_ms);
                assert!(now + ms_of(self.offset_ms) + ms_of(1) >= at(until), "{name} at {now:?}");
                let bytes = self.actual * self.segment_ms / 8_000;
                match from >= AGE_MS {
                    true => Reply::Growing { bytes, from: at(from), until: at(until) },
                    false => Reply::Media(bytes),
                }
            }
            None if name == "i.mp4" => Reply::Media(800),
            None => Reply::Text(self.mpd()),
        };
        Answer { reply, delay: ms_of(20) }
    }

    fn watch(self, behaviour: Behaviour, until_ms: u64) -> Trace {
        let mut player = Player::new(plan(&["https://a.example/l/live.mpd"], behaviour), 1);
        run(
            &mut player,
            &mut |now, request| {
                let name = request.url.path().rsplit('/').next().unwrap_or_default();
                self.answer(now, name)
            },
            &Link::default(),
            ms_of(until_ms),
        )
    }
}

#[test]
fn a_segment_is_played_while_it_is_made() {
    let trace = STREAM.watch(Behaviour::default(), 60_000);
    let view = only(&trace);
    assert_eq!(view.stalls, [], "{view:?}");
    let latency = view.live_latency.unwrap();
    // Below the length of a segment: whole ones could not give that.
    assert!(latency < ms_of(2_500), "{latency:?}");
    assert!(latency >= ms_of(1_500), "{latency:?}");
    assert!(view.startup.unwrap() < ms_of(400), "{view:?}");

    // Whoever waits for whole segments runs dry at that latency.
    let whole = Behaviour { low_latency: false, ..Behaviour::default() };
    let trace = STREAM.watch(whole, 60_000);
    assert!(!only(&trace).stalls.is_empty());
}

#[test]
fn each_segment_is_asked_for_once_as_soon_as_it_may_be() {
    let trace = STREAM.watch(Behaviour::default(), 60_000);
    let mut names = trace.paths(ObjectKind::Segment);
    let count = names.len();
    assert!(count >= 14, "{count}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "none is asked for twice");
    assert!(trace.cancelled.len() <= 1, "what is under way at the end: {:?}", trace.cancelled);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However long segments are and however wrong the declared bitrate is: what was played was made before, time adds
    /// up, and no byte is counted twice.
    #[test]
    fn nothing_is_played_before_it_is_made(
        segment_ms in 1_000u64..6_000,
        ahead in 0u64..100,
        latency_ms in 500u64..8_000,
        declared in 100_000u64..5_000_000,
        actual in 100_000u64..5_000_000,
    ) {
        let offset_ms = segment_ms * ahead / 100;
        let stream = Stream { segment_ms, offset_ms, latency_ms, declared, actual };
        let trace = stream.watch(Behaviour::default(), 40_000);
        let view = only(&trace);
        if let Some(latency) = view.live_latency {
            prop_assert!(latency > Duration::ZERO, "{view:?}");
            // The play head begins at the latency that was asked for, and only falls behind.
            prop_assert!(latency + ms_of(50) >= ms_of(latency_ms.min(30_000)), "{latency:?}");
        }
        prop_assert!(total(view) <= ms_of(40_000) + ms_of(1), "{view:?}");
        let came: u64 = trace.media().count() as u64 * (actual * segment_ms / 8_000 + 800);
        prop_assert!(view.wasted_bytes <= came, "{} of {came}", view.wasted_bytes);
    }
}

fn only(trace: &Trace) -> &View {
    assert_eq!(trace.views.len(), 1);
    &trace.views[0]
}

const AGE_MS: u64 = 61_000;
const STREAM: Stream = Stream {
    segment_ms: 4_000,
    offset_ms: 3_500,
    latency_ms: 2_000,
    declared: 1_000_000,
    actual: 900_000,
};

fn ms_of(n: u64) -> Duration {
    Duration::from_millis(n)
}
