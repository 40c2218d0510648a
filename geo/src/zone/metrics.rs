//! Numbers of zones.
//!
//! Invariant: no name of a zone is a label.

use prometheus::{IntCounter, IntGauge, Registry};
use tidegate_chassis::metrics::{counter, gauge};

/// Handles on every metric; clones count into the same numbers.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) zones: IntGauge,
    pub(super) wrong: IntGauge,
    pub(super) refused: IntCounter,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            zones: gauge(registry, "geo_zones", "Zones that serve."),
            wrong: gauge(registry, "geo_zones_wrong", "Zones whose newest text is refused."),
            refused: counter(
                registry,
                "geo_zone_refusals_total",
                "Texts of zones that were refused.",
            ),
        }
    }
}
