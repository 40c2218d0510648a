//! When a live playlist is asked for again, and what is asked of it (RFC 8216bis 6.2.5 and 6.3.4). Pure.
//!
//! Invariant: whatever a server says, two requests for one playlist are a tenth of a second apart at least, unless the
//! server held the first one back or it brought something new.

use std::time::Duration;

use url::Url;

use super::timeline::Timeline;

/// When to ask again, after an answer.
pub(super) fn due(
    list: &Timeline,
    has_changed: bool,
    is_blocking: bool,
    asked_at: Duration,
    now: Duration,
) -> Option<Duration> {
    if list.is_ended {
        return None;
    }
    if is_blocking {
        // The server says when it has more. One that answers with the same at once does not block.
        let wait = list.part_target.unwrap_or(list.target_duration) / 2;
        return Some(if has_changed {
            now
        } else {
            now.max(asked_at.saturating_add(wait.max(PAUSE_MIN)))
        });
    }
    let wait = if has_changed { list.target_duration } else { list.target_duration / 2 };
    Some(now.max(asked_at.saturating_add(wait.max(PAUSE_MIN))))
}

/// Whether reloads of this list wait at the server.
pub(super) fn is_blocking(list: &Timeline, low_latency: bool) -> bool {
    low_latency && list.server_control.can_block_reload && !list.is_ended
}

/// The URL of the next version: what it waits for, if the server holds answers back, and that old segments may be left
/// out.
pub(super) fn url(playlist: &Url, list: &Timeline, is_blocking: bool, is_delta: bool) -> Url {
    let mut url = playlist.clone();
    if is_blocking {
        let (number, part) = list.next_to_come();
        let mut query = url.query_pairs_mut();
        query.append_pair("_HLS_msn", &number.to_string());
        if let Some(part) = part {
            query.append_pair("_HLS_part", &part.to_string());
        }
    }
    if is_delta {
        url.query_pairs_mut().append_pair("_HLS_skip", "YES");
    }
    url
}

/// Whether a delta update is of use: segments must stand before the skip boundary, and the version before must not be
/// older than half of it.
pub(super) fn is_delta(list: &Timeline, loaded_at: Duration, now: Duration) -> bool {
    list.server_control
        .can_skip_until
        .is_some_and(|until| now.saturating_sub(loaded_at) < until / 2 && list.duration() > until)
}

/// Distance of the play head to the end of the list when playing begins.
pub(super) fn hold_back(list: &Timeline, low_latency: bool, wanted: Duration) -> Duration {
    if !wanted.is_zero() {
        return wanted;
    }
    let control = &list.server_control;
    match list.part_target.filter(|_| low_latency) {
        Some(part) => control.part_hold_back.unwrap_or(part.saturating_mul(3)),
        None => control.hold_back.unwrap_or(list.target_duration.saturating_mul(3)),
    }
}

/// No playlist is asked for more often than this without something new.
const PAUSE_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Object, Segment, SegmentList};

    #[test]
    fn a_list_is_asked_for_again_after_its_target_or_half_of_it() {
        let list = list();
        // Changed, blocking, asked at, now; then due.
        let table = [
            (true, false, 10_000, 10_300, 14_000),
            (false, false, 10_000, 10_300, 12_000),
            (true, false, 10_000, 15_000, 15_000),
            (true, true, 10_000, 13_000, 13_000),
            (false, true, 10_000, 10_010, 10_500),
            (false, true, 10_000, 11_500, 11_500),
        ];
        for (changed, blocking, asked, now, want) in table {
            let due = due(&list, changed, blocking, ms(asked), ms(now));
            assert_eq!(due, Some(ms(want)), "{changed} {blocking} {asked} {now}");
        }
        let mut hostile = list.clone();
        (hostile.target_duration, hostile.part_target) = (ms(0), None);
        assert_eq!(due(&hostile, true, false, ms(5), ms(6)), Some(ms(105)));
        assert_eq!(due(&hostile, false, true, ms(5), ms(6)), Some(ms(105)));
        let mut ended = list;
        ended.is_ended = true;
        assert_eq!(due(&ended, true, true, ms(0), ms(0)), None);
    }

    #[test]
    fn a_blocking_reload_names_what_it_waits_for() {
        let mut list = list();
        let playlist = Url::parse("https://a.example/v/m.m3u8?t=1").unwrap();
        let ask = |list: &Timeline, is_blocking, age: u64| {
            let is_delta = is_delta(list, ms(0), ms(age));
            url(&playlist, list, is_blocking, is_delta).to_string()
        };
        let plain = playlist.as_str();
        assert_eq!(ask(&list, true, 0), format!("{plain}&_HLS_msn=15&_HLS_part=0"));
        assert_eq!(ask(&list, false, 0), plain);
        list.server_control.can_skip_until = Some(ms(12_000));
        assert!(ask(&list, true, 5_999).ends_with("_HLS_part=0&_HLS_skip=YES"));
        assert_eq!(ask(&list, false, 5_999), format!("{plain}&_HLS_skip=YES"));
        assert!(!ask(&list, true, 6_000).contains("_HLS_skip"), "the version before is too old");
        list.server_control.can_skip_until = Some(ms(24_000));
        assert!(!ask(&list, true, 0).contains("_HLS_skip"), "nothing stands before the boundary");
        list.part_target = None;
        assert!(ask(&list, true, 0).ends_with("?t=1&_HLS_msn=15"));
    }

    #[test]
    fn playing_begins_as_far_from_the_edge_as_the_list_says() {
        let mut list = list();
        assert_eq!(hold_back(&list, false, ms(0)), ms(12_000));
        assert_eq!(hold_back(&list, true, ms(0)), ms(3_000));
        list.server_control.hold_back = Some(ms(9_000));
        list.server_control.part_hold_back = Some(ms(2_500));
        assert_eq!(hold_back(&list, false, ms(0)), ms(9_000));
        assert_eq!(hold_back(&list, true, ms(0)), ms(2_500));
        assert_eq!(hold_back(&list, true, ms(7_000)), ms(7_000));
        list.part_target = None;
        assert_eq!(hold_back(&list, true, ms(0)), ms(9_000));
    }

    fn list() -> Timeline {
        let segment = |number| Segment {
            number,
            discontinuity_sequence: 0,
            object: Some(Object {
                url: Url::parse(&format!("https://a.example/v/{number}.m4s")).unwrap(),
                range: None,
            }),
            duration: ms(4_000),
            init: None,
            key: None,
            parts: Vec::new(),
            program_date_time: None,
            is_gap: false,
        };
        Timeline::of(&SegmentList {
            segments: (10..15).map(segment).collect(),
            target_duration: ms(4_000),
            part_target: Some(ms(1_000)),
            ..SegmentList::default()
        })
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }
}
