//! The figures by name: their units, what is better, and what they say in words.
//!
//! Invariant: the words are those of CTA-2066 where it has one for the thing.

use super::{Better, Measure, Sums, Trace, Unit, Values};
use crate::{
    kind::{FailureClass, Protocol},
    results::{Fetches, Results, total},
};

/// A figure that is one number.
pub(super) struct Scalar {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) better: Better,
    pub(super) is_by_protocol: bool,
    pub(super) meaning: &'static str,
    pub(super) measure: Measure,
}

/// Figures that are percentiles, means or the largest of some values.
pub(super) struct ValuesEntry {
    pub(super) name: &'static str,
    pub(super) values: Values,
    /// From the unit of the field to that of the figure.
    pub(super) scale: f64,
    pub(super) unit: Unit,
    pub(super) better: Better,
    pub(super) meaning: &'static str,
}

/// Sums over the fetches of a protocol, or of all.
fn over(results: &Results, protocol: Option<Protocol>, of: fn(&Fetches) -> u64) -> f64 {
    let wanted = results.fetches.iter().filter(|it| protocol.is_none_or(|p| p == it.protocol));
    total(wanted.map(of)) as f64
}

/// What the server, or the way to it, failed at. The rig's own failures are not among them.
fn errors(fetches: &Fetches) -> u64 {
    let theirs = fetches.failures.iter().filter(|(class, _)| **class != FailureClass::Rig);
    total(theirs.map(|(_, count)| *count))
}

const fn share(
    name: &'static str,
    better: Better,
    meaning: &'static str,
    of: fn(&Results) -> (u64, u64),
) -> Scalar {
    let measure = Measure::Share(of);
    Scalar { name, unit: Unit::Share, better, is_by_protocol: false, meaning, measure }
}

const fn sums(
    name: &'static str,
    unit: Unit,
    better: Better,
    meaning: &'static str,
    total: fn(&Results, Option<Protocol>) -> Sums,
    trace: Option<Trace>,
) -> Scalar {
    let measure = Measure::Sums { total, trace };
    Scalar { name, unit, better, is_by_protocol: false, meaning, measure }
}

const fn by_protocol(scalar: Scalar) -> Scalar {
    Scalar { is_by_protocol: true, ..scalar }
}

const fn values(
    name: &'static str,
    values: Values,
    scale: f64,
    unit: Unit,
    better: Better,
    meaning: &'static str,
) -> ValuesEntry {
    ValuesEntry { name, values, scale, unit, better, meaning }
}

/// A number of things, as a ratio to one.
fn number(count: u64) -> Sums {
    Sums { over: count as f64, under: 1.0 }
}

