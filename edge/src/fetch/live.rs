//! Whether a live playlist stands still, and how long one may be held back.
//!
//! Pure. Invariant: a playlist that has ended never stands still.

use std::time::{Duration, SystemTime};

use super::playlist::{Playlist, Position};

/// What is known of a live playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) target: Duration,
    pub(super) position: Position,
    /// When it was first seen at this position.
    pub(super) since: SystemTime,
    pub(super) is_ended: bool,
}

/// Whether a playlist stands still: unchanged for more than one and a half target durations, while RFC 8216 section
/// 6.2.1 has a server add a segment at least that often.
#[must_use]
pub(super) fn is_stalled(progress: &Progress, now: SystemTime) -> bool {
    let unchanged = now.duration_since(progress.since).unwrap_or_default();
    !progress.is_ended && unchanged > progress.target * 3 / 2
}

/// What is known after a playlist was seen. One that went back, as a restarted encoder's does, has moved.
#[must_use]
pub(super) fn seen(known: Option<&Progress>, playlist: &Playlist<'_>, now: SystemTime) -> Progress {
    let since = match known {
        Some(known) if known.position == playlist.position => known.since,
        _ => now,
    };
    Progress {
        target: playlist.target,
        position: playlist.position,
        since,
        is_ended: playlist.is_ended,
    }
}

/// How long the origin may hold an answer back: `_HLS_msn` asks for a playlist that does not exist yet, and players
/// give up after three target durations (RFC 8216bis section 6.2.5.2).
#[must_use]
pub(super) fn hold(path: &str, target: Option<Duration>, hold_max: Duration) -> Option<Duration> {
    let (_, query) = path.split_once('?')?;
    let is_held = query.split('&').any(|pair| pair.starts_with("_HLS_msn="));
    is_held.then(|| target.map_or(hold_max, |target| (target * 3).max(HOLD_MIN)))
}

/// Below this a hold is no hold: the way to the origin alone may take it.
const HOLD_MIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds)
    }

    fn playlist(sequence: u64, is_ended: bool) -> Playlist<'static> {
        Playlist {
            target: Duration::from_secs(4),
            position: Position { sequence, parts: 0 },
            is_ended,
            segments: Vec::new(),
        }
    }

    #[test]
    fn one_that_does_not_move_for_six_of_four_seconds_stands_still() {
        let first = seen(None, &playlist(7, false), at(0));
        for (now, expected) in [(0, false), (6, false), (7, true)] {
            let again = seen(Some(&first), &playlist(7, false), at(now));
            assert_eq!(is_stalled(&again, at(now)), expected, "{now}");
        }
        let moved = seen(Some(&first), &playlist(8, false), at(7));
        assert!(!is_stalled(&moved, at(7)));
        let restarted = seen(Some(&moved), &playlist(1, false), at(20));
        assert!(!is_stalled(&restarted, at(20)));
        let ended = seen(Some(&first), &playlist(7, true), at(99));
        assert!(!is_stalled(&ended, at(99)));
    }

    #[test]
    fn only_what_does_not_exist_yet_is_held_back() {
        let (target, max) = (Some(Duration::from_secs(4)), Duration::from_secs(30));
        assert_eq!(hold("/p.m3u8", target, max), None);
        assert_eq!(hold("/p.m3u8?_HLS_skip=YES", target, max), None);
        let held = "/p.m3u8?a=1&_HLS_msn=7&_HLS_part=2";
        assert_eq!(hold(held, target, max), Some(Duration::from_secs(12)));
        assert_eq!(hold(held, None, max), Some(max));
        assert_eq!(hold(held, Some(Duration::ZERO), max), Some(HOLD_MIN));
    }
}
