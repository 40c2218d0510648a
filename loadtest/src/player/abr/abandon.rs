//! Whether a download that is under way is given up for a lower rendition, as hls.js does: when half of its play time
//! has passed, it would come after the buffer is empty, and a lower one would be there sooner.
//!
//! Invariant: the lowest rendition is never given up, and what is chosen instead is lower.

use std::time::Duration;

use super::super::behaviour::Behaviour;
use super::{Estimate, Rung};

/// A download that is under way.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Download {
    pub(in super::super) rung: usize,
    /// Media time of what is downloaded.
    pub(in super::super) media: Duration,
    pub(in super::super) bytes: u64,
    /// Since it was asked for.
    pub(in super::super) elapsed: Duration,
    /// When the first byte was there; `None` before.
    pub(in super::super) first_byte: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Abandon {
    /// The rung of the next attempt.
    pub(in super::super) to: usize,
    /// The download may still end until then, from now.
    pub(in super::super) after: Duration,
}

/// Decides.
pub(in super::super) fn abandon(
    download: &Download,
    rungs: &[Rung],
    buffer: Duration,
    estimate: &Estimate,
    behaviour: &Behaviour,
    is_live: bool,
) -> Option<Abandon> {
    let rung = rungs.get(download.rung)?;
    if !behaviour.abandon
        || download.rung == 0
        || download.elapsed <= begins(download.media, estimate)
    {
        return None;
    }
    let wait = estimate.first_byte().as_secs_f64();
    let media = download.media.as_secs_f64();
    let expected = (media * rung.average as f64 / 8.0).max(download.bytes as f64);
    let rate = rate(download);
    let left = match rate {
        Some(rate) => (expected - download.bytes as f64) / rate,
        None => expected * 8.0 / estimate.bits_per_second() + wait,
    };
    let buffer = buffer.as_secs_f64();
    if left <= buffer {
        return None;
    }
    let bits = rate.map_or(estimate.bits_per_second(), |rate| rate * 8.0);
    let takes = |rung: &Rung| {
        let playlist = if rung.segment.is_none() || is_live { wait } else { 0.0 };
        wait + media * rung.bandwidth as f64 / bits + playlist
    };
    let to = (1..download.rung)
        .rev()
        .find(|lower| takes(&rungs[*lower]) < buffer.min(media + wait))
        .unwrap_or(0);
    let next = takes(&rungs[to]);
    // Nothing is won, or nothing will ever come over this link.
    if next >= left || next > media * 10.0 {
        return None;
    }
    let after = if left > next * 2.0 { 0.0 } else { next };
    Some(Abandon { to, after: Duration::from_secs_f64(after) })
}

/// From when on it is worth to ask, since the download began.
pub(in super::super) fn begins(media: Duration, estimate: &Estimate) -> Duration {
    estimate.first_byte().max(media / 2)
}

/// Bytes per second since the first byte; `None` before.
fn rate(download: &Download) -> Option<f64> {
    let streaming = download.elapsed.checked_sub(download.first_byte?)?.as_secs_f64();
    (download.bytes > 0).then(|| download.bytes as f64 / streaming.max(0.001))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::ladder, *};

    #[test]
    fn a_download_is_given_up_only_when_that_helps() {
        let behaviour = Behaviour::default();
        let rungs = ladder(&[300, 800, 2_000, 5_000]);
        let mut estimate = Estimate::new(&behaviour);
        estimate.answered(secs(0.05));
        estimate.downloaded(1_000_000, secs(1.0), secs(0.0));
        // A segment of 4 s at 5 Mbit/s is 2.5 MB. Elapsed, bytes, buffer; then what is done.
        let table = [
            (1.9, 100_000, 1.0, None),               // too early to tell
            (2.1, 2_400_000, 1.0, None),             // nearly there
            (2.1, 100_000, 60.0, None),              // the buffer lasts
            (2.1, 210_000, 5.0, Some((1, 0.0))), // 820 kbit/s: 22 s to go, or 4 s for a lower one
            (2.1, 210_000, 3.0, Some((0, 0.0))), // and that comes too late as well
            (2.1, 1_250_000, 1.0, Some((1, 0.0))), // 2 s to go, or 0.7 s
            (2.1, 1_900_000, 0.5, Some((1, 0.482))), // 0.65 s to go, or 0.48 s: it may still come by then
            (2.1, 0, 1.0, Some((1, 0.0))),           // nothing yet: the estimate says 2.5 s
        ];
        for (elapsed, bytes, buffer, want) in table {
            let download = Download {
                rung: 3,
                media: secs(4.0),
                bytes,
                elapsed: secs(elapsed),
                first_byte: (bytes > 0).then(|| secs(0.05)),
            };
            let done = abandon(&download, &rungs, secs(buffer), &estimate, &behaviour, false);
            let got = done.map(|done| (done.to, (done.after.as_secs_f64() * 1e3).round() / 1e3));
            assert_eq!(got, want, "{elapsed} s, {bytes} bytes, {buffer} s ahead");
        }
    }

    #[test]
    fn the_lowest_rung_is_never_given_up_and_a_dead_link_changes_nothing() {
        let behaviour = Behaviour::default();
        let rungs = ladder(&[300, 800]);
        let estimate = Estimate::new(&behaviour);
        let slow = Download {
            rung: 0,
            media: secs(4.0),
            bytes: 1,
            elapsed: secs(30.0),
            first_byte: Some(secs(1.0)),
        };
        let ask = |download: &Download| {
            abandon(download, &rungs, secs(0.0), &estimate, &behaviour, false)
        };
        assert_eq!(ask(&slow), None);
        assert_eq!(ask(&Download { rung: 1, ..slow }), None, "no rung would come in ten lengths");
        assert_eq!(ask(&Download { rung: 1, bytes: 390_000, ..slow }), None, "0.7 s to go");
        let off = Behaviour { abandon: false, ..Behaviour::default() };
        let halfway = Download { rung: 1, bytes: 0, elapsed: secs(3.0), first_byte: None, ..slow };
        assert!(abandon(&halfway, &rungs, secs(0.0), &estimate, &behaviour, false).is_some());
        assert_eq!(abandon(&halfway, &rungs, secs(0.0), &estimate, &off, false), None);
    }

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }
}