pub(super) const SCALARS: &[Scalar] = &[
    sums(
        "rebuffer_ratio",
        Unit::Share,
        Better::Lower,
        "rebuffering ratio: of the time after the start in which viewers wanted to watch, the share in which the \
         picture stood still, all views together",
        |results, _| Sums {
            over: results.quality.stalled_s,
            under: results.quality.stalled_s + results.quality.played_s,
        },
        Some(|interval, _| Sums {
            over: interval.stalled as f64,
            under: interval.stalled as f64 + interval.playing as f64,
        }),
    ),
    sums(
        "stalls_per_minute",
        Unit::PerMinute,
        Better::Lower,
        "rebuffering events in each minute stalled and played, all views together; those that a seek explains are not \
         counted",
        |results, _| Sums {
            over: results.quality.stalls as f64,
            under: (results.quality.stalled_s + results.quality.played_s) / 60.0,
        },
        Some(|interval, _| Sums {
            over: interval.stalled as f64,
            under: interval.stalled as f64 + interval.playing as f64,
        }),
    ),
    share(
        "views_without_stall",
        Better::Higher,
        "views that were never interrupted, of those that had a first frame",
        |results| (results.quality.views_without_stall, results.quality.startup_ms.count()),
    ),
    share(
        "failed_starts",
        Better::Lower,
        "video start failures: views of which nothing could be shown, of all views",
        |results| (results.quality.failed_starts, results.quality.views),
    ),
    share(
        "exits_before_start",
        Better::Lower,
        "exits before video start: viewers who left before the first frame came, of all views",
        |results| (results.quality.exits_before_start, results.quality.views),
    ),
    share(
        "exits_in_stall",
        Better::Lower,
        "viewers who lost patience while the picture stood still, of all views",
        |results| (results.quality.exits_in_stall, results.quality.views),
    ),
    share(
        "failed_playbacks",
        Better::Lower,
        "video playback failures: views that broke off and did not come back, of all views",
        |results| (results.quality.failed_playbacks, results.quality.views),
    ),
    Scalar {
        name: "mean_bitrate",
        unit: Unit::BitsPerSecond,
        better: Better::Higher,
        is_by_protocol: false,
        meaning: "average bitrate: the mean of what each view was played at, weighted by time within the view",
        measure: Measure::Mean { values: Values::Bitrate, scale: 1.0 },
    },
    sums(
        "switches_per_minute",
        Unit::PerMinute,
        Better::Lower,
        "changes of the rendition in each minute played, up and down",
        |results, _| Sums {
            over: results.quality.switches_up as f64 + results.quality.switches_down as f64,
            under: results.quality.played_s / 60.0,
        },
        None,
    ),
    sums(
        "wasted_share",
        Unit::Share,
        Better::Lower,
        "media bytes that came and were never played, of all bytes",
        |results, _| Sums {
            over: results.quality.wasted_bytes as f64,
            under: over(results, None, |it| it.bytes),
        },
        None,
    ),
    by_protocol(sums(
        "error_rate",
        Unit::Share,
        Better::Lower,
        "fetches that gave no object, of all fetches; failures of the rig itself are not counted",
        |results, protocol| Sums {
            over: over(results, protocol, errors),
            under: over(results, protocol, |it| it.count),
        },
        Some(|interval, _| Sums {
            over: interval.failures as f64,
            under: interval.requests as f64,
        }),
    )),
    by_protocol(sums(
        "hit_ratio",
        Unit::Share,
        Better::Higher,
        "answers from a cache, of the answers that tell whether they are",
        |results, protocol| {
            let hits = over(results, protocol, |it| it.hits);
            Sums { over: hits, under: hits + over(results, protocol, |it| it.misses) }
        },
        Some(|interval, _| Sums {
            over: interval.hits as f64,
            under: interval.hits as f64 + interval.misses as f64,
        }),
    )),
    by_protocol(sums(
        "throughput",
        Unit::BitsPerSecond,
        Better::Neither,
        "bits of bodies in each second, over the whole run",
        |results, protocol| Sums {
            over: over(results, protocol, |it| it.bytes) * 8.0,
            under: results.duration_s,
        },
        Some(|interval, length_s| Sums { over: interval.bytes as f64 * 8.0, under: length_s }),
    )),
    by_protocol(sums(
        "request_rate",
        Unit::PerSecond,
        Better::Neither,
        "fetches in each second, over the whole run",
        |results, protocol| Sums {
            over: over(results, protocol, |it| it.count),
            under: results.duration_s,
        },
        Some(|interval, length_s| Sums { over: interval.requests as f64, under: length_s }),
    )),
    share(
        "blocked",
        Better::Lower,
        "sessions that could not begin in time, of those that were scheduled",
        |results| (results.arrivals.blocked, results.arrivals.scheduled),
    ),
    sums(
        "views",
        Unit::Count,
        Better::Neither,
        "views that were begun",
        |results, _| number(results.quality.views),
        None,
    ),
    by_protocol(sums(
        "corrupt",
        Unit::Count,
        Better::Lower,
        "objects whose content is not what the manifest of hashes says",
        |results, protocol| {
            let corrupt =
                |it: &Fetches| it.failures.get(&FailureClass::Corrupt).copied().unwrap_or(0);
            Sums { over: over(results, protocol, corrupt), under: 1.0 }
        },
        None,
    )),
    sums(
        "socket_errors",
        Unit::Count,
        Better::Lower,
        "times that the rig itself ran out of sockets, ports or memory",
        |results, _| number(results.rig.socket_errors),
        None,
    ),
    sums(
        "rig_cpu",
        Unit::Share,
        Better::Lower,
        "the rig's busiest worker: its share of one core, over the run",
        |results, _| Sums {
            over: results.rig.cpu_max,
            under: f64::from(u8::from(results.rig.workers > 0)),
        },
        None,
    ),
];

