//! Views as quality, in the words of CTA-2066.
//!
//! | word | is |
//! |---|---|
//! | startup time | from the request to play to the first frame, of the views that had one |
//! | failed starts | views that ended without a frame, because nothing could be shown |
//! | exits before start | views whose viewer left before the first frame |
//! | stall | a pause after the first frame that no seek explains |
//! | rebuffer ratio | seconds stalled over seconds stalled and played |
//! | stalls per minute | stalls over minutes stalled and played |
//! | mean bitrate | bits per second, weighted by the media time played |
//!
//! Invariant: a view without a first frame counts in no time but its own kind of end.

use crate::{
    player::{View, ViewEnd},
    results::Quality,
};

/// Adds one view.
pub(super) fn add_view(quality: &mut Quality, view: &View) {
    quality.views += 1;
    match view.end {
        ViewEnd::Watched => {}
        ViewEnd::FailedStart(_) => quality.failed_starts += 1,
        ViewEnd::LeftBeforeStart => quality.exits_before_start += 1,
        ViewEnd::LeftInStall => quality.exits_in_stall += 1,
        ViewEnd::FailedPlayback(_) => quality.failed_playbacks += 1,
        ViewEnd::Cut => quality.cut += 1,
    }
    quality.switches_up += u64::from(view.switches_up);
    quality.switches_down += u64::from(view.switches_down);
    quality.seeks += u64::from(view.seeks);
    quality.pathway_switches += u64::from(view.pathway_switches);
    quality.wasted_bytes += view.wasted_bytes;

    let Some(startup) = view.startup else { return };
    quality.startup_ms.record(startup.as_millis() as u64);
    let stalled: f64 = view.stalls.iter().map(|stall| stall.duration.as_secs_f64()).sum();
    let played = view.played.as_secs_f64();
    quality.played_s += played;
    quality.stalled_s += stalled;
    quality.stalls += view.stalls.len() as u64;
    quality.views_without_stall += u64::from(view.stalls.is_empty());
    for stall in &view.stalls {
        quality.stall_ms.record(stall.duration.as_millis() as u64);
    }
    if stalled + played > 0.0 {
        quality.rebuffer_ratio.record((stalled / (stalled + played) * RATIO_SCALE).round() as u64);
    }
    if let Some(bitrate) = view.mean_bitrate.filter(|bitrate| bitrate.is_finite()) {
        quality.bitrate_bps.record(bitrate.max(0.0) as u64);
    }
    if let Some(latency) = view.live_latency {
        quality.live_latency_ms.record(latency.as_millis() as u64);
    }
}

/// `Quality::rebuffer_ratio` holds hundred-thousandths.
const RATIO_SCALE: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{kind::FailureClass, player::Stall};

    fn seconds(value: f64) -> Duration {
        Duration::from_secs_f64(value)
    }

    #[test]
    fn views_add_up_to_what_their_words_say() {
        let stall = |at, lasts| Stall { at: seconds(at), duration: seconds(lasts) };
        let views = [
            View {
                startup: Some(seconds(0.5)),
                played: seconds(30.0),
                stalls: vec![stall(3.0, 2.0), stall(9.0, 8.0)],
                mean_bitrate: Some(2e6),
                switches_up: 2,
                switches_down: 1,
                ..View::default()
            },
            View {
                startup: Some(seconds(1.5)),
                played: seconds(60.0),
                mean_bitrate: Some(4e6),
                live_latency: Some(seconds(6.0)),
                end: ViewEnd::Cut,
                ..View::default()
            },
            View { end: ViewEnd::FailedStart(FailureClass::ServerError), ..View::default() },
            View { end: ViewEnd::LeftBeforeStart, ..View::default() },
        ];
        let mut quality = Quality::default();
        views.iter().for_each(|view| add_view(&mut quality, view));
        assert_eq!((quality.views, quality.failed_starts, quality.exits_before_start), (4, 1, 1));
        assert_eq!((quality.views_without_stall, quality.cut, quality.stalls), (1, 1, 2));
        assert_eq!((quality.switches_up, quality.switches_down), (2, 1));
        assert!((quality.played_s - 90.0).abs() < 1e-9 && (quality.stalled_s - 10.0).abs() < 1e-9);
        // Of two views, one stalled 10 of 40 seconds.
        let ratios: Vec<(u64, u64)> = quality.rebuffer_ratio.counts().collect();
        assert_eq!(ratios.len(), 2);
        assert_eq!(ratios[0], (0, 1));
        assert!((24_950..=25_050).contains(&ratios[1].0), "{ratios:?}");
        assert_eq!(quality.startup_ms.count(), 2);
        assert!((8_000..8_008).contains(&quality.stall_ms.max().unwrap()));
        assert_eq!(quality.live_latency_ms.count(), 1);
    }
}
