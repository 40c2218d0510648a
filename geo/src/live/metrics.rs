//! Numbers of the map: how it is made, from what, and how far it can be trusted.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, gauge_vec, histogram};

/// Handles on them; clones count into the same numbers.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    /// Rounds that were made.
    pub(super) rounds: IntCounter,
    /// How long they took.
    pub(super) round_seconds: Histogram,
    /// PoPs by how they are, as answers have it.
    pub(super) pops: IntGaugeVec,
    /// Seconds since the control plane was heard.
    pub(super) silence: IntGauge,
    /// Lines of the feed.
    pub(super) lines: IntCounterVec,
    /// Replicas that are heard.
    pub(super) replicas: IntGauge,
    /// What was refused while the old one serves.
    pub(super) refused: IntCounterVec,
    /// Batches that were left out.
    pub(super) batches_dropped: IntCounter,
    /// Pairs of units and PoPs with measured round trips.
    pub(super) pairs: IntGauge,
    /// Looks at PoPs.
    pub(super) looks: IntCounterVec,
    /// Whether looks are not believed.
    pub(super) doubted: IntGauge,
    /// How much of all demand the rounds moved.
    pub(super) moved: IntGaugeVec,
}

impl Metrics {
    /// Declares them.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            rounds: counter(registry, "geo_rounds_total", "Maps that were made."),
            round_seconds: histogram(
                registry,
                "geo_round_seconds",
                "How long it took to make a map.",
                &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0],
            ),
            pops: gauge_vec(registry, "geo_pops", "PoPs by how they are in answers.", &["state"]),
            silence: gauge(
                registry,
                "geo_silence_seconds",
                "Time since a control plane was heard; 0 where the fleet comes from a file.",
            ),
            lines: counter_vec(
                registry,
                "geo_feed_lines_total",
                "Lines of the control plane's feed by what they tell.",
                &["kind"],
            ),
            replicas: gauge(
                registry,
                "geo_feed_replicas",
                "Replicas of the control plane that are heard.",
            ),
            refused: counter_vec(
                registry,
                "geo_refused_total",
                "Fleets, places and batches that were refused; what was there before serves on.",
                &["what"],
            ),
            batches_dropped: counter(
                registry,
                "geo_batches_dropped_total",
                "Batches of round trips that were left out, since more came than were taken in.",
            ),
            pairs: gauge(
                registry,
                "geo_measured_pairs",
                "Pairs of a unit and a PoP whose round trips were measured.",
            ),
            looks: counter_vec(
                registry,
                "geo_looks_total",
                "Looks of this node at addresses of PoPs by outcome.",
                &["outcome"],
            ),
            doubted: gauge(
                registry,
                "geo_looks_doubted",
                "Whether so much looks dead from here that it is not believed.",
            ),
            moved: gauge_vec(
                registry,
                "geo_moved_permille",
                "Share of all demand that the newest round moved, or would have liked to, in thousandths.",
                &["move"],
            ),
        }
    }
}
