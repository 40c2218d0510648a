//! The rig's metrics for Prometheus, brought up to what the run has measured so far.
//!
//! The run hands in its totals now and then, and the difference to the totals before is added. A histogram is moved
//! over by its counts: the number of observations is exact, their sum has the histogram's three digits.
//! Invariant: counters only grow; totals that are behind those seen before add nothing.

mod metrics;

use prometheus::Registry;

pub use self::metrics::Metrics;
use crate::results::{
    Histogram, Interval, Results,
    figure::{class_name, kind_name, protocol_name},
    total,
};

/// Metrics, and what they hold already.
pub struct Exporter {
    metrics: Metrics,
    seen: Results,
}

impl Exporter {
    /// Declares the metrics. Panics when they are declared twice in one registry.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self { metrics: Metrics::register(registry), seen: Results::default() }
    }

    /// Brings the metrics to the last interval and the totals so far.
    pub fn observe(&mut self, interval: &Interval, totals: &Results) {
        let Self { metrics, seen } = self;
        for (state, count) in [
            ("all", interval.sessions),
            ("playing", interval.playing),
            ("stalled", interval.stalled),
        ] {
            metrics.sessions.with_label_values(&[state]).set(count as i64);
        }
        metrics.cpu.set((interval.rig_cpu * 1_000.0) as i64);
        metrics.saturated.set(i64::from(!totals.rig.saturated.is_empty()));

        let (now, before) = (&totals.arrivals, &seen.arrivals);
        metrics.arrivals.inc_by(now.scheduled.saturating_sub(before.scheduled));
        metrics.blocked.inc_by(now.blocked.saturating_sub(before.blocked));
        let errors = (totals.rig.socket_errors, seen.rig.socket_errors);
        metrics.socket_errors.inc_by(errors.0.saturating_sub(errors.1));
        for ((end, now), (_, before)) in ends(totals).into_iter().zip(ends(seen)) {
            metrics.views.with_label_values(&[end]).inc_by(now.saturating_sub(before));
        }
        let micro = |value: u64| value as f64 / 1e6;
        let milli = |value: u64| value as f64 / 1e3;
        let (quality, known) = (&totals.quality, &seen.quality);
        grown(&quality.startup_ms, &known.startup_ms, |v| metrics.startup.observe(milli(v)));
        grown(&quality.stall_ms, &known.stall_ms, |v| metrics.stall.observe(milli(v)));
        grown(&now.schedule_error_us, &before.schedule_error_us, |value| {
            metrics.schedule_error.observe(micro(value));
        });
        grown(&totals.rig.loop_lag_us, &seen.rig.loop_lag_us, |value| {
            metrics.loop_lag.observe(micro(value));
        });

        for now in &totals.fetches {
            let (kind, protocol) = (kind_name(now.kind), protocol_name(now.protocol));
            let before = seen.fetches_of(now.kind, now.protocol);
            let labels = [kind, protocol];
            let fetches = metrics.fetches.with_label_values(&labels);
            fetches.inc_by(now.count.saturating_sub(before.count));
            let bytes = metrics.bytes.with_label_values(&[protocol]);
            bytes.inc_by(now.bytes.saturating_sub(before.bytes));
            for (result, now, before) in [
                ("hit", now.hits, before.hits),
                ("miss", now.misses, before.misses),
                ("untold", now.untold, before.untold),
            ] {
                metrics.cache.with_label_values(&[result]).inc_by(now.saturating_sub(before));
            }
            for (class, count) in &now.failures {
                let before = before.failures.get(class).copied().unwrap_or(0);
                let failures = metrics.failures.with_label_values(&[class_name(*class), protocol]);
                failures.inc_by(count.saturating_sub(before));
            }
            let first_byte = metrics.first_byte.with_label_values(&labels);
            grown(&now.first_byte_us, &before.first_byte_us, |v| first_byte.observe(micro(v)));
            *before = now.clone();
        }
        if totals.arrivals.scheduled >= seen.arrivals.scheduled {
            seen.arrivals = totals.arrivals.clone();
            seen.quality = totals.quality.clone();
            seen.rig = totals.rig.clone();
        }
    }
}

/// Calls `observe` for each value that came since.
fn grown(now: &Histogram, before: &Histogram, mut observe: impl FnMut(u64)) {
    let mut known = before.counts().peekable();
    for (value, count) in now.counts() {
        let mut old = 0;
        while let Some((_, seen)) = known.next_if(|(seen, _)| *seen <= value) {
            old += seen;
        }
        (old..count).for_each(|_| observe(value));
    }
}

/// How views ended.
fn ends(results: &Results) -> [(&'static str, u64); 6] {
    let quality = &results.quality;
    let other = total([
        quality.failed_starts,
        quality.exits_before_start,
        quality.exits_in_stall,
        quality.failed_playbacks,
        quality.cut,
    ]);
    [
        ("watched", quality.views.saturating_sub(other)),
        ("failed-start", quality.failed_starts),
        ("left-before-start", quality.exits_before_start),
        ("left-in-stall", quality.exits_in_stall),
        ("failed-playback", quality.failed_playbacks),
        ("cut", quality.cut),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kind::{FailureClass, ObjectKind, Protocol},
        results::Quality,
    };

    fn line(registry: &Registry, name: &str) -> Option<f64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")))?;
        line.parse().ok()
    }

    #[test]
    fn metrics_follow_the_totals_and_never_go_back() {
        let registry = Registry::new();
        let mut exporter = Exporter::register(&registry);
        let mut totals = Results::new("steady", 7);
        let interval = Interval { sessions: 9, playing: 7, stalled: 1, ..Interval::default() };
        for round in 1..=3_u64 {
            totals.arrivals.scheduled += 10;
            let fetches = totals.fetches_of(ObjectKind::Segment, Protocol::H3);
            fetches.count += 5;
            fetches.bytes += 1_000;
            fetches.hits += 4;
            *fetches.failures.entry(FailureClass::Reset).or_default() += 1;
            fetches.first_byte_us.record_many(2_000 * round, 4);
            exporter.observe(&interval, &totals);
        }
        // An older state, and the same again, change nothing.
        exporter.observe(&interval, &Results::new("steady", 7));
        for (name, wanted) in [
            ("loadtest_arrivals_total", 30.0),
            ("loadtest_sessions{state=\"playing\"}", 7.0),
            ("loadtest_fetches_total{kind=\"segment\",protocol=\"h3\"}", 15.0),
            ("loadtest_failures_total{class=\"reset\",protocol=\"h3\"}", 3.0),
            ("loadtest_cache_answers_total{result=\"hit\"}", 12.0),
            ("loadtest_first_byte_seconds_count{kind=\"segment\",protocol=\"h3\"}", 12.0),
        ] {
            assert_eq!(line(&registry, name), Some(wanted), "{name}");
        }
        let sum = "loadtest_first_byte_seconds_sum{kind=\"segment\",protocol=\"h3\"}";
        let sum = line(&registry, sum).unwrap();
        assert!((sum / 0.048 - 1.0).abs() < 2e-3, "{sum}");
    }

    #[test]
    fn a_view_that_ended_well_is_one_that_did_not_end_otherwise() {
        let quality = Quality { views: 10, cut: 3, failed_starts: 1, ..Quality::default() };
        let results = Results { quality, ..Results::default() };
        assert_eq!(ends(&results)[0], ("watched", 6));
    }
}