pub(super) const VALUES: &[ValuesEntry] = &[
    values(
        "startup",
        Values::Startup,
        1.0,
        Unit::Milliseconds,
        Better::Lower,
        "startup time: from the wish to watch to the first frame",
    ),
    values(
        "stall",
        Values::Stall,
        1.0,
        Unit::Milliseconds,
        Better::Lower,
        "how long one rebuffering event lasts",
    ),
    values(
        "rebuffer_ratio",
        Values::RebufferRatio,
        1e-5,
        Unit::Share,
        Better::Lower,
        "rebuffering ratio of each view",
    ),
    values(
        "bitrate",
        Values::Bitrate,
        1.0,
        Unit::BitsPerSecond,
        Better::Higher,
        "average bitrate of each view, weighted by the time it was played",
    ),
    values(
        "live_latency",
        Values::LiveLatency,
        1.0,
        Unit::Milliseconds,
        Better::Lower,
        "live latency: how far behind the live edge a view plays",
    ),
    values(
        "first_fresh",
        Values::FirstFresh,
        1.0,
        Unit::Milliseconds,
        Better::Lower,
        "from the call of a purge to the first fresh answer of a PoP",
    ),
    values(
        "ttfb",
        Values::FirstByte(None),
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "time to first byte: from when the player wanted the object, with what it had to wait for",
    ),
    values(
        "took",
        Values::Took(None),
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "from when the player wanted the object to its last byte",
    ),
    values(
        "time_over_duration",
        Values::TimeOverDuration(None),
        1e-3,
        Unit::Multiple,
        Better::Lower,
        "fetch time over media duration; a player whose segments take longer than they play (1 or more) stalls",
    ),
    values(
        "dns",
        Values::Dns,
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "the name's look-up, where one was made",
    ),
    values(
        "connect",
        Values::Connect,
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "the TCP handshake",
    ),
    values(
        "handshake",
        Values::Handshake,
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "the TLS handshake, or that of QUIC with TLS in it",
    ),
    values(
        "schedule_error",
        Values::ScheduleError,
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "how late the rig began a session that was due",
    ),
    values(
        "loop_lag",
        Values::LoopLag,
        1e-3,
        Unit::Milliseconds,
        Better::Lower,
        "how late a timer fired in the rig",
    ),
];

/// What a comparison shows.
pub(super) const SHOWN: &[&str] = &[
    "startup_p50",
    "startup_p95",
    "startup_p99",
    "rebuffer_ratio",
    "stalls_per_minute",
    "stall_p95",
    "views_without_stall",
    "failed_starts",
    "exits_before_start",
    "exits_in_stall",
    "failed_playbacks",
    "mean_bitrate",
    "bitrate_p5",
    "switches_per_minute",
    "live_latency_p50",
    "live_latency_p95",
    "error_rate",
    "hit_ratio",
    "first_fresh_p50",
    "first_fresh_p99",
    "playlist_ttfb_p50",
    "playlist_ttfb_p99",
    "segment_ttfb_p50",
    "segment_ttfb_p99",
    "segment_time_over_duration_p95",
    "handshake_p50",
    "handshake_p99",
    "throughput",
    "request_rate",
    "views",
    "blocked",
    "schedule_error_p99",
    "loop_lag_p99",
    "rig_cpu",
];
