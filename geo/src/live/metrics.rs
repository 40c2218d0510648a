//! Numbers of the map: how it is made, from what, and how far it can be trusted.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tidegate_chassis::metrics::{counter, counter_vec, gauge, gauge_vec, histogram};

/// Handles on them; clones count into the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Rounds that were made.
    pub rounds: IntCounter,
    /// How long they took.
    pub round_seconds: Histogram,
    /// PoPs by how they are, as answers have it.
    pub pops: IntGaugeVec,
    /// How far the map can be trusted: 1 for the one that is true.
    pub trust: IntGaugeVec,
    /// Seconds since the control plane was heard.
    pub silence: IntGauge,
    /// Lines of the feed.
    pub lines: IntCounterVec,
    /// Replicas that are heard.
    pub replicas: IntGauge,
    /// What was refused while the old one serves.
    pub refused: IntCounterVec,
    /// Batches that were left out.
    pub batches_dropped: IntCounter,
    /// Pairs of units and PoPs with measured round trips.
    pub pairs: IntGauge,
    /// Looks at PoPs.
    pub looks: IntCounterVec,
    /// Whether looks are not believed.
    pub doubted: IntGauge,
    /// How much of all demand the rounds moved.
    pub moved: IntGaugeVec,
}

impl Metrics {
    /// Declares them.
    ///
    /// # Panics
    /// When they are declared twice in one registry, which is a mistake of this program.
    #[must_use]
    pub fn register(registry: &Registry) -> Self {
        Self {
            rounds: counter(registry, "geo_rounds_total", "Maps that were made."),
            round_seconds: histogram(
                registry,
                "geo_round_seconds",
                "How long it took to make a map.",
                &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0],
            ),
            pops: gauge_vec(registry, "geo_pops", "PoPs by how they are in answers.", &["state"]),
            trust: gauge_vec(
                registry,
                "geo_trust",
                "How far the map can be trusted: 1 for what is true now.",
                &["trust"],
            ),
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
