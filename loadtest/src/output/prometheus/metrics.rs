//! Every metric of the load rig: name, labels, help.
//!
//! Invariant: labels are words of this program; no URL, address or PoP is one, since a server could name any number.

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, gauge_vec, histogram, histogram_vec};

/// The rig's metrics, in one registry.
pub struct Metrics {
    pub(super) sessions: IntGaugeVec,
    pub(super) arrivals: IntCounter,
    pub(super) blocked: IntCounter,
    pub(super) views: IntCounterVec,
    pub(super) fetches: IntCounterVec,
    pub(super) failures: IntCounterVec,
    pub(super) bytes: IntCounterVec,
    pub(super) cache: IntCounterVec,
    pub(super) startup: Histogram,
    pub(super) stall: Histogram,
    pub(super) first_byte: HistogramVec,
    pub(super) schedule_error: Histogram,
    pub(super) loop_lag: Histogram,
    pub(super) cpu: IntGauge,
    pub(super) socket_errors: IntCounter,
    pub(super) saturated: IntGauge,
}

impl Metrics {
    /// Declares them all. Panics when they are declared twice in one registry.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            sessions: gauge_vec(
                registry,
                "loadtest_sessions",
                "Sessions now: all, those that play and those that stall.",
                &["state"],
            ),
            arrivals: counter(
                registry,
                "loadtest_arrivals_total",
                "Sessions that were to begin by the schedule.",
            ),
            blocked: counter(
                registry,
                "loadtest_blocked_total",
                "Sessions that could not begin in time.",
            ),
            views: counter_vec(
                registry,
                "loadtest_views_total",
                "Views that are over, by how they ended (CTA-2066).",
                &["end"],
            ),
            fetches: counter_vec(
                registry,
                "loadtest_fetches_total",
                "Fetches, by kind of object and protocol.",
                &["kind", "protocol"],
            ),
            failures: counter_vec(
                registry,
                "loadtest_failures_total",
                "Fetches that gave no object, by class of failure.",
                &["class", "protocol"],
            ),
            bytes: counter_vec(registry, "loadtest_bytes_total", "Bytes of bodies.", &["protocol"]),
            cache: counter_vec(
                registry,
                "loadtest_cache_answers_total",
                "Answers by what they tell of the cache.",
                &["result"],
            ),
            startup: histogram(
                registry,
                "loadtest_startup_seconds",
                "From the wish to watch to the first frame.",
                SECONDS,
            ),
            stall: histogram(
                registry,
                "loadtest_stall_seconds",
                "How long one rebuffering event lasted.",
                SECONDS,
            ),
            first_byte: histogram_vec(
                registry,
                "loadtest_first_byte_seconds",
                "From when the player wanted an object to its first byte.",
                &["kind", "protocol"],
                SECONDS,
            ),
            schedule_error: histogram(
                registry,
                "loadtest_schedule_error_seconds",
                "How late sessions began that were due.",
                SECONDS,
            ),
            loop_lag: histogram(
                registry,
                "loadtest_loop_lag_seconds",
                "How late timers fired in the rig.",
                SECONDS,
            ),
            cpu: gauge(
                registry,
                "loadtest_worker_cpu_permille",
                "The busiest worker's share of one core in the last interval, in thousandths.",
            ),
            socket_errors: counter(
                registry,
                "loadtest_socket_errors_total",
                "Times that the rig itself ran out of sockets, ports or memory.",
            ),
            saturated: gauge(
                registry,
                "loadtest_saturated",
                "1 when the rig is at its end and its figures are its own.",
            ),
        }
    }
}

/// From a tenth of a millisecond (a cache beside us) to the patience of any viewer.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
